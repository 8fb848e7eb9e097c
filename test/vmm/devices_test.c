/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Devices of the user's inside vm_run: what they answer, and what becomes an exit. */
#include <errno.h>

#include "test/vmm/harness.h"

#define PORT  0x300
#define GPA   0xd0000000u
#define WIDTH 0x100u
#define END                                                                                        \
	{                                                                                          \
		.exit = {.exitcode = VM_EXITCODE_PAUSE, .inst_length = 2, .rip = 0xeeee }          \
	}

/* A port, and registers of which each holds its own offset. */
struct device {
	uint32_t written;
	unsigned calls;
	uint64_t stored[4];
	int sizes[4];
	unsigned stores;
};

static int port(struct vm *vm, int vcpu, bool in, uint16_t at, int bytes, uint32_t *eax, void *arg)
{
	struct device *d = arg;

	(void)vm;
	(void)vcpu;
	d->calls++;
	if (at != PORT)
		return ENOENT;
	if (bytes == 4)
		return EIO; /* there, but it fails */
	if (in)
		*eax = 0x12345678;
	else
		d->written = *eax;
	return 0;
}

static int load(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct device *d = arg;

	(void)vm;
	(void)vcpu;
	d->calls++;
	*value = 0;
	if (gpa - GPA >= WIDTH)
		return ENOENT;
	for (int i = 0; i < size; i++)
		*value |= (gpa - GPA + (uint64_t)i) << 8 * i;
	return 0;
}

static int store(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct device *d = arg;

	(void)vm;
	(void)vcpu;
	if (gpa - GPA >= WIDTH)
		return ENOENT;
	d->sizes[d->stores] = size;
	d->stored[d->stores++] = value;
	return 0;
}

static void set_devices(struct vm *vm, struct device *d)
{
	const struct vm_devices devices = {port, load, store, d};

	*d = (struct device){0};
	assert_int_equal(vm_set_devices(vm, &devices), 0);
}

static struct vm_run run_port(struct vm *vm, bool in, uint16_t at, int bytes, uint32_t eax)
{
	const struct fake_step steps[] = {
		{.exit = {.exitcode = VM_EXITCODE_INOUT,
			 .inst_length = 1,
			 .rip = 0x2000,
			 .u.inout = {.bytes = (uint16_t)bytes, .in = in, .port = at, .eax = eax}}},
		END};
	struct vm_run run = {.cpuid = 0, .rip = 0x1000};

	fake_script(vm, 0, steps, 2);
	assert_int_equal(vm_run(vm, &run), 0);
	return run;
}

static uint64_t rax(struct vm *vm)
{
	uint64_t value;

	assert_int_equal(vm_get_register(vm, 0, VM_REG_GUEST_RAX, &value), 0);
	return value;
}

static void ports_without_exits(void **state)
{
	struct vm *vm = *state;
	struct device d;

	set_devices(vm, &d);
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_RAX, 0xaabbccdd11223344), 0);
	assert_int_equal(run_port(vm, true, PORT, 2, 0).vm_exit.exitcode, VM_EXITCODE_PAUSE);
	assert_true(rax(vm) == 0xaabbccdd11225678);
	assert_int_equal(run_port(vm, false, PORT, 1, 0x1ff).vm_exit.exitcode, VM_EXITCODE_PAUSE);
	assert_int_equal(d.written, 0xff);
	assert_int_equal(d.calls, 2);
}

static void nobody_is_an_exit(void **state)
{
	struct vm *vm = *state;
	struct vm_run run;
	struct device d;

	set_devices(vm, &d);
	run = run_port(vm, true, PORT + 1, 1, 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(run.vm_exit.u.inout.port, PORT + 1);
	assert_int_equal(d.calls, 1);
	assert_int_equal(vm_set_devices(vm, NULL), 0);
	assert_false(vm_has_devices(vm));
	run = run_port(vm, true, PORT, 1, 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(d.calls, 1);
}

/* The core's chips go first, as they do before an exit. */
static void chips_go_first(void **state)
{
	struct vm *vm = *state;
	struct device d;

	set_devices(vm, &d);
	assert_int_equal(run_port(vm, true, 0x21, 1, 0).vm_exit.exitcode, VM_EXITCODE_PAUSE);
	assert_int_equal(d.calls, 0);
}

static void memory_in_pieces(void **state)
{
	struct vm *vm = *state;
	uint8_t bytes[16];
	struct device d;

	set_devices(vm, &d);
	assert_true(vm_device_load(vm, 0, GPA + 4, bytes, 16));
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(bytes[i], 4 + i);
	assert_int_equal(d.calls, 3); /* 4, 8, 4 */
	assert_true(vm_device_store(vm, 0, GPA + 6, bytes, 3));
	assert_int_equal(d.stores, 2);
	assert_int_equal(d.sizes[0], 2);
	assert_true(d.stored[0] == 0x0504);
	assert_int_equal(d.sizes[1], 1);
	assert_true(d.stored[1] == 0x06);
}

static void memory_of_nobody(void **state)
{
	struct vm *vm = *state;
	uint8_t bytes[8] = {0};
	struct device d;

	set_devices(vm, &d);
	assert_false(vm_device_load(vm, 0, GPA - 8, bytes, 8));
	assert_false(vm_device_store(vm, 0, GPA - 8, bytes, 8));
	assert_int_equal(bytes[0], 0);
	/* Past the end in the middle: what is there has been read, the rest is all ones. */
	assert_true(vm_device_load(vm, 0, GPA + WIDTH - 4, bytes, 8));
	assert_int_equal(bytes[0], WIDTH - 4);
	assert_int_equal(bytes[4], 0xff);
}

static void both_or_neither(void **state)
{
	const struct vm_devices odd[] = {{port, load, NULL, NULL}, {port, NULL, store, NULL}};
	const struct vm_devices ports = {port, NULL, NULL, NULL};
	struct vm *vm = *state;
	uint8_t byte;

	assert_int_equal(vm_set_devices(vm, &odd[0]), EINVAL);
	assert_int_equal(vm_set_devices(vm, &odd[1]), EINVAL);
	assert_false(vm_has_devices(vm));
	assert_int_equal(vm_set_devices(vm, &ports), 0);
	assert_false(vm_device_load(vm, 0, GPA, &byte, 1));
	assert_false(vm_device_store(vm, 0, GPA, &byte, 1));
}

/* ---- With a guest ---- */

#define CODE 0x1000u

/* The C code of a device may use any register: here it overwrites what the guest keeps. */
static int spoil(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	__asm__ volatile(
		"fninit\n\tfldz\n\tpcmpeqd %%xmm1, %%xmm1\n\tfstp %%st(0)"
		:
		:
		: "xmm1", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
	return load(vm, vcpu, gpa, value, size, arg);
}

static int refuse(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	(void)vm;
	(void)vcpu;
	(void)gpa;
	(void)value;
	(void)size;
	(void)arg;
	return ENOENT;
}

static void flat(struct vm *vm)
{
	static const int data[] = {VM_REG_GUEST_DS, VM_REG_GUEST_ES, VM_REG_GUEST_SS};

	assert_int_equal(vmmdev_reset(vm, 0), 0);
	assert_int_equal(vmmdev_set_register(vm, 0, VM_REG_GUEST_CR0, 0x31), 0);
	assert_int_equal(vmmdev_set_register(vm, 0, VM_REG_GUEST_CR4, 0x600), 0);
	struct seg_desc desc = {0, UINT32_MAX, 0xc09b};

	assert_int_equal(vmmdev_set_seg_desc(vm, 0, VM_REG_GUEST_CS, &desc), 0);
	desc.access = 0xc093;
	for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++)
		assert_int_equal(vmmdev_set_seg_desc(vm, 0, data[i], &desc), 0);
}

static void guest_keeps_its_registers(void **state)
{
	static const char code[] = "\xdb\xe3\xd9\xe8"	      /* fninit; fld1 */
				   "\xb8\x2a\x00\x00\x00"     /* mov $42, %eax */
				   "\x66\x0f\x6e\xc8"	      /* movd %eax, %xmm1 */
				   "\xa1\x04\x00\x00\xd0"     /* mov GPA + 4, %eax */
				   "\x66\x0f\x7e\xcb"	      /* movd %xmm1, %ebx */
				   "\xdb\x1d\x00\x20\x00\x00" /* fistpl 0x2000 */
				   "\x8b\x0d\x00\x20\x00\x00" /* mov 0x2000, %ecx */
				   "\xa3\x08\x00\x00\xd0";    /* mov %eax, GPA + 8 */
	static const struct {
		int reg;
		uint64_t value;
	} want[] = {{VM_REG_GUEST_RAX, 0x07060504}, {VM_REG_GUEST_RBX, 42}, {VM_REG_GUEST_RCX, 1}};
	struct vm_run run = {.cpuid = 0, .rip = CODE};
	struct device d = {0};
	const struct vm_devices devices = {NULL, spoil, refuse, &d};
	struct vm *vm;

	(void)state;
	assert_int_equal(vmmdev_create(&vmm_ops_soft, "devices", &vm), 0);
	assert_int_equal(vmmdev_map_memory(vm, 0, 0x10000), 0);
	assert_int_equal(vmmdev_write(vm, CODE, code, sizeof(code) - 1), 0);
	assert_int_equal(vmmdev_set_devices(vm, &devices), 0);
	assert_int_equal(vmmdev_activate_cpu(vm, 0), 0);
	flat(vm);
	assert_int_equal(vmmdev_run(vm, &run), 0);
	/* The load was none; the store is, as the device refuses it. */
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INST_EMUL);
	assert_true(run.vm_exit.rip == CODE + sizeof(code) - 1 - 5);
	assert_true(run.vm_exit.u.inst_emul.gpa == GPA + 8);
	assert_int_equal(d.calls, 1);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		uint64_t value;

		assert_int_equal(vmmdev_get_register(vm, 0, want[i].reg, &value), 0);
		assert_true(value == want[i].value);
	}
	vmmdev_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ports_without_exits, setup_fake, teardown_vm),
		cmocka_unit_test_setup_teardown(nobody_is_an_exit, setup_fake, teardown_vm),
		cmocka_unit_test_setup_teardown(chips_go_first, setup_fake, teardown_vm),
		cmocka_unit_test_setup_teardown(memory_in_pieces, setup_fake, teardown_vm),
		cmocka_unit_test_setup_teardown(memory_of_nobody, setup_fake, teardown_vm),
		cmocka_unit_test_setup_teardown(both_or_neither, setup_fake, teardown_vm),
		cmocka_unit_test(guest_keeps_its_registers),
	};

	return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
