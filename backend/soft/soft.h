/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The software CPU, inside: one struct soft_vcpu per virtual CPU, its translated-address cache, its
 * code cache, and the loop around them.  README.md in this folder tells how they work together.
 *
 * While guest code runs, and in all C code of this folder that it calls, the guest's x87 and vector
 * registers are in the host's registers (hence -mgeneral-regs-only).  Before anything of vmm/ is
 * called the vector registers are put aside, soft_lend(); before anything else, all of them:
 * soft_park().
 */
#ifndef BACKEND_SOFT_SOFT_H
#define BACKEND_SOFT_SOFT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vmm/backend.h>
#include "x86/x86.h"

/*
 * Translation classes: which of the three translated-address caches and jump caches a block uses.
 * Supervisor code with and without EFLAGS.AC differ only under CR4.SMAP.
 */
enum soft_class { SOFT_USER, SOFT_SUPER, SOFT_SUPER_AC, SOFT_CLASSES };

/*
 * The mode word: everything besides address and bytes that the translation of an instruction
 * depends on.  Part of a block's key.
 */
#define SOFT_MODE_SIZE(m)     ((m)&3u) /* 0: 16-bit code, 1: 32-bit, 2: 64-bit */
#define SOFT_MODE_SIZE_16     0u
#define SOFT_MODE_SIZE_32     1u
#define SOFT_MODE_SIZE_64     2u
#define SOFT_MODE_STACK32     0x004u /* SS.B */
#define SOFT_MODE_CLASS(m)    (((m) >> 3) & 3u)
#define SOFT_MODE_CLASS_SHIFT 3
#define SOFT_MODE_FLAT                                                                             \
	0x020u /* CS, DS, ES, SS have base 0, limit 4 GiB, and may be used freely                  \
		*/
#define SOFT_MODE_PE	     0x040u
#define SOFT_MODE_VM	     0x080u
#define SOFT_MODE_FPU_SHIFT  8 /* CR0.MP, EM, TS (bits 1..3) */
#define SOFT_MODE_OSFXSR     0x0800u
#define SOFT_MODE_AVX	     0x1000u
#define SOFT_MODE_UMIP	     0x2000u
#define SOFT_MODE_FSGSBASE   0x4000u
#define SOFT_MODE_TSD	     0x8000u
#define SOFT_MODE_CPL_SHIFT  16
#define SOFT_MODE_CPL(m)     ((m) >> SOFT_MODE_CPL_SHIFT & 3u)
#define SOFT_MODE_IOPL_SHIFT 18
#define SOFT_MODE_STEP	     0x100000u /* one instruction at a time: TF, breakpoints, #AC, MTRAP */
#define SOFT_MODE_SCE	     0x200000u
#define SOFT_MODE_LMA	     0x400000u
#define SOFT_MODE_NOMERGE                                                                          \
	0x800000u /* every access checks for itself: not the vcpu's, a variant of a block */
/*
 * What the jump cache and edges do not key on: a change of these empties them.  Nobody asks them for
 * single steps, which the guest's STI may make by the thousand.
 */
#define SOFT_MODE_JCKEY(m)                                                                         \
	((m) & ~(SOFT_MODE_STEP | 3u << SOFT_MODE_CLASS_SHIFT |                                    \
		       (SOFT_MODE_CPL(m) == 3 ? 3u << SOFT_MODE_CPL_SHIFT : 0)))

#define SOFT_TLB_BITS	    12
#define SOFT_TLB_ENTRIES    (1u << SOFT_TLB_BITS)
#define SOFT_JC_BITS	    16 /* translated code takes them with one MOVZX */
#define SOFT_JC_ENTRIES	    (1u << SOFT_JC_BITS)
#define SOFT_EDGES	    131072u
#define SOFT_ITLB_ENTRIES   1024u
#define SOFT_LOG_MAX	    2048u
#define SOFT_JC_LOG	    16384u
#define SOFT_JUMP_LISTS	    16u
#define SOFT_JUMP_NOTES	    4096u
#define SOFT_KNOWN	    8u
#define SOFT_PENDING_WRITES 8
#define SOFT_PAGE_FILTER    8192u /* bits: one half for each half of the address space */

/*
 * One translated page.  The tags hold the page's linear address, or one that no address with this
 * index can be within a page of: see soft_tlb_clear().  An access hits when address - tag <= 4096 -
 * size, which also sends page-crossing accesses out of line.
 */
struct soft_tlb_entry {
	uint64_t read;
	uint64_t write;
	uint64_t add; /* host address - linear address */
	uint64_t gpa; /* guest-physical page | SOFT_TLB_*; 0: empty */
};
#define SOFT_TLB_GLOBAL 1u
#define SOFT_TLB_USED	2u
#define SOFT_TLB_CODE	4u /* may be written, but holds translated code */

/*
 * The page that an instruction or a group of them touched last, or the run of pages around it (see
 * memo.c): looked at before the TLB, because the host address then does not wait for the look-up.
 * Half of them are for reading, half for writing. No access that the guest may do has an address
 * near SOFT_MEMO_EMPTY; what gets there all the same faults on the host, as its host address is not
 * canonical either.
 */
struct soft_memo {
	uint64_t tag;	 /* linear address of the first byte */
	uint64_t add;	 /* host address - linear address */
	uint64_t limit;	 /* highest offset from tag that an access may have */
	uint32_t misses; /* until C is to look for a window */
	uint16_t room;	 /* limit for a single page */
	uint16_t debt;	 /* misses before the last look that no window has paid for yet */
};
#define SOFT_MEMOS	  8192u
#define SOFT_MEMO_GROUP	  16u /* for each byte of memo_used */
#define SOFT_MEMO_CHUNK	  32u /* handed out for one size */
#define SOFT_MEMO_SIZES	  13u
#define SOFT_MEMOS_OF_ONE 128u /* of a size, at least */
#define SOFT_MEMO_EMPTY	  (1ull << 63)
#define SOFT_MEMO_DEBT	  32u /* misses that soft_memo.debt counts as one */

/* Which memos have been given out, and for which size; one of these for reading, one for writing.
 */
struct soft_memos {
	uint8_t code[SOFT_MEMOS / 2 / SOFT_MEMO_CHUNK]; /* size of a chunk */
	uint16_t chunks;				/* given out */
	uint16_t next[SOFT_MEMO_SIZES];
};

/* Linear addresses with one addend, and those that were found lately: see window.c. */
struct soft_window {
	uint64_t lo, hi, add;
};
#define SOFT_WINDOWS 8u
struct soft_windows {
	struct soft_window window[SOFT_WINDOWS];
	unsigned n, next;
};

/* Where a long string instruction began, and pages that it and others like it looked up. */
struct soft_string_place {
	uint64_t gla;
	uint32_t pages; /* that no window has paid for yet */
	uint32_t owed;	/* since the last look for one */
};
#define SOFT_STRING_PLACES 8u

/* Guest RAM mapped once more, in the order of its linear addresses. */
struct soft_mirror {
	uint64_t lo; /* linear address */
	unsigned pages;
	uint8_t *host;	 /* NULL: none */
	uint32_t *frame; /* guest page numbers; UINT32_MAX: not mapped */
};
#define SOFT_MIRRORS 64u

/* Which pages may be cached, hashed; large ones by 2 MiB and by 1 GiB, as parts of them are. */
struct soft_filter {
	uint64_t pages[SOFT_PAGE_FILTER / 64], large[SOFT_PAGE_FILTER / 64], huge;
};

struct soft_tlb {
	struct soft_tlb_entry entry[SOFT_TLB_ENTRIES];
	/* Entries that were filled, those of global pages apart: what a flush has to look at. */
	struct soft_log {
		uint32_t n; /* more than SOFT_LOG_MAX: index[] is useless */
		uint16_t index[SOFT_LOG_MAX];
	} log[2];
	struct soft_filter filter; /* of the pages that entry[], memo[] and itlb[] may know */
};

/*
 * The translations of one PCID (bank.c).  The bank in use is the only one that translated code and
 * all C but bank.c see; without CR4.PCIDE there is none but it.
 */
#define SOFT_BANKS	8u /* Linux uses six PCIDs for each CPU */
#define SOFT_BANK_READS 8u
struct soft_bank {
	struct soft_tlb tlb[SOFT_CLASSES];
	uint64_t stamp[SOFT_CLASSES]; /* of its pages in itlb[] that are not global */
	uint64_t used;		      /* for the last time, in stat_cr3_writes */
	unsigned pcid;
	bool valid; /* otherwise it holds anything and is nobody's */
	/* Guest pages that lost their write tags since then; too many: all of them. */
	unsigned nreads;
	uint64_t reads[SOFT_BANK_READS];
};

/* A page is in the first of two places, or, pushed out of it by another, in the second. */
static inline unsigned soft_tlb_slot(uint64_t gla)
{
	return (unsigned)(gla >> 12) & (SOFT_TLB_ENTRIES - 1);
}

static inline unsigned soft_tlb_slot2(uint64_t gla)
{
	return (unsigned)(gla >> 12 ^ gla >> 24) & (SOFT_TLB_ENTRIES - 1);
}

struct soft_jump {
	uint64_t rip;
	const void *code; /* entry with status flags in soft_vcpu.flags16 */
};

struct soft_itlb_entry {
	uint64_t page;	/* linear page | 1 when valid */
	uint64_t stamp; /* itlb_stamp[] when it was filled: otherwise it is none */
	uint64_t gpa;	/* guest-physical page | SOFT_TLB_GLOBAL */
	uint8_t *hva;
};

static inline unsigned soft_itlb_slot(uint64_t gla)
{
	return (unsigned)(gla >> 12 ^ gla >> 22 ^ gla >> 32) & (SOFT_ITLB_ENTRIES - 1);
}

#define SOFT_HEATS 64u /* loops that were seen running */

struct soft_vcpu;
struct soft_op;

/* Where translated code goes on: a host address, or NULL to leave to soft_loop(). */
typedef const void *(*soft_op_fn)(struct soft_vcpu *v, struct soft_op *op);

/* An instruction that C executes, called from translated code. */
struct soft_op {
	soft_op_fn fn;
	uint64_t rip;	    /* of the instruction */
	const void *resume; /* translated code of the next instruction; NULL: the block ends here */
	uint64_t page;	    /* soft_op_cr3(): where the instruction lies | its class */
	struct x86_insn insn;
};

/* One instruction inside a block: how to get from a host address back to the guest's. */
struct soft_site {
	uint16_t host; /* offset of its code in the block */
	int16_t guest; /* offset of the instruction from the block's rip */
	uint16_t borrowed : 5; /* host register + 1 whose guest value is in soft_vcpu.borrow, or 0 */
	uint16_t fresh : 4;    /* its last bytes, an immediate, are read anew each time: so many */
	uint16_t flags_parked : 1; /* status flags are in soft_vcpu.flags16 while memory is checked */
	uint16_t resumable : 1;	   /* C may return to here */
};
_Static_assert(sizeof(struct soft_site) == 6, "one for each instruction");

/* What a look-up reads is in the first 32 bytes: of each block they are in one cache line. */
struct soft_block {
	uint64_t rip;
	uint64_t gpa;	/* of the first byte */
	uint32_t page2; /* number of the page of the last byte if that is another page, else 0 */
	uint32_t mode;
	uint32_t next_hash; /* index + 1 */
	bool dead;
	bool region;	     /* sites[] follow a path: region.c */
	uint16_t size;	     /* of the code from host_mem on */
	uint32_t root;	     /* index + 1 of the block whose entry leads here; 0: its own */
	uint32_t host;	     /* offset of the code in the cache; entry with flags in the host's */
	uint32_t host_mem;   /* entry with flags in flags16 */
	uint32_t meta;	     /* where its metadata begins */
	uint32_t edges;	     /* of its piece before it had any */
	uint32_t next_page;  /* index + 1: next block with the same first page */
	uint32_t next_page2; /* ... with the same second page */
	uint16_t nsites;     /* sites[nsites] is the end of the block */
	uint16_t misfits;    /* of a region: times that its groups did not do */
	uint64_t lines;	     /* 64-byte lines of its first page that it was made from */
	uint64_t ahead;	     /* those of them that were looked at besides its own instructions */
	uint8_t swap[4];	  /* of a region: host register + 1 that has guest R12 to R15 */
	bool recorded;		  /* there may be a struct soft_link for one of its jumps */
	bool unlisted, unlisted2; /* being evicted, and off the list of its first, second page */
	struct soft_site *sites;
};
_Static_assert(sizeof(struct soft_block) == 96, "one for five to ten instructions");
_Static_assert(offsetof(struct soft_block, root) == 32, "what a look-up reads");

static inline uint32_t soft_block_end(const struct soft_block *b)
{
	return b->host_mem + b->size;
}

/* Stores from gpa on that killed code again and again: gen_fresh.c. */
struct soft_patch {
	uint64_t gpa;
	uint32_t count;
};
#define SOFT_PATCHES 64u

/* A store beside code: there is none in its bytes as long as no block is added. */
struct soft_beside {
	uint64_t gpa;
	uint64_t added; /* soft_cache.added */
	unsigned len;
};
#define SOFT_BESIDES 16u

/*
 * A part of the code cache, with all that belongs to the blocks in it: pieces are filled one after
 * the other, and what was in a piece goes before it is filled again.
 */
struct soft_piece {
	uint32_t code, used, end;	    /* offsets in the cache */
	uint32_t meta, meta_used, meta_end; /* ... in its metadata */
	uint32_t first, nblocks;	    /* in blocks[] */
	uint32_t edges;			    /* of edge[]: index + 1 of its youngest */
};
#define SOFT_PIECES    16u
#define SOFT_PIECE_MIN 32768u /* bytes of code that one block can need at most */

/* A direct jump from one piece into another: see link.c. */
struct soft_link {
	uint32_t site; /* offset of its displacement */
	uint32_t stub; /* where it went before */
	uint32_t to;
};

/* A block that may be copied: see share.c. */
struct soft_shared {
	_Atomic uint32_t stamp;	 /* 0: none; as long as it is the same, the block is */
	_Atomic uint32_t record; /* offset in the metadata */
};

/* A jump cache entry or an edge that leads to a block: jump.c. */
struct soft_filled {
	uint64_t rip, page; /* the block's, and where its page is in the guest's memory */
	uint32_t what;	    /* slot of the jump cache; edge << 1 | flags parked */
	uint32_t code;	    /* offset of its entry in the cache */
};

/* What there was when they were emptied. */
struct soft_jump_list {
	uint64_t root, used;
	uint64_t reused; /* soft_cache.reused */
	uint32_t mode;	 /* SOFT_MODE_JCKEY */
	uint8_t class;
	uint16_t turns;
	uint32_t n;
	struct soft_filled note[SOFT_JUMP_NOTES];
};

/* The code cache of one vcpu: a memfd mapped twice, its metadata, and the tables over it. */
struct soft_cache {
	uint8_t *rw, *rx;
	uint32_t size, start; /* bytes; translated code begins at start */
	uint8_t *meta;	      /* sites and ops */
	uint32_t meta_size;
	struct soft_piece piece[SOFT_PIECES];
	uint32_t npieces, filling; /* the piece in which blocks are put now */
	uint32_t piece_blocks;	   /* that each may have */
	uint32_t evictions;	   /* of anything: offsets from before are stale */
	struct soft_block *blocks;
	uint32_t max_blocks;
	struct soft_link *links;
	uint32_t nlinks, max_links;
	struct soft_memos memos[2]; /* for reading, for writing */
	uint32_t *hash;		    /* index + 1; of nhash, a power of two */
	uint32_t nhash;
	uint32_t *page_head;	    /* by guest page number: index + 1 of the first block */
	uint64_t *page_lines;	    /* by guest page number: which 64-byte lines hold code */
	uint64_t pages;
	struct soft_patch patch[SOFT_PATCHES];
	uint64_t patched_pages; /* hashed: where there are any to be known of */
	struct soft_beside beside[SOFT_BESIDES];
	uint64_t added;		    /* blocks, ever */
	uint64_t reused;	    /* times that numbers of blocks and of edges became free */
	struct soft_shared *shared; /* one for each of blocks[] */
	uint32_t stamps;	    /* given out so far */
	/* emitted once: */
	int (*enter)(struct soft_vcpu *v, const void *code);
	const uint8_t *leave, *leave_mem, *leave_raw, *call_op, *dead, *dead_mem;
	const uint8_t *look_up[SOFT_CLASSES][2];   /* for reading, for writing */
	const uint8_t *string[SOFT_CLASSES][2][4]; /* REP STOS, REP MOVS; of 1 << i bytes */
};

/* Why translated code came back to soft_loop(). */
enum soft_reason {
	SOFT_LOOKUP,  /* go on at cpu.rip */
	SOFT_LINK,    /* the same, and make link_site jump there from now on */
	SOFT_EDGE,    /* the same for edge[link_site / 2] */
	SOFT_POLL,    /* go on at cpu.rip after looking at events */
	SOFT_REDO,    /* the instruction at cpu.rip is for C */
	SOFT_RESULT,  /* v->result says: FAULT or EXIT */
	SOFT_MISMATCH /* lock-step: the block came out differently; the VM is over */
};

#define SOFT_NO_BRANCH (1ull << 63) /* no instruction can be there */

struct soft_vm;
struct gen;

enum { SOFT_WRITTEN_MAX = 64 };

struct soft_vcpu {
	struct x86_cpu cpu; /* first: translated code addresses it through r15 */

	uint64_t host_rsp;
	uint64_t park, park2; /* host registers for a moment */
	uint64_t fill_add;    /* soft_fill(): the addend, for this access alone */
	uint32_t idle_stores; /* to pages marked as code that hold none, since the last translation
			       */
	uint64_t borrow;
	uint64_t swapped[4]; /* guest registers whose host registers have R12 to R15:
				soft_block.swap */
	uint32_t flags16;    /* AH, AL of LAHF and SETO: status flags outside the host's */
	uint32_t reason;     /* enum soft_reason */
	uint32_t link_site;  /* SOFT_LINK: offset in the cache of the jmp's displacement; times two,
				plus  one if it jumps with parked flags */
	uint64_t
		branch_rip; /* SOFT_LOOKUP: of the branch that went to cpu.rip, or SOFT_NO_BRANCH */
	/* 1: guest code may run on; 0: leave soon. Written by any thread. */
	_Atomic uint32_t run;
	bool want_jump;	     /* the next block that is looked up is for the jump cache */
	uint8_t intr_window; /* something waits for IF, the end of a shadow or IRET */
	uint8_t result;	     /* enum x86_result for SOFT_RESULT */
	bool fpu_live;	     /* guest x87/vector state is in the host's registers */
	bool single_step;    /* VM_CAP_MTRAP_EXIT */
	bool watch;	     /* DR7 enables something */
	uint8_t insn_len;    /* of the instruction that an exit is about */
	uint64_t watch_held; /* of MOV SS, until the instruction behind it is done */
	uint64_t watch_hit;  /* DR6 bits found while executing one instruction */
	uint32_t mode;	     /* of the jump caches' contents */

	struct soft_memo memo[SOFT_CLASSES][SOFT_MEMOS];
	union {
		uint8_t byte[SOFT_MEMOS / SOFT_MEMO_GROUP];
		uint64_t word[SOFT_MEMOS / SOFT_MEMO_GROUP / 8];
	} memo_used[SOFT_CLASSES];
	struct soft_windows windows[SOFT_CLASSES][2]; /* for reading, for writing */
	struct soft_mirror mirror[SOFT_MIRRORS];
	struct {	       /* two host pages of guest RAM side by side: split.c */
		uint8_t *host; /* NULL: none yet */
		uint8_t *low, *high;
	} split;
	unsigned mirror_next, mirror_pages;
	struct soft_string_place string_place[2][SOFT_STRING_PLACES]; /* for reading, for writing */
	bool memos_beside; /* there may be some that know a part of a page with code */
	struct soft_window mirror_wanted; /* by the next look at requests; hi 0: none */
	uint8_t mirror_class;
	uint32_t nomerge; /* 1: the next block without groups */

	struct soft_tlb *tlb[SOFT_CLASSES]; /* of bank[in_use] */
	struct soft_jump jc[SOFT_CLASSES][SOFT_JC_ENTRIES];
	uint32_t jc_filled[SOFT_CLASSES]; /* indices in jc_log[]; over SOFT_JC_LOG: useless */
	struct soft_filled jc_log[SOFT_CLASSES][SOFT_JC_LOG];
	bool jc_nonglobal[SOFT_CLASSES];
	/* Direct jumps to other pages: where to, or their stub; forgotten together with jc[]. */
	const void *edge[SOFT_EDGES];
	uint32_t edge_stub[SOFT_EDGES]; /* offset in the cache */
	uint32_t edge_next[SOFT_EDGES]; /* index + 1: of the same piece, or that nobody has */
	uint32_t nedges, edge_free;	/* those ever used; index + 1: that nobody has */
	uint32_t edges_filled[SOFT_CLASSES];
	struct soft_filled edge_log[SOFT_CLASSES][SOFT_EDGES];
	/* Pages that jc[] and edge[] may lead to, hashed, and which words of that are not 0. */
	uint64_t jc_pages[SOFT_CLASSES][SOFT_PAGE_FILTER / 64];
	uint64_t jc_words[SOFT_CLASSES][SOFT_PAGE_FILTER / 4096];
	uint64_t jump_root;  /* physical address of the page tables that they rest on */
	uint64_t jump_lists; /* made so far */
	struct soft_jump_list jump_list[SOFT_JUMP_LISTS];
	struct soft_itlb_entry itlb[SOFT_CLASSES][SOFT_ITLB_ENTRIES];
	uint64_t itlb_stamp[SOFT_CLASSES][2]; /* of global pages: [1] */
	uint64_t stamps;		      /* given out so far */
	struct soft_bank bank[SOFT_BANKS];
	unsigned in_use;
	/* Global pages that memo[] and itlb[] may know from banks that were in use before: as in
	 * struct soft_tlb. */
	struct soft_filter global[SOFT_CLASSES];
	bool low_global; /* there have been some in the lower half of the address space */

	struct {
		uint64_t cr0, cr3, cr4, efer;
	} lent; /* as they were at cpu_get */
	struct soft_vm *soft;
	struct vm *vm;
	int vcpuid;
	struct soft_cache cache;
	struct gen *gen;	  /* the translator's workspace */
	struct soft_check *check; /* lock-step */
	uint64_t torture;	  /* random numbers */
	struct x86_trap trap;
	pthread_t trap_thread; /* that has host signals prepared for us, if trap_ready */
	bool trap_ready;
	struct { /* recent results of vm_gpa_ram() */
		uint64_t gpa, len;
		uint8_t *hva;
	} ram[4];
	unsigned ram_next;
	uint64_t pause_first,
		pause_last;    /* host TSC: since when, and until when, PAUSE follows PAUSE */
	struct {	       /* the page outside RAM that was translated last */
		uint64_t page; /* linear | 1; 0: none */
		uint64_t gpa;
		uint8_t class;
		bool write;
	} device;
	/* Instructions that C executed at slow accesses, by where translated code called for it. */
	struct soft_known {
		const uint8_t *ret; /* NULL: none */
		struct x86_insn insn;
	} known[SOFT_KNOWN];
	uint64_t device_page; /* last byte of the page that vm_gpa_ram() did not know last; 0: none
			       */
	int cap[VM_CAP_MAX];
	bool host_invpcid; /* VM_CAP_ENABLE_INVPCID can be had */
	uint64_t last_rip; /* at the last exit: a different one at entry ends the shadow */
	uint64_t trap_rip; /* trap_due: #DB is due if the user completes the instruction to here */
	bool trap_due;	   /* TF was set at the last exit */
	void *rendezvous_cookie, *suspend_cookie;

	/* Stores of the current instruction to pages with code, not yet acted on. */
	unsigned npending_writes;
	bool pending_overflow;
	struct {
		uint64_t gpa;
		unsigned len;
	} pending_write[SOFT_PENDING_WRITES];
	uint8_t lost[4096]; /* stores to read-only pages go here */

	struct soft_heat {
		uint64_t rip;
		uint32_t count;
	} heat[SOFT_HEATS];
	uint32_t heat_tick; /* lock-step and torture: until the next region */

	/* Requests of other threads, served at the top of the loop. */
	_Atomic uint32_t flush_request; /* SOFT_REQ_* */
	_Atomic bool in_guest;
	pthread_mutex_t lock; /* written[] */
	unsigned nwritten;
	struct {
		uint64_t gpa, len;
	} written[SOFT_WRITTEN_MAX];

	/* Counters: written by the vcpu's thread alone. */
#define SOFT_STAT(member, name) uint64_t stat_##member;
#define SOFT_FIGURE(name, value)
#include "backend/soft/stat.def"
#undef SOFT_STAT
#undef SOFT_FIGURE
};
#define SOFT_REQ_CODE	  1u /* look at written[]; too many: drop all code */
#define SOFT_REQ_CODE_ALL 2u
#define SOFT_REQ_WRITE	  4u /* drop write tags */
#define SOFT_REQ_MAP	  8u /* the map of guest memory changed */

struct soft_vm {
	struct vm *vm;
	/* Settings (option.c); none changes once a vcpu has run. */
	uint32_t cache_size;		  /* bytes of code for each vcpu */
	bool all_flags;			  /* tests: no status flag is dead */
	bool count;			  /* stat_entered */
	uint64_t trace_first, trace_last; /* which blocks: those with an instruction there */
	struct soft_trace *trace;	  /* NULL: none */
	struct soft_perf *perf;		  /* NULL: none */
	bool lockstep;			  /* check.h */
	uint64_t torture;		  /* seed of torture.c, 0: off */
	unsigned max_insns;		  /* of a block; 0: as many as fit */
	uint64_t tsc_hz, tsc_offset; /* the latter at power-on, of all vcpus */
	struct soft_vcpu *vcpu[VM_MAXCPU];
	_Atomic uint16_t *page_code;	/* by guest page number: vcpus with code of that page */
	_Atomic uint16_t *page_writers; /* vcpus that may hold a write tag for it */
	bool share;			/* setting: blocks are copied */
	_Atomic bool running;		/* a vcpu has */
	_Atomic bool sharing;		/* `share`, and there are several of them */
	_Atomic uint64_t *shared;	/* where blocks may be found: share.c */
	uint64_t pages;
	struct { /* read-only for the guest: such pages count as code of every vcpu, for ever */
		uint64_t gpa, len;
	} rom[4];
	unsigned nroms;
};

/* The page of code at a linear address, if it is known. */
static inline struct soft_itlb_entry *soft_itlb_find(
	struct soft_vcpu *v, unsigned class, uint64_t gla)
{
	struct soft_itlb_entry *e = &v->itlb[class][soft_itlb_slot(gla)];

	return e->page == ((gla & ~0xfffull) | 1) &&
			       e->stamp == v->itlb_stamp[class][e->gpa & SOFT_TLB_GLOBAL]
		       ? e
		       : NULL;
}

/* ---- tlb.c, more ---- */
/* Is the page read-only for the guest? */
static inline bool soft_is_rom(const struct soft_vm *s, uint64_t gpa)
{
	for (unsigned i = 0; i < s->nroms; i++)
		if (gpa - s->rom[i].gpa < s->rom[i].len)
			return true;
	return false;
}

/* ---- soft.c ---- */
/* Host registers -> cpu.fpu, if they are the guest's; says whether they were. */
bool soft_park(struct soft_vcpu *v);
/* And back, if they were. */
void soft_unpark(struct soft_vcpu *v, bool parked);
/*
 * The same for calls of vmm/ that neither end in the user's code nor do more with libc than locks
 * and clocks: the x87 registers stay the guest's. vmm/ is built so that it cannot touch them.
 */
bool soft_lend(struct soft_vcpu *v);
void soft_return(struct soft_vcpu *v, bool lent);
uint64_t soft_cr8_read(struct x86_cpu *cpu);
void soft_cr8_write(struct x86_cpu *cpu, uint64_t value);
void soft_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* ---- device.c ---- */
enum x86_result soft_mmio_exit(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, unsigned len, bool write);
enum x86_result soft_mmio_read(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, void *buf, unsigned len);
enum x86_result soft_mmio_write(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, const void *buf, unsigned len);
/* Completes the IN or OUT of cpu.exit if the port is a chip's. False: it is the user's. */
bool soft_port(struct soft_vcpu *v);

/* ---- tlb.c ---- */
extern const struct x86_ops soft_x86_ops;
void soft_tlb_init(struct soft_vcpu *v);
/* What rests on pages that are not global, besides the TLBs, goes. */
void soft_tlb_leave(struct soft_vcpu *v);
/* Of the bank in use, with all that rests on it: everything, what is not global, one page. */
void soft_tlb_clear(struct soft_vcpu *v);
void soft_tlb_clear_nonglobal(struct soft_vcpu *v);
void soft_tlb_clear_page(struct soft_vcpu *v, uint64_t gla);
/* Of any TLB, which is not in use: everything, what is not global. */
void soft_tlb_empty(struct soft_tlb *t);
void soft_tlb_empty_nonglobal(struct soft_tlb *t);
/* One page; false: it may be a part of a large one, and nothing has been done. */
bool soft_tlb_empty_page(struct soft_tlb *t, uint64_t gla);
/* Takes the write tags of a guest page, or all of them; of all banks, or of one TLB. */
void soft_tlb_drop_writes(struct soft_vcpu *v, uint64_t gpa);
void soft_tlb_read_only(struct soft_tlb *t, uint64_t gpa);
#define SOFT_ALL_PAGES (~0ull)
void *soft_ram(struct soft_vcpu *v, uint64_t gpa);
/* The same if [gpa, gpa + len) is one piece. */
void *soft_ram_span(struct soft_vcpu *v, uint64_t gpa, uint64_t len);
/* Slot of a block in the jump cache. */
static inline unsigned soft_jc_slot(uint64_t rip)
{
	return rip & (SOFT_JC_ENTRIES - 1);
}
/* Bit of a filter for item n, a part of gla.  What is done to programs' pages is not to hit the
 * kernel's. */
static inline unsigned soft_filter_bit(uint64_t n, uint64_t gla)
{
	uint64_t hash = n * 0x9e3779b97f4a7c15ull >> 32;

	return (unsigned)(hash & (SOFT_PAGE_FILTER / 2 - 1)) |
	       (gla >> 63 ? SOFT_PAGE_FILTER / 2 : 0);
}
static inline unsigned soft_huge_bit(uint64_t gla)
{
	return (unsigned)((gla >> 30) * 0x9e3779b97f4a7c15ull >> 40 & 31) | (gla >> 63 ? 32 : 0);
}
/* A translation of gla is being cached: has INVLPG of another part of its page to know? */
void soft_note_large(struct soft_vcpu *v, unsigned class, uint64_t gla, const struct x86_walk *w);
/* Has a part of one been cached around gla? */
bool soft_is_large(const struct soft_vcpu *v, unsigned class, uint64_t gla);
/* DR6 bits of execution breakpoints at rip. */
uint32_t soft_exec_breakpoints(const struct soft_vcpu *v);
/* Acts on pending_write[]: true if code of this vcpu changed. */
bool soft_writes_done(struct soft_vcpu *v);
/*
 * What a look-up needs to know, a constant in translated code:
 *	bits 0..15: highest offset in the page that is good for it, 4096 - size
 *	bits 16..31: its memo
 *	bits 32..63: its site: index << 16 | SOFT_FILL_* | size; SOFT_FILL_REGION
 */
#define SOFT_FILL_REGION  (1ull << 63) /* some of the registers are swapped */
#define SOFT_FILL_SIZE	  0x0fffu
#define SOFT_FILL_MF	  0x1000u /* #MF may come before a fault of memory */
#define SOFT_FILL_EARLY	  0x2000u /* it is another instruction than the first that stores */
#define SOFT_FILL_MERGED  0x4000u /* for several instructions: all or none */
#define SOFT_FILL_ALIGNED 0x8000u /* size is the operand's alignment, too (X86_P_ALIGN) */
/* Called by translated code on a miss; ret: where to look again. */
const void *soft_fill(struct soft_vcpu *v, uint64_t gla, uint64_t what, const uint8_t *ret);
const void *soft_fill_write(struct soft_vcpu *v, uint64_t gla, uint64_t what, const uint8_t *ret);
/* So many stores to pages without code, and none was translated: they are data. A power of two. */
#define SOFT_IDLE_STORES   512u
#define SOFT_LOOK_UP_BYTES 15 /* of the instructions that call it */

/* ---- memo.c ---- */
void soft_memo_init(struct soft_vcpu *v);
/* All of them are to be had again: there is no code that uses any. */
void soft_memo_reset(struct soft_cache *c);
/* One for accesses of up to so many bytes, 256 at most. */
unsigned soft_memo_new(struct soft_vcpu *v, unsigned class, unsigned size, bool write);
/* Empties the memos of a class; only those for writing, or all. */
void soft_memo_clear(struct soft_vcpu *v, unsigned class, bool writes_only);
/* Those that know a page. */
void soft_memo_drop(struct soft_vcpu *v, unsigned class, uint64_t gla);
/*
 * Lets memo n cover the pages around gla that are neighbours in host memory. False: [gla, gla +
 * size) is not all among them; otherwise v->fill_add is set.
 */
bool soft_memo_widen(
	struct soft_vcpu *v, unsigned class, uint64_t gla, unsigned size, unsigned n, bool write);

/*
 * Memo n for writing has missed often, in a page of which only `lines` hold code, of this vcpu
 * alone: lets it cover those around gla that do not, until code is added to any page.  Not if none
 * do: such pages are data before long.
 */
void soft_memo_beside(struct soft_vcpu *v, unsigned class, uint64_t gla, unsigned n, uint64_t lines,
	uint64_t add);
void soft_memo_code_added(struct soft_vcpu *v);

/* ---- window.c ---- */
/* The widest one around gla, at least its page; false: the TLB has not even that. */
bool soft_window_find(
	struct soft_vcpu *v, unsigned class, uint64_t gla, bool write, struct soft_window *w);
/* One that was found before; false: none with gla in it. */
bool soft_window_listed(
	const struct soft_vcpu *v, unsigned class, uint64_t gla, bool write, struct soft_window *w);
/* A memo around gla has missed a lot, for all that it could have a window: is one worth a mirror?
 */
bool soft_window_want(struct soft_vcpu *v, unsigned class, uint64_t gla, bool write,
	const struct soft_window *have, unsigned debt);
/* Between blocks: a mirror, for nothing. */
void soft_window_mirror(struct soft_vcpu *v, unsigned class, uint64_t gla, bool write);
/* The list of windows, with the memos. */
void soft_window_clear(struct soft_vcpu *v, unsigned class, bool writes_only);
void soft_window_drop(struct soft_vcpu *v, unsigned class, uint64_t gla);
/* Between blocks: makes the mirror that is wanted; or unmaps all of them. */
void soft_mirror_build(struct soft_vcpu *v);
void soft_mirror_drop_all(struct soft_vcpu *v);

/* ---- split.c ---- */
/* x86_ops.join */
void *soft_join(struct x86_cpu *cpu, void *low, void *high);
/* The map of guest memory has changed, or the vcpu goes. */
void soft_split_drop(struct soft_vcpu *v);

/* ---- bank.c ---- */
void soft_bank_init(struct soft_vcpu *v);
/* x86_ops.flush */
void soft_tlb_flush(struct soft_vcpu *v, enum x86_flush kind, uint64_t gla);
/* A guest page lost its write tags, or all did: the same for banks that are not in use. */
void soft_bank_drop_writes(struct soft_vcpu *v, uint64_t gpa);

/* ---- walk.c ---- */
/* x86_walk(), quicker where there is nothing to mark and nothing to say against it. */
enum x86_result soft_walk(struct soft_vcpu *v, uint64_t gla, unsigned acc, struct x86_walk *out);
/* False: there is something to mark, to raise, or to look at closely; nothing has been done. */
bool soft_walk_marked(struct soft_vcpu *v, uint64_t gla, unsigned acc, struct x86_walk *out);

/* ---- jump.c ---- */
/* The jump cache leads to the block, or the edge does that STUB_EDGE's link_site names, until its code is
 * evicted or mappings of the class change. */
void soft_jump_enter(struct soft_vcpu *v, const struct soft_block *b);
void soft_edge_fill(struct soft_vcpu *v, uint32_t site, const struct soft_block *b);
/* They rest on the mapping of its pages. */
void soft_jump_rests(struct soft_vcpu *v, const struct soft_block *b, bool global);
/* All of a class go: because a page changed; because others are used, or all may have changed. */
void soft_jump_drop(struct soft_vcpu *v, unsigned class);
void soft_jump_leave(struct soft_vcpu *v, unsigned class);
/* What has left those page tables that are in use now comes back, if nothing has changed. */
void soft_jump_back(struct soft_vcpu *v);
void soft_jc_flush(struct soft_vcpu *v);

/* ---- cache.c ---- */
int soft_cache_create(struct soft_vcpu *v, uint32_t size);
void soft_cache_destroy(struct soft_cache *c);
/* gpa2: the page that follows, for blocks that lie in two; 0: none of those. */
struct soft_block *soft_block_find(
	struct soft_vcpu *v, uint64_t rip, uint64_t gpa, uint64_t gpa2, uint32_t mode);
void soft_block_insert(struct soft_vcpu *v, struct soft_block *b);
/* A piece is being evicted: its blocks leave the tables, and nothing knows of them any more. */
void soft_blocks_remove(struct soft_vcpu *v, const struct soft_piece *p);
/* The same for all blocks there are. */
void soft_blocks_forget(struct soft_vcpu *v);
/* A store to guest RAM by this vcpu, or seen by it: drops code that it changed. True if it did. */
bool soft_code_written(struct soft_vcpu *v, uint64_t gpa, uint64_t len);
/*
 * The block at a host address is about to store to len bytes of one page: drops code that this
 * changes.  False, with nothing dropped: the block itself is among that.
 */
bool soft_code_yields(struct soft_vcpu *v, uint64_t gpa, unsigned len, const uint8_t *running);
/* Have stores to gpa killed code again and again? */
bool soft_is_patched(const struct soft_cache *c, uint64_t gpa);
/* Another block is to take its place. */
void soft_block_retire(struct soft_vcpu *v, struct soft_block *b);
/* Has there been a block that is dead now, in a page where such stores are? */
bool soft_block_died(struct soft_cache *c, uint64_t rip, uint64_t gpa, uint32_t mode);
/* The youngest blocks, if they are dead and nothing leads to them: their room is free again.  No
 * translated code runs. */
void soft_cache_trim(struct soft_vcpu *v);
/* Announces it to the other vcpus. */
void soft_code_broadcast(struct soft_vcpu *v, uint64_t gpa, uint64_t len);
/* This vcpu drops what it has translated there before it runs on. Any thread. */
void soft_request_written(struct soft_vcpu *to, uint64_t gpa, uint64_t len);
/* Somebody stores to a page that is marked as code: is there any left? */
void soft_page_idle(struct soft_vcpu *v, uint64_t gpa);
/* Bits of the 64-byte lines of a page that [gpa, gpa + len) touches, up to the page's end. */
uint64_t soft_lines(uint64_t gpa, uint64_t len);
/* What jumps to a block jump to. */
uint32_t soft_entry(const struct soft_cache *c, const struct soft_block *b, bool parked);
/* Translated code came to a block that is dead: where to look for another. */
const void *soft_dead(struct soft_vcpu *v, const uint8_t *ret);
void soft_page_has_code(struct soft_vcpu *v, uint64_t gpa);

/*
 * The other side of it: v wants to write to a page.  Its mark is set, then it looks who has code
 * there, by vcpu.  The mark has to be there still: somebody who waited for an earlier write may take
 * it away between the two, and be gone with his code by the time of the look.
 */
static inline unsigned soft_page_has_writer(struct soft_vcpu *v, uint64_t pfn)
{
	_Atomic uint16_t *writers = &v->soft->page_writers[pfn];
	const uint16_t self = (uint16_t)(1u << v->vcpuid);
	unsigned code;

	do {
		if (!(atomic_load(writers) & self)) /* mostly it is there already */
			atomic_fetch_or(writers, self);
		code = atomic_load(&v->soft->page_code[pfn]);
	} while (!(atomic_load(writers) & self));
	return code;
}
void soft_serve_requests(struct soft_vcpu *v);

/* ---- piece.c ---- */
/* Shares out the code from c->start on, the metadata and blocks[]. */
void soft_pieces_create(struct soft_cache *c);
static inline struct soft_piece *soft_filling(struct soft_cache *c)
{
	return &c->piece[c->filling];
}
/* Which one an offset in the cache lies in; c->npieces: none. */
unsigned soft_piece_at(const struct soft_cache *c, uint64_t off);
/* Does a block of so much code fit into the piece that is being filled? */
bool soft_has_room(struct soft_cache *c, uint32_t code);
/* On to the next piece: what was in it is gone. */
void soft_make_room(struct soft_vcpu *v);
/* Metadata that is evicted with the blocks of this piece; NULL: it has no more. */
void *soft_meta_alloc(struct soft_cache *c, uint32_t size, uint32_t align);
struct soft_block *soft_block_at(struct soft_cache *c, const void *host);
/* These two between blocks alone. */
void soft_piece_evict(struct soft_vcpu *v, unsigned piece);
void soft_cache_flush(struct soft_vcpu *v);

/* ---- share.c ---- */
/* The table of what is shared; NULL: no memory. */
_Atomic uint64_t *soft_share_table(void);
void soft_share_free(_Atomic uint64_t *table);
/* Before a vcpu runs first: are there others to share with? */
void soft_share_begin(struct soft_vcpu *v);
/* The block that has just been translated may be copied from now on, if anybody may want to. */
void soft_share(struct soft_vcpu *v, const struct soft_block *b);
/* It is about to change, or to go. */
void soft_unshare(struct soft_cache *c, const struct soft_block *b);
/* A copy of a block for the same code, another vcpu's or one for another rip. NULL: there is none, or no
 * room for it. */
struct soft_block *soft_copy(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page);
/*
 * Tests: a copy of the block that has just been translated takes its place, every other time.  Says
 * which block it is now.
 */
struct soft_block *soft_copy_own(
	struct soft_vcpu *v, struct soft_block *b, const struct soft_itlb_entry *page);

/* ---- link.c: all offsets are in the cache ---- */
/*
 * Makes the displacement at `site`, which leads to its stub so far, lead to the code at `to`, until
 * that is evicted.
 */
void soft_link(struct soft_cache *c, uint32_t site, uint32_t to);
/* A slot of edge[] for code of the piece that is being filled. Only if there is one left. */
unsigned soft_edge_new(struct soft_vcpu *v);
bool soft_edge_left(const struct soft_vcpu *v);
/* Where it leads by itself. */
void soft_edge_stub(struct soft_vcpu *v, unsigned edge, uint32_t stub);
/* Frees the edges that a piece got since its youngest was `before`. */
void soft_edges_drop(struct soft_vcpu *v, struct soft_piece *p, uint32_t before);
/* A piece goes: what led into it leads to its stub again, and its own jumps are forgotten. */
void soft_unlink(struct soft_vcpu *v, struct soft_piece *p);
/* All pieces go. */
void soft_links_forget(struct soft_vcpu *v);

/* ---- thunk.c ---- */
void soft_emit_thunks(struct soft_vcpu *v);

/* ---- gen_string.c ---- */
struct emit;
void soft_emit_string_thunks(struct emit *e, struct soft_cache *c);

/* ---- translate.c ---- */
struct gen *soft_gen_create(void);
struct soft_block *soft_translate(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page);

/*
 * The region whose path is in v->gen, in place of the block at its beginning.  NULL: not this one,
 * and nothing has changed.
 */
struct soft_block *soft_translate_region(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page);

/* ---- region.c ---- */
/* Translated code looked at events where it is in a loop: is that loop hot? */
bool soft_region_hot(struct soft_vcpu *v);
/*
 * Executes one turn of the loop at cpu.rip by single steps, and makes a region of it if it can.
 * False: an exit has been filled in.
 */
bool soft_region_form(struct soft_vcpu *v);
/* The guest's registers as everybody else has them, and back. */
void soft_swap_out(struct soft_vcpu *v, const struct soft_block *b);
void soft_swap_in(struct soft_vcpu *v, const struct soft_block *b);
/* Is it a place in a region where they are swapped? */
static inline bool soft_in_body(
	const struct soft_vcpu *v, const struct soft_block *b, const void *code)
{
	uint64_t off = (uint64_t)((const uint8_t *)code - v->cache.rx);

	return off - (b->host + b->sites[0].host) < soft_block_end(b) - (b->host + b->sites[0].host);
}
/* A region's accesses do not fit its groups: after some of these it goes. */
void soft_region_misfit(struct soft_vcpu *v, struct soft_block *b);

/* ---- op.c: C functions that translated code calls ---- */
const void *soft_op_execute(struct soft_vcpu *v, struct soft_op *op);
const void *soft_op_fetch(struct soft_vcpu *v, struct soft_op *op);
const void *soft_op_cr3(struct soft_vcpu *v, struct soft_op *op);
const void *soft_finish(struct soft_vcpu *v, enum x86_result res, const void *resume);

/* ---- string.c: strings whose addresses have no base and no limit ---- */
const void *soft_op_string(struct soft_vcpu *v, struct soft_op *op);
/* ---- fast.c ---- */
/*
 * Translated code for cpu.rip after C has changed it, with flags16 prepared; NULL with v->reason:
 * that is for soft_loop().
 */
const void *soft_go_on(struct soft_vcpu *v);
const void *soft_op_syscall(struct soft_vcpu *v, struct soft_op *op);
const void *soft_op_sysret(struct soft_vcpu *v, struct soft_op *op);
const void *soft_op_iret(struct soft_vcpu *v, struct soft_op *op);
/* Delivers an event if that is simple.  False: nothing has happened, it is for x86_deliver(). */
bool soft_deliver_fast(struct soft_vcpu *v, const struct x86_event *ev);
/* The same for cpu.fault of an instruction, which stays there. */
bool soft_fault_fast(struct soft_vcpu *v);

/* ---- loop.c ---- */
uint32_t soft_mode(struct soft_vcpu *v);
/* The page of code at a linear address; NULL: v->result says why not. */
struct soft_itlb_entry *soft_fetch_page(struct soft_vcpu *v, unsigned class, uint64_t gla);
/* The same if it is easily had; otherwise nothing has happened. */
struct soft_itlb_entry *soft_known_page(struct soft_vcpu *v, unsigned class, uint64_t gla);
int soft_loop(struct soft_vcpu *v);
/* One instruction without translation. False: an exit has been filled in. */
bool soft_step(struct soft_vcpu *v);
bool soft_trap(struct x86_trap *trap, int sig, void *info, void *context);

/* ---- event.c ---- */
/* Injects what is due. False: an exit has been filled in. */
bool soft_events(struct soft_vcpu *v);
/* Delivers cpu.fault. False: an exit has been filled in. */
bool soft_deliver_fault(struct soft_vcpu *v);
/* May something that waited be injected now? */
bool soft_window_open(const struct soft_vcpu *v);

/* ---- torture.c ---- */
/* At the top of the loop, and in a fill: loses cached things, asks to leave. */
void soft_torture_loop(struct soft_vcpu *v);
void soft_torture_fill(struct soft_vcpu *v);
/* Before a block is translated. */
void soft_torture_translate(struct soft_vcpu *v);
bool soft_torture_odds(struct soft_vcpu *v, unsigned one_in);
/* Instructions that a block may have now. */
unsigned soft_block_limit(struct soft_vcpu *v, unsigned most);

static inline bool soft_tortured(const struct soft_vcpu *v)
{
	return __builtin_expect(v->torture != 0, 0);
}

/* On behind the instruction that an exit was about. */
static inline void soft_skip(struct soft_vcpu *v)
{
	v->cpu.rip += v->insn_len;
	if (!(v->cpu.efer & X86_EFER_LMA && v->cpu.seg[X86_CS].access & X86_SEG_L))
		v->cpu.rip = (uint32_t)v->cpu.rip;
}

/* Is the way from one block to the next to go through soft_loop() this time? */
static inline bool soft_unlinked(struct soft_vcpu *v)
{
	return __builtin_expect(v->check != 0, 0) || (soft_tortured(v) && soft_torture_odds(v, 2));
}

/* ---- tsc.c ---- */
uint64_t soft_host_tsc(void);
uint64_t soft_tsc_measure(void);     /* Hz; takes 2 ms */
uint64_t soft_guest_tsc(void *vcpu); /* any thread */

/* ---- exit.c ---- */
/* Turns cpu.exit into vm_exitinfo(). */
void soft_exit(struct soft_vcpu *v);
void soft_exit_mtrap(struct soft_vcpu *v);

/* ---- stat.c ---- */
/* vmm_ops.stat */
bool soft_stat(void *vmi, int vcpu, unsigned i, const char **name, uint64_t *value);
/* Taken before a translation, and what that took is counted behind it. */
struct soft_stat_mark {
	uint64_t tsc;	     /* room may have to be made between this */
	uint32_t code, meta; /* and these: soft_stat_mark() */
};
void soft_stat_mark(struct soft_vcpu *v, struct soft_stat_mark *m);
void soft_stat_translated(struct soft_vcpu *v, const struct soft_stat_mark *m);
void soft_stat_copied(struct soft_vcpu *v, const struct soft_stat_mark *m);
/* An instruction that C executes for translated code. */
void soft_stat_in_c(struct soft_vcpu *v, const struct x86_insn *insn);

/* ---- trace.c ---- */
/* Guest and host code of blocks, into a file. 0, or an errno and a line in why[size]. */
int soft_trace_open(struct soft_vm *s, const char *path, char *why, size_t size);
void soft_trace_close(struct soft_vm *s);
/* A block has been translated: for the trace and perf's map. Guest vector registers are kept. */
void soft_observe(struct soft_vcpu *v, const struct soft_block *b);

/* ---- perf.c ---- */
/* The process's map for perf(1), or its dump; the last VM to open it has it. Errors as above. */
int soft_perf_open(struct soft_vm *s, bool dump, char *why, size_t size);
void soft_perf_close(struct soft_vm *s);
/* A cache has been created. An errno: it is gone again. */
int soft_perf_cache(struct soft_vcpu *v);
void soft_perf_block(struct soft_vcpu *v, const struct soft_block *b);
/* What begins at a host address; NULL: no thunk. */
const char *soft_thunk_name(const struct soft_cache *c, const uint8_t *code);

/* ---- jitdump.c ---- */
struct soft_jitdump;
/* 0 or an errno. The last one of the process has the file. */
int soft_jitdump_open(struct soft_jitdump **dump);
void soft_jitdump_close(struct soft_jitdump *dump);
/* From now on there is code at `code`. Any vcpu's thread. */
void soft_jitdump_code(
	struct soft_jitdump *dump, const uint8_t *code, size_t size, const char *name);

#endif
