/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The architectural state of one logical processor and everything the manuals define on it that the
 * host's ALU cannot do for us: paging, segmentation, privilege checks, control transfers through
 * gates, exception and interrupt delivery, task switches, CPUID and MSRs, and the execution of one
 * single instruction.  A backend owns a struct x86_cpu and lends its memory through struct x86_ops.
 *
 * Rule of the room: this code is built without vector or x87 instructions
 * (-mgeneral-regs-only), because the guest's live in the host's registers while it runs.
 */
#ifndef X86_CPU_H
#define X86_CPU_H

#include "x86/insn.h"

/* RFLAGS */
#define X86_RF_TF   (1ull << 8)
#define X86_RF_IF   (1ull << 9)
#define X86_RF_DF   (1ull << 10)
#define X86_RF_IOPL (3ull << 12)
#define X86_RF_NT   (1ull << 14)
#define X86_RF_RF   (1ull << 16)
#define X86_RF_VM   (1ull << 17)
#define X86_RF_AC   (1ull << 18)
#define X86_RF_VIF  (1ull << 19)
#define X86_RF_VIP  (1ull << 20)
#define X86_RF_ID   (1ull << 21)

#define X86_CR0_PE (1u << 0)
#define X86_CR0_MP (1u << 1)
#define X86_CR0_EM (1u << 2)
#define X86_CR0_TS (1u << 3)
#define X86_CR0_ET (1u << 4)
#define X86_CR0_NE (1u << 5)
#define X86_CR0_WP (1u << 16)
#define X86_CR0_AM (1u << 18)
#define X86_CR0_NW (1u << 29)
#define X86_CR0_CD (1u << 30)
#define X86_CR0_PG (1u << 31)

#define X86_CR4_VME	   (1u << 0)
#define X86_CR4_PVI	   (1u << 1)
#define X86_CR4_TSD	   (1u << 2)
#define X86_CR4_DE	   (1u << 3)
#define X86_CR4_PSE	   (1u << 4)
#define X86_CR4_PAE	   (1u << 5)
#define X86_CR4_MCE	   (1u << 6)
#define X86_CR4_PGE	   (1u << 7)
#define X86_CR4_PCE	   (1u << 8)
#define X86_CR4_OSFXSR	   (1u << 9)
#define X86_CR4_OSXMMEXCPT (1u << 10)
#define X86_CR4_UMIP	   (1u << 11)
#define X86_CR4_FSGSBASE   (1u << 16)
#define X86_CR4_PCIDE	   (1u << 17)
#define X86_CR4_OSXSAVE	   (1u << 18)
#define X86_CR4_SMEP	   (1u << 20)
#define X86_CR4_SMAP	   (1u << 21)
#define X86_CR4_PKE	   (1u << 22)
#define X86_CR4_PKS	   (1u << 24)

#define X86_EFER_SCE (1u << 0)
#define X86_EFER_LME (1u << 8)
#define X86_EFER_LMA (1u << 10)
#define X86_EFER_NXE (1u << 11)

/* Exception vectors (SDM vol. 3, 6.15). */
enum {
	X86_DE = 0, X86_DB = 1, X86_NMI_VECTOR = 2, X86_BP = 3, X86_OF = 4, X86_BR = 5, X86_UD = 6,
	X86_NM = 7, X86_DF = 8, X86_TS = 10, X86_NP = 11, X86_SS_FAULT = 12, X86_GP = 13, X86_PF = 14,
	X86_MF = 16, X86_AC = 17, X86_MC = 18, X86_XM = 19
};

/*
 * A segment register with its hidden part.  `access` has the layout of struct seg_desc in vmm.h: type
 * 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.  `limit` is in bytes.
 */
struct x86_seg {
	uint64_t base;
	uint32_t limit;
	uint32_t access;
	uint16_t sel;
};
#define X86_SEG_TYPE(a)	   ((a)&0xfu)
#define X86_SEG_S	   (1u << 4)
#define X86_SEG_DPL(a)	   (((a) >> 5) & 3u)
#define X86_SEG_P	   (1u << 7)
#define X86_SEG_L	   (1u << 13)
#define X86_SEG_DB	   (1u << 14)
#define X86_SEG_G	   (1u << 15)
#define X86_SEG_UNUSABLE   (1u << 16)

/* x87, SSE and AVX state in the standard (not compacted) XSAVE layout: 512 + 64 + 256 bytes. */
#define X86_XSAVE_SIZE 832
#define X86_XCR0_SUPPORTED 7u /* x87, SSE, AVX: what the host's registers hold */
#define X86_XCR0_PKRU	   (1u << 9)

/* How an instruction or an event delivery ended. */
enum x86_result {
	X86_DONE,	 /* completed; rip points behind it */
	X86_FAULT,	 /* cpu->fault says which exception; state as before the instruction */
	X86_EXIT,	 /* cpu->exit says what the owner has to do; state as before, unless said there */
	X86_AGAIN	 /* a repeated string instruction used up its share: rip still on it */
};

struct x86_fault {
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint64_t cr2;	/* for #PF; stored into CR2 at delivery */
	uint64_t dr6;	/* for #DB: bits to set in DR6 */
};

/* Reasons for X86_EXIT. The instruction has not been completed unless noted. */
enum x86_exit_reason {
	X86_EXIT_NONE,
	X86_EXIT_IO,		/* IN, OUT: port, size, in, value in RAX; permission already checked */
	X86_EXIT_IO_STRING,	/* INS, OUTS: permission already checked */
	X86_EXIT_HLT,
	X86_EXIT_RDMSR,		/* msr, not one that x86_ops.rdmsr knew */
	X86_EXIT_WRMSR,
	X86_EXIT_PAUSE,
	X86_EXIT_TASK_SWITCH,	/* tss_sel, reason, error code */
	X86_EXIT_MMIO,		/* gpa, gla, size, write: data access outside RAM */
	X86_EXIT_TRIPLE_FAULT
};

enum x86_task_reason { X86_TASK_CALL, X86_TASK_IRET, X86_TASK_JMP, X86_TASK_GATE }; /* as vmm.h */

struct x86_exit {
	uint8_t reason; /* enum x86_exit_reason */
	union {
		struct {
			uint16_t port;
			uint8_t size;
			bool in;
			bool rep;
			uint8_t addrsize;
			uint8_t seg; /* enum x86_segreg: ES for INS, overridable for OUTS */
		} io;
		struct {
			uint32_t msr;
			uint64_t value;
		} msr;
		struct {
			uint16_t sel;
			uint8_t reason; /* enum x86_task_reason */
			bool external;	/* caused by an event, not an instruction */
			bool has_error;
			uint32_t error;
		} task;
		struct {
			uint64_t gpa;
			uint64_t gla;
			uint8_t size;
			bool write;
			bool table; /* a page table lies there: gla is what it was to translate */
		} mmio;
	};
};

struct x86_cpu;

/* Access kinds, for translation and checks. */
#define X86_ACC_READ	 0x01u
#define X86_ACC_WRITE	 0x02u
#define X86_ACC_EXEC	 0x04u
#define X86_ACC_USER	 0x08u /* as CPL 3 */
#define X86_ACC_IMPLICIT 0x10u /* implicit supervisor access (descriptor tables, TSS): SMAP ignores AC */
#define X86_ACC_NOFAULT	 0x20u /* do not fill cpu->fault, set no accessed or dirty bits */

enum x86_flush {
	X86_FLUSH_ALL,	     /* everything, global pages too */
	X86_FLUSH_NONGLOBAL, /* of all PCIDs */
	X86_FLUSH_CR3,	     /* CR3 was written: what its PCID had is gone, but for global pages */
	X86_FLUSH_CR3_KEEP,  /* the same with bit 63 set: nothing is gone */
	X86_FLUSH_PCID,	     /* gla is a PCID, any: all of it but global pages */
	X86_FLUSH_PAGE,	     /* gla: the page of the current PCID or a global one, of any size */
	X86_FLUSH_PCID_PAGE, /* gla | PCID: the page of that PCID, global ones may stay */
	X86_FLUSH_MODE	     /* CR0.WP, CR4.SMEP/SMAP, EFER.NXE...: cached permissions are stale */
};

/*
 * What the owner of a struct x86_cpu provides.  `cpu->owner` is his.  All pointers but `join` must be set.
 * Functions that return enum x86_result use DONE, FAULT (filled by the callee) and EXIT.
 */
struct x86_ops {
	/*
	 * Host address of guest-physical [gpa, gpa+len), which lies inside one 4 KiB page; NULL if
	 * that is not RAM.  `write` announces a store (dirty logs, code invalidation).
	 */
	void *(*ram)(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write);
	/*
	 * Host address of linear [gla, gla+len), inside one 4 KiB page, after translation and permission
	 * checks for `acc`.  On FAULT or EXIT (MMIO, cpu->exit filled) returns NULL and sets *res.
	 * The plain implementation is x86_map_walk(); a backend may put its TLB in front.
	 */
	void *(*map)(struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc,
		enum x86_result *res);
	/*
	 * One host address under which the last bytes of a page, at `low`, and the first bytes of another,
	 * at `high`, both as `map` gave them, follow each other, until the next call; for LOCK across two
	 * pages. NULL: cannot be had. The member may be NULL; the instruction is then not atomic.
	 */
	void *(*join)(struct x86_cpu *cpu, void *low, void *high);
	/* Data access outside RAM.  EXIT asks for the MMIO exit (fills cpu->exit by itself). */
	enum x86_result (*mmio_read)(struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, void *buf,
		unsigned len);
	enum x86_result (*mmio_write)(struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, const void *buf,
		unsigned len);
	/* What may not be used any longer, if it is cached.  CR3 and CR4 have their new values. */
	void (*flush)(struct x86_cpu *cpu, enum x86_flush kind, uint64_t gla);
	/* MSRs that are not part of struct x86_cpu.  FAULT with #GP(0), EXIT to pass it on. */
	enum x86_result (*rdmsr)(struct x86_cpu *cpu, uint32_t msr, uint64_t *value);
	enum x86_result (*wrmsr)(struct x86_cpu *cpu, uint32_t msr, uint64_t value);
	uint64_t (*cr8_read)(struct x86_cpu *cpu);
	void (*cr8_write)(struct x86_cpu *cpu, uint64_t value); /* 0..15 */
	/* Guest-visible CPUID; the policy of x86_cpuid() with the owner's topology. */
	void (*cpuid)(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
	/* True when a repeated instruction should stop early to let an event in. */
	bool (*poll)(struct x86_cpu *cpu);
};

#define X86_SHADOW_STI	 1u
#define X86_SHADOW_MOVSS 2u

struct x86_exec;

/* Whose processor the guest sees; the manuals differ in SYSCALL and SYSENTER. */
enum x86_vendor { X86_VENDOR_INTEL, X86_VENDOR_AMD };

struct x86_cpuid_leaf {
	uint32_t leaf, subleaf;
	uint32_t reg[4]; /* EAX, EBX, ECX, EDX */
};
#define X86_CPUID_LEAVES 40

/* Offsets of the first members are baked into translated code: hot ones first. */
struct x86_cpu {
	uint64_t gpr[16]; /* encoding order */
	uint64_t rip;	  /* EIP, IP zero-extended: an offset into CS */
	uint64_t rflags;  /* all bits; bit 1 always set */
	struct x86_seg seg[6];
	struct x86_seg ldtr, tr;
	struct {
		uint64_t base;
		uint32_t limit;
	} gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, efer, xcr0;
	uint64_t pkrs; /* MSR; 32 bits */
	uint32_t pkru;
	uint64_t pdpte[4]; /* PAE: loaded with CR3 (SDM vol. 3, 4.4.1) */
	uint64_t dr[8];	   /* 0..3, 6, 7 */
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_aux, misc_enable, mtrr_deftype;
	uint64_t tsc_offset; /* guest TSC = host TSC + this */
	uint8_t cpl;	     /* SS.DPL */
	uint8_t shadow;	     /* X86_SHADOW_*: interrupts held back for one instruction */
	bool nmi_blocked;    /* between an NMI's delivery and IRET */
	uint8_t maxphyaddr;  /* guest-physical address bits */
	uint64_t features[(X86_F_COUNT + 63) / 64]; /* offered rows: x86_cpuid policy */
	struct x86_fault fault;
	struct x86_exit exit;
	const struct x86_ops *ops;
	void *owner;
	struct x86_exec *exec; /* where single instructions are executed natively (exec.c) */
	uint64_t tsc_adjust, spec_ctrl;
	uint32_t signature; /* CPUID.1:EAX */
	uint8_t vendor;	    /* enum x86_vendor, of the host */
	bool host_in_use;   /* the host has XGETBV with ECX = 1 */
	struct x86_cpuid_leaf cpuid[X86_CPUID_LEAVES]; /* the model, built by x86_features_init() */
	/* XSAVE image of the guest's vector and x87 state, when it is not in the host's registers. */
	uint8_t fpu[X86_XSAVE_SIZE] __attribute__((aligned(64)));
};

/* ---- state ---- */

/* Power-on values (SDM vol. 3, table 9-1); `ops`, `owner`, `exec` and what x86_features_init() filled are kept. */
void x86_reset(struct x86_cpu *cpu);
/* 16, 32 or 64: what CS.L and CS.D say now. */
unsigned x86_code_size(const struct x86_cpu *cpu);
/* rip as a linear address. */
uint64_t x86_linear_rip(const struct x86_cpu *cpu);
bool x86_canonical(uint64_t gla);
/* The process-context identifier, 0 without CR4.PCIDE (SDM vol. 3, 4.10.1). */
static inline unsigned x86_pcid(const struct x86_cpu *cpu)
{
	return cpu->cr4 & X86_CR4_PCIDE ? (unsigned)cpu->cr3 & 0xfffu : 0;
}

/* ---- faults: fill cpu->fault, return X86_FAULT ---- */
enum x86_result x86_raise(struct x86_cpu *cpu, unsigned vector);		 /* no error code */
enum x86_result x86_raise_error(struct x86_cpu *cpu, unsigned vector, uint32_t error);
enum x86_result x86_raise_pf(struct x86_cpu *cpu, uint64_t gla, uint32_t error);

/*
 * DR6 as #DB leaves it: B0 to B3 tell the breakpoints of this one, what else has been set stays
 * (SDM vol. 3, 17.2.3; APM vol. 2, 13.1.1.3).
 */
#define X86_DR6_B   0xfull
#define X86_DR6_BS  (1ull << 14)
static inline uint64_t x86_dr6_raised(uint64_t dr6, uint64_t what)
{
	return (dr6 & ~X86_DR6_B) | what;
}

/* ---- paging (paging.c) ---- */
struct x86_walk {
	uint64_t gpa;	     /* of gla itself */
	uint8_t page_shift;  /* 12, 21, 22 or 30 */
	bool user, writable, executable; /* permissions of the whole path, CR0.WP etc. not applied */
	bool global, dirty;
	bool accessed; /* so say the entries of the whole path */
};
/*
 * Translates one linear address with all checks (WP, NX, SMEP, SMAP, reserved bits, PSE-36), setting
 * accessed and dirty bits.  DONE, or FAULT with #PF in cpu->fault (nothing filled with NOFAULT), or
 * EXIT with MMIO when a page table itself lies outside RAM.  Non-canonical addresses are the caller's.
 */
enum x86_result x86_walk(struct x86_cpu *cpu, uint64_t gla, unsigned acc, struct x86_walk *out);
/* x86_ops.map on top of x86_walk and x86_ops.ram, without any cache. */
void *x86_map_walk(struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc,
	enum x86_result *res);
/* Copies that may cross pages and reach MMIO.  FAULT leaves memory untouched. len <= 4096. */
enum x86_result x86_read(struct x86_cpu *cpu, uint64_t gla, void *buf, unsigned len, unsigned acc);
enum x86_result x86_write(struct x86_cpu *cpu, uint64_t gla, const void *buf, unsigned len,
	unsigned acc);

/* ---- segmentation (segment.c) ---- */
/*
 * Offset to linear address with every check of the current mode: limits, type, presence, canonical
 * form; raises #GP(0), or #SS(0) for SS.  `size` bytes; acc READ or WRITE (EXEC never).
 */
enum x86_result x86_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
	unsigned acc, uint64_t *gla);
/* Effective address of insn->mem (offset only, truncated to the address size). */
uint64_t x86_effective(const struct x86_cpu *cpu, const struct x86_insn *insn);
/* MOV/POP/Lxx to a data or stack segment register, with all checks. Not CS. */
enum x86_result x86_load_seg(struct x86_cpu *cpu, unsigned seg, uint16_t sel);

/* ---- events (event.c, task.c) ---- */
enum x86_event_type { X86_EV_INTR = 0, X86_EV_NMI = 2, X86_EV_EXCEPTION = 3, X86_EV_SOFTINT = 4,
	X86_EV_PRIV_SOFTEXC = 5, X86_EV_SOFTEXC = 6 /* INT3, INTO: as VMX types */ };
struct x86_event {
	uint8_t vector;
	uint8_t type;	 /* enum x86_event_type */
	bool has_error;
	uint32_t error;
	uint64_t next_rip; /* for software events: the return address */
};
/*
 * Delivers through the IVT or IDT of the current mode.  DONE: cpu stands at the handler.  FAULT: the
 * delivery itself faulted (cpu->fault), nothing changed; the caller combines the two (double and
 * triple faults are his).  EXIT: TASK_SWITCH through a task gate.
 */
enum x86_result x86_deliver(struct x86_cpu *cpu, const struct x86_event *event);
/*
 * Completes a hardware task switch as X86_EXIT_TASK_SWITCH described it.  `next_rip` is the return
 * address saved in the old TSS.  16-bit and 32-bit TSSs.
 */
enum x86_result x86_task_switch(struct x86_cpu *cpu, uint16_t sel, enum x86_task_reason reason,
	bool external, bool has_error, uint32_t error, uint64_t next_rip);

/* ---- instructions ---- */
/* #UD/#NM/#GP because of features, CR0/CR4/XCR0, CPL or mode? DONE if it may execute. (allow.c) */
enum x86_result x86_insn_allowed(struct x86_cpu *cpu, const struct x86_insn *insn);
/* Executes a SYSTEM instruction. cpu->rip is on it; on DONE it points to the next. (system.c) */
enum x86_result x86_system(struct x86_cpu *cpu, const struct x86_insn *insn);
/*
 * Executes a STRING instruction: whole pieces of pages natively, MMIO element by element.  AGAIN after
 * `x86_ops.poll` asked for it, registers and rip restartable. (string.c)
 */
enum x86_result x86_string(struct x86_cpu *cpu, const struct x86_insn *insn);
/*
 * Executes any one decoded instruction of the table, whatever its class: NATIVE rows on the host CPU
 * with the memory operand in a bounce buffer, filled from and flushed to RAM or devices.  This is what
 * finishes an MMIO exit on every backend and what a translator falls back on. x86_insn_allowed() is
 * called inside.  Does not deliver faults and does not look at TF. (step.c)
 */
enum x86_result x86_execute(struct x86_cpu *cpu, const struct x86_insn *insn);
/* Fetches at rip with EXEC permission and decodes: DONE, or FAULT (#PF, #GP, #UD), EXIT (fetch from MMIO). */
enum x86_result x86_fetch(struct x86_cpu *cpu, struct x86_insn *insn);
/*
 * Whether x86_fetch() would give `insn`, which it has given before: the bytes are compared, which
 * takes less time than decoding them.  False also where that cannot be told at once.
 */
bool x86_fetch_same(struct x86_cpu *cpu, const struct x86_insn *insn);

/* MOV to CRn semantics, also for API users: FAULT #GP(0) on reserved or illegal bits. (control.c) */
enum x86_result x86_set_cr0(struct x86_cpu *cpu, uint64_t value);
enum x86_result x86_set_cr3(struct x86_cpu *cpu, uint64_t value);
enum x86_result x86_set_cr4(struct x86_cpu *cpu, uint64_t value);
enum x86_result x86_set_efer(struct x86_cpu *cpu, uint64_t value);
/* Drops translations that the keys have a part in. */
void x86_set_pkru(struct x86_cpu *cpu, uint32_t value);
enum x86_result x86_set_xcr0(struct x86_cpu *cpu, uint64_t value);
enum x86_result x86_rdmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t *value);
enum x86_result x86_wrmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t value);
/* POPF/IRET style update: which bits may change depends on CPL, IOPL and mode. */
void x86_set_rflags(struct x86_cpu *cpu, uint64_t value, uint64_t mask);

/* ---- CPUID policy (cpuid.c) ---- */
struct x86_topology {
	uint32_t apic_id;
	uint16_t cores, threads; /* of a package, of a core; at least 1 */
	bool x2apic;
	bool apic_off; /* by its base register: CPUID then shows none (SDM vol. 3, 10.4.3) */
};
/* Fills cpu->features and maxphyaddr with what the host has and the table covers. Host CPUID is read once. */
void x86_features_init(struct x86_cpu *cpu);
void x86_cpuid(const struct x86_cpu *cpu, const struct x86_topology *topo, uint32_t leaf,
	uint32_t subleaf, uint32_t out[4]);
bool x86_has_feature(const struct x86_cpu *cpu, unsigned feature);

/* ---- host side of native execution (exec.c, trap.c) ---- */
/* An executable scratch area, W^X by double mapping. One per cpu; not shared between threads. */
struct x86_exec *x86_exec_create(void);
void x86_exec_destroy(struct x86_exec *exec);
/* Loads / stores the host's x87, SSE and AVX registers from / to cpu->fpu. */
void x86_fpu_load(struct x86_cpu *cpu);
void x86_fpu_save(struct x86_cpu *cpu);
/*
 * The same for C code that may use those registers in between: quicker, and the host's registers are in
 * the state that the ABI promises.
 */
void x86_fpu_park(struct x86_cpu *cpu);
void x86_fpu_unpark(struct x86_cpu *cpu);
/*
 * Only for a call of C code that may move data through vector registers, but has no floating-point arithmetic
 * and no x87 or MMX instruction: the guest's x87 registers and MXCSR stay where they are.
 */
void x86_vectors_lend(struct x86_cpu *cpu);
void x86_vectors_return(struct x86_cpu *cpu);

/*
 * Host signals (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP) whose program counter lies in [lo, hi) are
 * passed to `fn` on the alternate stack of the thread that pushed the trap; others go to whoever had
 * the signal before us.  `fn` edits the machine context and returns true to resume there.
 */
struct x86_trap {
	uintptr_t lo, hi;
	bool (*fn)(struct x86_trap *trap, int sig, void *siginfo, void *ucontext);
	void *arg;
	struct x86_trap *next;
};
int x86_trap_push(struct x86_trap *trap); /* errno; installs handlers and alternate stack at need */
void x86_trap_pop(struct x86_trap *trap);
/*
 * Keeps the alternate stack until this thread ends, so that its pushes and pops cost nothing; they no longer
 * look whether somebody else has put handlers in front of ours since, only this call does, each time.
 * Clobbers vector registers.
 */
int x86_trap_keep(void);

#endif
