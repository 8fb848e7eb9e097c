/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Accesses to the core's chips and to the user's devices, done where the guest makes them; where
 * there is neither they are exits, which vm_run's caller completes.  In lock-step all of them are
 * exits: the reference must not reach a device.
 */
#include <vmm/vlapic.h>

#include "backend/soft/soft.h"

enum x86_result soft_mmio_exit(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, unsigned len, bool write)
{
	cpu->exit.reason = X86_EXIT_MMIO;
	cpu->exit.mmio.gpa = gpa;
	cpu->exit.mmio.gla = gla;
	cpu->exit.mmio.size = (uint8_t)len;
	cpu->exit.mmio.write = write;
	cpu->exit.mmio.table = false;
	return X86_EXIT;
}

enum x86_result soft_mmio_read(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, void *buf, unsigned len)
{
	struct soft_vcpu *v = cpu->owner;
	bool lent = soft_lend(v);
	bool done = !v->check && vm_chip_load(v->vm, v->vcpuid, gpa, buf, len);

	soft_return(v, lent);
	if (!done && !v->check && vm_has_devices(v->vm)) {
		bool parked = soft_park(v);

		done = vm_device_load(v->vm, v->vcpuid, gpa, buf, len);
		soft_unpark(v, parked);
	}
	return done ? X86_DONE : soft_mmio_exit(cpu, gla, gpa, len, false);
}

/* An end of interrupt or a lower priority may have made room for one that waits. */
enum x86_result soft_mmio_write(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, const void *buf, unsigned len)
{
	struct soft_vcpu *v = cpu->owner;
	bool lent = soft_lend(v);
	bool done = !v->check && vm_chip_store(v->vm, v->vcpuid, gpa, buf, len);

	if (done && vlapic_pending_intr(vm_lapic(v->vm, v->vcpuid), NULL))
		atomic_store_explicit(&v->run, 0, memory_order_relaxed);
	soft_return(v, lent);
	if (!done && !v->check && vm_has_devices(v->vm)) {
		bool parked = soft_park(v);

		done = vm_device_store(v->vm, v->vcpuid, gpa, buf, len);
		soft_unpark(v, parked);
	}
	return done ? X86_DONE : soft_mmio_exit(cpu, gla, gpa, len, true);
}

/* What IN leaves in RAX: 8 and 16 bits leave the rest alone, 32 clear the upper half. */
static void merge(uint64_t *rax, unsigned size, uint32_t value)
{
	uint64_t mask = size == 1 ? 0xff : size == 2 ? 0xffff : UINT64_MAX;

	*rax = (*rax & ~mask) | (value & mask);
}

bool soft_port(struct soft_vcpu *v)
{
	const struct x86_exit *x = &v->cpu.exit;
	uint32_t mask = x->io.size == 4 ? UINT32_MAX : (1u << x->io.size * 8) - 1;
	uint32_t value = x->io.in ? mask : (uint32_t)v->cpu.gpr[X86_RAX] & mask;
	bool lent, served;

	if (v->check)
		return false;
	lent = soft_lend(v);
	served = vm_ioport(v->vm, v->vcpuid, x->io.in, x->io.port, x->io.size, &value) == 0;
	soft_return(v, lent);
	if (!served && vm_has_devices(v->vm)) {
		bool parked = soft_park(v);

		served = vm_device_port(
				 v->vm, v->vcpuid, x->io.in, x->io.port, x->io.size, &value) == 0;
		soft_unpark(v, parked);
	}
	if (!served)
		return false;
	if (x->io.in)
		merge(&v->cpu.gpr[X86_RAX], x->io.size, value);
	soft_skip(v);
	return true;
}
