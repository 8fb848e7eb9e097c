/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What the host CPU and an engine both see while they execute one instruction: 64-bit user mode,
 * one page of code, three pages of data between two that are missing, the same linear addresses on
 * both sides.
 */
#ifndef TEST_DIFFERENTIAL_WORLD_H
#define TEST_DIFFERENTIAL_WORLD_H

#include "x86/x86.h"

#define DIFF_CODE      0x20000000u /* one page, all HLT but for the instruction */
#define DIFF_RIP       (DIFF_CODE + 0x800u)
#define DIFF_DATA      0x21000000u
#define DIFF_WRITABLE  0x2000u /* two pages */
#define DIFF_DATA_SIZE 0x3000u /* and a read-only one */

#define DIFF_NO_FAULT (-1)

/* Everything that an instruction can see or change, memory apart.  Offsets are known to host_run.S.
 */
struct diff_state {
	uint64_t gpr[16];
	uint64_t rflags;
	uint64_t rip;
	uint64_t reserved[6];
	uint8_t fpu[X86_XSAVE_SIZE] __attribute__((aligned(64)));
	int vector; /* DIFF_NO_FAULT: completed, rip behind it */
	uint32_t error;
	uint64_t cr2;
};

/* One way to execute instructions that is to be compared with the host. */
struct diff_engine {
	const char *name;
	/*
	 * Not exact about an instruction that faults: of two exceptions it may report the other
	 * one, flags that the instruction would have overwritten may be gone, and a push may be
	 * there already.
	 */
	bool loose;
	/* NULL if it cannot be had here. */
	void *(*open)(void);
	void (*close)(void *ctx);
	uint8_t *(*data)(void *ctx); /* its DIFF_DATA_SIZE bytes at DIFF_DATA */
	/* Code for DIFF_RIP.  `branch`: execution may go on anywhere, not only behind it. */
	void (*load)(void *ctx, const uint8_t *code, unsigned len, bool branch);
	void (*run)(void *ctx, struct diff_state *state); /* in: registers; out: everything */
};

extern const struct diff_engine diff_execute; /* x86_execute() */
extern const struct diff_engine diff_soft;    /* vmm_ops_soft */

/* ---- the host itself (host.c) ---- */
int host_open(void); /* errno */
void host_close(void);
uint8_t *host_data(void);
void host_load(const uint8_t *code, unsigned len, bool branch);
void host_run(struct diff_state *state);

#endif
