/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Decimal arithmetic against the host itself, whose compatibility mode still has it: each case
 * visits 32-bit code by a far return and comes back by a far jump.
 */
#include <sys/mman.h>

#include "test/x86/system_guest.h"

#define HOST_CS32 0x23u /* Linux's GDT */
#define HOST_CS64 0x33u

#define CF X86_FL_CF
#define PF X86_FL_PF
#define AF X86_FL_AF
#define ZF X86_FL_ZF
#define SF X86_FL_SF

static const struct op {
	const char *name;
	uint8_t code[2];
	unsigned len;
	uint64_t defined; /* flags that the manual defines */
	bool wide;	  /* AH matters */
} ops[] = {
	{"daa", {0x27}, 1, CF | PF | AF | ZF | SF, false},
	{"das", {0x2f}, 1, CF | PF | AF | ZF | SF, false},
	{"aaa", {0x37}, 1, CF | AF, true},
	{"aas", {0x3f}, 1, CF | AF, true},
	{"aam", {0xd4, 10}, 2, PF | ZF | SF, false},
	{"aam 16", {0xd4, 16}, 2, PF | ZF | SF, false},
	{"aad", {0xd5, 10}, 2, PF | ZF | SF, true},
	{"aad 255", {0xd5, 255}, 2, PF | ZF | SF, true},
	{"salc", {0xd6}, 1, CF, false},
};

/*
 * 32-bit code: the instruction, then a far jump to a 64-bit RET behind it.  The second page is a
 * stack.
 */
static uint8_t *build(const struct op *op)
{
	uint8_t *page = mmap(
		NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint8_t *at = page;
	uint32_t back;
	uint16_t cs = HOST_CS64;

	assert_ptr_not_equal(page, MAP_FAILED);
	memcpy(at, op->code, op->len);
	at += op->len;
	*at++ = 0xea;
	back = (uint32_t)(uintptr_t)(at + 6);
	memcpy(at, &back, 4);
	memcpy(at + 4, &cs, 2);
	at[6] = 0xc3;
	assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
	return page;
}

/* On a stack of its own below 4 GiB: compatibility mode cuts RSP. */
static void run_native(const uint8_t *page, uint64_t *rax, uint64_t *flags)
{
	__asm__ volatile("mov	%%rsp, %%rcx\n\t"
			 "lea	8192(%[page]), %%rsp\n\t"
			 "push	%%rcx\n\t"
			 "lea	1f(%%rip), %%rcx\n\t"
			 "push	%%rcx\n\t"
			 "push	%[cs]\n\t"
			 "push	%[page]\n\t"
			 "push	%[flags]\n\t"
			 "popfq\n\t"
			 "lretq\n"
			 "1:\n\t"
			 "pushfq\n\t"
			 "pop	%[flags]\n\t"
			 "pop	%%rsp"
			 : [flags] "+r"(*flags), "+a"(*rax)
			 : [page] "r"(page), [cs] "i"(HOST_CS32)
			 : "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
			 "r15", "memory", "cc");
}

static void check(
	struct guest *g, const struct op *op, const uint8_t *page, unsigned ax, uint64_t flags)
{
	uint64_t native_rax = ax, native_flags = flags;

	run_native(page, &native_rax, &native_flags);
	g->cpu.gpr[X86_RAX] = ax;
	g->cpu.rflags = flags;
	guest_code(g, op->code, op->len);
	assert_int_equal(guest_step(g), X86_DONE);
	if (g->cpu.gpr[X86_RAX] != native_rax ||
		(g->cpu.rflags & op->defined) != (native_flags & op->defined))
		fail_msg("%s AX=%04x flags=%03x: %04x/%03x, host %04x/%03x", op->name, ax,
			(unsigned)flags, (unsigned)g->cpu.gpr[X86_RAX], (unsigned)g->cpu.rflags,
			(unsigned)native_rax, (unsigned)native_flags & 0xfff);
}

static void test_against_host(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct guest *g = system_guest(GUEST_PROT32, 0);
		uint8_t *page = build(&ops[i]);
		unsigned high = ops[i].wide ? 0x100 : 1;

		for (unsigned ah = 0; ah < high; ah += 3)
			for (unsigned al = 0; al < 0x100; al++)
				for (unsigned f = 0; f < 4; f++)
					check(g, &ops[i], page, ah << 8 | al,
						2 | (f & 1 ? CF : 0) | (f & 2 ? AF : 0));
		munmap(page, 8192);
		guest_destroy(g);
	}
}

static void test_aam_zero(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	guest_code(g, (const uint8_t[]){0xd4, 0x00}, 2);
	assert_fault(g, guest_step(g), X86_DE, 0);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_host),
		cmocka_unit_test(test_aam_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
