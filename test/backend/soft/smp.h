/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* For tests with several vcpus: a VM whose vcpus run one snippet in 64-bit code, side by side. */
#ifndef TEST_BACKEND_SOFT_SMP_H
#define TEST_BACKEND_SOFT_SMP_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

#define RAM_SIZE (16u << 20)
#define CODE	 0x100000u
#define DATA	 0x200000u
#define STACKS	 0x300000u
#define TABLE	 0x5000u     /* page table of WINDOW */
#define WINDOW	 0x40000000u /* 4 KiB pages, 8 for each vcpu */
#define PORT	 0xe8
#define VCPUS	 4

/* EDI is the vcpu's number; every snippet ends with OUT and its result in EAX. */
#define SNIPPET(name, code)                                                                        \
	extern const uint8_t name[], name##_end[];                                                 \
	__asm__(".pushsection .rodata\n" #name ":\n" code "\nout %eax, $0xe8\n" #name              \
		"_end:\n.popsection\n")

struct smp {
	struct vm *vm;
	uint8_t *ram;
};

struct runner {
	struct smp *smp;
	int vcpu;
	pthread_t thread;
	struct vm_exit exit;
	int error;
};

void put64(struct smp *s, uint32_t gpa, uint64_t value);
uint64_t get64(const struct smp *s, uint32_t gpa);
/* The VM, with page tables; its vcpus are neither active nor prepared. */
struct smp *smp_create(void);
/* Activates a vcpu that has been reset, with all registers but RIP for the snippet. */
void prepare_vcpu(struct smp *s, int vcpu);
/* cmocka's, around a struct smp with VCPUS vcpus. */
int set_up(void **state);
int tear_down(void **state);
/* Copies the snippet to CODE and runs it on all vcpus, each in a thread. */
void start(struct smp *s, struct runner *r, const uint8_t *code, const uint8_t *end);
/* All of them, to their OUT. */
void finish(struct runner *r);

#endif
