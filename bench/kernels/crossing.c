/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A loop that lies in two pages: in "cross" an instruction ends with the first page, in "straddle"
 * one has a part in each.  Some hot loop of a program always is like that, where the linker happens
 * to put it.
 */
#include "bench/kernels/kernel.h"

#define LOOP_STEPS 8192

uint64_t cross_loop(uint64_t n);
uint64_t straddle_loop(uint64_t n);

/* The page ends `offset` bytes after the function's first. */
#define LOOP_AT(name, offset)                                                                      \
	".balign 4096\n.skip 4096 - " #offset "\n.type " #name ", @function\n" #name ":\n"         \
	"xorl %eax, %eax\n"	     /* 2 bytes */                                                 \
	"1: addq %rdi, %rax\n"	     /* 3 */                                                       \
	"rolq $5, %rax\n"	     /* 4 */                                                       \
	"leaq 1(%rax, %rdi), %rax\n" /* 5 */                                                       \
	"decq %rdi\n"                                                                              \
	"jnz 1b\n"                                                                                 \
	"ret\n"
__asm__(".pushsection .text\n" LOOP_AT(cross_loop, 9) LOOP_AT(straddle_loop, 12) ".popsection\n");

static uint64_t cross_unit(void *state)
{
	(void)state;
	return cross_loop(LOOP_STEPS);
}

static uint64_t straddle_unit(void *state)
{
	(void)state;
	return straddle_loop(LOOP_STEPS);
}

static const struct kernel kernels[] = {
	{.name = "cross", .checksum = 0x84210842108641f, .unit = cross_unit},
	{.name = "straddle", .checksum = 0x84210842108641f, .unit = straddle_unit},
};

const struct kernel_class class_layout = {
	.name = "layout",
	.kernels = kernels,
	.count = sizeof(kernels) / sizeof(kernels[0]),
};
