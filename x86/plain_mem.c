/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The memory functions that compilers call by themselves (structure copies, initialisers), without vector
 * registers: those are the guest's while x86/ and backend/soft/ run.  The build leads such calls of their
 * objects here (objcopy --redefine-sym), so that nobody has to watch out for them in C.
 */
#include <stddef.h>

void *x86_plain_memcpy(void *dst, const void *src, size_t n);
void *x86_plain_memmove(void *dst, const void *src, size_t n);
void *x86_plain_memset(void *dst, int c, size_t n);
int x86_plain_memcmp(const void *a, const void *b, size_t n);

void *x86_plain_memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

void *x86_plain_memmove(void *dst, const void *src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if (d <= s || d >= s + n)
		return x86_plain_memcpy(dst, src, n);
	while (n--)
		__asm__ volatile("movb %1, %%al\n\tmovb %%al, %0" : "=m"(d[n]) : "m"(s[n]) : "al");
	return dst;
}

void *x86_plain_memset(void *dst, int c, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return dst;
}

int x86_plain_memcmp(const void *a, const void *b, size_t n)
{
	const volatile unsigned char *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}
