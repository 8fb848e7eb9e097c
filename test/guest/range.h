/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A range of pages that a software CPU may join into one, for window.c: its tables and a model of
 * them, and the instructions that go over it.
 *
 * All bytes of a frame are its number, folded into 8 bits.  The stores of the hammer store just
 * those bytes: what goes elsewhere is found in another page's frame.
 */
#ifndef GUEST_RANGE_H
#define GUEST_RANGE_H

#include "paging.h"

#define N	  64 /* pages; half of them in each of two large ones */
#define LIN	  (0xffff800001600000ul - N / 2 * 0x1000) /* the first one */
#define TOP_SLOT  256					  /* in the root */
#define PHYS	  0x80000000ul				  /* all RAM again, for the checks */
#define LARGE_GPA 0x200000ul				  /* two 2 MiB pages from here on, */
#define OTHER_GPA 0x600000ul				  /* and two others */
#define POOL	  0x200ul   /* frames of small pages: N, and N to go to */
#define TABLE	  0x30000ul /* of struct access */
#define ENTRIES	  (brief ? 40u : 64u)

struct access {
	uint64_t at, unused;
	uint64_t value[2];
};

/* Takes RCX entries from RSI on; RDX: bits that were read wrong. name##_at is the access itself. */
#define LOOP(name, ...)                                                                            \
	CODE_AT(64, name, name##_at, "2: movq (%rsi), %rbx\n" __VA_ARGS__                          \
		"\n addq $32, %rsi\n decl %ecx\n jnz 2b")

struct op {
	char *code, *at;
	unsigned size;
	bool write;
};
enum { LOAD8 = 3, STORE1 = 5, STORE4 = 7, STORE8 = 8, STORE16 = 9, OPS = 11 };
extern const struct op ops[OPS];

enum who { KERNEL, USER_MODE, KERNEL_AC };

struct space {
	uint64_t root, top; /* top: the entry of TOP_SLOT */
	struct {
		uint64_t gpa, flags;
	} page[N + 2]; /* and one more on each side */
};
extern struct space spaces[2], *space;
extern bool large;	     /* the range is two 2 MiB pages */
extern bool smap;	     /* CR4.SMAP is set */
extern bool brief;	     /* see be_brief() */
extern uint8_t avoid[N + 2]; /* pages, from -1 on, that the hammer leaves alone */
extern unsigned bad;	     /* what was found wrong; verify() begins anew */

static inline word page_gla(int page)
{
	return LIN + (word)page * 0x1000;
}
int page_at(word gla);
uint64_t flags_of(int page);
uint8_t frame_id(uint64_t gpa);
void frame_fill(uint64_t gpa);

/* The model alone, without the tables. */
void model_set(int page, uint64_t gpa, uint64_t flags);
void small_set(int page, uint64_t gpa, uint64_t flags);
/* The one of the two large pages with `page`. */
void large_set(int page, uint64_t gpa, uint64_t flags);
/* As `large` says. */
void page_set(int page, uint64_t gpa, uint64_t flags);
/* What the entry for `page` maps, and what it may map instead; its level. */
uint64_t home(int page);
uint64_t elsewhere(int page);
unsigned level(void);
/* All of it: small pages in the order of factor * i modulo N, or large ones. Frames are filled. */
void lay_small(unsigned factor, uint64_t flags);
void lay_large(uint64_t flags0, uint64_t flags1);

uint32_t dice(void);
/* The 16 bytes that the guest is to have at `at`. */
void value_at(word at, uint64_t value[2]);
/* The first n accesses of TABLE. */
void op_run(const struct op *op, enum who who, unsigned n);
void op_note(const char *what, const struct op *op, enum who who, word at);
/* All loads or all stores: at random places or, an even number of times, at every third page. */
void hammer_ops(enum who who, bool write, unsigned times);
void hammer(void);
/* Until there is whatever may be had: long enough to be worth a mirror of scattered pages. */
void learn(enum who who);
/* Something has changed about `page`: looks at once, and when the instructions are used to it. */
void verify(const char *name, int page);

#endif
