/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Two 8259A interrupt controllers, the slave's INT on line 2 of the master (Intel 8259A data sheet;
 * vmm-api.md 10.4).
 *
 *	IRQ 8..15 -> slave -> line 2 -> master -> INTR -> LINT0 of every active vcpu
 *	                     IRQ 0,1,3..7 ->           \> I/O APIC pin 0
 *
 * Line 2 follows the slave's output all the time instead of latching its edges: after every change
 * the requests and the output are computed anew, and only a change of INTR is told to anybody.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <vmm/pc.h>
#include <vmm/vatpic.h>
#include <vmm/vioapic.h>
#include <vmm/vlapic.h>
#include "vmm/chip/extint.h"
#include "vmm/chip/port.h"

#define LINES	 16
#define CASCADE	 2 /* the master's line */
#define SPURIOUS 7

#define ICW1_IC4  0x01
#define ICW1_SNGL 0x02
#define ICW1_LTIM 0x08 /* superseded by the ELCR on a PC */
#define ICW1	  0x10

#define ICW4_AEOI 0x02
#define ICW4_SFNM 0x10

#define OCW2_EOI      0x20
#define OCW2_SPECIFIC 0x40
#define OCW2_ROTATE   0x80

#define OCW3	  0x08 /* with ICW1's bit clear */
#define OCW3_RIS  0x01
#define OCW3_RR	  0x02
#define OCW3_POLL 0x04
#define OCW3_SMM  0x20
#define OCW3_ESMM 0x40

#define POLL_REQUEST 0x80

/* Which initialisation word the next write to the data port is. */
enum init_state { WANT_ICW1, WANT_ICW2, WANT_ICW3, WANT_ICW4, READY };

struct pic {
	enum init_state state;
	uint8_t icw1;
	uint8_t base; /* vector of line 0 */
	uint8_t irr, isr, imr;
	uint8_t elcr;	/* level-triggered lines */
	uint8_t lowest; /* the line of lowest priority; the next one is the highest */
	bool aeoi, rotate_aeoi, sfnm, smm;
	bool read_isr, poll;
	int asserters[8];
};

struct vatpic {
	struct vm *vm;
	pthread_mutex_t lock;
	struct pic master, slave;
	bool intr; /* INTR as the processors and the I/O APIC know it */
};

static uint8_t bit(int line)
{
	return (uint8_t)(1u << line);
}

static int by_priority(const struct pic *pic, int n)
{
	return (pic->lowest + 1 + n) & 7;
}

/*
 * The requesting line that beats all in service, or -1.  A line in service blocks itself and those
 * below; in special mask mode a masked one does not, and in special fully nested mode the cascade
 * blocks only the lines below it: the slave may have something better meanwhile.
 */
static int eligible(const struct pic *pic, uint8_t irr)
{
	if (pic->state != READY)
		return -1;
	for (int n = 0; n < 8; n++) {
		int line = by_priority(pic, n);
		bool in_service = pic->isr & bit(line);

		if (in_service && pic->smm && pic->imr & bit(line))
			continue;
		if (in_service && !(pic->sfnm && line == CASCADE))
			return -1;
		if (irr & ~pic->imr & bit(line))
			return line;
		if (in_service)
			return -1;
	}
	return -1;
}

static int slave_request(const struct vatpic *vatpic)
{
	return eligible(&vatpic->slave, vatpic->slave.irr);
}

static uint8_t master_irr(const struct vatpic *vatpic)
{
	return vatpic->master.irr | (slave_request(vatpic) >= 0 ? bit(CASCADE) : 0);
}

static int master_request(const struct vatpic *vatpic)
{
	return eligible(&vatpic->master, master_irr(vatpic));
}

/*
 * Tells the outside about INTR. Caller holds the lock, which is outside those of the I/O APIC and
 * vcpus.
 */
static void update_output(struct vatpic *vatpic)
{
	bool intr = master_request(vatpic) >= 0;

	if (intr == vatpic->intr)
		return;
	vatpic->intr = intr;
	if (intr) {
		lapic_set_local_intr(vatpic->vm, -1, VLAPIC_LVT_LINT0);
		vioapic_assert_irq(vatpic->vm, 0);
	} else {
		vm_extint_withdraw(vatpic->vm);
		vioapic_deassert_irq(vatpic->vm, 0);
	}
}

static struct pic *line_pic(struct vatpic *vatpic, int irq)
{
	return irq < 8 ? &vatpic->master : &vatpic->slave;
}

/* Edges before initialisation are lost, the levels of lines are not. */
static void set_line(struct pic *pic, int line, int delta)
{
	bool was = pic->asserters[line] > 0, is;

	pic->asserters[line] += delta;
	is = pic->asserters[line] > 0;
	if (pic->state == READY && is && !was)
		pic->irr |= bit(line);
	if (!is && pic->elcr & bit(line))
		pic->irr &= (uint8_t)~bit(line);
}

static int change_line(struct vm *vm, int irq, bool up, bool down)
{
	struct vatpic *vatpic = vm_atpic(vm);
	struct pic *pic;

	if (irq < 0 || irq >= LINES)
		return EINVAL;
	if (irq == CASCADE)
		return 0;
	pthread_mutex_lock(&vatpic->lock);
	pic = line_pic(vatpic, irq);
	if (up)
		set_line(pic, irq & 7, 1);
	if (down)
		set_line(pic, irq & 7, -1);
	update_output(vatpic);
	pthread_mutex_unlock(&vatpic->lock);
	return 0;
}

int vatpic_assert_irq(struct vm *vm, int irq)
{
	return change_line(vm, irq, true, false);
}

int vatpic_deassert_irq(struct vm *vm, int irq)
{
	return change_line(vm, irq, false, true);
}

int vatpic_pulse_irq(struct vm *vm, int irq)
{
	return change_line(vm, irq, true, true);
}

/* The lines that can be level-triggered: not 0, 1, 2, 8 and 13. */
static uint8_t elcr_writable(const struct vatpic *vatpic, const struct pic *pic)
{
	return pic == &vatpic->master ? 0xf8 : 0xde;
}

/* A level line requests as long as it is high, whatever it was before. */
static void set_elcr(const struct vatpic *vatpic, struct pic *pic, uint8_t elcr)
{
	pic->elcr = elcr & elcr_writable(vatpic, pic);
	for (int line = 0; line < 8; line++) {
		if (!(pic->elcr & bit(line)))
			continue;
		if (pic->asserters[line] > 0 && pic->state == READY)
			pic->irr |= bit(line);
		else
			pic->irr &= (uint8_t)~bit(line);
	}
}

int vatpic_set_irq_trigger(struct vm *vm, int irq, enum vm_intr_trigger trigger)
{
	struct vatpic *vatpic = vm_atpic(vm);
	struct pic *pic;
	uint8_t mask;

	if (irq < 0 || irq >= LINES)
		return EINVAL;
	pic = line_pic(vatpic, irq);
	mask = bit(irq & 7);
	if (trigger == LEVEL_TRIGGER && !(elcr_writable(vatpic, pic) & mask))
		return EINVAL;
	pthread_mutex_lock(&vatpic->lock);
	set_elcr(vatpic, pic,
		trigger == LEVEL_TRIGGER ? pic->elcr | mask : pic->elcr & (uint8_t)~mask);
	update_output(vatpic);
	pthread_mutex_unlock(&vatpic->lock);
	return 0;
}

bool vatpic_intr_asserted(struct vm *vm)
{
	struct vatpic *vatpic = vm_atpic(vm);
	bool intr;

	if (!vatpic)
		return false;
	pthread_mutex_lock(&vatpic->lock);
	intr = vatpic->intr;
	pthread_mutex_unlock(&vatpic->lock);
	return intr;
}

void vatpic_pending_intr(struct vm *vm, int *vector)
{
	struct vatpic *vatpic = vm_atpic(vm);
	int line;

	pthread_mutex_lock(&vatpic->lock);
	line = master_request(vatpic);
	if (line == CASCADE)
		*vector = vatpic->slave.base + slave_request(vatpic);
	else
		*vector = vatpic->master.base + (line < 0 ? SPURIOUS : line);
	pthread_mutex_unlock(&vatpic->lock);
}

/* A line goes into service; without a request behind it INTA was spurious and leaves no trace. */
static void acknowledge(struct pic *pic, uint8_t irr, int line)
{
	if (!(irr & bit(line)))
		return;
	if (!(pic->elcr & bit(line)) || pic->asserters[line] <= 0)
		pic->irr &= (uint8_t)~bit(line);
	if (!pic->aeoi)
		pic->isr |= bit(line);
	else if (pic->rotate_aeoi)
		pic->lowest = (uint8_t)line;
}

void vatpic_intr_accepted(struct vm *vm, int vector)
{
	struct vatpic *vatpic = vm_atpic(vm);
	int line = vector & 7;

	pthread_mutex_lock(&vatpic->lock);
	if ((vector & ~7) == vatpic->slave.base && vatpic->slave.base != vatpic->master.base) {
		/* The master has seen its cascade, even if the slave's request has gone since. */
		acknowledge(&vatpic->master, bit(CASCADE), CASCADE);
		acknowledge(&vatpic->slave, vatpic->slave.irr, line);
	} else {
		acknowledge(&vatpic->master, vatpic->master.irr, line);
	}
	/* INTR drops with INTA, and rises again if there is more. */
	if (vatpic->intr) {
		vatpic->intr = false;
		vioapic_deassert_irq(vm, 0);
	}
	update_output(vatpic);
	pthread_mutex_unlock(&vatpic->lock);
}

/* Clears what the data sheet says; levels request again once it is ready. */
static void write_icw1(struct pic *pic, uint8_t val)
{
	pic->icw1 = val;
	pic->state = WANT_ICW2;
	pic->irr = pic->isr = pic->imr = 0;
	pic->lowest = 7;
	pic->aeoi = pic->rotate_aeoi = pic->sfnm = pic->smm = false;
	pic->read_isr = pic->poll = false;
}

static void ready(struct pic *pic)
{
	pic->state = READY;
	for (int line = 0; line < 8; line++) {
		if (pic->elcr & bit(line) && pic->asserters[line] > 0)
			pic->irr |= bit(line);
	}
}

/*
 * After ICW2 come those of ICW3 and ICW4 that ICW1 announced. The slave's line is wired: ICW3 is
 * not kept.
 */
static void next_icw(struct pic *pic)
{
	if (pic->state == WANT_ICW2 && !(pic->icw1 & ICW1_SNGL))
		pic->state = WANT_ICW3;
	else if (pic->state != WANT_ICW4 && pic->icw1 & ICW1_IC4)
		pic->state = WANT_ICW4;
	else
		ready(pic);
}

/* ICW4's 8086 mode is the only one a PC can use, so it is assumed. */
static void write_data(struct vatpic *vatpic, struct pic *pic, uint8_t val)
{
	switch (pic->state) {
	case WANT_ICW2:
		pic->base = val & 0xf8;
		next_icw(pic);
		break;
	case WANT_ICW3:
		next_icw(pic);
		break;
	case WANT_ICW4:
		pic->aeoi = val & ICW4_AEOI;
		pic->sfnm = val & ICW4_SFNM && pic == &vatpic->master;
		next_icw(pic);
		break;
	default:
		pic->imr = val;
		break;
	}
}

/* The best line in service, which a non-specific EOI ends; -1: none. */
static int highest_in_service(const struct pic *pic)
{
	for (int n = 0; n < 8; n++) {
		int line = by_priority(pic, n);

		if (pic->isr & bit(line) && !(pic->smm && pic->imr & bit(line)))
			return line;
	}
	return -1;
}

static void write_ocw2(struct pic *pic, uint8_t val)
{
	int line = val & OCW2_SPECIFIC ? val & 7 : highest_in_service(pic);

	if (!(val & OCW2_EOI)) {
		if (val & OCW2_SPECIFIC) {
			if (val & OCW2_ROTATE) /* else a no-operation */
				pic->lowest = val & 7;
		} else {
			pic->rotate_aeoi = val & OCW2_ROTATE;
		}
		return;
	}
	if (line < 0)
		return;
	pic->isr &= (uint8_t)~bit(line);
	if (val & OCW2_ROTATE)
		pic->lowest = (uint8_t)line;
}

static void write_ocw3(struct pic *pic, uint8_t val)
{
	if (val & OCW3_ESMM)
		pic->smm = val & OCW3_SMM;
	if (val & OCW3_POLL)
		pic->poll = true;
	else if (val & OCW3_RR)
		pic->read_isr = val & OCW3_RIS;
}

static void write_command(struct pic *pic, uint8_t val)
{
	if (val & ICW1)
		write_icw1(pic, val);
	else if (pic->state != READY)
		return;
	else if (val & OCW3)
		write_ocw3(pic, val);
	else
		write_ocw2(pic, val);
}

/* The read after a poll command takes the place of INTA. */
static uint8_t read_poll(struct vatpic *vatpic, struct pic *pic)
{
	uint8_t irr = pic == &vatpic->master ? master_irr(vatpic) : pic->irr;
	int line = eligible(pic, irr);

	pic->poll = false;
	if (line < 0)
		return 0;
	acknowledge(pic, irr, line);
	return (uint8_t)(POLL_REQUEST | line);
}

static uint8_t read_port(struct vatpic *vatpic, struct pic *pic, bool data)
{
	if (pic->poll)
		return read_poll(vatpic, pic);
	if (data)
		return pic->imr;
	if (pic->read_isr)
		return pic->isr;
	return pic == &vatpic->master ? master_irr(vatpic) : pic->irr;
}

static int handler(struct vm *vm, struct pic *pic, bool in, bool data, int bytes, uint32_t *val)
{
	struct vatpic *vatpic = vm_atpic(vm);

	if (bytes != 1) {
		*val = port_floating(bytes);
		return 0;
	}
	pthread_mutex_lock(&vatpic->lock);
	if (in)
		*val = read_port(vatpic, pic, data);
	else if (data)
		write_data(vatpic, pic, (uint8_t)*val);
	else
		write_command(pic, (uint8_t)*val);
	update_output(vatpic);
	pthread_mutex_unlock(&vatpic->lock);
	return 0;
}

int vatpic_master_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	(void)vcpuid;
	return handler(vm, &vm_atpic(vm)->master, in, port & 1, bytes, val);
}

int vatpic_slave_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	(void)vcpuid;
	return handler(vm, &vm_atpic(vm)->slave, in, port & 1, bytes, val);
}

int vatpic_elc_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	struct vatpic *vatpic = vm_atpic(vm);
	struct pic *pic = port == PC_ELCR_PORT ? &vatpic->master : &vatpic->slave;

	(void)vcpuid;
	if (bytes != 1) {
		*val = port_floating(bytes);
		return 0;
	}
	pthread_mutex_lock(&vatpic->lock);
	if (in)
		*val = pic->elcr;
	else
		set_elcr(vatpic, pic, (uint8_t)*val);
	update_output(vatpic);
	pthread_mutex_unlock(&vatpic->lock);
	return 0;
}

struct vatpic *vatpic_init(struct vm *vm)
{
	struct vatpic *vatpic = calloc(1, sizeof(*vatpic));

	if (!vatpic)
		return NULL;
	vatpic->vm = vm;
	pthread_mutex_init(&vatpic->lock, NULL);
	vatpic->master.lowest = vatpic->slave.lowest = 7;
	return vatpic;
}

void vatpic_cleanup(struct vatpic *vatpic)
{
	if (!vatpic)
		return;
	pthread_mutex_destroy(&vatpic->lock);
	free(vatpic);
}
