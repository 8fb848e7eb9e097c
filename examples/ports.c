/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A virtual machine in one page: 64 KiB of memory, one vcpu, sixteen-bit code that prints through a port.
 *
 *	cc -D_GNU_SOURCE ports.c -lvmm -pthread
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/vmm_dev.h>

enum { PORT = 0xe9, MEMORY = 0x10000, ENTRY = 0x100 };

/*
 *	mov si, text
 * next:
 *	lodsb
 *	test al, al
 *	jz end
 *	out PORT, al
 *	jmp next
 * end:
 *	hlt
 * text:
 */
static const unsigned char program[] = "\xbe\x0d\x01\xac\x84\xc0\x74\x04\xe6\xe9\xeb\xf7\xf4"
				       "Sixteen bits say hello.\n";

static void check(int error, const char *what)
{
	if (error == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	exit(1);
}

static int print(struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	(void)vm;
	(void)vcpu;
	(void)arg;
	if (in || port != PORT || bytes != 1)
		return EIO; /* nobody there: reads give all ones */
	putchar((int)(*eax & 0xff));
	return 0;
}

/* Real mode, code and data at 0. */
static void start_at(struct vm *vm, uint64_t rip)
{
	struct seg_desc code;

	check(vmmdev_reset(vm, 0), "reset");
	check(vmmdev_get_seg_desc(vm, 0, VM_REG_GUEST_CS, &code), "read CS");
	code.base = 0;
	check(vmmdev_set_seg_desc(vm, 0, VM_REG_GUEST_CS, &code), "set CS");
	check(vmmdev_set_register(vm, 0, VM_REG_GUEST_CS, 0), "set CS");
	check(vmmdev_set_register(vm, 0, VM_REG_GUEST_RIP, rip), "set RIP");
}

int main(void)
{
	struct vm *vm;
	struct vm_run run = {.cpuid = 0, .rip = ENTRY};

	check(vmmdev_create(&vmm_ops_soft, "ports", &vm), "create a VM");
	check(vmmdev_map_memory(vm, 0, MEMORY), "give it memory");
	check(vmmdev_write(vm, ENTRY, program, sizeof(program)), "load the program");
	check(vmmdev_activate_cpu(vm, 0), "activate the vcpu");
	start_at(vm, ENTRY);
	for (;;) {
		struct vm_exit *exit = &run.vm_exit;

		check(vmmdev_run(vm, &run), "run");
		if (exit->exitcode == VM_EXITCODE_SUSPENDED)
			break; /* HLT with interrupts off: the only vcpu has halted for good */
		if (exit->exitcode == VM_EXITCODE_INOUT)
			check(vmmdev_emulate_inout(vm, 0, exit, print, NULL), "finish a port access");
		run.rip = exit->rip + (uint64_t)exit->inst_length;
	}
	vmmdev_destroy(vm);
	return 0;
}
