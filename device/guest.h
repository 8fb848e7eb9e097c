/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What a device model sees of the machine it sits in: guest memory, its interrupt line, timers, and
 * the ports and pages it answers.  machine/ implements it over the vmm API, a test with a few lines
 * of C.
 */
#ifndef DEVICE_GUEST_H
#define DEVICE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_loop;
struct log;
struct guest;

/* What a model can do to the whole machine. */
/* To sleep: processors and chips lose their state, memory and models keep it, until guest_wake(). */
enum guest_end { GUEST_RESET, GUEST_POWEROFF, GUEST_SLEEP };

/* What a person does at the machine's keyboard and mouse. */
enum guest_input_kind { GUEST_INPUT_KEY, GUEST_INPUT_MOTION };

struct guest_input {
	enum guest_input_kind kind;
	/* A key goes down or up. KEY_... of linux/input-event-codes.h; repetitions are ignored. */
	uint16_t key;
	bool down;
	/*
	 * The mouse moves right and down, its wheel away from the user (in notches), and these buttons
	 * are down now: bit 0 left, 1 right, 2 middle, 3 and 4 those at the side.
	 */
	int dx, dy, wheel;
	uint8_t buttons;
};

enum guest_space { GUEST_PORTS, GUEST_MEMORY };

/*
 * How a model serves accesses.  `offset` counts from the range's base; `size` is 1, 2, 4 or 8
 * bytes, never more than `width`, and the access lies inside the range.  Called on vcpu threads,
 * several at a time: a model brings its own lock.
 */
struct guest_io {
	unsigned width; /* wider accesses are cut into pieces of this size */
	uint64_t (*read)(void *arg, uint64_t offset, unsigned size);
	void (*write)(void *arg, uint64_t offset, unsigned size, uint64_t value);
};

struct guest_range {
	enum guest_space space;
	uint64_t base, size;
	const struct guest_io *io;
	void *arg;
};

struct guest_timer;

struct guest_ops {
	int (*read)(struct guest *guest, uint64_t gpa, void *buf, size_t len);
	int (*write)(struct guest *guest, uint64_t gpa, const void *buf, size_t len);
	void *(*at)(struct guest *guest, uint64_t gpa, size_t len);
	void (*written)(struct guest *guest, const void *at, size_t len);
	void (*irq)(struct guest *guest, unsigned irq, bool asserted);
	void (*irq_level)(struct guest *guest, unsigned irq);
	void (*msi)(struct guest *guest, uint64_t address, uint32_t data);
	void (*end)(struct guest *guest, enum guest_end how);
	void (*wake)(struct guest *guest);
	void (*exit)(struct guest *guest, uint8_t status);
	void (*unmap)(struct guest *guest, uint64_t gpa);
	void (*input)(struct guest *guest, const struct guest_input *input);
	int (*claim)(struct guest *guest, const struct guest_range *range);
	void (*unclaim)(struct guest *guest, const struct guest_range *range);
	int (*timer_create)(
		struct guest *guest, void (*fn)(void *arg), void *arg, struct guest_timer **timer);
	void (*timer_set)(struct guest_timer *timer, uint64_t delay_ns);
	void (*timer_stop)(struct guest_timer *timer);
	void (*timer_destroy)(struct guest_timer *timer);
};

/* The machine in figures; constant while models exist. */
struct guest_facts {
	const char *name; /* the machine's; may be NULL */
	unsigned ncpus;
	uint64_t memory;  /* bytes */
	const void *e820; /* as INT 15h lays it out */
	size_t e820_size;
};

struct guest {
	const struct guest_ops *ops;
	struct guest_facts facts;
	struct event_loop *loop;
	struct log *log;
};

/*
 * To the models that take input, from one that has a person in front of it (a display).  Any thread,
 * with no lock of a model held; each model keeps the events' order.
 */
static inline void guest_input(struct guest *guest, const struct guest_input *input)
{
	guest->ops->input(guest, input);
}

/* Guest memory. EFAULT: not all of it is RAM, and nothing was copied. Any thread. */
static inline int guest_read(struct guest *guest, uint64_t gpa, void *buf, size_t len)
{
	return guest->ops->read(guest, gpa, buf, len);
}

static inline int guest_write(struct guest *guest, uint64_t gpa, const void *buf, size_t len)
{
	return guest->ops->write(guest, gpa, buf, len);
}

/*
 * Guest memory itself, for a device that transfers straight into it; NULL: [gpa, gpa+len) is not all
 * RAM in one piece.  RAM stays where it is as long as models exist.  The guest may change it at any
 * time: look at each byte once.  Any thread.
 */
static inline void *guest_at(struct guest *guest, uint64_t gpa, size_t len)
{
	return guest->ops->at(guest, gpa, len);
}

/* These bytes at a place that guest_at() gave have been written: whoever runs the guest looks anew. */
static inline void guest_written(struct guest *guest, const void *at, size_t len)
{
	guest->ops->written(guest, at, len);
}

/*
 * Raises or lowers this model's share of an ISA line, or from 16 on of a pin that the I/O APIC alone
 * has; only on a change, since asserts are counted.
 * Any thread; the model's lock may be held.
 */
static inline void guest_irq(struct guest *guest, unsigned irq, bool asserted)
{
	guest->ops->irq(guest, irq, asserted);
}

/* The line is level-triggered at the PIC from now on (ELCR). */
static inline void guest_irq_level(struct guest *guest, unsigned irq)
{
	guest->ops->irq_level(guest, irq);
}

/* A message-signalled interrupt, as the write of `data` to `address` is one. Any thread. */
static inline void guest_msi(struct guest *guest, uint64_t address, uint32_t data)
{
	guest->ops->msi(guest, address, data);
}

/* Ends the machine; the vcpus stop soon after. The first end counts. Any thread. */
static inline void guest_end(struct guest *guest, enum guest_end how)
{
	guest->ops->end(guest, how);
}

/* A guest that sleeps, or is about to, goes on where it has told firmware. Any thread. */
static inline void guest_wake(struct guest *guest)
{
	guest->ops->wake(guest);
}

/* As GUEST_POWEROFF, and the command that runs the machine exits with `status`. */
static inline void guest_exit(struct guest *guest, uint8_t status)
{
	guest->ops->exit(guest, status);
}

/*
 * Whoever runs the guest forgets what it has made of the page at gpa; its content stays.  No RAM
 * there: nothing happens.  Any thread.
 */
static inline void guest_unmap(struct guest *guest, uint64_t gpa)
{
	guest->ops->unmap(guest, gpa);
}

/*
 * Takes accesses in a range; of several claims the narrowest that holds the whole access gets it.
 * ENOMEM, EEXIST (the same range is taken).  `range` is copied.
 */
static inline int guest_claim(struct guest *guest, const struct guest_range *range)
{
	return guest->ops->claim(guest, range);
}

static inline void guest_unclaim(struct guest *guest, const struct guest_range *range)
{
	guest->ops->unclaim(guest, range);
}

/* A one-shot timer; fn runs on the event loop's thread. 0 or an errno. */
static inline int guest_timer_create(
	struct guest *guest, void (*fn)(void *arg), void *arg, struct guest_timer **timer)
{
	return guest->ops->timer_create(guest, fn, arg, timer);
}

/* (Re)arms it, `delay_ns` from now. Any thread. */
static inline void guest_timer_set(
	struct guest *guest, struct guest_timer *timer, uint64_t delay_ns)
{
	guest->ops->timer_set(timer, delay_ns);
}

static inline void guest_timer_stop(struct guest *guest, struct guest_timer *timer)
{
	guest->ops->timer_stop(timer);
}

/* Waits for a running fn: no lock that it takes may be held. NULL is allowed. */
static inline void guest_timer_destroy(struct guest *guest, struct guest_timer *timer)
{
	guest->ops->timer_destroy(timer);
}

#endif
