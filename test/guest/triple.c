/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A triple fault: the image says that it is done, and the machine has to end after that.  32 bits: an
 * empty IDT.  64 bits (triple64.c): a stack for the double fault that is not there.
 */
#include "kit.h"

void image_main(void)
{
	struct table_reg none = { .limit = 0, .base = 0 };

	check_true("triple.reached", true);
	finish_line();
#ifdef __x86_64__
	*(uint64_t *)(tss + 36) = 0x0000700000000000; /* IST1: not mapped */
	__asm__ volatile("ud2" : : "m"(none));
#else
	__asm__ volatile("lidt %0; ud2" : : "m"(none));
#endif
	for (;;)
		outb(0xe9, '!');
}
