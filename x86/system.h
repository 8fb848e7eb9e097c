/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What the system half of x86/ shares among its files: the mode of the processor, descriptors,
 * stack frames of gates, and one function per SYSTEM instruction.  For the files of x86/ only.
 */
#ifndef X86_SYSTEM_H
#define X86_SYSTEM_H

#include "x86/bytes.h"
#include "x86/cpu.h"
#include "x86/data.h"

/*
 * Accesses to descriptor tables and the TSS: as the supervisor, whatever the CPL (SDM vol.
 * 3, 4.6.1).
 */
#define X86_ACC_TABLE_READ  (X86_ACC_READ | X86_ACC_IMPLICIT)
#define X86_ACC_TABLE_WRITE (X86_ACC_WRITE | X86_ACC_IMPLICIT)

/* Bits of EFER.AutoIBRS and DR7.GD, DR6.BD that cpu.h has no use for. */
#define X86_EFER_AIBRSE (1u << 21)
#define X86_DR7_GD	(1ull << 13)
#define X86_DR6_BD	(1ull << 13)

/* ---- modes ---- */

static inline bool x86_is_long(const struct x86_cpu *cpu)
{
	return cpu->efer & X86_EFER_LMA;
}

static inline bool x86_is_64bit(const struct x86_cpu *cpu)
{
	return x86_is_long(cpu) && cpu->seg[X86_CS].access & X86_SEG_L;
}

static inline bool x86_is_vm86(const struct x86_cpu *cpu)
{
	return cpu->rflags & X86_RF_VM;
}

/* Segment registers hold selectors, not paragraph numbers. */
static inline bool x86_is_protected(const struct x86_cpu *cpu)
{
	return cpu->cr0 & X86_CR0_PE && !x86_is_vm86(cpu);
}

static inline unsigned x86_iopl(const struct x86_cpu *cpu)
{
	return (unsigned)(cpu->rflags >> 12) & 3;
}

/* ---- descriptors (descriptor.c) ---- */

/* Types of system descriptors (SDM vol. 3, table 3-2); bit 1 of a TSS type means busy. */
enum {
	X86_TYPE_TSS16 = 1,
	X86_TYPE_LDT = 2,
	X86_TYPE_TSS16_BUSY = 3,
	X86_TYPE_CALL16 = 4,
	X86_TYPE_TASK = 5,
	X86_TYPE_INTR16 = 6,
	X86_TYPE_TRAP16 = 7,
	X86_TYPE_TSS32 = 9,
	X86_TYPE_TSS32_BUSY = 11,
	X86_TYPE_CALL32 = 12,
	X86_TYPE_INTR32 = 14,
	X86_TYPE_TRAP32 = 15
};

#define X86_SEG_CODE	   8u /* type bits of code and data segments */
#define X86_SEG_CONFORMING 4u
#define X86_SEG_EXPANDDOWN 4u
#define X86_SEG_RW	   2u /* readable code, writable data */
#define X86_SEG_ACCESSED   1u

struct x86_desc {
	uint64_t low;
	uint64_t high; /* second half of a long-mode system descriptor or gate, 0 otherwise */
	uint64_t gla;
};

/* How selector errors are reported: SDM vol. 3, 6.13. */
static inline uint32_t x86_sel_error(uint16_t sel, unsigned ext)
{
	return (sel & 0xfffcu) | ext;
}

static inline bool x86_is_null(uint16_t sel)
{
	return (sel & 0xfffc) == 0;
}

static inline uint32_t x86_desc_access(const struct x86_desc *desc)
{
	return (uint32_t)(desc->low >> 40) & 0xf0ff;
}

uint64_t x86_desc_base(const struct x86_desc *desc);
uint32_t x86_desc_limit(const struct x86_desc *desc);
struct x86_seg x86_desc_seg(const struct x86_desc *desc, uint16_t sel);

static inline uint16_t x86_gate_sel(const struct x86_desc *gate)
{
	return (uint16_t)(gate->low >> 16);
}

uint64_t x86_gate_offset(const struct x86_desc *gate);

/* Reads the 8 bytes that `sel` names; beyond the table's limit: `vector`(sel | ext). */
enum x86_result x86_desc_read(
	struct x86_cpu *cpu, uint16_t sel, unsigned vector, unsigned ext, struct x86_desc *desc);
/* The same for a descriptor that has 16 bytes in long mode, once `desc` is known to be one. */
enum x86_result x86_desc_read_high(
	struct x86_cpu *cpu, uint16_t sel, unsigned vector, unsigned ext, struct x86_desc *desc);
/* Sets type bits (accessed, TSS busy) of a descriptor in memory and in `desc`, or clears them. */
enum x86_result x86_desc_mark(struct x86_cpu *cpu, struct x86_desc *desc, unsigned type, bool set);

/* ---- segments (segment.c) ---- */

/* May [offset, offset+size) be accessed in this segment outside 64-bit mode? */
bool x86_seg_range(const struct x86_seg *seg, uint64_t offset, unsigned size);
/* Base = sel * 16, as real and virtual-8086 mode load every segment register. */
void x86_load_seg_paragraph(struct x86_cpu *cpu, unsigned seg, uint16_t sel);
/* The null selector in a data segment or, in 64-bit mode, SS. */
struct x86_seg x86_null_seg(uint16_t sel, unsigned dpl);
/* Data segments that the new, outer privilege level may not use become null (SDM vol. 2, RET). */
void x86_drop_inner_segments(struct x86_cpu *cpu);
/*
 * Validates a selector for SS at privilege `cpl` when gates, RET, IRET and task switches load it:
 * `vector`(sel | ext), or #SS if not present.  The null selector: `vector`(ext).
 */
enum x86_result x86_check_ss(struct x86_cpu *cpu, uint16_t sel, unsigned cpl, unsigned vector,
	unsigned ext, struct x86_seg *ss);

/* The same for DS, ES, FS, GS, where the null selector is welcome; not present is #NP. */
enum x86_result x86_check_data(
	struct x86_cpu *cpu, uint16_t sel, unsigned vector, unsigned ext, struct x86_seg *seg);

/* ---- stack frames (frame.c) ---- */

#define X86_FRAME_MAX 36 /* 31 call gate parameters, SS, SP, CS, IP, and one to spare */

/* Words to be pushed by a gate or an event onto a stack that may not be the current one yet. */
struct x86_frame {
	const struct x86_seg *ss;
	uint64_t sp;	  /* before the first push */
	unsigned sp_size; /* 2, 4 or 8 bytes of SP are used */
	unsigned cpl;	  /* privilege of the stores */
	uint32_t error;	  /* error code of #SS */
	unsigned word;	  /* bytes per push */
	unsigned count;
	uint64_t words[X86_FRAME_MAX];
};

static inline void x86_frame_push(struct x86_frame *frame, uint64_t word)
{
	frame->words[frame->count++] = word;
}

/* Checks the room for all pushes and does them.  Memory is untouched on FAULT. */
enum x86_result x86_frame_write(struct x86_cpu *cpu, const struct x86_frame *frame);
/* SP after the pushes, merged into the old RSP as its width demands. */
uint64_t x86_frame_rsp(const struct x86_frame *frame, uint64_t old_rsp);

/* Reads `size` bytes, `at` bytes above the top of the current stack, without moving RSP. */
enum x86_result x86_stack_peek(struct x86_cpu *cpu, unsigned size, unsigned at, uint64_t *value);

/* SS:SP for privilege `cpl` out of the current TSS. #TS(tr | ext) if it is too short. */
enum x86_result x86_tss_stack(
	struct x86_cpu *cpu, unsigned cpl, unsigned ext, uint16_t *ss, uint64_t *sp);
/* RSP0..2 (index 0..2) or IST1..7 (index 4..10) of a 64-bit TSS; #SS(ext) if not canonical. */
enum x86_result x86_tss_rsp(struct x86_cpu *cpu, unsigned index, unsigned ext, uint64_t *rsp);

/* ---- control transfers ---- */

/* Puts CS, the privilege level and rip in place; nothing is checked. */
void x86_set_cs(struct x86_cpu *cpu, const struct x86_seg *cs, unsigned cpl, uint64_t rip);
/* Is `rip` inside the code segment, or canonical if that is 64-bit?  #GP(ext) if not. */
enum x86_result x86_check_rip(
	struct x86_cpu *cpu, const struct x86_seg *cs, uint64_t rip, unsigned ext);
/* TASK_SWITCH exit. */
enum x86_result x86_exit_task(struct x86_cpu *cpu, uint16_t sel, enum x86_task_reason reason);

/* ---- operands of SYSTEM instructions (operand.c) ---- */

enum x86_result x86_operand_get(
	struct x86_cpu *cpu, const struct x86_insn *insn, unsigned i, uint64_t *value);
enum x86_result x86_operand_put(
	struct x86_cpu *cpu, const struct x86_insn *insn, unsigned i, uint64_t value);
/* Linear address of the memory operand, `size` bytes checked for `acc`; never #AC. */
enum x86_result x86_operand_linear(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size,
	unsigned acc, uint64_t *gla);
/* The offset of an implicit operand: a register cut to the address size. */
uint64_t x86_implicit_offset(const struct x86_cpu *cpu, const struct x86_insn *insn, unsigned gpr);

static inline enum x86_result x86_done(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_advance(cpu, insn);
	return X86_DONE;
}

static inline uint64_t x86_rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* The same behind all loads before it, as RDTSCP promises. */
static inline uint64_t x86_rdtsc_ordered(void)
{
	__asm__ volatile("lfence" : : : "memory");
	return x86_rdtsc();
}

/* PAE: the four page-directory-pointer entries at `cr3`, checked. #GP(0) on reserved bits. */
enum x86_result x86_load_pdptes(struct x86_cpu *cpu, uint64_t cr3);

/* ---- instructions, by family ---- */

typedef enum x86_result x86_system_fn(struct x86_cpu *cpu, const struct x86_insn *insn);

/* far.c, far_return.c */
x86_system_fn x86_sys_jmp_far, x86_sys_call_far, x86_sys_ret_far, x86_sys_iret;
/* fast_syscall.c */
x86_system_fn x86_sys_syscall, x86_sys_sysret, x86_sys_sysenter, x86_sys_sysexit;
/* soft_event.c */
x86_system_fn x86_sys_int, x86_sys_int3, x86_sys_into, x86_sys_int1, x86_sys_bound, x86_sys_ud;
/* selector.c */
x86_system_fn x86_sys_lar, x86_sys_lsl, x86_sys_verr, x86_sys_verw, x86_sys_arpl, x86_sys_lldt,
	x86_sys_ltr, x86_sys_sldt, x86_sys_str, x86_sys_load_far, x86_sys_pop_seg, x86_sys_push_seg,
	x86_sys_mov_seg;
/* table.c */
x86_system_fn x86_sys_lgdt, x86_sys_lidt, x86_sys_sgdt, x86_sys_sidt;
/* control_insn.c */
x86_system_fn x86_sys_mov, x86_sys_clts, x86_sys_lmsw, x86_sys_smsw, x86_sys_xgetbv, x86_sys_xsetbv,
	x86_sys_invlpg, x86_sys_invpcid, x86_sys_swapgs, x86_sys_rdbase, x86_sys_wrbase;
/* machine_insn.c */
x86_system_fn x86_sys_rdmsr, x86_sys_wrmsr, x86_sys_cpuid, x86_sys_rdtsc, x86_sys_rdtscp,
	x86_sys_rdpid, x86_sys_rdpmc, x86_sys_hlt, x86_sys_pause, x86_sys_nothing, x86_sys_clflush;
/* flags_insn.c */
x86_system_fn x86_sys_rdpkru, x86_sys_wrpkru;
x86_system_fn x86_sys_cli, x86_sys_sti, x86_sys_clac, x86_sys_stac;
/* port.c */
x86_system_fn x86_sys_in, x86_sys_out, x86_sys_ins, x86_sys_outs;
/* bcd.c */
x86_system_fn x86_sys_aaa, x86_sys_aas, x86_sys_aad, x86_sys_aam, x86_sys_daa, x86_sys_das,
	x86_sys_salc;
/* bits.c */
x86_system_fn x86_sys_bit, x86_sys_xlat;
/* xstate.c, x87.c */
x86_system_fn x86_sys_fxsave, x86_sys_fxrstor, x86_sys_xsave, x86_sys_xsavec, x86_sys_xrstor,
	x86_sys_fnsave, x86_sys_frstor, x86_sys_fnstenv, x86_sys_fldenv;
/* masked.c */
x86_system_fn x86_sys_maskmov, x86_sys_vmaskmov, x86_sys_gather;

#endif
