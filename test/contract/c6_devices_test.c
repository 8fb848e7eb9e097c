/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmm-api.md 6.2: accesses that vm_run has answered by the user's devices (vm_set_devices).  run_to
 * fails at an exit that is not the one it waits for, so what comes between has been served inside.
 */
#include <errno.h>
#include <string.h>

#include "test/contract/contract.h"

#define DEVICE 0xd0000000ull

/* A register of four bytes, at port 10h and at DEVICE; one byte further nothing is. */
struct device {
	uint32_t value;
	int error; /* what it answers instead, if not 0 */
	unsigned asked, refused;
	int width; /* of the last access */
};

static int device_port(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct device *d = arg;

	(void)vm, (void)vcpu;
	if (port != 0x10) {
		d->refused++;
		return ENOENT;
	}
	d->asked++;
	d->width = bytes;
	if (in)
		*eax = d->value;
	else
		d->value = *eax;
	return d->error;
}

static int device_load(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct device *d = arg;

	(void)vm, (void)vcpu;
	if (gpa >= DEVICE + 4) {
		d->refused++;
		return ENOENT;
	}
	d->asked++;
	d->width = size;
	*value = d->value;
	return d->error;
}

static int device_store(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct device *d = arg;

	(void)vm, (void)vcpu;
	if (gpa >= DEVICE + 4) {
		d->refused++;
		return ENOENT;
	}
	d->asked++;
	d->width = size;
	d->value = (uint32_t)value;
	return d->error;
}

static void attach(struct contract *c, struct device *d)
{
	const struct vm_devices devices = {
		.port = device_port, .read = device_load, .write = device_store, .arg = d};

	assert_int_equal(vm_set_devices(c->vm, &devices), 0);
}

/* in al, 10h; out e9h, eax; in eax, 10h; out e9h, eax; mov al, 5; out 10h, al; out e9h, eax */
static void c6_2_devices_ports(void **state)
{
	struct contract *c = *state;
	struct device d = {.value = 0xaabbccdd};

	GUEST(protected_mode, c, 0, "\xe4\x10\xe7\xe9\xe5\x10\xe7\xe9\xb0\x05\xe6\x10\xe7\xe9");
	attach(c, &d);
	set_reg(c, 0, VM_REG_GUEST_RAX, 0x11223344);
	assert_int_equal(run_to_out(c, 0), 0x112233dd);
	assert_int_equal(d.width, 1);
	assert_int_equal(run_to_out(c, 0), 0xaabbccdd);
	assert_int_equal(d.width, 4);
	run_to_out(c, 0);
	assert_int_equal(d.value & 0xff, 5);
	assert_int_equal(d.width, 1);
	assert_int_equal(d.asked, 3);
	assert_true(d.refused >= 3); /* port e9h: our exits; it may be asked for more than once */
}

/* mov ebx, DEVICE; mov eax, [ebx]; out e9h, eax; mov [ebx], bx; add dword [ebx], 3; out e9h, eax */
static void c6_2_devices_memory(void **state)
{
	struct contract *c = *state;
	struct device d = {.value = 0x55667788};

	GUEST(protected_mode, c, 0,
		"\xbb\x00\x00\x00\xd0\x8b\x03\xe7\xe9\x66\x89\x1b\x83\x03\x03\xe7\xe9");
	attach(c, &d);
	assert_int_equal(run_to_out(c, 0), 0x55667788);
	assert_int_equal(d.width, 4);
	run_to_out(c, 0);
	assert_int_equal(d.value, 3); /* BX is 0 */
	assert_int_equal(d.asked, 4);
}

/* What no device answers is an exit, and nothing has been done: mov eax, [ebx + 4]. */
static void c6_2_devices_enoent_is_an_exit(void **state)
{
	struct contract *c = *state;
	struct device d = {.value = 1};
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, "\xbb\x00\x00\x00\xd0\x8b\x43\x04\xf4");
	attach(c, &d);
	set_reg(c, 0, VM_REG_GUEST_RAX, 0x1234);
	exit = run_to(c, 0, VM_EXITCODE_INST_EMUL);
	assert_int_equal(exit->u.inst_emul.gpa, DEVICE + 4);
	assert_int_equal(exit->rip, CODE + 5);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX), 0x1234);
	assert_int_equal(d.asked, 0);
	assert_true(d.refused >= 1);
}

/* A device that fails reads all ones. */
static void c6_2_devices_failure_reads_all_ones(void **state)
{
	struct contract *c = *state;
	struct device d = {.value = 1, .error = EIO};

	GUEST(protected_mode, c, 0, "\xe5\x10\xe7\xe9\xbb\x00\x00\x00\xd0\x8b\x03\xe7\xe9");
	attach(c, &d);
	assert_int_equal(run_to_out(c, 0), 0xffffffff);
	set_reg(c, 0, VM_REG_GUEST_RAX, 0);
	assert_int_equal(run_to_out(c, 0), 0xffffffff);
	assert_int_equal(d.asked, 2);
}

/* Without devices again the user has the exits. */
static void c6_2_devices_taken_away(void **state)
{
	struct contract *c = *state;
	struct device d = {.value = 7};

	GUEST(protected_mode, c, 0, "\xe4\x10\xe6\xe9\xe4\x10");
	attach(c, &d);
	run_to_out(c, 0);
	assert_int_equal(vm_set_devices(c->vm, NULL), 0);
	assert_int_equal(run_to(c, 0, VM_EXITCODE_INOUT)->u.inout.port, 0x10);
	assert_int_equal(d.asked, 1);
}

static void c6_2_devices_einval(void **state)
{
	struct contract *c = *state;
	const struct vm_devices no_write = {.read = device_load}, no_read = {.write = device_store};

	assert_int_equal(vm_set_devices(c->vm, &no_write), EINVAL);
	assert_int_equal(vm_set_devices(c->vm, &no_read), EINVAL);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT(c6_2_devices_ports),
		CONTRACT(c6_2_devices_memory),
		CONTRACT(c6_2_devices_enoent_is_an_exit),
		CONTRACT(c6_2_devices_failure_reads_all_ones),
		CONTRACT(c6_2_devices_taken_away),
		CONTRACT(c6_2_devices_einval),
	};

	return contract_run("c6 devices", tests, sizeof(tests) / sizeof(tests[0]));
}
