/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Whether the lab's machine has a KVM worth testing on, asked without any of hyve: three guests of
 * a few instructions. When this fails, the lab is broken, and not the backend.
 *
 * "smoke_kvm hold" has a VM and a vcpu until somebody ends it. The kernel rewrites its code when
 * the first comes and the last goes, which takes QEMU longer than all that a test does with one.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_SIZE   0x400000u
#define CODE	   0x1000u
#define DIRECTORY  0x2000u /* a page directory; its one page maps the first 4 MiB */
#define PORT	   0xe9
#define KVM_API	   12
#define CR0_PE	   0x1u
#define CR0_PG	   0x80000000u
#define CR4_PSE	   0x10u
#define LARGE_PAGE 0x83u

struct guest {
	int kvm, vm, vcpu;
	uint8_t *ram;
	struct kvm_run *run;
	size_t run_size;
};

static bool guest_open(struct guest *g)
{
	int size;

	*g = (struct guest){.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), .vm = -1, .vcpu = -1};
	if (g->kvm < 0 || ioctl(g->kvm, KVM_GET_API_VERSION, 0) != KVM_API)
		return false;
	size = ioctl(g->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	g->vm = ioctl(g->kvm, KVM_CREATE_VM, 0);
	g->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (size <= 0 || g->vm < 0 || g->ram == MAP_FAILED)
		return false;
	const struct kvm_userspace_memory_region slot = {
		.memory_size = RAM_SIZE, .userspace_addr = (uintptr_t)g->ram};

	if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return false;
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	g->run_size = (size_t)size;
	g->run = mmap(NULL, g->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	return g->vcpu >= 0 && g->run != MAP_FAILED;
}

/* The process ends with the last of them: what is mapped may stay. */
static void guest_close(const struct guest *g)
{
	close(g->vcpu);
	close(g->vm);
	close(g->kvm);
}

static bool guest_start(struct guest *g, const char *code, size_t n, bool paged)
{
	struct kvm_regs regs = {.rip = CODE, .rflags = 2};
	struct kvm_sregs sregs;
	const uint32_t entry = LARGE_PAGE;

	memcpy(g->ram + CODE, code, n);
	memcpy(g->ram + DIRECTORY, &entry, sizeof(entry));
	if (ioctl(g->vcpu, KVM_GET_SREGS, &sregs))
		return false;
	sregs.cs.base = sregs.cs.selector = 0;
	if (paged) {
		sregs.cr0 |= CR0_PE | CR0_PG;
		sregs.cr3 = DIRECTORY;
		sregs.cr4 |= CR4_PSE;
		sregs.cs.limit = UINT32_MAX;
		sregs.cs.g = sregs.cs.db = 1;
		sregs.ds = sregs.es = sregs.ss = sregs.cs;
		sregs.ds.type = sregs.es.type = sregs.ss.type = 3;
	}
	return !ioctl(g->vcpu, KVM_SET_SREGS, &sregs) && !ioctl(g->vcpu, KVM_SET_REGS, &regs);
}

static bool exits_with(const struct guest *g, uint32_t reason)
{
	return !ioctl(g->vcpu, KVM_RUN, 0) && g->run->exit_reason == reason;
}

static bool halts(struct guest *g)
{
	static const char code[] = "\xf4"; /* hlt */

	return guest_start(g, code, sizeof(code) - 1, false) && exits_with(g, KVM_EXIT_HLT);
}

static bool writes_to(const struct guest *g, uint8_t value)
{
	return exits_with(g, KVM_EXIT_IO) && g->run->io.port == PORT && g->run->io.size == 1 &&
	       *((uint8_t *)g->run + g->run->io.data_offset) == value;
}

static bool writes(struct guest *g)
{
	static const char code[] = "\xb0\x2a\xe6\xe9\xf4"; /* mov $42, %al; out %al, $0xe9; hlt */

	return guest_start(g, code, sizeof(code) - 1, false) && writes_to(g, 42) &&
	       exits_with(g, KVM_EXIT_HLT);
}

/* A KVM that cannot page on its own is no place to boot a kernel. */
static bool pages(struct guest *g)
{
	/* mov 0x2000, %al; out %al, $0xe9; hlt */
	static const char code[] = "\xa0\x00\x20\x00\x00\xe6\xe9\xf4";

	return guest_start(g, code, sizeof(code) - 1, true) && writes_to(g, LARGE_PAGE | 0x20) &&
	       exits_with(g, KVM_EXIT_HLT);
}

static int hold(void)
{
	struct guest g;

	if (!guest_open(&g))
		return 1;
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool (*run)(struct guest *g);
	} tests[] = {
		{"a guest halts", halts},
		{"a guest writes to a port", writes},
		{"a guest with 32-bit paging reads the accessed bit of its own table", pages},
	};
	const size_t n = sizeof(tests) / sizeof(tests[0]);
	int failed = 0;

	if (argc == 2 && strcmp(argv[1], "hold") == 0)
		return hold();
	printf("1..%zu\n", n);
	for (size_t i = 0; i < n; i++) {
		struct guest g;
		bool good = guest_open(&g) && tests[i].run(&g);

		printf("%sok %zu - %s\n", good ? "" : "not ", i + 1, tests[i].name);
		failed |= !good;
		guest_close(&g);
	}
	return failed;
}
