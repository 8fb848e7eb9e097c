/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Bits of page-table entries with 64 bits (SDM vol. 3, 4.5); those with 32 share bits 0 to 12. */
#ifndef X86_PTE_H
#define X86_PTE_H

#define X86_PTE_P	  (1ull << 0)
#define X86_PTE_W	  (1ull << 1)
#define X86_PTE_U	  (1ull << 2)
#define X86_PTE_A	  (1ull << 5)
#define X86_PTE_D	  (1ull << 6)
#define X86_PTE_PS	  (1ull << 7)
#define X86_PTE_G	  (1ull << 8)
#define X86_PTE_NX	  (1ull << 63)
#define X86_PTE_PAT_LARGE (1ull << 12)
#define X86_PTE_KEY_SHIFT 59
#define X86_PTE_KEY	  (15ull << X86_PTE_KEY_SHIFT)
#define X86_PTE_ADDR	  0x000ffffffffff000ull

#endif
