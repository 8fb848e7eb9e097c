/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A guest in which every canonical address leads somewhere: each level of its page tables has one table,
 * whose entries all point to the one below, and the lowest one chooses among a few pages of RAM.  Random
 * code can run there for a while: faults come to handlers that cannot be overwritten.
 */
#ifndef TEST_BACKEND_SOFT_WORLD_H
#define TEST_BACKEND_SOFT_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include <vmm/vmm.h>

#include "test/x86/encodings.h"
#include "x86/x86.h"

#define WORLD_RAM     (2u << 20)
#define WORLD_USED    0x20000u /* bytes of RAM that anything happens in */
#define WORLD_TABLES  0x5000u  /* the first ones are page tables */
#define WORLD_CODE_PA 0x10000u
#define WORLD_CODE    0x500000u	 /* linear; two pages */
#define WORLD_HANDLER 0x1f2000u	 /* linear: 16 bytes a vector, each an OUT to WORLD_PORT */
#define WORLD_PORT    0xe8

enum world_mode { WORLD_64_CPL0, WORLD_64_CPL3, WORLD_32_CPL1, WORLD_32_CPL3, WORLD_MODES };

struct world {
	enum world_mode mode;
	struct x86_cpu cpu; /* `ops`, `owner` and `exec` are not used */
	uint8_t ram[WORLD_USED];
};

static inline bool world_is_64(enum world_mode mode)
{
	return mode <= WORLD_64_CPL3;
}

/* A VM with one vcpu, frozen. */
struct vm *world_vm(struct vmm_ops *ops, uint8_t **ram);
/* Everything at random but the code; `cpu` is where a CPU's constant parts are taken from. */
void world_make(struct world *w, enum world_mode mode, const struct x86_cpu *cpu, struct rng *rng);
/* A linear address: of data mostly, often at the end of a page, sometimes of the code. */
uint64_t world_pointer(struct rng *rng, enum world_mode mode);
/* Which page from WORLD_CODE_PA on is at this linear address; handlers and such count as none: 31. */
unsigned world_page(const uint8_t *ram, enum world_mode mode, uint64_t gla);
uint64_t rng_next64(struct rng *rng);

#endif
