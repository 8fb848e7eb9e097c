/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The insides of lock-step, shared by reference.c and check.c: a block as its instructions are
 * executed one by one, the log that undoes them, and both ends as they are compared.
 */
#ifndef BACKEND_SOFT_REFERENCE_H
#define BACKEND_SOFT_REFERENCE_H

#include "backend/soft/check.h"
#include "backend/soft/soft.h"

#define CHECK_STORES 1024u
#define CHECK_MARKS  64u
#define CHECK_DATA   (256u << 10)
#define CHECK_WINDOW 64u /* what lies around a store is compared, too: it may have been too wide   \
			  */

/* A store of the reference.  Copies of the aligned lines around it are at `data`. */
struct check_store {
	uint8_t *hva;
	uint32_t len;
	uint32_t data;
};

/* Accessed and dirty bits that it sets in a page table entry: undone, not compared. */
struct check_mark {
	uint8_t *hva;
	uint32_t len;
	unsigned at; /* stores before it */
	uint64_t before, gotten;
};

struct check_state {
	uint8_t cpu[offsetof(struct x86_cpu, cpuid)];
	uint8_t fpu[X86_XSAVE_SIZE] __attribute__((aligned(64)));
};

/* How a run of the block ended. */
struct check_end {
	enum x86_result result;
	unsigned insns;
	bool redo;  /* the next instruction follows without a look at events */
	bool early; /* translated code came back before the end of the block */
	struct check_state state;
};

struct soft_check {
	/* the block: it may be gone when it has run */
	uint64_t rip;
	uint32_t mode;
	unsigned n;
	uint16_t offset[SOFT_CHECK_INSNS + 1];

	struct check_state start;
	struct check_end want, got;
	uint64_t path[SOFT_CHECK_INSNS + 1]; /* rips of the reference */
	bool string[SOFT_CHECK_INSNS];
	bool record; /* instructions into mismatch.insn[] */
	bool unrepeatable, too_big;

	unsigned nstores;
	struct check_store store[CHECK_STORES];
	unsigned nmarks;
	struct check_mark mark[CHECK_MARKS];
	bool unmarked; /* the reference sets no marks */
	uint32_t used;
	uint8_t before[CHECK_DATA], wanted[CHECK_DATA], gotten[CHECK_DATA];
	/* the log as it was when translated code ran: what `gotten` belongs to */
	bool kept;
	unsigned ndone, nmarked;
	struct check_store done[CHECK_STORES];
	struct check_mark marked[CHECK_MARKS];

	struct soft_check_stats stats;
	struct soft_mismatch mismatch;
};

/* Where the copies around a store begin, and how long they are. */
static inline uint8_t *soft_store_window(const struct check_store *s, uint32_t *len)
{
	uintptr_t lo = (uintptr_t)s->hva & ~(uintptr_t)(CHECK_WINDOW - 1);
	uintptr_t hi =
		((uintptr_t)s->hva + s->len + CHECK_WINDOW - 1) & ~(uintptr_t)(CHECK_WINDOW - 1);

	*len = (uint32_t)(hi - lo);
	return (uint8_t *)lo;
}

void soft_state_save(struct soft_vcpu *v, struct check_state *to);
void soft_state_restore(struct soft_vcpu *v, const struct check_state *from);
/* From `start` along the block, `limit` instructions at most, to `want`. All is put back. */
void soft_reference_run(struct soft_vcpu *v, unsigned limit);
/* The same when translated code has run: what that left in memory can be had back. */
void soft_reference_again(struct soft_vcpu *v, unsigned limit);
/* Back to where translated code left us, behind soft_reference_again(). */
void soft_reference_leave(struct soft_vcpu *v);
/* The windows of the log, as memory is now. */
void soft_reference_copy(const struct soft_check *c, uint8_t *to);
/* Memory as it was before the block. */
void soft_reference_undo(const struct soft_check *c);
/*
 * Status flags that the code at `rip` overwrites before anything can see them: translated code may
 * leave them as they come there.
 */
unsigned soft_reference_dead_flags(struct soft_vcpu *v, uint64_t rip);

#endif
