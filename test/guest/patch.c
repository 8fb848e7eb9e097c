/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Code whose immediates are changed again and again, as compilers at run time do it: what runs is always
 * the code that memory holds.  A copy that has never run tells what that is.
 */
#include "kit.h"

#define PAGE	   0x30000 /* code that is patched */
#define COPIES	   0x40000 /* each of them runs once */
#define COPIES_END 0x60000
#define DATA	   0x60000
#define ALIAS	   0x40000000 /* once more from 0 on */
#define TIMES	   12
#define STRIDE	   64

struct result {
	uint64_t ax, flags, data;
};

static uint64_t seed = 88172645463325252u;
static uint32_t copy_at = COPIES;

static uint64_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* RDI: a number, RSI: DATA, which holds another. */
static struct result call(uint32_t at, uint64_t number, uint64_t data)
{
	struct result r = { .ax = number ^ 0x5a5a };
	uint64_t from = at, to = DATA;

	MEM64(DATA) = data;
	__asm__ volatile("call *%[from]\n pushfq\n popq %[flags]"
			 : "+a"(r.ax), "+D"(number), "+S"(to), [flags] "=&d"(r.flags)
			 : [from] "r"(from)
			 : "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	r.data = MEM64(DATA);
	return r;
}

struct insn {
	const char *name;
	uint8_t n; /* bytes in front of the immediate */
	uint8_t front[7];
	uint8_t imm; /* bytes of it */
};

static const struct insn insns[] = {
	{ "mov_r32", 1, { 0xb8 }, 4 },
	{ "mov_r64", 2, { 0x48, 0xb8 }, 8 },
	{ "mov_r64_imm32", 3, { 0x48, 0xc7, 0xc0 }, 4 },
	{ "mov_al", 1, { 0xb0 }, 1 },
	{ "mov_ah", 1, { 0xb4 }, 1 },
	{ "mov_ax", 2, { 0x66, 0xb8 }, 2 },
	{ "mov_r12", 2, { 0x49, 0xbc }, 8 },
	{ "add_rax", 2, { 0x48, 0x05 }, 4 },
	{ "add_eax8", 2, { 0x83, 0xc0 }, 1 },
	{ "add_rax8", 3, { 0x48, 0x83, 0xc0 }, 1 },
	{ "or_al", 1, { 0x0c }, 1 },
	{ "adc_eax", 1, { 0x15 }, 4 },
	{ "sbb_rdi", 3, { 0x48, 0x81, 0xdf }, 4 },
	{ "and_ax", 2, { 0x66, 0x25 }, 2 },
	{ "sub_r9d", 3, { 0x41, 0x81, 0xe9 }, 4 },
	{ "xor_rax", 2, { 0x48, 0x35 }, 4 },
	{ "cmp_rdi", 3, { 0x48, 0x81, 0xff }, 4 },
	{ "cmp_dil", 3, { 0x40, 0x80, 0xff }, 1 },
	{ "test_edi", 2, { 0xf7, 0xc7 }, 4 },
	{ "test_al", 1, { 0xa8 }, 1 },
	{ "imul", 3, { 0x48, 0x69, 0xc7 }, 4 },
	{ "imul8", 3, { 0x48, 0x6b, 0xc7 }, 1 },
	{ "shl", 3, { 0x48, 0xc1, 0xe7 }, 1 },
	{ "add_mem", 2, { 0x81, 0x06 }, 4 },
	{ "mov_mem", 3, { 0x48, 0xc7, 0x06 }, 4 },
	{ "mov_mem8", 2, { 0xc6, 0x06 }, 1 },
	{ "mov_mem_disp", 3, { 0xc7, 0x46, 0x04 }, 4 },
	{ "mov_mem16", 3, { 0x66, 0xc7, 0x06 }, 2 },
	{ "cmp_mem", 3, { 0x48, 0x81, 0x3e }, 4 },
	{ "lock_or_mem", 3, { 0xf0, 0x81, 0x0e }, 4 },
	{ "push_imm32", 1, { 0x68 }, 4 },
	{ "push_imm8", 1, { 0x6a }, 1 },
};

static bool is_push(const struct insn *in)
{
	return in->front[0] == 0x68 || in->front[0] == 0x6a;
}

/*
 * A function around the instruction: flags from a comparison in front of it, of which what it leaves is
 * returned too; PUSH is made up for.  Returns its length, and in *imm where the immediate stands.
 */
static unsigned put(uint32_t at, const struct insn *in, uint64_t value, unsigned *imm)
{
	static const uint8_t before[] = { 0x4d, 0x31, 0xe4, 0x48, 0x39, 0xf7 }; /* xor r12, r12; cmp rdi, rsi */
	static const uint8_t after[] = { 0x4c, 0x8d, 0x14, 0x38, 0x4b, 0x8d, 0x04, 0x22, 0x4c, 0x01, 0xc8 };
	uint32_t p = at;

	for (unsigned i = 0; i < sizeof(before); i++)
		MEM8(p++) = before[i];
	MEM8(p++) = 0x41; /* mov r9d, imm */
	MEM8(p++) = 0xb9;
	MEM32(p) = 77;
	p += 4;
	for (unsigned i = 0; i < in->n; i++)
		MEM8(p++) = in->front[i];
	*imm = p - at;
	for (unsigned i = 0; i < in->imm; i++)
		MEM8(p++) = (uint8_t)(value >> (8 * i));
	if (is_push(in))
		MEM8(p++) = 0x58; /* pop rax */
	MEM8(p++) = 0x9c; /* pushfq; pop r11 */
	MEM8(p++) = 0x41;
	MEM8(p++) = 0x5b;
	/* lea r10, [rax + rdi]; lea rax, [r10 + r12]; add rax, r9 */
	for (unsigned i = 0; i < sizeof(after); i++)
		MEM8(p++) = after[i];
	MEM8(p++) = 0x41; /* push r11; popfq; ret */
	MEM8(p++) = 0x53;
	MEM8(p++) = 0x9d;
	MEM8(p++) = 0xc3;
	return p - at;
}

static bool same(const struct result *a, const struct result *b)
{
	return a->ax == b->ax && a->data == b->data && ((a->flags ^ b->flags) & 0x8c5) == 0;
}

static void store(uint32_t at, uint64_t value, unsigned size)
{
	switch (size) {
	case 1:
		MEM8(at) = (uint8_t)value;
		break;
	case 2:
		MEM16(at) = (uint16_t)value;
		break;
	case 4:
		MEM32(at) = (uint32_t)value;
		break;
	case 8:
		MEM64(at) = value;
		break;
	}
}

/* What is at PAGE + offset, and the same bytes where nothing has been before. */
static bool is_right(uint32_t at, unsigned len)
{
	uint64_t number = any(), data = any();
	struct result got, want;

	if (copy_at + STRIDE > COPIES_END)
		copy_at = COPIES;
	for (unsigned i = 0; i < len; i++)
		MEM8(copy_at + i) = MEM8(at + i);
	got = call(at, number, data);
	want = call(copy_at, number, data);
	copy_at += STRIDE;
	return same(&got, &want);
}

/* Its immediate again and again, as a whole; then its first byte, its last one, and then the opcode. */
static bool patched(const struct insn *in, uint32_t at, uint32_t alias)
{
	unsigned imm, len = put(at, in, any(), &imm);

	if (!is_right(at, len))
		return false;
	for (unsigned i = 0; i < TIMES; i++) {
		store(alias + at + imm, any(), in->imm);
		if (!is_right(at, len))
			return false;
	}
	for (unsigned i = 0; i < TIMES; i++) {
		store(alias + at + imm + (i & 1 ? in->imm - 1u : 0), any(), 1);
		if (!is_right(at, len))
			return false;
	}
	for (unsigned i = 0; in->n == 1 && !is_push(in) && i < 6; i++) {
		uint8_t cmp = in->imm == 4 ? 0x3d : 0x3c; /* of EAX or AL, to and fro */

		MEM8(alias + at + imm - 1) = i & 1 ? in->front[0] : cmp;
		if (!is_right(at, len))
			return false;
	}
	put(alias + at, in, any(), &imm);
	return is_right(at, len);
}

static void test_insns(void)
{
	for (unsigned i = 0; i < sizeof(insns) / sizeof(insns[0]); i++)
		check_true(insns[i].name, patched(&insns[i], PAGE, 0));
}

/* Immediates that lie in two lines and in two pages, and at a page's very end. */
static void test_places(void)
{
	bool lines = true, pages = true;

	for (uint32_t back = 14; back <= 28; back++) {
		for (unsigned i = 0; i < 2; i++) {
			lines &= patched(&insns[i], 0x30800 - back, 0);
			pages &= patched(&insns[i], 0x31000 - back, 0);
		}
	}
	check_true("in_two_lines", lines);
	check_true("in_two_pages", pages);
}

static void test_alias(void)
{
	MEM64(0x71008) = 0x72003 | (MEM64(0x71000) & 0xfe4);
	write_cr3(read_cr3());
	for (unsigned i = 0; i < 8; i++)
		check_true("alias", patched(&insns[i], PAGE + 0x400, ALIAS));
}

CODE(64, ahead, "movl %edi, 1f+1(%rip)\n nop\n 1: movl $0, %eax\n");
CODE(64, behind, "1: movl $0, %eax\n movl %edi, 1b+1(%rip)\n");
CODE(64, loop, "xorl %eax, %eax\n 1: addl $1, %eax\n incb 1b+2(%rip)\n decl %ecx\n jnz 1b\n movb $1, 1b+2(%rip)\n");
CODE(64, ahead_twice, "movl %edi, 1f+1(%rip)\n movb $0x77, 1f+1(%rip)\n 1: movl $0, %eax\n");
CODE(64, flags, "cmpl %esi, %edi\n 1: movl $0, %eax\n setb %al\n leal 1(%rdi), %edx\n movw %dx, 1b+2(%rip)\n");

/* A block that changes itself, where it is going and where it has been. */
static void test_itself(void)
{
	bool is_ahead = true, is_behind = true, is_loop = true, is_twice = true, is_flags = true;
	uint32_t before = 0;

	for (uint32_t i = 1; i <= TIMES; i++) {
		uint32_t value = (uint32_t)any();

		TRY(ahead, R.di = value);
		is_ahead &= R.ax == value;
		TRY(behind, R.di = value);
		is_behind &= R.ax == before;
		before = value;
		TRY(loop, R.cx = 10);
		is_loop &= R.ax == 55;
		TRY(ahead_twice, R.di = value);
		is_twice &= R.ax == ((value & ~0xffu) | 0x77);
		TRY(flags, R.di = i, R.si = 5);
		is_flags &= R.ax == ((uint32_t)(uint16_t)(i == 1 ? 0 : i) << 8 | (i < 5));
	}
	check_true("ahead", is_ahead);
	check_true("behind", is_behind);
	check_true("loop", is_loop);
	check_true("ahead_twice", is_twice);
	check_true("flags", is_flags);
}

/* One store over opcode and immediate, or over the immediate and what follows. */
static void test_wide(void)
{
	bool all = true, after = true;
	unsigned imm, len = put(PAGE, &insns[0], 1, &imm);

	for (uint32_t i = 0; i < TIMES; i++) {
		uint64_t bytes = MEM64(PAGE + imm - 1);

		/* mov, xor and add eax, imm */
		static const uint8_t opcode[] = { 0xb8, 0x35, 0xb8, 0x05 };

		bytes = (bytes & 0xffffff0000000000) | (any() & 0xffffffff) << 8 | opcode[i & 3];
		MEM64(PAGE + imm - 1) = bytes;
		all &= is_right(PAGE, len);
		MEM32(PAGE + imm) = (uint32_t)any();
		all &= is_right(PAGE, len);
	}
	MEM8(PAGE) = 0xb8;
	for (uint32_t i = 0; i < 2 * TIMES; i++) {
		/* mov eax, imm; nop or xchg edi, eax; ret */
		MEM64(PAGE + 1) = (any() & 0xffffffff) | (uint64_t)(i & 1 ? 0xc390 : 0xc397) << 32;
		after &= is_right(PAGE, 7);
		MEM32(PAGE + 1) = (uint32_t)any();
		after &= is_right(PAGE, 7);
	}
	check_true("opcode_and_immediate", all);
	check_true("immediate_and_after", after);
}

/* A store that begins in a line, or a page, without code. */
static void test_edges(void)
{
	bool line = true, page = true;

	for (uint32_t i = 0; i < TIMES; i++) {
		for (uint32_t at = 0x33840; at <= 0x34000; at += 0x7c0) {
			/* mov eax, imm; lea rax, [rax + rdi]; ret */
			bool *ok = at & 0xfff ? &line : &page;

			if (i == 0)
				MEM64(at + 4) = 0xc338048d4800;
			MEM64(at - 4) = any() << 40 | (uint64_t)0xb8 << 32;
			*ok &= is_right(at, 10);
		}
	}
	check_true("from_line_before", line);
	check_true("from_page_before", page);
}

/* A function that is written anew each time and goes on in one of three other pages. */
static void test_jumps(void)
{
	bool ok = true;

	for (uint32_t i = 0; i < 3; i++) {
		MEM8(0x35000 + 0x1000 * i) = 0xb8; /* mov eax, i; ret */
		MEM32(0x35001 + 0x1000 * i) = i;
		MEM8(0x35005 + 0x1000 * i) = 0xc3;
	}
	for (uint32_t i = 0; i < 600; i++) {
		uint32_t to = any() % 3, at = PAGE + 0xc00;

		for (uint32_t n = any() % 4; n; n--)
			MEM8(at++) = 0x90;
		MEM8(at) = 0xe9;
		MEM32(at + 1) = 0x35000 + 0x1000 * to - at - 5;
		ok &= call(PAGE + 0xc00, 0, 0).ax == to;
		ok &= call(PAGE + 0xc00, 0, 0).ax == to;
	}
	check_true("jumps", ok);
}

/* By string instructions, and a page that is data for a while. */
static void test_page(void)
{
	unsigned imm, len = put(PAGE, &insns[0], 1, &imm);
	bool movs = true, stos = true, again = true;

	for (uint32_t i = 0; i < TIMES; i++) {
		uint64_t from = DATA + 16, to = PAGE + imm, count = 4;

		MEM32(DATA + 16) = (uint32_t)any();
		__asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
		movs &= is_right(PAGE, len);
		to = PAGE + imm;
		count = 4;
		__asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(i) : "memory");
		stos &= is_right(PAGE, len);
	}
	for (uint32_t i = 0; i < TIMES; i++) {
		for (uint32_t n = 0; n < 3000; n++)
			MEM32(PAGE + n % 1024 * 4) = (uint32_t)any();
		len = put(PAGE, &insns[i & 7], any(), &imm);
		again &= is_right(PAGE, len);
		MEM8(PAGE + imm) = (uint8_t)any();
		again &= is_right(PAGE, len);
	}
	check_true("rep_movs", movs);
	check_true("rep_stos", stos);
	check_true("data_for_a_while", again);
}

/*
 * The same store beside code so often that its place has become data to whoever learns; then code
 * is put there, runs, and the store changes it. Lines before and behind hold code.
 */
__attribute__((noinline)) static void put_often(uint32_t at, uint32_t value, unsigned times)
{
	__asm__ volatile("jmp 1f\n 1: movl %k[v], (%[to])\n decl %%ecx\n jnz 1b"
			 : "+c"(times)
			 : [to] "r"((uint64_t)at), [v] "r"(value)
			 : "memory", "cc");
}

static uint32_t run_at(uint32_t at)
{
	uint32_t ax;

	__asm__ volatile("call *%1" : "=a"(ax) : "r"((uint64_t)at) : "memory", "cc");
	return ax;
}

/* mov eax, value; ret */
static void put_ret(uint32_t at, uint32_t value)
{
	MEM8(at) = 0xb8;
	MEM32(at + 1) = value;
	MEM8(at + 5) = 0xc3;
}

static void test_beside(void)
{
	for (unsigned n = 0; n < 24; n++) {
		uint32_t line = PAGE + 64 * (2 + n % 3 * 16), wrong = 0;

		put_ret(line - 64, n);
		put_ret(line + 256, n + 1);
		wrong += run_at(line - 64) != n;
		wrong += run_at(line + 256) != n + 1;
		for (unsigned k = 0; k < 4; k++) {
			uint32_t at = line + 64 * k + n + 1;

			put_often(at, n, 3000);
			wrong += MEM32(at) != n;
			put_ret(at - 1, 0x100 + n);
			wrong += run_at(at - 1) != 0x100 + n;
			for (unsigned i = 0; i < 3; i++) {
				put_often(at, 0x200 + i, 1);
				wrong += run_at(at - 1) != 0x200 + i;
			}
		}
		check("beside", wrong, 0);
		check("beside.before", run_at(line - 64), n);
		check("beside.behind", run_at(line + 256), n + 1);
		/* Across the end of what is free. */
		put_often(line + 254, 0x11b8c3c3, 1);
		check("beside.edge", run_at(line + 256), 0x11 | (n + 1) >> 8 << 8);
		put_ret(line + 256, 7);
		check("beside.edge_back", run_at(line + 256), 7);
	}
}

void image_main(void)
{
	test_beside();
	test_insns();
	test_places();
	test_itself();
	test_wide();
	test_edges();
	test_jumps();
	test_page();
	test_alias();
}
