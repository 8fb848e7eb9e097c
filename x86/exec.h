/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Native execution of one rewritten instruction.  For the files of x86/ only. */
#ifndef X86_EXEC_H
#define X86_EXEC_H

#include "x86/bytes.h"
#include "x86/cpu.h"

/* Registers around the instruction.  Offsets are known to exec_stub.S; gpr[X86_RSP] is not used. */
struct x86_exec_frame {
	uint64_t gpr[16];
	uint64_t flags; /* X86_FL_STATUS | X86_FL_DF */
	const void *code;
};

#define X86_EXEC_NO_FAULT (-1)

/*
 * Executes `len` bytes, one instruction that touches neither RSP nor the instruction pointer, with
 * the registers of `frame`, which is updated.  Vector and x87 registers are the host's own. Returns
 * the vector of the exception that the host took, with `frame` unchanged, or X86_EXEC_NO_FAULT.
 */
int x86_exec_run(
	struct x86_exec *exec, const uint8_t *bytes, unsigned len, struct x86_exec_frame *frame);

/* exec_stub.S: runs frame->code; true if it came back through x86_exec_faulted. */
bool x86_exec_enter(struct x86_exec_frame *frame);
void x86_exec_faulted(void);
/* Makes code that was just written through another mapping visible to the instruction fetch. */
void x86_exec_serialize(void);

/*
 * The host's x87, SSE and AVX registers in an XSAVE image aligned to 64 bytes.  The 64-bit forms
 * keep all of FIP and FDP; XSAVE writes the header's first word only.
 */
static inline void x86_vectors_save(uint8_t image[static X86_XSAVE_SIZE])
{
	x86_bytes_zero(image + 512, 64);
	__asm__ volatile("xsave64 (%0)" : : "r"(image), "a"(X86_XCR0_SUPPORTED), "d"(0) : "memory");
}

static inline void x86_vectors_load(const uint8_t image[static X86_XSAVE_SIZE])
{
	__asm__ volatile("xrstor64 (%0)"
			 :
			 : "r"(image), "a"(X86_XCR0_SUPPORTED), "d"(0)
			 : "memory");
}

#endif
