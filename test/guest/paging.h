/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Page tables of any mode and the tests that all modes share.
 *
 * Linear space: 0..4 MiB identity, supervisor; the same memory's first 256 KiB again at USER_ALIAS, for
 * ring 3; the pages under test from T on, each mapped to its own frame from T_GPA on.
 */
#ifndef GUEST_PAGING_H
#define GUEST_PAGING_H

#include "kit.h"

#define USER_ALIAS 0x800000ul
#define USER(x)	   ((char *)((word)(x) + USER_ALIAS))
#define T	   0xc00000ul
#define T_PAGES	   8
#define T_GPA	   0x200000ul
#define LARGE	   0x1000000ul /* 16 MiB: unused linear space, aligned for any large page but 1 GiB */

#define PTE_P	 0x1ull
#define PTE_W	 0x2ull
#define PTE_U	 0x4ull
#define PTE_PCD	 0x10ull
#define PTE_A	 0x20ull
#define PTE_D	 0x40ull
#define PTE_PS	 0x80ull
#define PTE_G	 0x100ull
#define PTE_NX	 (1ull << 63)
#define PTE_ALL	 (PTE_P | PTE_W | PTE_U)

/* Error code bits. */
#define E_P 1u
#define E_W 2u
#define E_U 4u
#define E_R 8u
#define E_I 16u

struct paging_mode {
	unsigned levels;     /* 2, 3 or 4 */
	unsigned entry_size; /* 4 or 8 */
	bool top_is_pdpte;   /* PAE: the top level has no permissions and is cached with CR3 */
};

/* The table of `level` (1: page table) that maps gla, made if it is missing; one entry of it. */
uint64_t entry_get(word gla, unsigned level);
void entry_set(word gla, unsigned level, uint64_t value);
/* Physical address of the entry. */
uint64_t entry_gpa(word gla, unsigned level);
void map(word gla, uint64_t gpa, uint64_t flags);
/* A zeroed page for a table. */
uint64_t table_alloc(void);

/* Builds the space described above; returns the root. Paging is still off (or another is on). */
uint64_t paging_build(const struct paging_mode *mode);
/* Points T's pages at their own frames again, present, writable, user, clean. */
void t_reset(void);
/* Everything that reads the same in all modes. Paging is on. */
void paging_tests(void);
/* Drops all translations. */
void paging_flush(void);
/* Parts of it, in paging_access.c. */
void paging_crossing_tests(void);
void paging_strings_tests(void);
void paging_fetch_tests(void);
void paging_implicit_tests(void);

void fresh_alias(const void *code); /* ring 3 through USER_ALIAS */

extern char pg_read[], pg_write[], pg_rmw[], pg_read32[], pg_write32[];

#endif
