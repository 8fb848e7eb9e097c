/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Blocks that one vcpu has translated and others copy: that they do, that a copy is of the code as
 * it is now, of the same mode, and for its own address, and that none is made of what has gone.  Then
 * all at once, with caches from which blocks go all the time.
 */
#include <string.h>

#include "backend/soft/soft.h"
#include "test/backend/soft/smp.h"
#include "vmm/vm.h"

#define FUNCTIONS 2000u
#define ROUNDS	  4u
#ifdef HYVE_SAN
#define TURNS 3u
#else
#define TURNS 20u
#endif
#define STRIDE 64u
#define TAIL   32u /* of a function that goes on elsewhere */
#define TAILS  61u

static struct soft_vcpu *vcpu_of(const struct smp *s, int vcpu)
{
	return ((struct soft_vm *)s->vm->vmi)->vcpu[vcpu];
}

/* One that has not been told otherwise by SOFT_TORTURE or SOFT_LOCKSTEP. */
static int set_up_sharing(void **state)
{
	struct soft_vm *vm;
	struct smp *s;

	set_up(state);
	s = *state;
	vm = s->vm->vmi;
	vm->torture = 0;
	vm->lockstep = false;
	vm->cache_size = 1u << 20;
	return vm_set_topology(s->vm, 1, VCPUS, 1, 0);
}

/* What the vcpu has in EAX at the end of the code at rip, and how it left. */
static uint32_t exit_at(struct smp *s, int vcpu, uint64_t rip, struct vm_exit *exit)
{
	struct vm_run run = {.cpuid = vcpu, .rip = rip};
	int error;

	do {
		error = vmmdev_run(s->vm, &run);
		run.rip = run.vm_exit.rip + (uint64_t)run.vm_exit.inst_length;
	} while (!error && run.vm_exit.exitcode == VM_EXITCODE_BOGUS);
	assert_int_equal(error, 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INOUT);
	*exit = run.vm_exit;
	return exit->u.inout.eax;
}

static uint32_t result_at(struct smp *s, int vcpu, uint64_t rip)
{
	struct vm_exit exit;

	return exit_at(s, vcpu, rip, &exit);
}

static void put_code(struct smp *s, const uint8_t *code, const uint8_t *end)
{
	memcpy(s->ram + CODE, code, (size_t)(end - code));
}

/* Memory, the stack, calls in the page and out of it, strings, a loop, instructions in C, flags
 * across. */
SNIPPET(everything, "mov $0x200000, %ebx\n lea 8(%rbx), %rdi\n mov %rbx, %rsi\n mov $40, %ecx\n "
		    "xor %eax, %eax\n cld\n"
		    "rep stosl\n movl $7, (%rbx)\n mov $16, %ecx\n lea 64(%rbx), %rdi\n rep movsq\n"
		    "mov $5, %r12d\n xor %r13d, %r13d\n"
		    "1: push %r12\n add (%rbx), %r13d\n call 8f\n pop %rdx\n add %edx, %r13d\n dec "
		    "%r12d\n jnz 1b\n"
		    "mov $0x101000, %eax\n call *%rax\n add %eax, %r13d\n xor %eax, %eax\n cpuid\n "
		    "mov $0x200000, %ebx\n add 64(%rbx), %r13d\n"
		    "lea 2f(%rip), %rax\n jmp *%rax\n 2: stc\n jmp 3f\n 3: adc $0, %r13d\n mov "
		    "%r13d, %eax\n jmp 9f\n"
		    "8: lock incl 4(%rbx)\n add $2, %r13d\n ret\n 9:\n");

/* Ops of a block (mov imm64, r12) are the vcpu's own, and C returns into the same block. */
static void check_ops(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;
	unsigned found = 0;

	for (uint32_t i = 0; i < c->piece[0].nblocks; i++) {
		const struct soft_block *b = &c->blocks[i];

		for (uint32_t at = b->host_mem; at + 10 < soft_block_end(b); at++) {
			const struct soft_op *op;

			memcpy(&op, c->rw + at + 2, sizeof(op));
			if (c->rw[at] != 0x49 || c->rw[at + 1] != 0xbc ||
				(const uint8_t *)op - c->meta > (ptrdiff_t)c->meta_size)
				continue;
			assert_true((const uint8_t *)op >= c->meta);
			if (op->resume)
				assert_ptr_equal(soft_block_at(c, op->resume), b);
			found += op->resume != NULL;
		}
	}
	assert_true(found > 0);
}

static const uint8_t thirty[] = {0xb8, 30, 0, 0, 0, 0xc3};

static void test_copied(void **state)
{
	struct smp *s = *state;
	const struct soft_vcpu *first = vcpu_of(s, 0);

	memcpy(s->ram + CODE + 0x1000, thirty, sizeof(thirty));
	put_code(s, everything, everything_end);
	/* 5 sevens, 5 twos, 5 + 4 + 3 + 2 + 1, thirty, what was copied, the carry. */
	assert_int_equal(result_at(s, 0, CODE), 35 + 10 + 15 + 30 + 7 + 1);
	assert_int_equal(first->stat_copied_blocks, 0);
	for (int i = 1; i < VCPUS; i++) {
		const struct soft_vcpu *v = vcpu_of(s, i);

		assert_int_equal(result_at(s, i, CODE), 98);
		assert_int_equal(v->stat_translated_blocks, 0);
		assert_true(v->stat_copied_blocks > 5);
		assert_int_equal(v->stat_copied_blocks, first->stat_translated_blocks);
		assert_int_equal(v->stat_copied_insns, first->stat_translated_insns);
		check_ops(vcpu_of(s, i));
	}
	assert_int_equal(get64(s, DATA) >> 32, 5 * VCPUS);
}

/* Nobody else runs, or it was forbidden. */
static void test_not_asked_for(void **state)
{
	struct smp *s = *state;
	struct soft_vm *vm = s->vm->vmi;

	vm->share = false;
	memcpy(s->ram + CODE + 0x1000, thirty, sizeof(thirty));
	put_code(s, everything, everything_end);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(result_at(s, i, CODE), 98);
	assert_int_equal(vcpu_of(s, 1)->stat_copied_blocks, 0);
	assert_int_equal(vcpu_of(s, 0)->cache.stamps, 0);
}

/* Vcpu 2 stores to what vcpu 0 has translated, which does not run and so has not heard of it. */
SNIPPET(storing, "movl $0x55, 0x101001\n mov $0, %eax\n");
SNIPPET(fetching, "mov $0x101000, %eax\n call *%rax\n");

static void test_changed(void **state)
{
	struct smp *s = *state;
	const uint32_t apart = 0x8000;

	memcpy(s->ram + CODE + 0x1000, thirty, sizeof(thirty));
	put_code(s, fetching, fetching_end);
	memcpy(s->ram + CODE + apart, storing, (size_t)(storing_end - storing));
	assert_int_equal(result_at(s, 0, CODE), 30);
	result_at(s, 2, CODE + apart);
	assert_int_equal(result_at(s, 1, CODE), 0x55);
	assert_true(vcpu_of(s, 1)->stat_copied_blocks > 0);
	assert_int_equal(vcpu_of(s, 1)->stat_copy_misses, 1);
	assert_int_equal(result_at(s, 0, CODE), 0x55);
	assert_int_equal(result_at(s, 3, CODE), 0x55);
	assert_int_equal(vcpu_of(s, 3)->stat_translated_blocks, 0);
}

/*
 * STC and an access, whose check may clobber the flags: the code that is jumped to does not read
 * them.  Then it does: the block's own bytes are what they were.
 */
SNIPPET(ahead, "mov $0x200000, %ebx\n xor %eax, %eax\n jmp 1f\n .skip 128\n"
	       "1: stc\n mov (%rbx), %ecx\n jmp 2f\n .skip 128\n 2: add $1, %eax\n");

static void test_looked_ahead(void **state)
{
	struct smp *s = *state;
	uint8_t *add = s->ram + CODE + (ahead_end - ahead) - 5; /* before OUT */

	put_code(s, ahead, ahead_end);
	assert_int_equal(result_at(s, 0, CODE), 1);
	assert_int_equal(add[0], 0x83);
	add[1] = 0xd0; /* adc $1, %eax */
	assert_int_equal(result_at(s, 1, CODE), 2);
	assert_int_equal(vcpu_of(s, 1)->stat_copied_blocks, 1);
	assert_int_equal(vcpu_of(s, 1)->stat_copy_misses, 2);
}

/* REX.W and INC EAX; in 32-bit code DEC EAX, INC EAX. */
SNIPPET(either, "xor %eax, %eax\n .byte 0x48, 0xff, 0xc0\n");

static void test_modes(void **state)
{
	struct smp *s = *state;
	struct seg_desc cs = {.base = 0, .limit = 0xffffffff, .access = 0xc09b};

	put_code(s, either, either_end);
	assert_int_equal(vmmdev_set_seg_desc(s->vm, 1, VM_REG_GUEST_CS, &cs), 0);
	assert_int_equal(result_at(s, 0, CODE), 1);
	assert_int_equal(result_at(s, 1, CODE), 0);
	assert_int_equal(vcpu_of(s, 1)->stat_copied_blocks, 0);
	assert_int_equal(result_at(s, 2, CODE), 1);
	assert_true(vcpu_of(s, 2)->stat_copied_blocks > 0);
}

/* The same code at another linear address. */
SNIPPET(here, "lea (%rip), %rax\n");

static void test_addresses(void **state)
{
	struct smp *s = *state;

	put64(s, TABLE, CODE | 3);
	put_code(s, here, here_end);
	assert_int_equal(result_at(s, 0, CODE), CODE + 7);
	assert_int_equal(result_at(s, 1, WINDOW), WINDOW + 7);
	assert_int_equal(vcpu_of(s, 1)->stat_copied_blocks, 0);
	assert_int_equal(result_at(s, 2, WINDOW), WINDOW + 7);
	assert_int_equal(vcpu_of(s, 2)->stat_translated_blocks, 0);
}

/*
 * As libraries are: the page of the code, one for its edges, and one of data which is another one
 * each time, at an address of its own.
 */
#define PLACE(k)      ((uint64_t)(k) << 39 | (k) % 8 * 0x5000u)
#define PLACE_DATA(k) (DATA + (k)*0x1000u)

static void put_place(struct smp *s, uint32_t k)
{
	const uint64_t root = 0x1000, page[] = {CODE, CODE + 0x1000, PLACE_DATA(k)};
	uint32_t tables = 0x10000 + k % 8 * 0x3000;

	put64(s, (uint32_t)root + 8 * k, tables | 3);
	put64(s, tables, (tables + 0x1000) | 3);
	put64(s, tables + 0x1000, (tables + 0x2000) | 3);
	for (uint32_t i = 0; i < 3; i++)
		put64(s, tables + 0x2000 + 8 * (k % 8 * 5 + i), page[i] | 3);
	put64(s, PLACE_DATA(k) + 8, k);
}

/*
 * Loads and stores, two of them with one check; what CALL pushes; a jump to the next page and back;
 * a loop; an indirect jump; a table of addresses in the code.  EAX: k, as it was read, as the return
 * address and RIP have it.
 */
SNIPPET(moving,
	"7: mov 7b + 0x2008(%rip), %ecx\n add 7b + 0x2008(%rip), %ecx\n mov %ecx, 7b + 0x2010(%rip)\n"
	"call 1f\n 5: shr $39, %rbp\n shl $8, %ebp\n jmp 7b + 0x1000\n"
	"1: mov (%rsp), %rbp\n lea 5b(%rip), %rdx\n cmp %rdx, %rbp\n je 2f\n xor %ebp, %ebp\n"
	"2: mov $3, %edx\n 3: dec %edx\n jnz 3b\n ret\n"
	"moving_back: xor %eax, %eax\n cpuid\n lea 4f(%rip), %rax\n jmp *%rax\n"
	"4: lea (%rip), %rax\n shr $39, %rax\n shl $16, %eax\n add %ebp, %eax\n"
	"add 7b + 0x2008(%rip), %eax\n");
extern const uint8_t moving_back[];

/* What depends on the address in other ways has to be translated anew: all of it is in 32 bits. */
SNIPPET(staying, "lea (%eip), %eax\n");

static void check_moved(struct smp *s, int vcpu, uint32_t k)
{
	struct vm_exit exit;

	memset(s->ram + PLACE_DATA(k) + 16, 0, 8);
	assert_int_equal(exit_at(s, vcpu, PLACE(k), &exit), k << 16 | k << 8 | k);
	assert_int_equal(exit.rip, PLACE(k) + (uint64_t)(moving_end - moving) - 2);
	assert_int_equal(get64(s, PLACE_DATA(k) + 16), 2 * k);
}

static void test_moved(void **state)
{
	struct smp *s = *state;
	const struct soft_vcpu *first = vcpu_of(s, 0), *second = vcpu_of(s, 1);
	uint8_t *code = s->ram + CODE + (moving_back - moving);
	const int32_t back = (int32_t)(moving_back - moving) - 0x1005;
	uint64_t translated;

	assert_int_equal(vm_set_topology(s->vm, 1, 1, 1, 0), 0);
	for (uint32_t k = 1; k <= 255; k += 127)
		put_place(s, k);
	put_code(s, moving, moving_end);
	s->ram[CODE + 0x1000] = 0xe9; /* JMP */
	memcpy(s->ram + CODE + 0x1001, &back, 4);
	check_moved(s, 0, 1);
	translated = first->stat_translated_blocks;
	assert_int_equal(first->stat_copied_blocks, 0);
	check_moved(s, 0, 128);
	assert_int_equal(first->stat_copied_blocks, translated);
	check_moved(s, 0, 255);
	check_moved(s, 0, 1);
	assert_int_equal(first->stat_translated_blocks, translated);
	assert_int_equal(first->stat_copied_blocks, 2 * translated);
	/* A second vcpu copies what the first one has translated, wherever that was. */
	check_moved(s, 1, 255);
	assert_int_equal(second->stat_translated_blocks, 0);
	/* The code changes. */
	code[1] = 0xd2; /* XOR EDX, EDX: CPUID has leaf 0x1000, which is as good */
	check_moved(s, 1, 128);
	assert_true(second->stat_translated_blocks > 0);
}

static void test_staying(void **state)
{
	struct smp *s = *state;

	put_place(s, 1);
	put_place(s, 2);
	put_code(s, staying, staying_end);
	for (uint32_t k = 1; k <= 2; k++)
		assert_int_equal(result_at(s, 0, PLACE(k)),
			(uint32_t)PLACE(k) + (uint32_t)(staying_end - staying) - 2);
	assert_int_equal(vcpu_of(s, 0)->stat_copied_blocks, 0);
}

static void test_gone(void **state)
{
	struct smp *s = *state;

	put_code(s, either, either_end);
	assert_int_equal(result_at(s, 0, CODE), 1);
	soft_cache_flush(vcpu_of(s, 0));
	assert_int_equal(result_at(s, 1, CODE), 1);
	assert_int_equal(vcpu_of(s, 1)->stat_copied_blocks, 0);
	/* Vcpu 1 is who has it now. */
	for (unsigned i = 0; i < vcpu_of(s, 1)->cache.npieces; i++)
		soft_make_room(vcpu_of(s, 1));
	assert_int_equal(result_at(s, 2, CODE), 1);
	assert_int_equal(vcpu_of(s, 2)->stat_copied_blocks, 0);
	assert_int_equal(result_at(s, 0, CODE), 1);
	assert_true(vcpu_of(s, 0)->stat_copied_blocks > 0);
}

/* All functions, one after the other; the second half of them is rewritten by vcpu 0 as it was. */
SNIPPET(calling, "mov $4, %ecx\n xor %eax, %eax\n mov %edi, %r12d\n"
		 "1: mov $0x400000, %ebx\n"
		 "2: test %r12d, %r12d\n jnz 3f\n test $0x10000, %ebx\n jz 3f\n mov 1(%rbx), "
		 "%edx\n mov %edx, 1(%rbx)\n"
		 "3: call *%rbx\n add $64, %ebx\n cmp $0x400000 + 64 * 2000, %ebx\n jne 2b\n"
		 "dec %ecx\n jnz 1b\n");

/* ADD EAX, n; PUSH RAX; POP RDX; CMP EAX, EDX; JNE; RET, or JMP to the tail of one in another page.
 */
static void put_function(uint8_t *ram, uint32_t n)
{
	static const uint8_t rest[] = {0x50, 0x5a, 0x39, 0xd0, 0x75, 0xf9},
			     tail[] = {0x83, 0xc0, 0x01, 0xc3};
	uint8_t *at = ram + 0x400000 + STRIDE * n;
	uint32_t rel = STRIDE * TAILS + TAIL - 16;

	at[0] = 0x05;
	memcpy(at + 1, &n, 4);
	memcpy(at + 5, rest, sizeof(rest));
	at[11] = n % 2 ? 0xe9 : 0xc3;
	memcpy(at + 12, &rel, 4);
	memcpy(at + TAIL, tail, sizeof(tail));
}

static void test_all_at_once(void **state)
{
	struct smp *s = *state;
	struct soft_vm *vm = s->vm->vmi;
	uint32_t sum = 0;
	uint64_t copied = 0, evicted = 0;
	struct runner r[VCPUS];

	vm->cache_size = 256u << 10;
	for (uint32_t n = 0; n < FUNCTIONS + TAILS; n++)
		put_function(s->ram, n);
	for (uint32_t n = 0; n < FUNCTIONS; n++)
		sum += n + n % 2;
	for (unsigned i = 0; i < TURNS; i++) {
		start(s, r, calling, calling_end);
		finish(r);
		for (int k = 0; k < VCPUS; k++)
			assert_int_equal(r[k].exit.u.inout.eax, ROUNDS * sum);
	}
	for (int k = 0; k < VCPUS; k++) {
		copied += vcpu_of(s, k)->stat_copied_blocks;
		evicted += vcpu_of(s, k)->stat_evicted_blocks;
	}
	assert_true(copied > FUNCTIONS);
	assert_true(evicted > FUNCTIONS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up_sharing, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(copied),
		TEST(not_asked_for),
		TEST(changed),
		TEST(looked_ahead),
		TEST(modes),
		TEST(addresses),
		TEST(moved),
		TEST(staying),
		TEST(gone),
		TEST(all_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
