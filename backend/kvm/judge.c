/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Not every /dev/kvm has hardware behind it.  Some interpret privileged code, know no 32-bit
 * paging, and take a microsecond for an instruction: a guest is better off on the software CPU.
 * Names and version numbers do not tell; so a few small guests do, through the backend as it will
 * be used.
 */
#include <time.h>

#include "backend/kvm/kvm.h"
#include "backend/kvm/option.h"

#define RAM_SIZE  0x200000u
#define CODE	  0x1000u
#define TABLES	  0x10000u
#define DONE_PORT 0xe9u /* OUT there ends a guest; nobody else has it */
#define LOOPS	  10000u
#define TRIES	  3
#define MIN_RATE                                                                                   \
	20.0 /* million instructions a second; interpreters reach one, nested hardware 70 */
#define PS	   0x80u
#define PRESENT_RW 3u

struct trial {
	struct vm *vm;
	uint8_t *ram;
	char *why;
	size_t size;
};

static int disappointed(const struct trial *t, const char *text)
{
	snprintf(t->why, t->size, "%s", text);
	return ENOTSUP;
}

/* ---- A guest in some mode ---- */

struct value {
	int reg;
	uint64_t value;
};

static int set_all(struct vm *vm, const struct value *v, size_t n)
{
	int error = 0;

	for (size_t i = 0; i < n && !error; i++)
		error = vm_set_register(vm, 0, v[i].reg, v[i].value);
	return error;
}

static int set_segments(struct vm *vm, uint32_t code_access)
{
	struct seg_desc code = {0, UINT32_MAX, code_access}, data = {0, UINT32_MAX, 0xc093};
	int error = vm_set_seg_desc(vm, 0, VM_REG_GUEST_CS, &code);

	for (int reg = VM_REG_GUEST_ES; reg <= VM_REG_GUEST_GS && !error; reg++)
		if (reg != VM_REG_GUEST_CS)
			error = vm_set_seg_desc(vm, 0, reg, &data);
	return error;
}

/* `code` at CODE, in privileged 32-bit or 64-bit code with paging. */
static int start(struct trial *t, const void *code, size_t n, uint64_t cr4, uint64_t efer)
{
	const struct value values[] = {
		{VM_REG_GUEST_CR3, TABLES},
		{VM_REG_GUEST_CR4, cr4},
		{VM_REG_GUEST_EFER, efer},
		{VM_REG_GUEST_CR0, X86_CR0_PE | X86_CR0_MP | X86_CR0_NE | X86_CR0_WP | X86_CR0_PG},
		{VM_REG_GUEST_RFLAGS, 2},
		{VM_REG_GUEST_RSP, CODE},
	};
	int error = vcpu_reset(t->vm, 0);

	memcpy(t->ram + CODE, code, n);
	if (!error)
		error = set_segments(t->vm, efer ? 0xa09b : 0xc09b);
	return error ? error : set_all(t->vm, values, sizeof(values) / sizeof(values[0]));
}

/* To its OUT. EIO: it ended otherwise. */
static int finish(struct trial *t)
{
	struct vm_run run = {.cpuid = 0, .rip = CODE};
	int error = vm_run(t->vm, &run);

	if (error)
		return error;
	return run.vm_exit.exitcode == VM_EXITCODE_INOUT && run.vm_exit.u.inout.port == DONE_PORT
		       ? 0
		       : EIO;
}

/* ---- Trials ---- */

static void put32(struct trial *t, uint32_t at, uint32_t value)
{
	memcpy(t->ram + at, &value, sizeof(value));
}

static void put64(struct trial *t, uint32_t at, uint64_t value)
{
	memcpy(t->ram + at, &value, sizeof(value));
}

static const char out_32[] = "\xe7\xe9"; /* out 0xe9, eax */

static int try_pse(struct trial *t)
{
	put32(t, TABLES, PS | PRESENT_RW);
	if (start(t, out_32, 2, X86_CR4_PSE, 0) || finish(t))
		return disappointed(t, "no guest with 32-bit paging runs");
	return 0;
}

static int try_pae(struct trial *t)
{
	put64(t, TABLES, (TABLES + 0x1000) | 1);
	put64(t, TABLES + 0x1000, PS | PRESENT_RW);
	if (start(t, out_32, 2, X86_CR4_PAE, 0) || finish(t))
		return disappointed(t, "no guest with PAE paging runs");
	return 0;
}

static int start_long(struct trial *t, const void *code, size_t n)
{
	put64(t, TABLES, (TABLES + 0x1000) | PRESENT_RW);
	put64(t, TABLES + 0x1000, (TABLES + 0x2000) | PRESENT_RW);
	put64(t, TABLES + 0x2000, PS | PRESENT_RW);
	return start(t, code, n, X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT,
		X86_EFER_LME | X86_EFER_LMA);
}

static uint64_t emulated(struct vm *vm)
{
	const struct kvm_guest *g = vm_vmi(vm);

	return g->cpu[0]->stat_emulated;
}

static int try_vectors(struct trial *t)
{
	/* addps xmm0, xmm0; out 0xe9, eax */
	static const char code[] = "\x0f\x58\xc0\xe7\xe9";
	uint64_t before = emulated(t->vm);

	if (start_long(t, code, sizeof(code) - 1) || finish(t))
		return disappointed(t, "no guest in 64-bit mode runs");
	if (emulated(t->vm) != before)
		return disappointed(t, "it interprets privileged code, and knows no SSE there");
	return 0;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Of a loop of two instructions, entry and exit included; negative: it did not end. */
static double time_loop(struct trial *t, uint32_t loops)
{
	/* mov ecx, loops; 1: dec ecx; jnz 1b; out 0xe9, eax */
	uint8_t code[] = {0xb9, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xe7, 0xe9};
	double begin;

	memcpy(code + 1, &loops, sizeof(loops));
	if (start_long(t, code, sizeof(code)))
		return -1;
	begin = seconds();
	return finish(t) ? -1 : seconds() - begin;
}

/* The best of some, for others use this host too. */
static int try_speed(struct trial *t)
{
	double least = -1;

	for (int i = 0; i < TRIES; i++) {
		double nothing = time_loop(t, 1), all = time_loop(t, LOOPS);

		if (nothing < 0 || all < 0)
			return disappointed(t, "a loop does not end");
		if (least < 0 || all - nothing < least)
			least = all - nothing;
	}
	if (least > 2 * LOOPS / (MIN_RATE * 1e6)) {
		snprintf(t->why, t->size, "it executes %.1f million instructions a second",
			2e-6 * LOOPS / least);
		return ENOTSUP;
	}
	return 0;
}

static int run_all(struct trial *t)
{
	static int (*const trials[])(struct trial * t) = {try_vectors, try_pae, try_pse, try_speed};
	int error = 0;

	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]) && !error; i++)
		error = trials[i](t);
	return error;
}

static int prepare(struct trial *t)
{
	size_t len;
	int error = vm_malloc(t->vm, 0, RAM_SIZE);

	if (error)
		return error;
	t->ram = vm_gpa_ram(t->vm, 0, &len);
	error = vcpu_set_state(t->vm, 0, VCPU_FROZEN, true);
	return error ? error : vm_activate_cpu(t->vm, 0);
}

/* The first disappointment is the answer: a guest that shut down would not run again anyway. */
int kvm_judge(char *why, size_t size)
{
	struct trial t = {.why = why, .size = size};
	int error = vm_create_on(&vmm_ops_kvm, "judge", &t.vm);

	if (error) {
		snprintf(why, size, "no virtual machine: %s", strerror(error));
		return error;
	}
	error = prepare(&t);
	if (error)
		snprintf(why, size, "no virtual machine: %s", strerror(error));
	else
		error = run_all(&t);
	vm_destroy(t.vm);
	return error;
}
