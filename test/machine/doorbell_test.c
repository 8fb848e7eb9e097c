/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A doorbell of a virtio device costs no memory, and takes no lock but those of its own device:
 * what two devices' doorbells lock has nothing in common.  The linker's --wrap lets us count calls
 * of allocators and locks while the guest says that it rings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <vmm/vmm_dev.h>

#include "machine/machine.h"
#include "test/machine/doorbell.h"

enum { PHASES = 5, LOCKS = 64 };

static const volatile uint32_t *_Atomic words; /* of the guest */
static atomic_uint allocations[PHASES], locked[PHASES];
static _Atomic(const void *) locks[PHASES][LOCKS]; /* each once */

static unsigned phase(void)
{
	const volatile uint32_t *at = words;

	return at && *at < PHASES ? *at : 0;
}

static void on_lock(const void *lock)
{
	unsigned p = phase();

	if (p == 0)
		return;
	locked[p]++;
	for (unsigned i = 0; i < LOCKS; i++) {
		const void *nobody = NULL;

		if (atomic_compare_exchange_strong(&locks[p][i], &nobody, lock) || nobody == lock)
			return;
	}
}

#define WRAP_ALLOCATOR(result, name, parameters, ...)                                              \
	result __real_##name parameters;                                                           \
	result __wrap_##name parameters;                                                           \
	result __wrap_##name parameters                                                            \
	{                                                                                          \
		allocations[phase()]++;                                                            \
		return __real_##name(__VA_ARGS__);                                                 \
	}
#define WRAP_LOCK(name, type)                                                                      \
	int __real_##name(type *lock);                                                             \
	int __wrap_##name(type *lock);                                                             \
	int __wrap_##name(type *lock)                                                              \
	{                                                                                          \
		on_lock(lock);                                                                     \
		return __real_##name(lock);                                                        \
	}

WRAP_ALLOCATOR(void *, malloc, (size_t n), n)
WRAP_ALLOCATOR(void *, calloc, (size_t n, size_t size), n, size)
WRAP_ALLOCATOR(void *, realloc, (void *at, size_t n), at, n)
WRAP_ALLOCATOR(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t offset), at, n,
	prot, flags, fd, offset)
WRAP_LOCK(pthread_mutex_lock, pthread_mutex_t)
WRAP_LOCK(pthread_mutex_trylock, pthread_mutex_t)
WRAP_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
WRAP_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)

static void set(struct config *config, const char *key, const char *value)
{
	assert_int_equal(config_set(config, key, value), 0);
}

static void a_thousand_doorbells(void **state)
{
	const char *build = getenv("BUILD");
	char path[512], key[32];
	struct machine_error error;
	enum vm_suspend_how how;
	struct config *config;
	struct machine *m;

	(void)state;
	snprintf(path, sizeof(path), "%s/test/machine/doorbell", build ? build : "build");
	assert_int_equal(config_create(&config), 0);
	set(config, "name", "doorbell");
	set(config, "memory.size", "16M");
	set(config, "backend", "soft");
	set(config, "kernel.path", path);
	for (unsigned slot = 3; slot <= 6; slot++) {
		snprintf(key, sizeof(key), "pci.0.%u.0.device", slot);
		set(config, key, "virtio-rnd");
	}
	if (machine_create(config, &m, &error) != 0)
		fail_msg("%s", error.text);
	volatile uint32_t *ram = vmmdev_map_gpa(machine_vm(m), DOORBELL_PHASE, 8);

	assert_non_null((void *)ram);
	words = ram;
	int code = machine_run(m, &how, &error);

	if (code)
		fail_msg("%s", error.text);
	words = NULL;
	assert_int_equal(how, VM_SUSPEND_POWEROFF);
	assert_int_equal(ram[1], 1);
	machine_destroy(m);
	config_destroy(config);

	for (unsigned p = 1; p < PHASES; p++) {
		assert_int_equal(allocations[p], 0);
		/* Those of its own: the doorbells do reach a device. */
		assert_in_range(locked[p], 1000, 10000);
		assert_null(locks[p][LOCKS - 1]);
	}
	for (unsigned p = 1; p < PHASES; p += 2)
		for (unsigned i = 0; i < LOCKS && locks[p][i]; i++)
			for (unsigned j = 0; j < LOCKS && locks[p + 1][j]; j++)
				if (locks[p][i] == locks[p + 1][j])
					fail_msg("%p is locked for both devices", locks[p][i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_thousand_doorbells)};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
