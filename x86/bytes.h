/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Copies without vector registers, which libc's memcpy would use.  One aligned word of 2, 4 or 8
 * bytes is moved in one access, as a guest on another processor expects.  For the files of x86/
 * only.
 */
#ifndef X86_BYTES_H
#define X86_BYTES_H

#include <stdint.h>

static inline void x86_bytes_copy(void *dst, const void *src, unsigned len)
{
	switch (len) {
	case 1:
		*(volatile uint8_t *)dst = *(const volatile uint8_t *)src;
		break;
	case 2:
		__asm__ volatile("movw %1, %%ax; movw %%ax, %0"
				 : "=m"(*(uint16_t(*)[1])dst)
				 : "m"(*(const uint16_t(*)[1])src)
				 : "eax");
		break;
	case 4:
		__asm__ volatile("movl %1, %%eax; movl %%eax, %0"
				 : "=m"(*(uint32_t(*)[1])dst)
				 : "m"(*(const uint32_t(*)[1])src)
				 : "eax");
		break;
	case 8:
		__asm__ volatile("movq %1, %%rax; movq %%rax, %0"
				 : "=m"(*(uint64_t(*)[1])dst)
				 : "m"(*(const uint64_t(*)[1])src)
				 : "rax");
		break;
	default: {
		unsigned long count = len;

		__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(count) : : "memory");
	}
	}
}

static inline void x86_bytes_zero(void *dst, unsigned len)
{
	unsigned long count = len;

	__asm__ volatile("rep stosb" : "+D"(dst), "+c"(count) : "a"(0) : "memory");
}

#endif
