/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The translator from outside: 64-bit snippets, run through the API, whose results are known.  What
 * one instruction does is the differential test's business; here it is what happens between them:
 * flags over memory checks, chained blocks, changed code, faults in the middle, kicks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

#include "backend/backend.h"
#include "backend/soft/soft.h"
#include "test/backend/soft/hooks.h"
#include "vmm/vm.h"

#define RAM_SIZE (16u << 20)
#define CODE	 0x100000u
#define DATA	 0x200000u /* data page; DATA_ALIAS maps the code page */
#define ALIAS	 0x40000000u
#define STACK	 0x300000u
#define HANDLER	 0x110000u

struct guest {
	struct vm *vm;
	uint8_t *ram;
	struct vm_run run;
};

/* Every snippet ends with OUT to port 0xe8 and its result in EAX. */
#define SNIPPET(name, code)                                                                        \
	extern const uint8_t name[], name##_end[];                                                 \
	__asm__(".pushsection .rodata\n" #name ":\n" code "\nout %eax, $0xe8\n" #name              \
		"_end:\n.popsection\n")

static void *ram_of(struct vm *vm)
{
	void *cookie, *p = vm_gpa_hold(vm, 0, 4096, 3, &cookie);

	vm_gpa_release(cookie);
	return p;
}

static void put64(struct guest *g, uint64_t gpa, uint64_t v)
{
	memcpy(g->ram + gpa, &v, 8);
}

/* Identity-mapped 2 MiB pages, user; at ALIAS the page of CODE once more, 4 KiB. */
static void build_tables(struct guest *g)
{
	put64(g, 0x1000, 0x2007);
	put64(g, 0x2000, 0x3007);
	put64(g, 0x2008, 0x4007); /* 1 GiB: ALIAS */
	for (unsigned i = 0; i < RAM_SIZE >> 21; i++)
		put64(g, 0x3000 + 8 * i, (uint64_t)i << 21 | 0x87);
	put64(g, 0x2018, 0x9007); /* 3 GiB: the APIC's page */
	put64(g, 0x9000 + 8 * 0x1f7, 0xfee00087);
	put64(g, 0x4000, 0x5007);
	put64(g, 0x5000, CODE | 7);
	/* A linear address whose next page is elsewhere: DATA2 = ALIAS + 2 MiB. */
	put64(g, 0x4008, 0x6007);
	put64(g, 0x6000, DATA | 7);
	put64(g, 0x6008, (DATA + 0x5000) | 7);
}

static void set_segment(struct guest *g, int reg, uint16_t sel, uint32_t access)
{
	struct seg_desc d = {.base = 0, .limit = 0xffffffff, .access = access};

	assert_int_equal(vm_set_seg_desc(g->vm, 0, reg, &d), 0);
	assert_int_equal(vm_set_register(g->vm, 0, reg, sel), 0);
}

/* IDT at 0x7000: every vector to HANDLER, which gives EAX = 0xe0000000 + error code << 8 and exits.
 */
SNIPPET(handler_error, "pop %rax\n shl $8, %eax\n or $0xe0000000, %eax");

static void build_idt(struct guest *g)
{
	struct seg_desc d = {.base = 0x7000, .limit = 0xfff};

	for (unsigned i = 0; i < 32; i++) {
		put64(g, 0x7000 + 16 * i,
			(HANDLER & 0xffff) | 0x08ull << 16 | 0x8e00ull << 32 |
				(uint64_t)(HANDLER >> 16) << 48);
		put64(g, 0x7008 + 16 * i, 0);
	}
	put64(g, 0x8000 + 8, 0x00af9b000000ffffull);
	put64(g, 0x8000 + 16, 0x00cf93000000ffffull);
	assert_int_equal(vm_set_seg_desc(g->vm, 0, VM_REG_GUEST_IDTR, &d), 0);
	d = (struct seg_desc){.base = 0x8000, .limit = 0xff};
	assert_int_equal(vm_set_seg_desc(g->vm, 0, VM_REG_GUEST_GDTR, &d), 0);
	memcpy(g->ram + HANDLER, handler_error, (size_t)(handler_error_end - handler_error));
}

static int set_up(void **state)
{
	static const struct {
		int reg;
		uint64_t value;
	} regs[] = {
		{VM_REG_GUEST_CR3, 0x1000},
		{VM_REG_GUEST_CR4, 0x620 | 1 << 18},
		{VM_REG_GUEST_EFER, 0xd00},
		{VM_REG_GUEST_CR0, 0x80010033},
		{VM_REG_GUEST_RSP, STACK},
		{VM_REG_GUEST_RFLAGS, 2},
	};
	struct guest *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	assert_int_equal(vm_create_on(&vmm_ops_soft, "soft", &g->vm), 0);
	soft_hooks(g->vm);
	assert_int_equal(vm_malloc(g->vm, 0, RAM_SIZE), 0);
	g->ram = ram_of(g->vm);
	build_tables(g);
	assert_int_equal(vm_activate_cpu(g->vm, 0), 0);
	assert_int_equal(vcpu_set_state(g->vm, 0, VCPU_FROZEN, true), 0);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		assert_int_equal(vm_set_register(g->vm, 0, regs[i].reg, regs[i].value), 0);
	set_segment(g, VM_REG_GUEST_CS, 8, 0xa09b);
	for (int reg = VM_REG_GUEST_SS; reg <= VM_REG_GUEST_GS; reg++)
		set_segment(g, reg, 16, 0xc093);
	set_segment(g, VM_REG_GUEST_ES, 16, 0xc093);
	build_idt(g);
	*state = g;
	return 0;
}

static int tear_down(void **state)
{
	struct guest *g = *state;

	assert_int_equal(vcpu_set_state(g->vm, 0, VCPU_IDLE, false), 0);
	assert_false(soft_hooks_mismatch(g->vm, "soft"));
	vm_destroy(g->vm);
	free(g);
	return 0;
}

/* Runs a snippet to its OUT and returns EAX. */
static uint32_t run_snippet(struct guest *g, const uint8_t *code, const uint8_t *end)
{
	memcpy(g->ram + CODE, code, (size_t)(end - code));
	vm_mem_written(g->vm, CODE, (size_t)(end - code));
	g->run = (struct vm_run){.cpuid = 0, .rip = CODE};
	assert_int_equal(vm_run(g->vm, &g->run), 0);
	assert_int_equal(g->run.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(g->run.vm_exit.u.inout.port, 0xe8);
	return g->run.vm_exit.u.inout.eax;
}
#define RUN(g, name) run_snippet(g, name, name##_end)

/* Carry lives across a load, a store, a push and a pop, through slots and through a loop's back
 * edge. */
SNIPPET(flags_live,
	"mov $0x200000, %ebx\n movl $0, (%rbx)\n xor %eax, %eax\n mov $1000, %ecx\n"
	"1: stc\n mov (%rbx), %rdx\n adc $0, %eax\n stc\n push %rax\n pop %r12\n adc $0, %eax\n"
	"mov %rax, 8(%rbx)\n clc\n movq $5, 16(%rbx,%rcx,8)\n adc $0, %eax\n"
	"dec %ecx\n jnz 1b\n");

static void test_flags_live(void **state)
{
	assert_int_equal(RUN(*state, flags_live), 2000);
}

/* OF, SF, ZF, AF and PF survive a memory check as CF does. */
SNIPPET(flags_all, "mov $0x200000, %ebx\n mov $0x7fffffff, %ecx\n xor %esi, %esi\n add $1, %ecx\n"
		   "mov (%rbx), %rdx\n pushf\n pop %rax\n and $0x8d5, %eax\n");

static void test_flags_all(void **state)
{
	assert_int_equal(RUN(*state, flags_all), 0x894); /* OF SF AF PF */
}

/* R12..R15 as operand, base, index, and all at once. */
SNIPPET(high_registers,
	"mov $0x200000, %r13d\n mov $8, %r14d\n movq $40, 8(%r13,%r14,2)\n mov $2, %r15d\n"
	"add 8(%r13,%r14,2), %r15\n lea (%r15,%r15), %r12\n xchg %r12, (%r13)\n"
	"add (%r13), %r15\n mov %r15, %rax\n cmp %r15, %r12\n");

static void test_high_registers(void **state)
{
	assert_int_equal(RUN(*state, high_registers), 42 + 84);
}

/* The displacement that has no opposite, behind a base that is in memory. */
SNIPPET(lowest_displacement,
	"mov $0x200000, %ebx\n movl $40, (%rbx)\n mov $0x80200000, %r13d\n"
	"addl $1, -0x80000000(%r13)\n mov -0x80000000(%r13), %eax\n inc %eax\n");

static void test_lowest_displacement(void **state)
{
	assert_int_equal(RUN(*state, lowest_displacement), 42);
}

/* RIP is all ones: no place of the jump cache that was emptied has that by mistake. */
SNIPPET(jump_to_all_ones,
	"mov $0x10ffff, %ebx\n movb $0xc3, (%rbx)\n call *%rbx\n call *%rbx\n"
	"mov %cr3, %rax\n mov %rax, %cr3\n mov $-1, %rbx\n jmp *%rbx\n");

static void test_jump_to_all_ones(void **state)
{
	assert_int_equal(RUN(*state, jump_to_all_ones), 0xe0001000); /* #PF, a fetch */
}

/* AH..BH with memory operands and R8.. in the address: no REX prefix may be there. */
SNIPPET(high_bytes,
	"mov $0x200000, %r9d\n mov $0x1234, %eax\n mov %rax, %r10\n mov $0x200000, %ebx\n"
	"mov %ah, (%rbx)\n mov 0(%rbx), %ch\n add %ah, %ch\n movzbl %ch, %eax\n");

static void test_high_bytes(void **state)
{
	assert_int_equal(RUN(*state, high_bytes), 0x24);
}

/* Loads, stores and a locked add across two pages that are not neighbours in physical memory. */
SNIPPET(page_crossing,
	"mov $0x40200ffc, %ebx\n movabs $0x1122334455667788, %rax\n mov %rax, (%rbx)\n"
	"mov (%rbx), %rcx\n lock addq $1, (%rbx)\n mov 4(%rbx), %eax\n cmp %rcx, %rdx\n");

static void test_page_crossing(void **state)
{
	struct guest *g = *state;
	uint32_t low;

	assert_int_equal(RUN(g, page_crossing), 0x11223344);
	memcpy(&low, g->ram + DATA + 0xffc, 4);
	assert_int_equal(low, 0x55667789);
	memcpy(&low, g->ram + DATA + 0x5000, 4);
	assert_int_equal(low, 0x11223344);
}

/* A store to the next instruction but one of the same block. */
SNIPPET(smc_same_block, "xor %eax, %eax\n movb $5, 1f+1(%rip)\n nop\n 1: mov $1, %eax\n");
/* A loop that rewrites its own immediate each time round. */
SNIPPET(smc_loop,
	"xor %edx, %edx\n mov $100, %ecx\n 1: mov $0, %eax\n add %eax, %edx\n incl 1b+1(%rip)\n"
	"dec %ecx\n jnz 1b\n mov %edx, %eax\n");
/* The same through another linear address of the page. */
SNIPPET(smc_alias,
	"xor %edx, %edx\n mov $100, %ecx\n mov $0x40000000, %ebx\n lea 1f(%rip), %rsi\n"
	"and $0xfff, %esi\n 1: mov $0, %eax\n add %eax, %edx\n incl 1(%rbx,%rsi)\n dec %ecx\n"
	"jnz 1b\n mov %edx, %eax\n");
/* A string store over code that ran before. */
SNIPPET(smc_string, "call 2f\n lea 2f(%rip), %rdi\n mov $0x90, %eax\n mov $5, %ecx\n rep stosb\n "
		    "xor %eax, %eax\n"
		    "call 2f\n jmp 3f\n 2: mov $7, %eax\n ret\n 3: \n");

static void test_smc(void **state)
{
	assert_int_equal(RUN(*state, smc_same_block), 5);
	assert_int_equal(RUN(*state, smc_loop), 4950);
	assert_int_equal(RUN(*state, smc_alias), 4950);
	assert_int_equal(RUN(*state, smc_string), 0);
}

/* Host exceptions become the guest's: #DE, #GP of an unaligned aligned access, #PF with its
 * address. */
SNIPPET(divide_error, "xor %ecx, %ecx\n mov $1, %eax\n cltd\n push $0x77\n div %ecx\n");
SNIPPET(unaligned_sse, "mov $0x200008, %ebx\n movaps (%rbx), %xmm0\n");
SNIPPET(page_fault, "mov $0x50000010, %ebx\n mov $1, %r12d\n mov %r12, (%rbx)\n");

static void test_faults(void **state)
{
	struct guest *g = *state;
	uint64_t cr2, rip;

	/* No error code: the handler pops the low half of RIP, which is in CODE's page. */
	rip = RUN(g, divide_error) >> 8 & 0xfffff;
	assert_in_range(rip, CODE & 0xfffff, (CODE & 0xfffff) + 32);
	assert_int_equal(RUN(g, unaligned_sse), 0xe0000000);
	assert_int_equal(RUN(g, page_fault), 0xe0000200);
	assert_int_equal(vm_get_register(g->vm, 0, VM_REG_GUEST_CR2, &cr2), 0);
	assert_int_equal(cr2, 0x50000010);
}

/* Vector registers and MXCSR stay across exits. */
SNIPPET(vectors_1,
	"xor %ecx, %ecx\n xor %edx, %edx\n mov $7, %eax\n xsetbv\n mov $0x11, %eax\n vmovd %eax, "
	"%xmm7\n vpbroadcastd %xmm7, %ymm7\n fninit\n fld1\n fld1\n faddp\n");
SNIPPET(vectors_2, "vextracti128 $1, %ymm7, %xmm1\n vmovd %xmm1, %eax\n push $0\n fistpl (%rsp)\n"
		   "add (%rsp), %eax\n");

static void test_vectors(void **state)
{
	RUN(*state, vectors_1);
	assert_int_equal(RUN(*state, vectors_2), 0x13);
}

/* A chip's page is served in the middle of the block: nothing of the host may be left in a
 * register. */
SNIPPET(vectors_mmio,
	"mov $0xfee00030, %ebx\n mov $0x5555, %eax\n movd %eax, %xmm0\n pshufd $0, %xmm0, %xmm0\n"
	"mov (%rbx), %ecx\n movdqa %xmm0, %xmm1\n psrldq $8, %xmm1\n movd %xmm1, %eax\n movd "
	"%xmm0, %edx\n"
	"sub %edx, %eax\n shl $16, %edx\n or %edx, %eax\n or %ecx, %eax\n");

static void test_vectors_mmio(void **state)
{
	assert_int_equal(RUN(*state, vectors_mmio), 0x55550000 | 0x60010);
}

/*
 * The same for every other way out of translated code and back, with all that there is in YMM, x87
 * and MXCSR: a chip's page read and written, a chip's port, the APIC by MSR and by CR8, CPUID. EAX:
 * what has changed.
 */
SNIPPET(vectors_all,
	"xor %ecx, %ecx\n xor %edx, %edx\n mov $7, %eax\n xsetbv\n fninit\n fldpi\n fld1\n"
	"push $0x9fc0\n ldmxcsr (%rsp)\n pop %rax\n"
	"vpcmpeqd %xmm0, %xmm0, %xmm0\n vinsertf128 $1, %xmm0, %ymm0, %ymm0\n vpsrld $3, %ymm0, "
	"%ymm1\n"
	"vpaddd %ymm0, %ymm1, %ymm2\n vpaddd %ymm1, %ymm2, %ymm3\n vpaddd %ymm2, %ymm3, %ymm4\n"
	"vpaddd %ymm3, %ymm4, %ymm5\n vpaddd %ymm4, %ymm5, %ymm6\n vpaddd %ymm5, %ymm6, %ymm7\n"
	"vpaddd %ymm6, %ymm7, %ymm8\n vpaddd %ymm7, %ymm8, %ymm9\n vpaddd %ymm8, %ymm9, %ymm10\n"
	"vpaddd %ymm9, %ymm10, %ymm11\n vpaddd %ymm10, %ymm11, %ymm12\n vpaddd %ymm11, %ymm12, "
	"%ymm13\n"
	"vpaddd %ymm12, %ymm13, %ymm14\n vpaddd %ymm13, %ymm14, %ymm15\n"
	"mov $0x200000, %esi\n mov $7, %eax\n xor %edx, %edx\n xsave (%rsi)\n"
	"mov $0xfee00080, %ebx\n mov (%rbx), %ecx\n mov %ecx, (%rbx)\n"
	"in $0x40, %al\n mov $0xff, %al\n out %al, $0x21\n"
	"mov %cr8, %rax\n mov %rax, %cr8\n mov $0x1b, %ecx\n rdmsr\n wrmsr\n"
	"mov $1, %eax\n cpuid\n mov $0x10, %ecx\n rdmsr\n wrmsr\n"
	"mov $0x201000, %esi\n mov $7, %eax\n xor %edx, %edx\n xsave (%rsi)\n"
	"mov $0x200000, %esi\n xor %eax, %eax\n mov $104, %ecx\n"
	"1: mov -8(%rsi,%rcx,8), %rdx\n xor 0xff8(%rsi,%rcx,8), %rdx\n or %rdx, %rax\n dec %ecx\n "
	"jnz 1b\n"
	"mov %rax, %rdx\n shr $32, %rdx\n or %edx, %eax\n");

static void test_vectors_all(void **state)
{
	assert_int_equal(RUN(*state, vectors_all), 0);
}

static void *kick_often(void *arg)
{
	struct guest *g = arg;
	uint32_t one = 1;

	for (unsigned i = 0; i < 100; i++) {
		usleep(200);
		vcpu_notify_event(g->vm, 0, false);
	}
	return vmmdev_write(g->vm, 0x200000, &one, 4) ? arg : NULL;
}

/* All of XMM0..XMM15 while events are looked for, until there are no more. */
SNIPPET(vectors_kicked,
	"mov $16, %ebx\n mov $0x200000, %esi\n mov $0x1234567, %eax\n"
	"movd %eax, %xmm0\n paddd %xmm0, %xmm0\n movdqa %xmm0, %xmm1\n movdqa %xmm0, %xmm8\n"
	"movdqa %xmm0, %xmm15\n 1: cmpl $0, (%rsi)\n je 1b\n"
	"movd %xmm0, %eax\n movd %xmm1, %ebx\n movd %xmm8, %edx\n movd %xmm15, %esi\n"
	"sub %ebx, %eax\n sub %esi, %edx\n or %edx, %eax\n sub $0x2468ace, %ebx\n"
	"or %ebx, %eax\n");

static void test_vectors_kicked(void **state)
{
	struct guest *g = *state;
	uint32_t zero = 0;
	pthread_t thread;
	void *failed;

	assert_int_equal(vmmdev_write(g->vm, 0x200000, &zero, 4), 0);
	assert_int_equal(pthread_create(&thread, NULL, kick_often, g), 0);
	assert_int_equal(RUN(g, vectors_kicked), 0);
	pthread_join(thread, &failed);
	assert_null(failed);
}

/* Indirect calls, recursion and returns through the jump cache. */
SNIPPET(calls, "mov $20, %edi\n lea 1f(%rip), %r12\n call *%r12\n jmp 9f\n"
	       "1: cmp $2, %edi\n jae 2f\n mov %edi, %eax\n ret\n"
	       "2: push %rbx\n push %rdi\n dec %edi\n call *%r12\n mov %eax, %ebx\n pop %rdi\n sub "
	       "$2, %edi\n"
	       "call 1b\n add %ebx, %eax\n pop %rbx\n ret\n 9: \n");

static void test_calls(void **state)
{
	assert_int_equal(RUN(*state, calls), 6765);
}

static void *suspend_soon(void *arg)
{
	struct guest *g = arg;

	usleep(20000);
	vm_suspend(g->vm, VM_SUSPEND_POWEROFF);
	return NULL;
}

/* Endless loops of every kind let go when asked. */
SNIPPET(loop_self, "1: jmp 1b\n");
SNIPPET(loop_calls, "2: call 1f\n jmp 2b\n 1: ret\n");
SNIPPET(loop_indirect, "lea 1f(%rip), %rax\n 1: jmp *%rax\n");
SNIPPET(loop_count, "2: mov $100, %ecx\n 1: loop 1b\n jrcxz 2b\n");
SNIPPET(loop_string, "mov $0x200000, %edi\n 1: mov $0x100000, %ecx\n mov $0x200000, %edi\n rep "
		     "stosb\n jmp 1b\n");

static void kick_out_of(void **state, const uint8_t *code, const uint8_t *end)
{
	struct guest *g = *state;
	pthread_t thread;

	memcpy(g->ram + CODE, code, (size_t)(end - code));
	g->run = (struct vm_run){.cpuid = 0, .rip = CODE};
	assert_int_equal(pthread_create(&thread, NULL, suspend_soon, g), 0);
	assert_int_equal(vm_run(g->vm, &g->run), 0);
	assert_int_equal(g->run.vm_exit.exitcode, VM_EXITCODE_SUSPENDED);
	assert_int_equal(g->run.vm_exit.u.suspended.how, VM_SUSPEND_POWEROFF);
	pthread_join(thread, NULL);
}

/* A fault whose frame goes to a chip's page: registers that take nothing and read as ones. */
SNIPPET(delivery_to_chip, "mov $0xfee00800, %esp\n ud2\n");

static void test_delivery_to_chip(void **state)
{
	const struct guest *g = *state;

	if (((const struct soft_vm *)g->vm->vmi)->lockstep)
		skip(); /* there is no chip without an exit then, and none in mid-delivery */
	assert_int_equal(RUN(*state, delivery_to_chip), 0xffffff00);
}

/* To a device of the user's: an exit, and again at each entry. */
SNIPPET(delivery_to_device, "mov $0xfee02800, %esp\n ud2\n");

static void test_delivery_to_device(void **state)
{
	struct guest *g = *state;

	memcpy(g->ram + CODE, delivery_to_device,
		(size_t)(delivery_to_device_end - delivery_to_device));
	g->run = (struct vm_run){.cpuid = 0, .rip = CODE};
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vm_run(g->vm, &g->run), 0);
		assert_int_equal(g->run.vm_exit.exitcode, VM_EXITCODE_INST_EMUL);
		assert_in_range(g->run.vm_exit.u.inst_emul.gpa, 0xfee02700, 0xfee02800);
		g->run.rip = g->run.vm_exit.rip;
	}
}

#define KICK_TEST(name)                                                                            \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		kick_out_of(state, name, name##_end);                                              \
	}
KICK_TEST(loop_self)
KICK_TEST(loop_calls)
KICK_TEST(loop_indirect)
KICK_TEST(loop_count)
KICK_TEST(loop_string)

/*
 * IRET to the same privilege, often enough to go from block to block; then its code segment is
 * taken away, which the next one has to see.
 */
SNIPPET(iret_loop,
	"mov $1000, %ebx\n xor %esi, %esi\n"
	"0: mov %rsp, %rdx\n push $0x10\n push %rdx\n pushf\n push $0x18\n lea 1f(%rip), %rax\n "
	"push %rax\n"
	"stc\n iretq\n"
	"1: sbb $0, %esi\n dec %ebx\n jnz 0b\n mov %esi, %eax\n test %eax, %eax\n jnz 2f\n"
	"mov $0x8000, %edx\n andb $0x7f, 0x1d(%rdx)\n jmp 0b\n 2:");

static void test_iret_loop(void **state)
{
	struct guest *g = *state;

	put64(g, 0x8000 + 0x18, 0x00af9b000000ffffull);
	assert_int_equal(RUN(g, iret_loop), 0xe0001800);
}

/* To CPL 3 and back: RFLAGS goes through R11 and SFMASK, and each side has its own translation. */
SNIPPET(syscall_loop,
	"mov $0xc0000080, %ecx\n rdmsr\n or $1, %eax\n wrmsr\n"
	"mov $0xc0000081, %ecx\n xor %eax, %eax\n mov $0x00100008, %edx\n wrmsr\n"
	"inc %ecx\n lea 3f(%rip), %rax\n xor %edx, %edx\n wrmsr\n"
	"add $2, %ecx\n mov $1, %eax\n wrmsr\n"
	"xor %esi, %esi\n xor %edi, %edi\n mov $1000, %ebx\n lea 0f(%rip), %rcx\n mov $2, %r11d\n "
	"sysretq\n"
	"0: stc\n syscall\n 1: adc $0, %esi\n dec %ebx\n jnz 0b\n inc %edi\n clc\n syscall\n"
	"3: jc 5f\n mov %cs, %eax\n add %eax, %esi\n sub $8, %esi\n mov %edi, %edi\n test %edi, "
	"%edi\n jnz 4f\n"
	"sysretq\n 5: mov $0xbad, %esi\n 4: mov %esi, %eax\n");

static void test_syscall_loop(void **state)
{
	assert_int_equal(RUN(*state, syscall_loop), 1000);
}

/* A handler that skips the load; when its gate is not present any more, that is a double fault. */
SNIPPET(fault_handler,
	"pop %rcx\n add %ecx, %esi\n mov %cr2, %rdx\n sub %edi, %edx\n add %edx, %esi\n inc %esi\n"
	"addq $2, (%rsp)\n iretq\n");
SNIPPET(fault_loop, "mov $0x10000000, %edi\n mov $1000, %ebx\n xor %esi, %esi\n"
		    "0: stc\n movl (%rdi), %eax\n sbb $0, %esi\n dec %ebx\n jnz 0b\n mov %esi, "
		    "%eax\n test %eax, %eax\n"
		    "jnz 1f\n mov $0x70e0, %edx\n andb $0x7f, 5(%rdx)\n jmp 0b\n 1:");

static void test_fault_loop(void **state)
{
	struct guest *g = *state;
	const uint64_t handler = HANDLER + 0x1000;

	memcpy(g->ram + handler, fault_handler, (size_t)(fault_handler_end - fault_handler));
	put64(g, 0x70e0,
		(handler & 0xffff) | 0x08ull << 16 | 0x8e00ull << 32 | handler >> 16 << 48);
	assert_int_equal(RUN(g, fault_loop), 0xe0000000);
}

/* STAC and CLAC under SMAP: the program's page can be written between the two and not behind them.
 */
SNIPPET(smap_loop, "mov %cr4, %rax\n or $0x200000, %eax\n mov $1000, %ebx\n mov $0x200000, %edi\n "
		   "xor %esi, %esi\n"
		   "mov %rax, %cr4\n 0: stac\n stc\n adcl $0, (%rdi)\n clc\n clac\n adc $0, %esi\n "
		   "dec %ebx\n jnz 0b\n"
		   "stac\n mov (%rdi), %eax\n clac\n sub $1000, %eax\n or %esi, %eax\n jnz 1f\n "
		   "mov %esi, (%rdi)\n 1:");

static void test_smap_loop(void **state)
{
	struct guest *g = *state;

	/* What is not the program's: code, tables and stack. */
	put64(g, 0x3000, 0x83);
	assert_int_equal(vm_set_register(g->vm, 0, VM_REG_GUEST_RSP, 0x180000), 0);
	assert_int_equal(RUN(g, smap_loop), 0xe0000300);
}

/* PUSH of memory: of what lies on the stack, and over a page that cannot be read, which leaves RSP
 * alone. */
SNIPPET(push_memory,
	"mov $0x200ff8, %ebx\n movq $40, (%rbx)\n mov $1000, %ecx\n xor %esi, %esi\n mov %rsp, "
	"%rbp\n"
	"0: stc\n push (%rbx)\n push (%rsp)\n adc $0, %esi\n pop %rax\n pop %rdx\n add %eax, "
	"%esi\n add %edx, %esi\n"
	"dec %ecx\n jnz 0b\n cmp %rsp, %rbp\n jne 1f\n mov %esi, %eax\n cmp $81000, %eax\n jne 1f\n"
	"mov $0x50000000, %ebx\n push (%rbx)\n 1:");

static void test_push_memory(void **state)
{
	struct guest *g = *state;
	uint64_t rsp;

	assert_int_equal(RUN(g, push_memory), 0xe0000000);
	assert_int_equal(vm_get_register(g->vm, 0, VM_REG_GUEST_RSP, &rsp), 0);
	assert_int_equal(rsp, STACK - 40); /* the frame without its error code */
}

/*
 * The address that empty memos take for a hit faults on the host, here while the flags wait in memory for
 * the jump.
 */
SNIPPET(parked_flags, "mov $1, %ebx\n ror $1, %rbx\n xor %eax, %eax\n jmp *(%rbx)\n");

static void test_parked_flags(void **state)
{
	struct guest *g = *state;
	uint64_t rsp, rflags;

	assert_int_equal(RUN(g, parked_flags), 0xe0000000);
	assert_int_equal(vm_get_register(g->vm, 0, VM_REG_GUEST_RSP, &rsp), 0);
	memcpy(&rflags, g->ram + rsp + 16, 8);
	assert_int_equal(rflags & 0x8d5, 0x44); /* ZF PF */
}

/* There are no more ways to other pages: a branch that is not taken leaves status flags where they were. */
SNIPPET(no_edges,
	"mov $0x200000, %ebx\n xor %eax, %eax\n stc\n mov (%rbx), %rdx\n adc $0, %eax\n"
	"cmp %eax, %ebx\n je 1f+0x2000\n mov %eax, (%rbx)\n 1: setb %al\n");

static void test_no_edges(void **state)
{
	struct guest *g = *state;

	assert_int_equal(RUN(g, flags_all), 0x894);
	struct soft_vcpu *v = ((struct soft_vm *)g->vm->vmi)->vcpu[0];

	v->nedges = SOFT_EDGES;
	v->edge_free = 0;
	assert_int_equal(RUN(g, no_edges), 0);
	assert_int_equal(v->nedges, SOFT_EDGES);
}

/*
 * The instruction behind MOV SS, or behind STI when an interrupt is due, is a single step: that costs a
 * look-up or two, not all that jumps have learnt.
 */
SNIPPET(shadow_loop,
	"mov $0x200000, %ebx\n mov $100, %ecx\n movb $0xc3, (%rbx)\n movb $0xc3, 0x1001(%rbx)\n"
	"movb $0xc3, 0x2002(%rbx)\n movb $0xc3, 0x3003(%rbx)\n lea 0x1001(%rbx), %rsi\n"
	"lea 0x2002(%rbx), %rdi\n lea 0x3003(%rbx), %rdx\n"
	"1: mov %ss, %eax\n mov %eax, %ss\n nop\n call *%rbx\n call *%rsi\n call *%rdi\n call *%rdx\n dec %ecx\n jnz 1b\n");

static void test_shadow_loop(void **state)
{
	struct guest *g = *state;
	struct soft_vcpu *v;

	RUN(g, shadow_loop);
	v = ((struct soft_vm *)g->vm->vmi)->vcpu[0];
	if (!soft_tortured(v) && !v->soft->lockstep)
		assert_in_range(v->stat_lookups, 100, 500);
}

/* A branch at RIP 0 to nowhere faults there, too. */
SNIPPET(ret_at_zero, "xor %ebx, %ebx\n movb $0xc3, (%rbx)\n mov $0x909090909090, %rax\n"
		     "push %rax\n jmp *%rbx\n");

static void test_ret_at_zero(void **state)
{
	struct guest *g = *state;
	uint64_t rsp, rip;

	assert_int_equal(RUN(g, ret_at_zero), 0xe0000000);
	assert_int_equal(vm_get_register(g->vm, 0, VM_REG_GUEST_RSP, &rsp), 0);
	memcpy(&rip, g->ram + rsp, 8);
	assert_int_equal(rip, 0);
	assert_int_equal(rsp, STACK - 16 - 40);
}

/*
 * Stores of every kind to a page that is read-only for the guest, in a loop, which comes from that
 * page, too: the sum of what is read back is that of what was there.
 */
SNIPPET(rom_code,
	"mov $0x200000, %ebx\n mov $2000, %ecx\n xor %eax, %eax\n"
	"1: add $1, %eax\n mov %rax, (%rbx)\n incb 1(%rbx)\n lock addl $3, 8(%rbx)\n"
	"movups %xmm0, 16(%rbx)\n mov %rsp, %rbp\n lea 64(%rbx), %rsp\n push %rax\n"
	"mov %rbp, %rsp\n lea 128(%rbx), %rdi\n stosq\n"
	"mov %eax, 0xffe(%rbx)\n movb $0xf4, 0x800(%rbx)\n dec %ecx\n jnz 1b\n"
	"mov (%rbx), %rax\n add 8(%rbx), %rax\n add 16(%rbx), %rax\n add 56(%rbx), %rax\n"
	"add 128(%rbx), %rax\n add 0xff8(%rbx), %rax\n shl $16, %eax\n mov 0x1000(%rbx), %ax\n");
SNIPPET(rom_jump, "mov $0x200800, %eax\n jmp *%rax\n");

static void test_rom(void **state)
{
	struct guest *g = *state;

	RUN(g, rom_code); /* while it is RAM: what is known of the page must be forgotten */
	assert_int_equal(g->ram[DATA + 0x800], 0xf4);
	memset(g->ram + DATA, 0, 0x1008);
	put64(g, DATA, 1);
	put64(g, DATA + 8, 2);
	put64(g, DATA + 128, 4);
	memcpy(g->ram + DATA + 0x800, rom_code, (size_t)(rom_code_end - rom_code));
	assert_int_equal(vm_map_rom(g->vm, DATA, 0x1000), 0);
	/* What a store across its end leaves in RAM: the upper half of 2000. */
	assert_int_equal(RUN(g, rom_jump), 7 << 16);
	assert_int_equal(RUN(g, rom_code), 7 << 16);
	assert_memory_equal(g->ram + DATA + 0x800, rom_code, (size_t)(rom_code_end - rom_code));
}

/* PAUSE is one step of its own. */
SNIPPET(pause_step, "pause\n mov $1, %eax\n");

static void test_pause_step(void **state)
{
	struct guest *g = *state;

	memcpy(g->ram + CODE, pause_step, (size_t)(pause_step_end - pause_step));
	assert_int_equal(vm_set_capability(g->vm, 0, VM_CAP_MTRAP_EXIT, 1), 0);
	g->run = (struct vm_run){.cpuid = 0, .rip = CODE};
	assert_int_equal(vm_run(g->vm, &g->run), 0);
	assert_int_equal(g->run.vm_exit.exitcode, VM_EXITCODE_MTRAP);
	assert_int_equal(g->run.vm_exit.rip, CODE + 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(flags_live),
		TEST(flags_all),
		TEST(no_edges),
		TEST(shadow_loop),
		TEST(high_registers),
		TEST(lowest_displacement),
		TEST(jump_to_all_ones),
		TEST(high_bytes),
		TEST(page_crossing),
		TEST(smc),
		TEST(faults),
		TEST(vectors),
		TEST(vectors_kicked),
		TEST(vectors_mmio),
		TEST(vectors_all),
		TEST(calls),
		TEST(loop_self),
		TEST(loop_calls),
		TEST(loop_indirect),
		TEST(loop_count),
		TEST(loop_string),
		TEST(delivery_to_chip),
		TEST(delivery_to_device),
		TEST(iret_loop),
		TEST(syscall_loop),
		TEST(fault_loop),
		TEST(smap_loop),
		TEST(push_memory),
		TEST(parked_flags),
		TEST(ret_at_zero),
		TEST(rom),
		TEST(pause_step),
	};

	return cmocka_run_group_tests_name("soft", tests, NULL, NULL);
}
