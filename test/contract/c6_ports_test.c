/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 6.2 and 10.7: each form of IN, OUT, INS and OUTS, the exit and how it is finished. */
#include "test/contract/contract.h"

#define CODE_(bytes) bytes, sizeof(bytes) - 1
#define FLAGS_DF     0x400u

static void start(struct contract *c, int bits, const char *code, size_t n)
{
	char all[32];

	memcpy(all, code, n);
	memcpy(all + n, "\xe6\xe9", 2); /* out 0xe9, al */
	if (bits == 16)
		real_mode(c, 0, all, n + 2);
	else if (bits == 32)
		protected_mode(c, 0, all, n + 2);
	else
		long_mode(c, 0, all, n + 2);
}

/* ---- IN and OUT ---- */

struct inout_row {
	const char *name;
	int bits;
	const char *code;
	size_t n;
	bool in;
	int bytes;
	uint16_t port;
	uint64_t rax_after; /* IN gets cdef5678 */
};

#define RAX 0x1122334455667788u
#define DX  0x1234

static const struct inout_row inouts[] = {
	{"c6_2_in_al_imm", 64, CODE_("\xe4\x10"), true, 1, 0x10, 0x1122334455667778},
	{"c6_2_in_ax_imm", 64, CODE_("\x66\xe5\x10"), true, 2, 0x10, 0x1122334455665678},
	{"c6_2_in_eax_imm", 64, CODE_("\xe5\x10"), true, 4, 0x10, 0xcdef5678},
	{"c6_2_in_al_dx", 64, CODE_("\xec"), true, 1, DX, 0x1122334455667778},
	{"c6_2_in_ax_dx", 64, CODE_("\x66\xed"), true, 2, DX, 0x1122334455665678},
	{"c6_2_in_eax_dx", 64, CODE_("\xed"), true, 4, DX, 0xcdef5678},
	{"c6_2_in_with_rex_w_is_32_bits", 64, CODE_("\x48\xed"), true, 4, DX, 0xcdef5678},
	{"c6_2_out_imm_al", 64, CODE_("\xe6\x10"), false, 1, 0x10, RAX},
	{"c6_2_out_imm_ax", 64, CODE_("\x66\xe7\x10"), false, 2, 0x10, RAX},
	{"c6_2_out_imm_eax", 64, CODE_("\xe7\x10"), false, 4, 0x10, RAX},
	{"c6_2_out_dx_al", 64, CODE_("\xee"), false, 1, DX, RAX},
	{"c6_2_out_dx_ax", 64, CODE_("\x66\xef"), false, 2, DX, RAX},
	{"c6_2_out_dx_eax", 64, CODE_("\xef"), false, 4, DX, RAX},
	{"c6_2_in_16_bits_in_ax", 16, CODE_("\xed"), true, 2, DX, 0x55665678},
	{"c6_2_in_16_bits_in_eax", 16, CODE_("\x66\xed"), true, 4, DX, 0xcdef5678},
	{"c6_2_in_16_bits_out_ax", 16, CODE_("\xe7\x10"), false, 2, 0x10, 0x55667788},
	{"c6_2_in_32_bits_in_ax", 32, CODE_("\x66\xed"), true, 2, DX, 0x55665678},
	{"c6_2_in_32_bits_in_eax", 32, CODE_("\xe5\x10"), true, 4, 0x10, 0xcdef5678},
	{"c6_2_in_32_bits_out_eax", 32, CODE_("\xef"), false, 4, DX, 0x55667788},
	{"c6_2_port_ffff", 32, CODE_("\x66\xba\xff\xff\xec"), true, 1, 0xffff, 0x55667778},
};

struct seen {
	unsigned n;
	uint32_t value;
};

static int one(struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct seen *seen = arg;

	(void)vm;
	(void)vcpu;
	(void)port;
	(void)bytes;
	seen->n++;
	if (in)
		*eax = 0xcdef5678;
	else
		seen->value = *eax;
	return 0;
}

static void inout(void **state)
{
	struct contract *c = *state;
	const struct inout_row *row = c->row;
	uint32_t mask = row->bytes == 4 ? UINT32_MAX : (1u << row->bytes * 8) - 1;
	struct seen seen = {0, 0};
	struct vm_exit *exit;

	start(c, row->bits, row->code, row->n);
	set_reg(c, 0, VM_REG_GUEST_RAX, row->bits == 64 ? RAX : (uint32_t)RAX);
	set_reg(c, 0, VM_REG_GUEST_RDX, DX);
	exit = run_to(c, 0, VM_EXITCODE_INOUT);
	assert_int_equal(exit->rip + (uint64_t)exit->inst_length, CODE + row->n);
	assert_int_equal(exit->u.inout.in, row->in);
	assert_int_equal(exit->u.inout.bytes, row->bytes);
	assert_int_equal(exit->u.inout.port, row->port);
	assert_int_equal(exit->u.inout.string, 0);
	assert_int_equal(exit->u.inout.rep, 0);
	assert_int_equal(exit->u.inout.eax, (uint32_t)RAX);
	assert_int_equal(vm_emulate_inout(c->vm, 0, exit, one, &seen), 0);
	assert_int_equal(seen.n, 1);
	if (!row->in)
		assert_int_equal(seen.value, (uint32_t)RAX & mask);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX), row->rax_after);
	run_to_out(c, 0);
}

static int fails(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	(void)vm;
	(void)vcpu;
	(void)in;
	(void)port;
	(void)bytes;
	(void)arg;
	*eax = 5;
	return EIO;
}

/* 10.7, 14: a port that nobody has reads all ones. */
static void c10_7_a_handler_that_fails_reads_all_ones(void **state)
{
	struct contract *c = *state;

	start(c, 64, CODE_("\xec"));
	set_reg(c, 0, VM_REG_GUEST_RAX, RAX);
	assert_int_equal(
		vm_emulate_inout(c->vm, 0, run_to(c, 0, VM_EXITCODE_INOUT), fails, NULL), 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX), RAX | 0xff);
}

/* At CPL 3 the I/O permission bitmap decides; without one, IOPL. */
static void c6_2_ports_at_cpl_3_are_gp(void **state)
{
	struct contract *c = *state;
	struct seg_desc idtr = {0x4000, 0xfff, 0};

	service(c, 0);
	GUEST(user_mode, c, 0, "\xe7\x10");
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	assert_int_equal(run_to(c, 0, VM_EXITCODE_INOUT)->u.inout.port, 0xea);
	assert_int_equal(c->run[0].vm_exit.u.inout.eax & 0xff, 13);
}

static void c6_2_ports_at_iopl3_are_exits(void **state)
{
	struct contract *c = *state;

	GUEST(user_mode, c, 0, "\xe7\x10");
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, 0x3002);
	assert_int_equal(run_to(c, 0, VM_EXITCODE_INOUT)->u.inout.port, 0x10);
}

/* Ports of the chips: never an exit, at any width. */
struct chip_port_row {
	const char *name;
	uint16_t port;
};

static const struct chip_port_row chip_ports[] = {
	{"c10_7_20_is_inside", 0x20},
	{"c10_7_21_is_inside", 0x21},
	{"c10_7_40_is_inside", 0x40},
	{"c10_7_41_is_inside", 0x41},
	{"c10_7_42_is_inside", 0x42},
	{"c10_7_43_is_inside", 0x43},
	{"c10_7_61_is_inside", 0x61},
	{"c10_7_70_is_inside", 0x70},
	{"c10_7_71_is_inside", 0x71},
	{"c10_7_a0_is_inside", 0xa0},
	{"c10_7_a1_is_inside", 0xa1},
	{"c10_7_408_is_inside", 0x408},
	{"c10_7_4d0_is_inside", 0x4d0},
	{"c10_7_4d1_is_inside", 0x4d1},
};

static void inside(void **state)
{
	struct contract *c = *state;
	const struct chip_port_row *row = c->row;

	service(c, 0);
	for (int bytes = 1; bytes <= 4; bytes *= 2) {
		guest_in(c, 0, row->port, bytes);
		guest_out(c, 0, row->port, bytes, 0);
	}
}

/* ... and their neighbours are the user's. */
static const struct chip_port_row user_ports[] = {
	{"c10_7_1f_is_outside", 0x1f},
	{"c10_7_22_is_outside", 0x22},
	{"c10_7_44_is_outside", 0x44},
	{"c10_7_60_is_outside", 0x60},
	{"c10_7_72_is_outside", 0x72},
	{"c10_7_409_is_outside", 0x409},
	{"c10_7_4d2_is_outside", 0x4d2},
	{"c10_7_cf8_is_outside", 0xcf8},
};

static void outside(void **state)
{
	struct contract *c = *state;
	const struct chip_port_row *row = c->row;

	start(c, 32, CODE_("\xec"));
	set_reg(c, 0, VM_REG_GUEST_RDX, row->port);
	assert_int_equal(run_to(c, 0, VM_EXITCODE_INOUT)->u.inout.port, row->port);
}

/* ---- INS and OUTS ---- */

struct string_row {
	const char *name;
	int bits;
	const char *code;
	size_t n;
	uint64_t rcx, rflags;
	/* The exit: */
	bool in, rep;
	int bytes, addrsize;
	enum vm_reg_name seg;
	uint64_t count;
	/* When all is done: */
	uint64_t rcx_after, index_after;
	const char *moved; /* what OUTS has written, what INS has left at 0x6000 - 8 */
};

#define ES VM_REG_GUEST_ES
#define DS VM_REG_GUEST_DS

/* RSI and RDI are 0x6000; there lie a, b, c...; before it, backwards, Z, Y, X... */
static const struct string_row strings[] = {
	{"c6_2_outsb", 32, CODE_("\x6e"), 9, 0, false, false, 1, 4, DS, 1, 9, 0x6001, "a"},
	{"c6_2_outsw", 32, CODE_("\x66\x6f"), 9, 0, false, false, 2, 4, DS, 1, 9, 0x6002, "ab"},
	{"c6_2_outsd", 32, CODE_("\x6f"), 9, 0, false, false, 4, 4, DS, 1, 9, 0x6004, "abcd"},
	{"c6_2_insb", 32, CODE_("\x6c"), 9, 0, true, false, 1, 4, ES, 1, 9, 0x6001, "STUVWXYZ0"},
	{"c6_2_insw", 32, CODE_("\x66\x6d"), 9, 0, true, false, 2, 4, ES, 1, 9, 0x6002,
		"STUVWXYZ01"},
	{"c6_2_insd", 32, CODE_("\x6d"), 9, 0, true, false, 4, 4, ES, 1, 9, 0x6004, "STUVWXYZ0123"},
	{"c6_2_rep_outsb", 32, CODE_("\xf3\x6e"), 3, 0, false, true, 1, 4, DS, 3, 0, 0x6003, "abc"},
	{"c6_2_rep_outsw", 32, CODE_("\xf3\x66\x6f"), 2, 0, false, true, 2, 4, DS, 2, 0, 0x6004,
		"abcd"},
	{"c6_2_rep_insb", 32, CODE_("\xf3\x6c"), 3, 0, true, true, 1, 4, ES, 3, 0, 0x6003,
		"STUVWXYZ012"},
	{"c6_2_repne_is_rep", 32, CODE_("\xf2\x6e"), 3, 0, false, true, 1, 4, DS, 3, 0, 0x6003,
		"abc"},
	{"c6_2_rep_of_one", 32, CODE_("\xf3\x6e"), 1, 0, false, true, 1, 4, DS, 1, 0, 0x6001, "a"},
	{"c6_2_rep_of_sixteen", 32, CODE_("\xf3\x6e"), 16, 0, false, true, 1, 4, DS, 16, 0, 0x6010,
		"abcdefghijklmnop"},
	{"c6_2_rep_of_seventeen_in_two_steps", 32, CODE_("\xf3\x6e"), 17, 0, false, true, 1, 4, DS,
		17, 0, 0x6011, "abcdefghijklmnopq"},
	{"c6_2_outsb_backwards", 32, CODE_("\x6e"), 9, FLAGS_DF, false, false, 1, 4, DS, 1, 9,
		0x5fff, "a"},
	{"c6_2_rep_outsb_backwards", 32, CODE_("\xf3\x6e"), 3, FLAGS_DF, false, true, 1, 4, DS, 3,
		0, 0x5ffd, "aZY"},
	{"c6_2_rep_insb_backwards", 32, CODE_("\xf3\x6c"), 3, FLAGS_DF, true, true, 1, 4, ES, 3, 0,
		0x5ffd, "STUVWX210"},
	{"c6_2_outsb_es", 32, CODE_("\x26\x6e"), 9, 0, false, false, 1, 4, ES, 1, 9, 0x6001, "a"},
	{"c6_2_outsb_cs", 32, CODE_("\x2e\x6e"), 9, 0, false, false, 1, 4, VM_REG_GUEST_CS, 1, 9,
		0x6001, "a"},
	{"c6_2_outsb_ss", 32, CODE_("\x36\x6e"), 9, 0, false, false, 1, 4, VM_REG_GUEST_SS, 1, 9,
		0x6001, "a"},
	{"c6_2_outsb_ds", 32, CODE_("\x3e\x6e"), 9, 0, false, false, 1, 4, DS, 1, 9, 0x6001, "a"},
	{"c6_2_outsb_fs", 32, CODE_("\x64\x6e"), 9, 0, false, false, 1, 4, VM_REG_GUEST_FS, 1, 9,
		0x6001, "b"},
	{"c6_2_outsb_gs", 32, CODE_("\x65\x6e"), 9, 0, false, false, 1, 4, VM_REG_GUEST_GS, 1, 9,
		0x6001, "c"},
	{"c6_2_insb_ignores_overrides", 32, CODE_("\x64\x6c"), 9, 0, true, false, 1, 4, ES, 1, 9,
		0x6001, "STUVWXYZ0"},
	{"c6_2_outsb_of_16_bits", 16, CODE_("\x6e"), 9, 0, false, false, 1, 2, DS, 1, 9, 0x6001,
		"a"},
	{"c6_2_outsw_of_16_bits", 16, CODE_("\x6f"), 9, 0, false, false, 2, 2, DS, 1, 9, 0x6002,
		"ab"},
	{"c6_2_rep_outsb_of_16_bits", 16, CODE_("\xf3\x6e"), 0x50003, 0, false, true, 1, 2, DS, 3,
		0x50000, 0x6003, "abc"},
	{"c6_2_outsb_of_16_bits_with_67", 16, CODE_("\x67\x6e"), 9, 0, false, false, 1, 4, DS, 1, 9,
		0x6001, "a"},
	{"c6_2_outsb_of_32_bits_with_67", 32, CODE_("\x67\x6e"), 9, 0, false, false, 1, 2, DS, 1, 9,
		0x6001, "a"},
	{"c6_2_outsb_of_64_bits", 64, CODE_("\x6e"), 9, 0, false, false, 1, 8, DS, 1, 9, 0x6001,
		"a"},
	{"c6_2_outsb_of_64_bits_with_67", 64, CODE_("\x67\x6e"), 9, 0, false, false, 1, 4, DS, 1, 9,
		0x6001, "a"},
	{"c6_2_outsb_of_64_bits_fs", 64, CODE_("\x64\x6e"), 9, 0, false, false, 1, 8,
		VM_REG_GUEST_FS, 1, 9, 0x6001, "b"},
	{"c6_2_rep_insd_of_64_bits", 64, CODE_("\xf3\x6d"), 2, 0, true, true, 4, 8, ES, 2, 0,
		0x6008, "STUVWXYZ01231234"},
	{"c6_2_rep_outsb_of_64_bits_with_67", 64, CODE_("\xf3\x67\x6e"), 0x500000003, 0, false,
		true, 1, 4, DS, 3, 0, 0x6003, "abc"},
};

struct channel {
	char out[64];
	unsigned n, reads;
};

static int channel(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct channel *ch = arg;

	(void)vm;
	(void)vcpu;
	(void)port;
	for (int i = 0; i < bytes; i++) {
		uint32_t letter = '0' + ch->reads + (unsigned)i;

		if (in)
			*eax = i == 0 ? letter : *eax | letter << 8 * i;
		else
			ch->out[ch->n++] = (char)(*eax >> 8 * i);
	}
	ch->reads += in;
	return 0;
}

static void set_base(struct contract *c, int reg, uint64_t base)
{
	struct seg_desc desc;

	assert_int_equal(vm_get_seg_desc(c->vm, 0, reg, &desc), 0);
	desc.base = base;
	assert_int_equal(vm_set_seg_desc(c->vm, 0, reg, &desc), 0);
}

static void check_exit(struct contract *c, const struct string_row *row)
{
	const struct vm_inout_str *str = &c->run[0].vm_exit.u.inout_str;
	struct seg_desc desc;

	assert_int_equal(str->inout.string, 1);
	assert_int_equal(str->inout.in, row->in);
	assert_int_equal(str->inout.rep, row->rep);
	assert_int_equal(str->inout.bytes, row->bytes);
	assert_int_equal(str->inout.port, DX);
	assert_int_equal(str->addrsize, row->addrsize);
	assert_int_equal(str->seg_name, row->seg);
	assert_int_equal(str->index, 0x6000);
	assert_int_equal(str->count, row->count);
	assert_int_equal(str->rflags & FLAGS_DF, row->rflags & FLAGS_DF);
	assert_int_equal(str->cr0 & CR0_PE, row->bits != 16);
	assert_int_equal(vm_get_seg_desc(c->vm, 0, (int)row->seg, &desc), 0);
	assert_int_equal(str->seg_desc.base, desc.base);
	assert_int_equal(str->paging.cpu_mode, row->bits == 16	 ? CPU_MODE_REAL
					       : row->bits == 32 ? CPU_MODE_PROTECTED
								 : CPU_MODE_64BIT);
}

static void string(void **state)
{
	struct contract *c = *state;
	const struct string_row *row = c->row;
	struct channel ch = {.n = 0};
	struct vm_exit *exit;
	int index = row->in ? VM_REG_GUEST_RDI : VM_REG_GUEST_RSI;

	start(c, row->bits, row->code, row->n);
	memcpy(c->ram + 0x6000 - 8, "STUVWXYZabcdefghijklmnopqrstuvwxyz", 34);
	set_base(c, VM_REG_GUEST_FS, 1);
	set_base(c, VM_REG_GUEST_GS, 2);
	set_reg(c, 0, VM_REG_GUEST_RDX, DX);
	set_reg(c, 0, VM_REG_GUEST_RSI, 0x6000);
	set_reg(c, 0, VM_REG_GUEST_RDI, 0x6000);
	set_reg(c, 0, VM_REG_GUEST_RCX, row->rcx);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, row->rflags | 2);
	exit = run_to(c, 0, VM_EXITCODE_INOUT_STR);
	check_exit(c, row);
	assert_int_equal(exit->inst_length, row->n);
	do {
		assert_int_equal(vm_emulate_inout_str(c->vm, 0, exit, channel, &ch), 0);
		step_over(c, 0);
		assert_int_equal(vm_run(c->vm, &c->run[0]), 0);
	} while (exit->exitcode == VM_EXITCODE_INOUT_STR);
	assert_int_equal(exit->exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(exit->rip, CODE + row->n);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RCX), row->rcx_after);
	assert_int_equal(get_reg(c, 0, index), row->index_after);
	if (row->in)
		assert_memory_equal(c->ram + 0x6000 - 8, row->moved, strlen(row->moved));
	else
		assert_string_equal(ch.out, row->moved);
}

/* The segment's limit is checked, and #GP is the guest's. */
static void c10_7_outs_beyond_the_limit_is_gp(void **state)
{
	struct contract *c = *state;
	struct channel ch = {.n = 0};
	struct seg_desc desc = {0, 0x5fff, 0xc093};
	struct vm_exit *exit;
	uint64_t info1, info2;

	start(c, 32, CODE_("\x6e"));
	set_reg(c, 0, VM_REG_GUEST_RSI, 0x6000);
	set_reg(c, 0, VM_REG_GUEST_RDX, DX);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_DS, &desc), 0);
	step_over(c, 0);
	assert_int_equal(vm_run(c->vm, &c->run[0]), 0);
	exit = &c->run[0].vm_exit;
	if (exit->exitcode == VM_EXITCODE_INOUT_STR) { /* else it was the guest's already */
		assert_int_equal(vm_emulate_inout_str(c->vm, 0, exit, channel, &ch), 0);
		assert_int_equal(exit->inst_length, 0);
		assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
		assert_int_equal(VM_INTINFO_VECTOR(info2), 13);
	} else {
		assert_int_equal(exit->exitcode, VM_EXITCODE_SUSPENDED); /* without a handler */
		assert_int_equal(exit->u.suspended.how, VM_SUSPEND_TRIPLEFAULT);
	}
	assert_int_equal(ch.n, 0);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(inout, inouts),
		CONTRACT(c10_7_a_handler_that_fails_reads_all_ones),
		CONTRACT(c6_2_ports_at_cpl_3_are_gp),
		CONTRACT(c6_2_ports_at_iopl3_are_exits),
		CONTRACT_ROWS(inside, chip_ports),
		CONTRACT_ROWS(outside, user_ports),
		CONTRACT_ROWS(string, strings),
		CONTRACT(c10_7_outs_beyond_the_limit_is_gp),
	};

	return contract_run("c6 ports", tests, sizeof(tests) / sizeof(tests[0]));
}
