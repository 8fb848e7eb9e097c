/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* One block while it is being translated. For translate.c and gen_*.c. */
#ifndef BACKEND_SOFT_GEN_H
#define BACKEND_SOFT_GEN_H

#include "backend/soft/emit.h"
#include "backend/soft/soft.h"

#define GEN_MAX_INSNS	64u
#define GEN_MAX_PATH	128u /* of a region */
#define GEN_MAX_HOISTED 10u  /* checks before a region's loop: in GEN_STEP bytes */
#define GEN_MAX_STUBS	1024u
#define GEN_NO_GROUP	255u
#define GEN_MAX_JCC	4u
#define GEN_STEP	512u /* bytes of code of an instruction with its stubs; 350 is known */
#define GEN_MAX_MEMOS	(2 * GEN_MAX_PATH + GEN_MAX_HOISTED)
#define GEN_MAX_FIXES	384u /* a block with more, or with more of the following, is not shared */
#define GEN_MAX_OPS	32u
#define GEN_MAX_LOOKS	16u
#define GEN_LOOK_BYTES	256u
#define GEN_RECORD	2048u /* bytes of a struct record, share.c */

/* CALL [mem] has most: two look-ups, two ways out of the path, and three of these. */
_Static_assert(GEN_MAX_STUBS > 7 * GEN_MAX_PATH + 2 * GEN_MAX_HOISTED + 8, "stubs");

#define STATE(member) ((int32_t)offsetof(struct soft_vcpu, member))
#define GPR(n)	      (STATE(cpu.gpr) + 8 * (int32_t)(n))

/* Code out of line, emitted behind the block. */
enum gen_stub_kind {
	STUB_CHECK, /* memo missed: look into the TLB, and if need be, call fill */
	STUB_LINK,  /* first time through a direct jump inside the page */
	STUB_EDGE,  /* the same to another page */
	STUB_LEAVE, /* to soft_loop() with a known rip */
	STUB_OP,    /* the instruction in C, which ends the block */
	STUB_EXIT   /* off a region's path */
};

struct gen_stub {
	uint8_t kind;
	bool flags_parked;   /* LINK, LEAVE: status flags are in flags16 */
	uint8_t reason;	     /* LEAVE */
	bool rip_in_s0;	     /* LEAVE: rip is in r12, target is the branch's own */
	uint16_t site;	     /* CHECK, EXIT */
	uint8_t *jump;	     /* displacement that leads here, or to edge[] (writable) */
	const uint8_t *done; /* CHECK: where to go on */
	uint64_t target;     /* LINK, EDGE, LEAVE, EXIT: rip */
	unsigned edge;	     /* EDGE */
	bool nomerge;	     /* LINK, EXIT: to a translation without groups */
	bool swapped;	     /* LEAVE: out of a region */
	struct soft_op *op;
	struct gen_check *check;
};

/*
 * A guest memory operand: [base + index * 2^scale + disp] of the instruction, or a stack slot when
 * `in` is NULL.
 */
struct gen_address {
	const struct x86_insn *in;
	unsigned gpr; /* stack slot: base register */
	int32_t disp;
};

/* The same on the host, valid until r12 or the base register changes. */
struct gen_ref {
	uint8_t base, index; /* index 255: none */
	int32_t disp;
};

/* How an address becomes the host's. */
enum gen_form {
	FORM_BASE, /* one guest register in a host register, and a displacement: r12 = memo.add */
	FORM_SLOT, /* one guest register in a memory slot: r12 = its host address, displacement
		      apart */
	FORM_FULL  /* anything: r12 = the whole host address */
};

struct gen_check {
	struct gen_address a;
	uint8_t form;
	bool write, merged;  /* merged: later instructions rely on it */
	bool early;	     /* a later instruction stores, this one does not */
	bool hoisted;	     /* before a region's loop */
	uint16_t memo, size; /* bytes checked from lo */
	int32_t lo;	     /* to be added to the base register; FORM_BASE and FORM_SLOT */
};

/* Accesses that one check serves: see gen_group.c. */
struct gen_group {
	int32_t lo; /* relative to the base register at the leader */
	uint16_t span, memo;
	uint8_t leader, last; /* instructions */
	uint8_t gpr;	      /* checked before the loop: base register */
	bool write;
};

/* What in a block's code depends on where that lies and on whose it is: see share.c. */
enum gen_fix_kind {
	FIX_THUNK, /* displacement to fixed code */
	FIX_MEMO,  /* displacement from r15 to a member of memo n of the block */
	FIX_WHAT,  /* 16 bits: the number of that memo */
	FIX_OP,	   /* address of op n of the block */
	FIX_RIP	   /* 64 bits: an address that moves with the block's rip */
};

struct gen_fix {
	uint16_t at; /* offset in the code */
	uint8_t kind, n;
};

struct gen_memo {
	uint16_t number, size;
	bool write;
};

/* Bytes of the page that liveness rests on, besides the block's own. */
struct gen_look {
	uint16_t from, len;
};

struct gen {
	struct emit e;
	struct soft_vcpu *v;
	uint64_t rip; /* of the block */
	uint64_t gpa;
	uint32_t mode;
	unsigned class;
	bool is64, flat;
	/* A region: insn[] is a path that comes back to its beginning, gen_path.c. */
	bool path;
	const uint8_t *body;	  /* where it begins again */
	uint8_t swap[4];	  /* host register + 1 that has guest R12 to R15; 0: none has */
	struct x86_remap host_of; /* gen_host() */
	uint16_t hoisted;	  /* groups that are checked before the loop: the first ones */
	unsigned n;		  /* instructions */
	unsigned i;		  /* the one being translated */
	bool straddles;		  /* the last instruction ends in the next page */
	bool ended;		  /* the last instruction leaves the block by itself */
	bool failed;		  /* out of code or metadata: it does not fit into this piece */
	bool patched;		  /* there was a block here that has been changed */
	const uint8_t *host;	  /* block entry, executable */
	const uint8_t *page;	  /* host address of the guest's page */
	unsigned code_size;
	unsigned njcc;			 /* conditional jumps that the block goes on behind */
	uint64_t lines;			 /* of the page, looked at besides the block's own */
	uint16_t live[GEN_MAX_PATH + 1]; /* status flags live before instruction i */
	int16_t offset[GEN_MAX_PATH + 1];
	uint8_t code[GEN_MAX_INSNS * X86_INSN_MAX];
	struct x86_insn insn[GEN_MAX_PATH];
	struct soft_site site[GEN_MAX_PATH + 1];
	unsigned ngroups;
	uint64_t merged; /* instructions that rely on a check of one before them */
	struct gen_group group[GEN_MAX_PATH];
	uint8_t group_of[GEN_MAX_PATH]; /* GEN_NO_GROUP: the instruction's access checks for itself
					 */
	/* memo + 1 whose `add` is in r12 behind this instruction, and before it; 0: none */
	unsigned s0, s0_before;
	bool parked;	 /* status flags are in flags16, if they are live */
	unsigned nmemos; /* each must be another one: memo.c */
	struct gen_memo memo[GEN_MAX_MEMOS];
	bool copied;	     /* from another block, not translated */
	bool tied;	     /* not to be copied */
	bool placed;	     /* nor to another rip */
	uint8_t *start;	     /* of the code, writable */
	const uint8_t *ways; /* links and edges, which a copy has of its own: behind all else */
	uint32_t meta;	     /* where a copy's metadata begins */
	unsigned nfixes, nops, nlooks, nlook_bytes;
	struct gen_fix fix[GEN_MAX_FIXES];
	struct soft_op *op[GEN_MAX_OPS];
	struct gen_look look[GEN_MAX_LOOKS];
	uint8_t look_bytes[GEN_LOOK_BYTES];
	_Alignas(8) uint8_t record[GEN_RECORD]; /* of the block that is being copied */
	unsigned nchecks;
	struct gen_check check[GEN_MAX_MEMOS];
	unsigned nstubs;
	struct gen_stub stub[GEN_MAX_STUBS];
	struct x86_decode_cache decoded;
};

/* Of bytes that do not change meanwhile. */
static inline enum x86_decode_result gen_decode(
	struct gen *g, struct x86_insn *in, const uint8_t *bytes, unsigned n)
{
	if (g->is64)
		return x86_decode_cached(&g->decoded, in, bytes, n);
	return x86_decode(in, bytes, n, g->code_size);
}

/* Where a guest register lives: a host register, or 255 for a slot in memory. */
static inline unsigned gen_host(const struct gen *g, unsigned gpr)
{
	return g->host_of.gpr[gpr];
}

static inline uint64_t gen_rip(const struct gen *g)
{
	return g->rip + g->offset[g->i];
}

static inline uint64_t gen_next_rip(const struct gen *g)
{
	uint64_t rip = g->path ? gen_rip(g) + g->insn[g->i].len : g->rip + g->offset[g->i + 1];

	return g->is64 ? rip : (uint32_t)rip;
}

struct gen_stub *gen_stub(struct gen *g, enum gen_stub_kind kind);

/* gen_live.c: backwards over the block, which status flags does somebody still read? */
void gen_liveness(struct gen *g);
/* Status flags that code at `rip` may read; all, where that is another page's business. */
unsigned gen_live_at(struct gen *g, uint64_t rip);
/* Jcc that translated code does. */
bool gen_is_jcc(const struct gen *g, const struct x86_insn *in);
uint64_t gen_branch_target(const struct gen *g, const struct x86_insn *in);

/* ---- translate.c ---- */
/* A record for an instruction that C executes; NULL and g->failed: out of memory. */
struct soft_op *gen_new_op(struct gen *g, soft_op_fn fn, const struct x86_insn *in);
/* Its address -> r12. */
void gen_op_address(struct gen *g, const struct soft_op *op);
/* An address that is so far from the block's rip -> reg. */
void gen_mov_rip(struct gen *g, unsigned reg, uint64_t rip);
/* To fixed code. */
void gen_jmp_thunk(struct gen *g, const uint8_t *thunk);
void gen_call_thunk(struct gen *g, const uint8_t *thunk);
/* The field at `at` of the code has to be fixed in a copy. */
void gen_fix(struct gen *g, enum gen_fix_kind kind, unsigned n, const uint8_t *at);
/* Before a block is made: everything about it that does not come from its instructions. */
void gen_prepare(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page);
/* A new block at the end of the piece that is being filled; gpa2: of its second page, or 0. */
struct soft_block *gen_new_block(struct gen *g, uint64_t gpa2);
/* The stubs that are links and edges; then the block is finished.  NULL: it does not fit. */
void gen_ways(struct gen *g, struct soft_block *self);
struct soft_block *gen_finish(struct gen *g, struct soft_block *b);

/* gen_stack.c: STI, POPF, MOV from control registers that need not end the block. */
bool gen_system_inline(const struct gen *g, const struct x86_insn *in);

/* gen_mem.c */
/* A memo for the block. */
unsigned gen_memo(struct gen *g, unsigned size, bool write);
/* Status flags -> flags16, if they are not there. Clobbers r13 and nothing else, the host's flags
 * included. */
void gen_park_flags(struct gen *g);
/* And back, clobbering r13, if the instruction needs them there: otherwise they stay parked. */
void gen_unpark_flags(struct gen *g);
void gen_flags_now(struct gen *g);
/* Before an instruction. */
void gen_begin_flags(struct gen *g);
/* Can the memory operand be translated inline in this mode? */
bool gen_can_address(const struct gen *g, const struct x86_insn *in);
/* Linear address of in->mem -> r12. Clobbers r13, keeps flags. */
void gen_address(struct gen *g, const struct x86_insn *in);
/*
 * Makes a guest operand of `size` bytes accessible and says where it is on the host.  Clobbers r12
 * and r13; status flags are kept if they are live before this instruction and not `parked` already.
 * plain: by r12 alone.
 */
struct gen_ref gen_memory(struct gen *g, const struct x86_insn *in, unsigned size, bool write,
	bool parked, bool plain);
struct gen_ref gen_stack_slot(
	struct gen *g, unsigned gpr, int32_t disp, unsigned size, bool write, bool parked);
/* Will gen_stack_slot() clobber status flags? */
bool gen_stack_checks(const struct gen *g);
void gen_load(struct gen *g, unsigned size, unsigned reg, const struct gen_ref *ref);
void gen_store(struct gen *g, unsigned size, const struct gen_ref *ref, unsigned reg);
void gen_store_imm(struct gen *g, unsigned size, const struct gen_ref *ref, uint32_t imm);
void gen_check_stub(struct gen *g, const struct gen_stub *s);

/* gen_group.c */
void gen_find_groups(struct gen *g);
/* May C return into the block before instruction j? */
bool gen_resumable(const struct gen *g, unsigned j);

/* Before a region's loop: checks of gen_group's first `hoisted` groups. */
void gen_hoisted_check(struct gen *g, const struct gen_group *p);

/* gen_path.c */
/* Host registers that the path does not use, for guest R12 to R15. */
void gen_path_assign(struct gen *g);
/* What comes before and behind the instructions. */
void gen_path_begin(struct gen *g);
void gen_path_close(struct gen *g);
bool gen_path_branch(struct gen *g, const struct x86_insn *in);
/* The rip that follows instruction i on the path. */
uint64_t gen_path_next(const struct gen *g, unsigned i);
/* The displacement at `jump` leads off the path. */
struct gen_stub *gen_path_exit(struct gen *g, uint8_t *jump, uint64_t target, bool parked);
void gen_exit_stub(struct gen *g, const struct gen_stub *s);
/* The registers as everybody else has them. */
void gen_path_swap_out(struct gen *g);
/* gen_branch.c */
void gen_poll_live(struct gen *g, uint64_t target);
void gen_push_return(struct gen *g, unsigned size, bool parked);
/* The target of an indirect jump or call -> r12; flags are parked. */
void gen_load_target(struct gen *g, const struct x86_insn *in, unsigned size);
void gen_link_to(struct gen *g, uint8_t *jump, uint64_t target, bool parked);

/* gen_string.c, gen_native.c, gen_fresh.c, gen_stack.c: false: not this one inline. gen_branch.c
 * ends the block.
 */
bool gen_native(struct gen *g, const struct x86_insn *in);
bool gen_fresh(struct gen *g, const struct x86_insn *in);
bool gen_fresh_push(struct gen *g, const struct x86_insn *in);
bool gen_stack(struct gen *g, const struct x86_insn *in);
bool gen_string(struct gen *g, const struct x86_insn *in);
bool gen_direction(struct gen *g, const struct x86_insn *in);
bool gen_system(struct gen *g, const struct x86_insn *in);
bool gen_branch(struct gen *g, const struct x86_insn *in);
void gen_move_rsp(struct gen *g, int delta);
/* Leaves the block for a known rip. */
void gen_goto(struct gen *g, uint64_t rip, bool parked);
/* The same through edge[], whatever the target's class; only if soft_edge_left(). */
void gen_edge(struct gen *g, uint64_t target, bool parked);

#endif
