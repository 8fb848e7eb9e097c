/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Devices of the user's that are called inside vm_run, in place of an exit. */
#include "vmm/vm.h"

int vm_set_devices(struct vm *vm, const struct vm_devices *devices)
{
	static const struct vm_devices none;

	if (devices == NULL)
		devices = &none;
	if ((devices->read == NULL) != (devices->write == NULL))
		return EINVAL;
	vm->devices = *devices;
	return 0;
}

bool vm_has_devices(struct vm *vm)
{
	return vm->devices.port != NULL || vm->devices.read != NULL;
}

int vm_device_port(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	const struct vm_devices *d = &vm->devices;
	uint32_t eax = *val;
	int error = ENOENT;

	if (d->port != NULL)
		error = d->port(vm, vcpuid, in, (uint16_t)port, bytes, &eax, d->arg);
	if (error == ENOENT)
		return ENOENT;
	*val = error != 0 && in ? UINT32_MAX : eax;
	return 0;
}

bool vm_device_load(struct vm *vm, int vcpuid, vm_paddr_t gpa, void *buf, unsigned len)
{
	const struct vm_devices *d = &vm->devices;
	uint8_t *to = buf;
	bool first = true;

	if (d->read == NULL)
		return false;
	while (len > 0) {
		unsigned size = vm_bus_piece(gpa, len);
		uint64_t value = UINT64_MAX;
		int error = d->read(vm, vcpuid, gpa, &value, (int)size, d->arg);

		if (error == ENOENT && first)
			return false;
		if (error != 0)
			value = UINT64_MAX;
		memcpy(to, &value, size);
		first = false;
		to += size;
		gpa += size;
		len -= size;
	}
	return true;
}

bool vm_device_store(struct vm *vm, int vcpuid, vm_paddr_t gpa, const void *buf, unsigned len)
{
	const struct vm_devices *d = &vm->devices;
	const uint8_t *from = buf;
	bool first = true;

	if (d->write == NULL)
		return false;
	while (len > 0) {
		unsigned size = vm_bus_piece(gpa, len);
		uint64_t value = 0;

		memcpy(&value, from, size);
		if (d->write(vm, vcpuid, gpa, value, (int)size, d->arg) == ENOENT && first)
			return false;
		first = false;
		from += size;
		gpa += size;
		len -= size;
	}
	return true;
}
