/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The service guest.  Each request is a few instructions at a fixed place that end in an OUT to
 * DONE_PORT; operands and results travel in registers.  Every vector's handler reports it by an OUT
 * to VECTOR_PORT: an exception ends the request, an interrupt returns into it.
 */
#include <stdio.h>

#include "test/contract/contract.h"

#define ROUTINES    0x2000u /* 8 bytes each */
#define STUBS	    0x3000u /* 16 bytes each */
#define IDT	    0x4000u
#define OWN	    0x5000u /* code of the test's own */
#define VECTOR_PORT 0xeau

enum routine {
	IN1,
	IN2,
	IN4,
	OUT1,
	OUT2,
	OUT4,
	LOAD1,
	LOAD2,
	LOAD4,
	LOAD8,
	STORE1,
	STORE2,
	STORE4,
	STORE8,
	RDMSR,
	WRMSR,
	CPUID,
	OPEN,
	WAIT,
	ROUTINE_COUNT
};

#define DONE "\xe6\xe9" /* out 0xe9, al */
static const char routines[ROUTINE_COUNT][9] = {
	[IN1] = "\xec" DONE,	       /* in al, dx */
	[IN2] = "\x66\xed" DONE,       /* in ax, dx */
	[IN4] = "\xed" DONE,	       /* in eax, dx */
	[OUT1] = "\xee" DONE,	       /* out dx, al */
	[OUT2] = "\x66\xef" DONE,      /* out dx, ax */
	[OUT4] = "\xef" DONE,	       /* out dx, eax */
	[LOAD1] = "\x8a\x03" DONE,     /* mov al, [rbx] */
	[LOAD2] = "\x66\x8b\x03" DONE, /* mov ax, [rbx] */
	[LOAD4] = "\x8b\x03" DONE,     /* mov eax, [rbx] */
	[LOAD8] = "\x48\x8b\x03" DONE, /* mov rax, [rbx] */
	[STORE1] = "\x88\x03" DONE,    /* mov [rbx], al */
	[STORE2] = "\x66\x89\x03" DONE,
	[STORE4] = "\x89\x03" DONE,
	[STORE8] = "\x48\x89\x03" DONE,
	[RDMSR] = "\x0f\x32" DONE,
	[WRMSR] = "\x0f\x30" DONE,
	[CPUID] = "\x0f\xa2" DONE,
	[OPEN] = "\xfb\x90\x90\xfa" DONE, /* sti; nop; nop; cli */
	[WAIT] = "\xfb\xf4\xfa" DONE,	  /* sti; hlt; cli */
};

/* push rax; mov al, vector; out VECTOR_PORT, al; pop rax; iretq.  In a gate of 64-bit mode. */
static void write_handlers(struct contract *c)
{
	for (unsigned v = 0; v < 256; v++) {
		const uint8_t code[] = {
			0x50, 0xb0, (uint8_t)v, 0xe6, VECTOR_PORT, 0x58, 0x48, 0xcf};
		const uint64_t gate[2] = {(STUBS + v * 16) | 8u << 16 | (uint64_t)0x8e00 << 32, 0};

		memcpy(c->ram + STUBS + v * 16, code, sizeof(code));
		memcpy(c->ram + IDT + v * 16, gate, sizeof(gate));
	}
}

void service(struct contract *c, int vcpuid)
{
	struct seg_desc idtr = {IDT, 0xfff, 0};

	GUEST(long_mode, c, vcpuid, "\x90");
	for (unsigned i = 0; i < ROUTINE_COUNT; i++)
		memcpy(c->ram + ROUTINES + i * 8, routines[i], 8);
	write_handlers(c);
	vm_mem_written(c->vm, ROUTINES, OWN - ROUTINES);
	assert_int_equal(vm_set_seg_desc(c->vm, vcpuid, VM_REG_GUEST_IDTR, &idtr), 0);
}

/* From an exception's OUT: the error code lies above the RAX that the handler pushed. */
static void note_vector(struct contract *c, int vcpuid)
{
	struct guest *guest = &c->guest[vcpuid];
	uint64_t rsp = get_reg(c, vcpuid, VM_REG_GUEST_RSP);

	guest->vector = c->run[vcpuid].vm_exit.u.inout.eax & 0xff;
	if (rsp + 16 <= RAM_SIZE)
		memcpy(&guest->error_code, c->ram + rsp + 8, sizeof(guest->error_code));
}

/* Vectors below 32 can be interrupts, too, where the guest waits for those. */
static bool is_exception(int vector, uint64_t rip)
{
	return vector < 32 && vector != 2 && rip != ROUTINES + OPEN * 8 &&
	       rip != ROUTINES + WAIT * 8;
}

/* -1, the vector of an exception, or GUEST_EXIT. */
static int call(struct contract *c, int vcpuid, uint64_t rip)
{
	struct vm_exit *exit = &c->run[vcpuid].vm_exit;

	c->guest[vcpuid].vector = -1;
	set_reg(c, vcpuid, VM_REG_GUEST_RSP, STACK - (unsigned)vcpuid * 0x100);
	set_reg(c, vcpuid, VM_REG_GUEST_RFLAGS, 2);
	*exit = (struct vm_exit){.rip = rip};
	for (;;) {
		step_over(c, vcpuid);
		assert_int_equal(vm_run(c->vm, &c->run[vcpuid]), 0);
		if (exit->exitcode == VM_EXITCODE_BOGUS)
			continue;
		if (exit->exitcode != VM_EXITCODE_INOUT)
			return GUEST_EXIT;
		if (exit->u.inout.port == DONE_PORT)
			return -1;
		if (exit->u.inout.port != VECTOR_PORT)
			return GUEST_EXIT;
		note_vector(c, vcpuid);
		if (is_exception(c->guest[vcpuid].vector, rip))
			return c->guest[vcpuid].vector;
	}
}

static void request(struct contract *c, int vcpuid, enum routine routine)
{
	int result = call(c, vcpuid, ROUTINES + (unsigned)routine * 8);

	if (result == GUEST_EXIT)
		fail_msg("exit %d of the service guest at %#llx",
			(int)c->run[vcpuid].vm_exit.exitcode,
			(unsigned long long)c->run[vcpuid].vm_exit.rip);
	if (result >= 0)
		fail_msg("exception %d of the service guest", result);
}

static enum routine by_size(enum routine first, int bytes)
{
	return first + (enum routine)(bytes == 8 ? 3 : bytes / 2);
}

uint32_t guest_in(struct contract *c, int vcpuid, uint16_t port, int bytes)
{
	set_reg(c, vcpuid, VM_REG_GUEST_RDX, port);
	set_reg(c, vcpuid, VM_REG_GUEST_RAX, 0);
	request(c, vcpuid, by_size(IN1, bytes));
	return (uint32_t)get_reg(c, vcpuid, VM_REG_GUEST_RAX);
}

void guest_out(struct contract *c, int vcpuid, uint16_t port, int bytes, uint32_t value)
{
	set_reg(c, vcpuid, VM_REG_GUEST_RDX, port);
	set_reg(c, vcpuid, VM_REG_GUEST_RAX, value);
	request(c, vcpuid, by_size(OUT1, bytes));
}

uint8_t inb(struct contract *c, uint16_t port)
{
	return (uint8_t)guest_in(c, 0, port, 1);
}

void outb(struct contract *c, uint16_t port, uint8_t value)
{
	guest_out(c, 0, port, 1, value);
}

uint64_t guest_load(struct contract *c, int vcpuid, uint64_t gpa, int bytes)
{
	set_reg(c, vcpuid, VM_REG_GUEST_RBX, gpa);
	set_reg(c, vcpuid, VM_REG_GUEST_RAX, 0);
	request(c, vcpuid, by_size(LOAD1, bytes));
	return get_reg(c, vcpuid, VM_REG_GUEST_RAX);
}

void guest_store(struct contract *c, int vcpuid, uint64_t gpa, int bytes, uint64_t value)
{
	set_reg(c, vcpuid, VM_REG_GUEST_RBX, gpa);
	set_reg(c, vcpuid, VM_REG_GUEST_RAX, value);
	request(c, vcpuid, by_size(STORE1, bytes));
}

uint32_t load32(struct contract *c, uint64_t gpa)
{
	return (uint32_t)guest_load(c, 0, gpa, 4);
}

void store32(struct contract *c, uint64_t gpa, uint32_t value)
{
	guest_store(c, 0, gpa, 4, value);
}

int guest_rdmsr(struct contract *c, int vcpuid, uint32_t msr, uint64_t *value)
{
	int result;

	set_reg(c, vcpuid, VM_REG_GUEST_RCX, msr);
	result = call(c, vcpuid, ROUTINES + RDMSR * 8);
	if (result < 0)
		*value = get_reg(c, vcpuid, VM_REG_GUEST_RDX) << 32 |
			 (uint32_t)get_reg(c, vcpuid, VM_REG_GUEST_RAX);
	return result;
}

int guest_wrmsr(struct contract *c, int vcpuid, uint32_t msr, uint64_t value)
{
	set_reg(c, vcpuid, VM_REG_GUEST_RCX, msr);
	set_reg(c, vcpuid, VM_REG_GUEST_RAX, (uint32_t)value);
	set_reg(c, vcpuid, VM_REG_GUEST_RDX, value >> 32);
	return call(c, vcpuid, ROUTINES + WRMSR * 8);
}

void guest_cpuid(struct contract *c, int vcpuid, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	static const int names[] = {
		VM_REG_GUEST_RAX, VM_REG_GUEST_RBX, VM_REG_GUEST_RCX, VM_REG_GUEST_RDX};

	set_reg(c, vcpuid, VM_REG_GUEST_RAX, leaf);
	set_reg(c, vcpuid, VM_REG_GUEST_RCX, subleaf);
	request(c, vcpuid, CPUID);
	for (int i = 0; i < 4; i++)
		regs[i] = (uint32_t)get_reg(c, vcpuid, names[i]);
}

int guest_execute(struct contract *c, int vcpuid, const void *code, size_t n)
{
	uint8_t *own = c->ram + OWN + (unsigned)vcpuid * 0x100;

	memcpy(own, code, n);
	memcpy(own + n, DONE, 2);
	vm_mem_written(c->vm, OWN + (unsigned)vcpuid * 0x100, n + 2);
	return call(c, vcpuid, OWN + (unsigned)vcpuid * 0x100);
}

int guest_interrupt(struct contract *c, int vcpuid)
{
	request(c, vcpuid, OPEN);
	return c->guest[vcpuid].vector;
}

int guest_wait(struct contract *c, int vcpuid)
{
	request(c, vcpuid, WAIT);
	return c->guest[vcpuid].vector;
}
