/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * One NATIVE instruction on the host CPU.
 *
 * The instruction is written again with the guest's registers in the host registers of the same
 * number, except RSP, which is the host's and gets a free one, and the base of the memory operand,
 * which is another free one pointing at the operand itself: in guest RAM where it lies in one page,
 * or LOCK asks for it, so that LOCK keeps its meaning; else in a bounce buffer, filled before and
 * flushed after.
 */
#include "x86/data.h"
#include "x86/exec.h"
#include "x86/step.h"

#define BOUNCE_SIZE  32u /* the widest operand */
#define BOUNCE_ALIGN 16u

struct native {
	struct x86_exec_frame frame;
	struct x86_remap map;
	uint16_t used; /* registers that the instruction names, bit n = gpr n */
	uint8_t base;  /* points at the memory operand; X86_NOREG if there is none */
	uint8_t rsp;   /* stands for RSP; X86_RSP if it is not named */
};

static uint16_t named_registers(const struct x86_insn *insn)
{
	uint16_t used = insn->row->gpr_read | insn->row->gpr_write;

	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->op[i].kind == X86_OK_GPR)
			used |= (uint16_t)(1u << insn->op[i].reg);
	return used;
}

/* Low registers first: beside AH to BH there can be no REX prefix. */
static uint8_t take_free(struct native *n)
{
	static const uint8_t order[] = {X86_RSI, X86_RDI, X86_RBX, X86_RDX, X86_RCX, X86_RAX,
		X86_RBP, X86_R8, X86_R9, X86_R10, X86_R11};
	unsigned i = 0;

	while (i < sizeof(order) - 1 && n->used & 1u << order[i])
		i++;
	n->used |= (uint16_t)(1u << order[i]);
	return order[i];
}

static void native_prepare(struct native *n, const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	n->used = named_registers(insn);
	n->rsp = n->used & 1u << X86_RSP ? take_free(n) : X86_RSP;
	n->base = insn->has_mem ? take_free(n) : X86_NOREG;
	for (uint8_t reg = 0; reg < 16; reg++) {
		n->map.gpr[reg] = reg;
		n->frame.gpr[reg] = cpu->gpr[reg];
	}
	n->map.gpr[X86_RSP] = n->rsp;
	n->map.mem_base = n->base;
	n->map.mem_index = 0;
	n->map.mem_disp = 0;
	n->frame.gpr[n->rsp] = cpu->gpr[X86_RSP];
	n->frame.flags = cpu->rflags & (X86_FL_STATUS | X86_FL_DF);
}

static void native_commit(const struct native *n, struct x86_cpu *cpu)
{
	const uint64_t flags = X86_FL_STATUS | X86_FL_DF;

	for (unsigned reg = 0; reg < 16; reg++)
		if (reg != n->base && (reg == X86_RSP || reg != n->rsp))
			cpu->gpr[reg] = n->frame.gpr[n->map.gpr[reg]];
	cpu->rflags = (cpu->rflags & ~flags) | (n->frame.flags & flags);
}

/* What the host's exception is to the guest. */
static enum x86_result raise_host_fault(struct x86_cpu *cpu, int vector)
{
	if (vector == X86_GP)
		return x86_raise_error(cpu, X86_GP, 0);
	if (vector == X86_XM && !(cpu->cr4 & X86_CR4_OSXMMEXCPT))
		vector = X86_UD; /* SDM vol. 1, 11.5.1 */
	return x86_raise(cpu, (unsigned)vector);
}

static enum x86_result native_run(
	struct x86_cpu *cpu, const struct x86_insn *insn, struct native *n, void *operand)
{
	uint8_t code[16];
	unsigned len = x86_encode(insn, &n->map, code);
	int vector;

	if (len == 0)
		return x86_raise(cpu, X86_UD);
	if (n->base != X86_NOREG)
		n->frame.gpr[n->base] = (uintptr_t)operand;
	vector = x86_exec_run(cpu->exec, code, len, &n->frame);
	return vector == X86_EXEC_NO_FAULT ? X86_DONE : raise_host_fault(cpu, vector);
}

/*
 * SDM vol. 3, table 6-7.  Unaligned vector accesses are never checked, as implementations may
 * choose.
 */
static unsigned alignment(unsigned size)
{
	return size == 10 ? 8 : size <= 8 && (size & (size - 1)) == 0 ? size : 1;
}

/* Before any other check: an address that is neither aligned nor canonical is #GP, in SS too. */
static bool is_misaligned(const struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t offset)
{
	unsigned seg = insn->mem.seg;
	uint64_t base = insn->code_size == 64 && seg < X86_FS ? 0 : cpu->seg[seg].base;

	return insn->row->props & X86_P_ALIGN && (base + offset) & (insn->mem.size - 1u);
}

static enum x86_result operand_linear(
	struct x86_cpu *cpu, const struct x86_insn *insn, unsigned acc, uint64_t *gla)
{
	uint64_t offset = x86_effective(cpu, insn);
	unsigned size = insn->mem.size;
	enum x86_result res;

	if (is_misaligned(cpu, insn, offset))
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_linear(cpu, insn->mem.seg, offset, size, acc, gla);
	return res == X86_DONE ? x86_check_align(cpu, *gla, alignment(size)) : res;
}

static bool is_filled(const uint8_t *buffer, unsigned size, uint8_t byte)
{
	for (unsigned i = 0; i < size; i++)
		if (buffer[i] != byte)
			return false;
	return true;
}

static void fill(uint8_t *buffer, unsigned size, uint8_t byte)
{
	for (unsigned i = 0; i < size; i++)
		buffer[i] = byte;
}

/*
 * An x87 store into the buffer.  With exceptions unmasked it may store nothing at all, which two
 * runs over different contents tell from storing just that.
 */
static enum x86_result run_x87_store(struct x86_cpu *cpu, const struct x86_insn *insn,
	struct native *n, uint8_t *buffer, const uint8_t *before, bool *stored)
{
	unsigned size = insn->mem.size;
	enum x86_result res;

	*stored = true;
	fill(buffer, size, 0);
	res = native_run(cpu, insn, n, buffer);
	if (res != X86_DONE || !is_filled(buffer, size, 0))
		return res;
	x86_vectors_load(before);
	fill(buffer, size, 0xff);
	res = native_run(cpu, insn, n, buffer);
	*stored = !is_filled(buffer, size, 0xff);
	return res;
}

/*
 * x87 stores pop their register before the buffer is flushed; should the device ask for an exit
 * then, the instruction is executed once more, so the stack has to be put back.
 */
static enum x86_result bounce_x87_store(struct x86_cpu *cpu, const struct x86_insn *insn,
	struct native *n, uint64_t gla, uint8_t *buffer)
{
	uint8_t before[X86_XSAVE_SIZE] __attribute__((aligned(64)));
	enum x86_result res;
	bool stored;

	x86_vectors_save(before);
	res = run_x87_store(cpu, insn, n, buffer, before, &stored);
	if (res != X86_DONE || !stored)
		return res;
	res = x86_write(cpu, gla, buffer, insn->mem.size, x86_acc(cpu, X86_ACC_WRITE));
	if (res != X86_DONE)
		x86_vectors_load(before);
	return res;
}

/* The buffer has the operand's alignment: some instructions care on some processors only. */
static enum x86_result run_bounced(
	struct x86_cpu *cpu, const struct x86_insn *insn, struct native *n, uint64_t gla)
{
	uint8_t space[BOUNCE_SIZE + BOUNCE_ALIGN] __attribute__((aligned(32)));
	uint8_t *buffer = space + gla % BOUNCE_ALIGN;
	unsigned size = insn->mem.size, access = insn->mem.access;
	enum x86_result res = X86_DONE;

	if (size > BOUNCE_SIZE)
		return x86_raise(cpu, X86_UD);
	x86_bytes_zero(buffer, size);
	if (access & X86_WR)
		res = x86_data_probe(cpu, gla, size, x86_acc(cpu, X86_ACC_WRITE));
	if (res == X86_DONE && access & X86_RD)
		res = x86_read(cpu, gla, buffer, size, x86_acc(cpu, X86_ACC_READ));
	if (res == X86_DONE && access == X86_WR && insn->row->props & X86_P_X87)
		return bounce_x87_store(cpu, insn, n, gla, buffer);
	if (res == X86_DONE)
		res = native_run(cpu, insn, n, buffer);
	if (res == X86_DONE && access & X86_WR)
		res = x86_write(cpu, gla, buffer, size, x86_acc(cpu, X86_ACC_WRITE));
	return res;
}

/* With a memory operand XCHG needs no prefix for it. */
static bool is_locked(const struct x86_insn *insn)
{
	return insn->lock || insn->row->mnem == X86_I_xchg;
}

static enum x86_result run_on_operand(
	struct x86_cpu *cpu, const struct x86_insn *insn, struct native *n)
{
	unsigned size = insn->mem.size;
	unsigned acc = insn->mem.access & X86_WR ? X86_ACC_WRITE : X86_ACC_READ;
	void *host = NULL;
	uint64_t gla;
	enum x86_result res = operand_linear(cpu, insn, acc, &gla);

	if (res != X86_DONE)
		return res;
	acc = x86_acc(cpu, acc);
	if (gla % X86_PAGE_SIZE + size <= X86_PAGE_SIZE)
		host = cpu->ops->map(cpu, gla, size, acc, &res);
	else if (is_locked(insn))
		host = x86_map_split(cpu, gla, size, acc, &res);
	if (host != NULL)
		return native_run(cpu, insn, n, host);
	if (res == X86_FAULT)
		return res;
	return run_bounced(cpu, insn, n, gla);
}

bool x86_is_x87_pending(const struct x86_row *row)
{
	uint16_t fsw;

	if (!(row->props & (X86_P_X87 | X86_P_MMX)) || row->props & X86_P_WAIT)
		return false;
	if (row->mnem == X86_I_cvtpi2ps || row->mnem == X86_I_cvtpi2pd)
		return false; /* from memory these touch no MMX state */
	__asm__ volatile("fnstsw %0" : "=a"(fsw));
	return fsw & 0x80;
}

static enum x86_result run_on_memory(
	struct x86_cpu *cpu, const struct x86_insn *insn, struct native *n)
{
	enum x86_result res = run_on_operand(cpu, insn, n);

	if (res == X86_FAULT && cpu->fault.vector != X86_XM && x86_is_x87_pending(insn->row))
		return x86_raise(cpu, X86_MF);
	return res;
}

/* ModRM names an address but no memory is touched: LEA; NOP and prefetches do nothing at all. */
static void run_address_only(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (insn->row->mnem == X86_I_lea)
		x86_gpr_set(cpu, &insn->op[0], x86_effective(cpu, insn));
}

/* Between memory and a general register or an immediate. */
static bool is_plain_mov(const struct x86_insn *insn)
{
	return insn->row->mnem == X86_I_mov && insn->has_mem && insn->nops == 2 &&
	       insn->mem.size <= 8 && insn->op[0].kind <= X86_OK_IMM &&
	       insn->op[1].kind <= X86_OK_IMM;
}

/* One access of the operand's width, at any address: another processor may be looking. */
typedef uint16_t any16 __attribute__((aligned(1), may_alias));
typedef uint32_t any32 __attribute__((aligned(1), may_alias));
typedef uint64_t any64 __attribute__((aligned(1), may_alias));

static uint64_t ram_load(const volatile void *host, unsigned size)
{
	switch (size) {
	case 1:
		return *(const volatile uint8_t *)host;
	case 2:
		return *(const volatile any16 *)host;
	case 4:
		return *(const volatile any32 *)host;
	default:
		return *(const volatile any64 *)host;
	}
}

static void ram_store(volatile void *host, unsigned size, uint64_t value)
{
	switch (size) {
	case 1:
		*(volatile uint8_t *)host = (uint8_t)value;
		break;
	case 2:
		*(volatile any16 *)host = (uint16_t)value;
		break;
	case 4:
		*(volatile any32 *)host = (uint32_t)value;
		break;
	default:
		*(volatile any64 *)host = value;
		break;
	}
}

/* Most accesses to devices, and most stores next to code: not worth a way through the scratch area. */
static enum x86_result plain_mov(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bool is_store = insn->op[0].kind == X86_OK_MEM;
	const struct x86_operand *other = &insn->op[is_store ? 1 : 0];
	unsigned size = insn->mem.size, acc = is_store ? X86_ACC_WRITE : X86_ACC_READ;
	uint64_t gla, value = 0;
	void *host = NULL;
	enum x86_result res = operand_linear(cpu, insn, acc, &gla);

	if (res != X86_DONE)
		return res;
	acc = x86_acc(cpu, acc);
	if (is_store)
		value = other->kind == X86_OK_IMM ? (uint64_t)insn->imm : x86_gpr_get(cpu, other);
	if (gla % X86_PAGE_SIZE + size <= X86_PAGE_SIZE)
		host = cpu->ops->map(cpu, gla, size, acc, &res);
	if (res == X86_FAULT)
		return res;
	if (host != NULL && is_store)
		ram_store(host, size, value);
	else if (host != NULL)
		value = ram_load(host, size);
	else if (is_store)
		res = x86_write(cpu, gla, &value, size, acc);
	else
		res = x86_read(cpu, gla, &value, size, acc);
	if ((host != NULL || res == X86_DONE) && !is_store)
		x86_gpr_set(cpu, other, value);
	return host != NULL ? X86_DONE : res;
}

enum x86_result x86_native(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	enum x86_result res = X86_DONE;
	struct native n;

	if (is_plain_mov(insn)) {
		res = plain_mov(cpu, insn);
	} else if (insn->has_mem && insn->row->props & X86_P_NOMEM) {
		run_address_only(cpu, insn);
	} else {
		native_prepare(&n, cpu, insn);
		res = insn->has_mem ? run_on_memory(cpu, insn, &n)
				    : native_run(cpu, insn, &n, NULL);
		if (res == X86_DONE)
			native_commit(&n, cpu);
	}
	if (res == X86_DONE)
		x86_advance(cpu, insn);
	return res;
}
