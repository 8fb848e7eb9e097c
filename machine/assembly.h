/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The machine's insides, shared by the files of machine/.
 *
 * Threads: one per vcpu runs the guest and serves its exits; the event loop's serves devices; the
 * one in machine_run waits for them.  machine->lock guards how the machine ends and the vcpu
 * threads' hand-over; it is innermost: nothing is called with it held.
 */
#ifndef MACHINE_ASSEMBLY_H
#define MACHINE_ASSEMBLY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

#include "device/device.h"
#include "machine/boot/boot.h"
#include "machine/bus.h"
#include "machine/firmware/firmware.h"
#include "machine/machine.h"
#include "machine/ram.h"

/* The configuration, checked and typed. Strings are borrowed from it. */
struct settings {
	const char *name, *backend, *kernel, *initrd, *cmdline, *rom, *image;
	unsigned ncpus, sockets, cores, threads;
	uint64_t memory; /* bytes */
	bool acpi, mptable, x2apic, strict_io, strict_msr, exit_on_pause, localtime, guest_in_core;
};

/* Are all keys of PCI devices known to the device that stands there? EINVAL. */
int pci_settings_check(const struct config *config, struct machine_error *error);
int settings_read(const struct config *config, struct settings *s, struct machine_error *error);

enum { MACHINE_DEVICES_MAX = 16 };

struct machine_device {
	const struct device_model *model;
	const struct device_unit *unit;
	void *dev;
	unsigned nclaimed; /* of unit->res, from the front */
};

struct machine_vcpu {
	struct machine *machine;
	int id;
	pthread_t thread;
	bool started;
	uint64_t rip; /* where the thread begins, or after `hold` goes on */
	bool hold;    /* somebody resets this vcpu: its thread waits before it runs again */
	bool moved;   /* rip was set anew */
	bool entered; /* its thread has had a rip of its own */
	_Atomic bool summoned; /* one of the two is set, or the machine is frozen */
};

/* What models hold asserted: chips that begin anew after a sleep are told again. */
struct machine_lines {
	pthread_mutex_t lock; /* also around telling the chips */
	uint32_t asserted, level;
};

struct machine {
	struct guest guest; /* first: device models get a pointer to it */
	const struct config *config;
	struct settings settings;
	struct vm *vm;
	struct ram ram;
	struct bus *bus;
	struct boot_entry entry;
	struct machine_device devices[MACHINE_DEVICES_MAX];
	unsigned ndevices;
	struct machine_lines lines;
	struct event_timer *alarm; /* brings the RTC's alarm to the models */
	struct e820_entry e820[E820_MAX]; /* for guest.facts */
	struct machine_vcpu vcpus[VM_MAXCPU];
	uint64_t born_ns; /* of the monotonic clock */

	pthread_mutex_t
		lock; /* guards what follows, and hold, moved, rip and started of the vcpus */
	pthread_cond_t changed;
	unsigned running; /* vcpu threads */
	unsigned parked;  /* of them: wait in vcpu_await_thaw() */
	unsigned freezers;
	bool paused;   /* one of the freezers is machine_pause */
	bool stopping; /* the machine ends: nobody holds it up any more, no new vcpu is started */
	bool asleep;   /* the guest wants to sleep, or does */
	bool woken;    /* asleep no longer, once all vcpus have stopped */
	enum vm_suspend_how ended_asleep; /* how, or VM_SUSPEND_NONE */
	enum vm_suspend_how how;
	int status;  /* with which the guest wants the command to exit; -1: no wish */
	int failure; /* errno of the first thing that went wrong; 0: none */
	struct machine_error why;
};

extern const struct guest_ops machine_guest_ops;

/* Keeps the first failure, and stops the VM. Any thread. */
void machine_fail(struct machine *machine, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Makes what machine->lock guards; the rest of machine/pause.c needs it. */
void pause_init(struct machine *machine);
/* The VM is suspended: frozen vcpus go on, to their end. */
void pause_end(struct machine *machine);
/* The vcpu's thread waits while it is held or the machine frozen. machine->lock is held. */
void vcpu_await_thaw(struct machine_vcpu *v);

/* Registers, capabilities and thread of vcpu 0, from machine->entry. 0 or an errno. */
int vcpu_start_boot(struct machine *machine);
/* The same after a sleep, from where the guest has told firmware. */
int vcpu_start_woken(struct machine *machine);
/* The same for one that a startup IPI starts in real mode at `base`, or starts anew. */
int vcpu_start_ap(struct machine *machine, int id, uint64_t base);

/* Registers of the boot processor; *rip is where it starts. 0 or an errno. */
int vcpu_load_entry(struct vm *vm, int vcpu, const struct boot_entry *entry, uint64_t *rip);
/* Registers after a startup IPI or a sleep; it starts at `rip` of the segment at `base`. */
int vcpu_load_startup(struct vm *vm, int vcpu, uint64_t base, uint64_t rip);

/* guest.c: tells new chips of the lines. */
void machine_lines_again(struct machine *machine);

/* What new chips and vcpus need to be told; no vcpu runs. 0 or an errno. */
int machine_set_up_vcpus(struct machine *machine);
/* sleep.c.  The guest sleeps, on its vcpu's thread; and wakes, or it ends as it slept, any thread. */
void machine_sleep(struct machine *machine);
void machine_wake(struct machine *machine);
bool machine_end_asleep(struct machine *machine, enum vm_suspend_how how);
/* For machine_create and machine_run. */
int sleep_create(struct machine *machine);
void sleep_destroy(struct machine *machine);
/* All vcpus have stopped. Waits, if it is for a sleep; false: it is the end. */
bool sleep_until_woken(struct machine *machine);
/* Everything but memory and models begins anew. */
int sleep_wake(struct machine *machine);

enum exit_next {
	EXIT_CONTINUE, /* at exit->rip + exit->inst_length */
	EXIT_RESTART,  /* at exit->rip */
	EXIT_ABORT,    /* machine_fail was called */
	EXIT_SUSPENDED,
};

/* Does what the exit asks for. On the vcpu's thread. */
enum exit_next vcpu_handle_exit(struct machine_vcpu *v, struct vm_exit *exit);
/* Lets vm_run ask the bus itself, where the backend can: most accesses are no exits then. */
int exit_serve_inside(struct machine *m);

#endif
