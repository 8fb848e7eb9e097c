/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "test/backend/soft/hooks.h"
#include "test/backend/soft/smp.h"

void put64(struct smp *s, uint32_t gpa, uint64_t value)
{
	memcpy(s->ram + gpa, &value, 8);
}

uint64_t get64(const struct smp *s, uint32_t gpa)
{
	uint64_t value;

	memcpy(&value, s->ram + gpa, 8);
	return value;
}

static void build_tables(struct smp *s)
{
	put64(s, 0x1000, 0x2003);
	put64(s, 0x2000, 0x3003);
	put64(s, 0x2008, 0x4003);
	for (unsigned i = 0; i < RAM_SIZE >> 21; i++)
		put64(s, 0x3000 + 8 * i, (uint64_t)i << 21 | 0x83);
	put64(s, 0x4000, TABLE | 3);
}

static void set_segment(struct smp *s, int vcpu, int reg, uint32_t access)
{
	struct seg_desc d = {.base = 0, .limit = 0xffffffff, .access = access};

	assert_int_equal(vmmdev_set_seg_desc(s->vm, vcpu, reg, &d), 0);
}

void prepare_vcpu(struct smp *s, int vcpu)
{
	const struct {
		int reg;
		uint64_t value;
	} regs[] = {
		{VM_REG_GUEST_CR3, 0x1000},
		{VM_REG_GUEST_CR4, 0x620},
		{VM_REG_GUEST_EFER, 0x500},
		{VM_REG_GUEST_CR0, 0x80010033},
		{VM_REG_GUEST_RFLAGS, 2},
		{VM_REG_GUEST_RSP, STACKS + 0x1000 * ((unsigned)vcpu + 1)},
		{VM_REG_GUEST_RDI, (unsigned)vcpu},
	};

	assert_int_equal(vmmdev_activate_cpu(s->vm, vcpu), 0);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		assert_int_equal(vmmdev_set_register(s->vm, vcpu, regs[i].reg, regs[i].value), 0);
	set_segment(s, vcpu, VM_REG_GUEST_CS, 0xa09b);
	for (int reg = VM_REG_GUEST_SS; reg <= VM_REG_GUEST_GS; reg++)
		set_segment(s, vcpu, reg, 0xc093);
	set_segment(s, vcpu, VM_REG_GUEST_ES, 0xc093);
}

struct smp *smp_create(void)
{
	struct smp *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	assert_int_equal(vmmdev_create(&vmm_ops_soft, "smp", &s->vm), 0);
	soft_hooks(s->vm);
	assert_int_equal(vmmdev_map_memory(s->vm, 0, RAM_SIZE), 0);
	s->ram = vmmdev_map_gpa(s->vm, 0, RAM_SIZE);
	assert_non_null(s->ram);
	build_tables(s);
	return s;
}

int set_up(void **state)
{
	struct smp *s = smp_create();

	for (int i = 0; i < VCPUS; i++)
		prepare_vcpu(s, i);
	*state = s;
	return 0;
}

int tear_down(void **state)
{
	struct smp *s = *state;

	vmmdev_destroy(s->vm);
	free(s);
	return 0;
}

static void *runner_main(void *arg)
{
	struct runner *r = arg;
	struct vm_run run = {.cpuid = r->vcpu, .rip = CODE};

	do {
		r->error = vmmdev_run(r->smp->vm, &run);
		run.rip = run.vm_exit.rip + (uint64_t)run.vm_exit.inst_length;
	} while (r->error == 0 && run.vm_exit.exitcode == VM_EXITCODE_BOGUS);
	r->exit = run.vm_exit;
	return NULL;
}

void start(struct smp *s, struct runner *r, const uint8_t *code, const uint8_t *end)
{
	memcpy(s->ram + CODE, code, (size_t)(end - code));
	for (int i = 0; i < VCPUS; i++) {
		r[i] = (struct runner){.smp = s, .vcpu = i};
		assert_int_equal(pthread_create(&r[i].thread, NULL, runner_main, &r[i]), 0);
	}
}

void finish(struct runner *r)
{
	for (int i = 0; i < VCPUS; i++)
		pthread_join(r[i].thread, NULL);
	for (int i = 0; i < VCPUS; i++) {
		assert_int_equal(r[i].error, 0);
		assert_int_equal(r[i].exit.exitcode, VM_EXITCODE_INOUT);
		assert_int_equal(r[i].exit.u.inout.port, PORT);
	}
}
