/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A small machine for tests that execute single instructions: 2 MiB of RAM, identity-mapped in 4
 * KiB pages whose permissions a test may change, and a device page that logs what reaches it.
 */
#ifndef TEST_X86_STEP_GUEST_H
#define TEST_X86_STEP_GUEST_H

#include "x86/x86.h"

#define GUEST_RAM      0x200000u
#define GUEST_CODE     0x1000u
#define GUEST_STACK    0x8000u	 /* initial RSP; the pages around it are free */
#define GUEST_DATA     0x20000u	 /* nothing lives from here to 0x1e0000 */
#define GUEST_MMIO     0x1e0000u /* device page, and the one behind it */
#define GUEST_MMIO_GPA 0xfe000000ull
#define GUEST_FENCE    0x1d0000u /* not present */
#define GUEST_READONLY 0x1c0000u

#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u

enum guest_mode { GUEST_REAL16, GUEST_PROT16, GUEST_PROT32, GUEST_COMPAT32, GUEST_LONG64 };

struct guest {
	struct x86_cpu cpu;
	struct x86_insn insn; /* the last one executed */
	uint8_t *ram;
	enum guest_mode mode;
	uint64_t device[1024]; /* contents of the two device pages */
	unsigned device_reads, device_writes;
	bool device_exits;   /* the device asks for an exit instead of answering */
	unsigned polls_left; /* until x86_ops.poll says stop; 0: never */
};

struct guest *guest_create(enum guest_mode mode, unsigned cpl);
void guest_destroy(struct guest *g);
/* Permissions of one page: PTE_*, 0 for not present.  Paged modes only. */
void guest_protect(struct guest *g, uint64_t gla, unsigned pte);
/* Puts code at GUEST_CODE and rip in front of it. */
void guest_code(struct guest *g, const uint8_t *code, unsigned len);
/* Fetches and executes one instruction, guest vector state in the host's registers meanwhile. */
enum x86_result guest_step(struct guest *g);

#define GUEST_RUN(g, ...)                                                                          \
	(guest_code((g), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})),  \
		guest_step(g))

#endif
