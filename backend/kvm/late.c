/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * KVM without hardware behind it interprets privileged code in bursts, and looks only between them
 * whether the guest lets interrupts in: a thousand instructions late.  Where that is so we
 * single-step while something waits. A VM of one page tells, but making one takes a while, so it is
 * asked only where it is suspect.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "backend/kvm/kvm.h"

#define ATTEMPTS 4 /* a burst that the host's scheduler cuts short tells nothing */

/* sti; three times nop; out 0x80, al */
static const uint8_t code[] = {0xfb, 0x90, 0x90, 0x90, 0xe6, 0x80};

/* What such KVMs have in common, and others with reason. */
static bool is_suspect(int system)
{
	return ioctl(system, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM) <= 0 &&
	       ioctl(system, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE) <= 0 &&
	       ioctl(system, KVM_CHECK_EXTENSION, KVM_CAP_HYPERV) <= 0;
}

/* Real mode, everything at 0. */
static int vcpu_start(int vcpu)
{
	struct kvm_regs regs = {.rflags = 2};
	struct kvm_sregs sregs;

	if (kvm_call(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (kvm_call(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return kvm_call(vcpu, KVM_SET_REGS, &regs);
}

static bool run_is_late(int vcpu, size_t size)
{
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	bool late = false;

	if (run == MAP_FAILED)
		return false;
	run->request_interrupt_window = 1;
	if (vcpu_start(vcpu) == 0 && kvm_call(vcpu, KVM_RUN, NULL) == 0)
		late = run->exit_reason == KVM_EXIT_IO;
	munmap(run, size);
	return late;
}

static bool vm_is_late(int vm, size_t run_size)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region slot = {
		.memory_size = 4096, .userspace_addr = (uintptr_t)page};
	bool late = false;
	int vcpu;

	if (page == MAP_FAILED)
		return false;
	memcpy(page, code, sizeof(code));
	if (kvm_call(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0) {
		vcpu = kvm_call(vm, KVM_CREATE_VCPU, NULL);
		for (int i = 0; i < ATTEMPTS && vcpu >= 0 && !late; i++)
			late = run_is_late(vcpu, run_size);
		if (vcpu >= 0)
			close(vcpu);
	}
	munmap(page, 4096);
	return late;
}

bool kvm_is_late(int system, size_t run_size)
{
	bool late;
	int vm;

	if (!is_suspect(system))
		return false;
	vm = kvm_call(system, KVM_CREATE_VM, NULL);
	if (vm < 0)
		return false;
	late = vm_is_late(vm, run_size);
	close(vm);
	return late;
}
