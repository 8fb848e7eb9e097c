/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The door of machine/: a PC assembled from a configuration, run to its end.  For cmd/ and tests.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/vmm.h>

/* One line for the user: what is wrong, which file or setting, what to do. */
struct machine_error {
	char text[256];
};

/* Fills *error and returns `code`. */
int machine_error(struct machine_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- Configuration: bhyve_config(5)'s flat tree of key=value ---- */

struct config;

int config_create(struct config **config) VMM_MUST_CHECK;
void config_destroy(struct config *config);
/* Later settings win. EINVAL: no well-formed key; ENOMEM. Both strings are copied. */
int config_set(struct config *config, const char *key, const char *value) VMM_MUST_CHECK;
/* "key=value". EINVAL, with a line in *error. */
int config_parse(
	struct config *config, const char *text, struct machine_error *error) VMM_MUST_CHECK;
/* Settings of a file, one a line, # for comments. Errors, later ones of a value too, name file and line. */
int config_load(
	struct config *config, const char *path, struct machine_error *error) VMM_MUST_CHECK;
/*
 * Does hyve know this key? Unknown ones in files are bhyve's business, on the command line a typo.
 */
bool config_is_known(const char *key);
/* The index-th key that it knows, or a pattern (fnmatch(3)) for several. False: there are fewer. */
bool config_known(size_t index, char *pattern, size_t size);
/* Expands %(key) and %% in all values; to be called once, when all is set. */
int config_expand(struct config *config, struct machine_error *error) VMM_MUST_CHECK;
/* NULL: not set. Borrowed until the next config_set of the same key. */
const char *config_get(const struct config *config, const char *key);
/* true, on, yes, 1 and false, off, no, 0; `normal` if not set. EINVAL. */
int config_bool(const struct config *config, const char *key, bool normal, bool *value,
	struct machine_error *error) VMM_MUST_CHECK;
/* A whole number from `low` to `high`. EINVAL. */
int config_number(const struct config *config, const char *key, unsigned normal, unsigned low,
	unsigned high, unsigned *value, struct machine_error *error) VMM_MUST_CHECK;
/* EINVAL, and in *error "key=value: " with the reason, and the option that sets the key. */
int config_bad(const struct config *config, const char *key, struct machine_error *error,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The index-th setting in order of keys; false past the end. */
bool config_at(const struct config *config, size_t index, const char **key, const char **value);

/*
 * A size as bhyve's -m takes it: a plain number below 1 MiB counts megabytes; K, M, G, T. EINVAL.
 */
int memory_size_parse(const char *text, uint64_t *bytes) VMM_MUST_CHECK;

/* ---- The machine ---- */

struct machine;

/*
 * Builds the PC that the configuration describes, its kernel loaded, ready to run.  0, or an errno
 * and a line in *error; then nothing is left behind.  The configuration stays the caller's.
 */
int machine_create(const struct config *config, struct machine **machine,
	struct machine_error *error) VMM_MUST_CHECK;
/* Runs until the guest ends. 0: *how says why; else an errno and a line in *error. Once. */
int machine_run(struct machine *machine, enum vm_suspend_how *how,
	struct machine_error *error) VMM_MUST_CHECK;
/*
 * After machine_run: did the guest end it by the debug exit port (lpc.pc-testdev), and with which
 * exit status?
 */
bool machine_exit_status(struct machine *machine, int *status);
/* Frees all; terminals are restored. NULL is allowed. Not while machine_run runs. */
void machine_destroy(struct machine *machine);

/* The ACPI power button. Any thread, while the machine exists. */
void machine_power_button(struct machine *machine);
/*
 * A key of the keyboard goes down or up (KEY_... of linux/input-event-codes.h); the mouse moves right
 * and down, its wheel away from the user, with these buttons down (bit 0 left, 1 right, 2 middle).
 * Without lpc.ps2 nothing happens.  Any thread, while the machine exists.
 */
void machine_key(struct machine *machine, unsigned key, bool down);
void machine_mouse(struct machine *machine, int dx, int dy, int wheel, unsigned buttons);
/* Ends machine_run soon, with `how`, whatever the guest does. Any thread. */
void machine_stop(struct machine *machine, enum vm_suspend_how how);
/* Ends machine_run soon with ECONNABORTED and this line, whatever the guest does. Any thread. */
void machine_abort(struct machine *machine, const char *why);

/*
 * Takes all vcpus out of the guest and holds them: their registers can be read and set by vmmdev_*
 * meanwhile.  Devices, timers and clocks go on.  Calls add up, each wants its machine_thaw().
 * ETIMEDOUT: not within that time; ESHUTDOWN: the machine ends. Any thread but a vcpu's, no locks.
 */
int machine_freeze(struct machine *machine, unsigned limit_ms) VMM_MUST_CHECK;
void machine_thaw(struct machine *machine);
/* The same for the user, who pauses at most once: EALREADY otherwise. */
int machine_pause(struct machine *machine, unsigned limit_ms) VMM_MUST_CHECK;
int machine_resume(struct machine *machine) VMM_MUST_CHECK;
/* Where the vcpu goes on, which VM_REG_GUEST_RIP alone does not say. Frozen. EINVAL: vcpu. */
int machine_set_rip(struct machine *machine, int vcpu, uint64_t rip) VMM_MUST_CHECK;

enum machine_state { MACHINE_RUNNING, MACHINE_PAUSED, MACHINE_STOPPING };

struct machine_facts {
	const char *name, *backend; /* borrowed */
	enum machine_state state;
	unsigned ncpus;
	uint64_t memory;    /* bytes, of which... */
	uint64_t low, high; /* ...below and above the PCI hole */
	uint64_t uptime_ns; /* since machine_create, pauses included */
};
/* Any thread. */
void machine_facts(struct machine *machine, struct machine_facts *facts);
/* What devices count, one after the other; names are borrowed. Any thread. */
typedef void (*machine_counter_t)(
	void *arg, const char *device, const char *name, uint64_t value);
void machine_device_counters(struct machine *machine, machine_counter_t emit, void *arg);

/* The VM inside, borrowed. */
struct vm *machine_vm(struct machine *machine);
/* The event loop that devices share; for signals. */
struct event_loop *machine_loop(struct machine *machine);

/*
 * The index-th backend: does it work here, and would "auto" take it if it is asked?  Who does not or would not
 * has a line in `why`.  Guests may run for some milliseconds to find out.
 */
struct machine_backend {
	const char *name;
	bool works, automatic;
	char why[200];
};
bool machine_backend(unsigned index, struct machine_backend *b);

#endif
