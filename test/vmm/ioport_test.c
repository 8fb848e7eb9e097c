/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Port I/O: the chips' ports, completion of IN and OUT, INS and OUTS. */
#include <errno.h>

#include "test/vmm/harness.h"

/* ---- A device that logs what it gets ---- */

struct device {
	unsigned calls;
	uint32_t out[64];
	uint32_t next_in;
	uint16_t port;
	int bytes;
	int error;
};

static int access_port(
	struct vm *vm, int vcpuid, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct device *dev = arg;

	(void)vm;
	(void)vcpuid;
	dev->port = port;
	dev->bytes = bytes;
	if (in)
		*eax = dev->next_in++;
	else
		dev->out[dev->calls] = *eax;
	dev->calls++;
	return dev->error;
}

static uint64_t reg(struct vm *vm, int name)
{
	uint64_t value = 0;

	assert_int_equal(vm_get_register(vm, 0, name, &value), 0);
	return value;
}

static void which_ports_are_chips(void **state)
{
	static const uint16_t chips[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42,
		0x43, 0x61, 0x70, 0x71, 0x408};
	struct vm *vm = *state;
	unsigned served = 0;

	for (int port = 0; port < 0x10000; port++) {
		uint32_t val = 0xff;
		bool expected = false;

		for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++)
			expected |= chips[i] == port;
		assert_int_equal(vm_ioport(vm, 0, true, port, 1, &val), expected ? 0 : ENOENT);
		served += expected;
	}
	assert_int_equal(served, sizeof(chips) / sizeof(chips[0]));
}

static void in_merges_by_width(void **state)
{
	static const struct {
		int bytes;
		uint64_t rax;
	} cases[] = {{1, 0x11223344556677dd}, {2, 0x112233445566ccdd}, {4, 0xaabbccdd}};
	struct vm *vm = *state;

	for (size_t i = 0; i < 3; i++) {
		struct device dev = {.next_in = 0xaabbccdd};
		struct vm_exit exit = {
			.u.inout = {.bytes = (uint16_t)cases[i].bytes, .in = 1, .port = 0x3f8}};

		vm_set_register(vm, 0, VM_REG_GUEST_RAX, 0x1122334455667788);
		assert_int_equal(vm_emulate_inout(vm, 0, &exit, access_port, &dev), 0);
		assert_int_equal(reg(vm, VM_REG_GUEST_RAX), cases[i].rax);
		assert_int_equal(dev.port, 0x3f8);
		assert_int_equal(dev.bytes, cases[i].bytes);
	}
}

static void failing_in_is_all_ones(void **state)
{
	struct vm *vm = *state;
	struct device dev = {.error = EIO};
	struct vm_exit exit = {.u.inout = {.bytes = 2, .in = 1}};

	vm_set_register(vm, 0, VM_REG_GUEST_RAX, 0);
	assert_int_equal(vm_emulate_inout(vm, 0, &exit, access_port, &dev), 0);
	assert_int_equal(reg(vm, VM_REG_GUEST_RAX), 0xffff);
}

static void out_masks_by_width(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = {.u.inout = {.bytes = 1, .eax = 0x12345678}};

	vm_set_register(vm, 0, VM_REG_GUEST_RAX, 0x55);
	assert_int_equal(vm_emulate_inout(vm, 0, &exit, access_port, &dev), 0);
	exit.u.inout.bytes = 2;
	assert_int_equal(vm_emulate_inout(vm, 0, &exit, access_port, &dev), 0);
	exit.u.inout.bytes = 4;
	assert_int_equal(vm_emulate_inout(vm, 0, &exit, access_port, &dev), 0);
	assert_int_equal(dev.out[0], 0x78);
	assert_int_equal(dev.out[1], 0x5678);
	assert_int_equal(dev.out[2], 0x12345678);
	assert_int_equal(reg(vm, VM_REG_GUEST_RAX), 0x55);
}

/* ---- Strings ---- */

#define RAM_SIZE 0x10000

static int setup(void **state)
{
	setup_fake(state);
	return vm_malloc(*state, 0, RAM_SIZE);
}

static struct vm_exit string_exit(bool in, int bytes, uint64_t index, uint64_t count)
{
	return (struct vm_exit){.exitcode = VM_EXITCODE_INOUT_STR,
		.inst_length = 2,
		.rip = 0x7c00,
		.u.inout_str = {.inout = {.bytes = (uint16_t)bytes,
					.in = in,
					.string = 1,
					.rep = count != 1,
					.port = 0x1f0},
			.paging = {.cpu_mode = CPU_MODE_PROTECTED},
			.rflags = 2,
			.cr0 = X86_CR0_PE,
			.index = index,
			.count = count,
			.addrsize = 4,
			.seg_name = in ? VM_REG_GUEST_ES : VM_REG_GUEST_DS,
			.seg_desc = {0, 0xffffffff, 0xc093}}};
}

static int go_on(struct vm *vm, struct vm_exit *exit, struct device *dev)
{
	return vm_emulate_inout_str(vm, 0, exit, access_port, dev);
}

static void ins_stores_and_advances(void **state)
{
	struct vm *vm = *state;
	struct device dev = {.next_in = 0x1000};
	struct vm_exit exit = string_exit(true, 2, 0x2000, 3);

	assert_int_equal(go_on(vm, &exit, &dev), 0);
	assert_memory_equal(vm_gpa_ram(vm, 0x2000, NULL), "\x00\x10\x01\x10\x02\x10\x00\x00", 8);
	assert_int_equal(reg(vm, VM_REG_GUEST_RDI), 0x2006);
	assert_int_equal(reg(vm, VM_REG_GUEST_RCX), 0);
	assert_int_equal(exit.inst_length, 2);
}

/* ---- Memory operands that are a device's ---- */

struct memory {
	uint8_t bytes[0x2000]; /* at 16 MiB */
	unsigned calls;
};

#define MEMORY 0x1000000ull

static int memory_read(
	struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct memory *m = arg;

	(void)vm;
	(void)vcpuid;
	assert_true(gpa % (unsigned)size == 0);
	memcpy(value, m->bytes + (gpa - MEMORY), (size_t)size);
	m->calls++;
	return 0;
}

static int memory_write(
	struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct memory *m = arg;

	(void)vm;
	(void)vcpuid;
	assert_true(gpa % (unsigned)size == 0);
	memcpy(m->bytes + (gpa - MEMORY), &value, (size_t)size);
	m->calls++;
	return 0;
}

static int absent_read(
	struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	(void)vm;
	(void)vcpuid;
	(void)gpa;
	(void)value;
	(void)size;
	(void)arg;
	return ENOENT;
}

static void device_memory(void **state)
{
	struct vm *vm = *state;
	struct device dev = {.next_in = 0x11223344};
	struct memory memory = {.bytes = "abcdefgh"};
	const struct vm_inout_mem mem = {memory_read, memory_write, &memory};
	struct vm_exit exit = string_exit(false, 2, MEMORY, 3);

	assert_int_equal(go_on(vm, &exit, &dev), EFAULT);
	assert_int_equal(dev.calls, 0);
	exit = string_exit(false, 2, MEMORY, 3);
	assert_int_equal(vm_emulate_inout_str_mem(vm, 0, &exit, access_port, &dev, &mem), 0);
	assert_int_equal(dev.calls, 3);
	assert_int_equal(dev.out[0], 'a' | 'b' << 8);
	assert_int_equal(dev.out[2], 'e' | 'f' << 8);
	assert_int_equal(reg(vm, VM_REG_GUEST_RSI), MEMORY + 6);
	/* In, not aligned: in the accesses that a bus makes. */
	exit = string_exit(true, 4, MEMORY + 0xffd, 1);
	memory.calls = 0;
	assert_int_equal(vm_emulate_inout_str_mem(vm, 0, &exit, access_port, &dev, &mem), 0);
	assert_memory_equal(memory.bytes + 0xffd, "\x44\x33\x22\x11", 4);
	assert_int_equal(memory.calls, 3);
	/* From the end of RAM on. */
	exit = string_exit(false, 4, RAM_SIZE - 2, 1);
	memcpy(vm_gpa_ram(vm, RAM_SIZE - 2, NULL), "xy", 2);
	dev.calls = 0;
	assert_int_equal(vm_emulate_inout_str_mem(vm, 0, &exit, access_port, &dev,
				 &(struct vm_inout_mem){absent_read, memory_write, &memory}),
		0);
	assert_int_equal(dev.out[0], 'x' | 'y' << 8 | 0xffff0000);
	/* The local APIC's version, without any device of the user's. */
	exit = string_exit(false, 4, 0xfee00030, 1);
	dev.calls = 0;
	assert_int_equal(go_on(vm, &exit, &dev), 0);
	assert_int_equal(dev.out[0] & 0xff, 0x10);
}

static void outs_downwards(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = string_exit(false, 1, 0x3002, 3);

	memcpy(vm_gpa_ram(vm, 0x3000, NULL), "abc", 3);
	exit.u.inout_str.rflags |= X86_RF_DF;
	assert_int_equal(go_on(vm, &exit, &dev), 0);
	assert_int_equal(dev.out[0], 'c');
	assert_int_equal(dev.out[2], 'a');
	assert_int_equal(reg(vm, VM_REG_GUEST_RSI), 0x2fff);
}

static void sixteen_at_a_time(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = string_exit(true, 4, 0x2000, 40);
	unsigned exits = 1;

	while (go_on(vm, &exit, &dev) == 0 && exit.inst_length == 0) {
		exit.u.inout_str.index = reg(vm, VM_REG_GUEST_RDI);
		exit.u.inout_str.count = reg(vm, VM_REG_GUEST_RCX);
		exit.inst_length = 2;
		exits++;
	}
	assert_int_equal(exits, 3);
	assert_int_equal(dev.calls, 40);
	assert_int_equal(reg(vm, VM_REG_GUEST_RDI), 0x2000 + 160);
}

static void count_zero_does_nothing(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = string_exit(true, 1, 0x2000, 0);

	vm_set_register(vm, 0, VM_REG_GUEST_RCX, 0xabc00000000);
	exit.u.inout_str.count = 0xabc00000000; /* ECX is 0 */
	assert_int_equal(go_on(vm, &exit, &dev), 0);
	assert_int_equal(dev.calls, 0);
	assert_int_equal(exit.inst_length, 2);
	assert_int_equal(reg(vm, VM_REG_GUEST_RCX), 0xabc00000000);
}

static void index_wraps_at_the_address_size(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = string_exit(false, 1, 0x1234ffff, 2);

	exit.u.inout_str.addrsize = 2;
	exit.u.inout_str.seg_desc = (struct seg_desc){0, 0xffff, 0x93};
	vm_set_register(vm, 0, VM_REG_GUEST_RSI, 0x9999000012340000);
	vm_set_register(vm, 0, VM_REG_GUEST_RCX, 0x8888000000000002);
	assert_int_equal(go_on(vm, &exit, &dev), 0);
	assert_int_equal(reg(vm, VM_REG_GUEST_RSI), 0x9999000012340001);
	assert_int_equal(reg(vm, VM_REG_GUEST_RCX), 0x8888000000000000);
}

static uint64_t queued(struct vm *vm)
{
	uint64_t info1, info2;

	assert_int_equal(vm_get_intinfo(vm, 0, &info1, &info2), 0);
	return info2 == 0 ? 0 : VM_INTINFO_VECTOR(info2);
}

static void fault_keeps_what_was_done(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = string_exit(true, 1, 0x1ffe, 4);

	exit.u.inout_str.seg_desc.limit = 0x1fff;
	assert_int_equal(go_on(vm, &exit, &dev), 0);
	assert_int_equal(dev.calls, 2); /* no input is lost to the fault */
	assert_int_equal(reg(vm, VM_REG_GUEST_RDI), 0x2000);
	assert_int_equal(reg(vm, VM_REG_GUEST_RCX), 2);
	assert_int_equal(exit.inst_length, 0);
	assert_int_equal(queued(vm), 13);
}

static void stack_override_faults_with_ss(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = string_exit(false, 1, 0x2000, 1);

	exit.u.inout_str.seg_name = VM_REG_GUEST_SS;
	exit.u.inout_str.seg_desc.limit = 0x1fff;
	assert_int_equal(go_on(vm, &exit, &dev), 0);
	assert_int_equal(queued(vm), 12);
	assert_int_equal(dev.calls, 0);
	assert_int_equal(exit.inst_length, 0);
}

static void misaligned_user_access(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = string_exit(true, 4, 0x2002, 1);

	exit.u.inout_str.paging.cpl = 3;
	exit.u.inout_str.cr0 |= X86_CR0_AM;
	exit.u.inout_str.rflags |= X86_RF_AC;
	assert_int_equal(go_on(vm, &exit, &dev), 0);
	assert_int_equal(queued(vm), 17);
}

static void operand_outside_ram(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = string_exit(true, 1, RAM_SIZE - 1, 2);

	assert_int_equal(go_on(vm, &exit, &dev), EFAULT);
	assert_int_equal(reg(vm, VM_REG_GUEST_RDI), RAM_SIZE);
	assert_int_equal(queued(vm), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(which_ports_are_chips),
		TEST(in_merges_by_width),
		TEST(failing_in_is_all_ones),
		TEST(out_masks_by_width),
		TEST(ins_stores_and_advances),
		TEST(device_memory),
		TEST(outs_downwards),
		TEST(sixteen_at_a_time),
		TEST(count_zero_does_nothing),
		TEST(index_wraps_at_the_address_size),
		TEST(fault_keeps_what_was_done),
		TEST(stack_override_faults_with_ss),
		TEST(misaligned_user_access),
		TEST(operand_outside_ram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
