/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <time.h>

#include <vmm/pc.h>
#include <vmm/vlapic.h>

#include "test/backend/soft/hooks.h"
#include "test/contract/contract.h"

#define POLL_NS	  200000
#define POLLS_MAX 50000

#define TABLES 0x100000u /* page tables of long_mode */
#define GDT    0x0800u
#define TSS    0x0900u

/* ---- Fixtures ---- */

int contract_setup_bare(const struct vmm_ops *ops, void **state)
{
	struct contract *c = calloc(1, sizeof(*c));
	int error;

	c->ops = ops;
	for (int i = 0; i < VM_MAXCPU; i++)
		c->run[i].cpuid = i;
	*state = c;
	error = vm_create_on(ops, "contract", &c->vm);
	if (error == 0 && ops == &vmm_ops_soft)
		soft_hooks(c->vm);
	return error;
}

int contract_setup(const struct vmm_ops *ops, void **state)
{
	struct contract *c;
	int error = contract_setup_bare(ops, state);

	c = *state;
	if (error == 0)
		error = vm_malloc(c->vm, 0, RAM_SIZE);
	if (error != 0)
		return error;
	c->ram = vmmdev_map_gpa(c->vm, 0, RAM_SIZE);
	contract_add_vcpu(c, 0);
	return 0;
}

void contract_teardown(void **state)
{
	struct contract *c = *state;

	vm_destroy(c->vm);
	free(c);
}

void contract_add_vcpu(struct contract *c, int vcpuid)
{
	assert_int_equal(vcpu_set_state(c->vm, vcpuid, VCPU_FROZEN, true), 0);
	assert_int_equal(vm_activate_cpu(c->vm, vcpuid), 0);
	assert_int_equal(vcpu_reset(c->vm, vcpuid), 0);
	(void)vm_set_capability(c->vm, vcpuid, VM_CAP_UNRESTRICTED_GUEST, 1);
	(void)vm_set_capability(c->vm, vcpuid, VM_CAP_HALT_EXIT, 1);
}

/* ---- Modes ---- */

static void set_desc(struct contract *c, int vcpuid, int reg, uint16_t sel, struct seg_desc desc)
{
	assert_int_equal(vm_set_seg_desc(c->vm, vcpuid, reg, &desc), 0);
	if (reg != VM_REG_GUEST_GDTR && reg != VM_REG_GUEST_IDTR)
		set_reg(c, vcpuid, reg, sel);
}

static void set_data_segments(struct contract *c, int vcpuid, uint16_t sel, struct seg_desc desc)
{
	static const int regs[] = {VM_REG_GUEST_DS, VM_REG_GUEST_ES, VM_REG_GUEST_SS,
		VM_REG_GUEST_FS, VM_REG_GUEST_GS};

	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		set_desc(c, vcpuid, regs[i], sel, desc);
}

static void place(struct contract *c, int vcpuid, const void *code, size_t n)
{
	memcpy(c->ram + CODE, code, n);
	vm_mem_written(c->vm, CODE, n);
	set_reg(c, vcpuid, VM_REG_GUEST_RSP, STACK);
	set_reg(c, vcpuid, VM_REG_GUEST_RFLAGS, 2);
	c->run[vcpuid].rip = CODE;
	c->run[vcpuid].vm_exit = (struct vm_exit){.rip = CODE};
}

void real_mode(struct contract *c, int vcpuid, const void *code, size_t n)
{
	assert_int_equal(vcpu_reset(c->vm, vcpuid), 0);
	set_desc(c, vcpuid, VM_REG_GUEST_CS, 0, (struct seg_desc){0, 0xffff, 0x9b});
	set_data_segments(c, vcpuid, 0, (struct seg_desc){0, 0xffff, 0x93});
	place(c, vcpuid, code, n);
}

/*
 * Null, 64-bit code, flat data, flat 32-bit code, two places for a test's own, then user data,
 * user 64-bit code, and a TSS.
 */
static void write_gdt(struct contract *c, int vcpuid)
{
	static const uint64_t gdt[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff,
		0x00cf9b000000ffff, 0, 0, 0x00cff3000000ffff, 0x00affb000000ffff,
		0x00008b0000000067 | (uint64_t)TSS << 16, 0};

	memcpy(c->ram + GDT, gdt, sizeof(gdt));
	set_desc(c, vcpuid, VM_REG_GUEST_GDTR, 0, (struct seg_desc){GDT, sizeof(gdt) - 1, 0});
}

void protected_mode(struct contract *c, int vcpuid, const void *code, size_t n)
{
	assert_int_equal(vcpu_reset(c->vm, vcpuid), 0);
	write_gdt(c, vcpuid);
	set_reg(c, vcpuid, VM_REG_GUEST_CR0, CR0_PE | CR0_NE);
	set_desc(c, vcpuid, VM_REG_GUEST_CS, 0x18, (struct seg_desc){0, UINT32_MAX, 0xc09b});
	set_data_segments(c, vcpuid, 0x10, (struct seg_desc){0, UINT32_MAX, 0xc093});
	place(c, vcpuid, code, n);
}

void long_mode(struct contract *c, int vcpuid, const void *code, size_t n)
{
	uint64_t *tables = (uint64_t *)(c->ram + TABLES);

	protected_mode(c, vcpuid, code, n);
	tables[0] = (TABLES + 0x1000) | 7;
	for (uint64_t i = 0; i < 4; i++)
		tables[512 + i] = (TABLES + 0x2000 + i * 0x1000) | 7;
	for (uint64_t i = 0; i < 4 * 512; i++)
		tables[1024 + i] = i << 21 | 0x87;
	set_reg(c, vcpuid, VM_REG_GUEST_CR3, TABLES);
	set_reg(c, vcpuid, VM_REG_GUEST_CR4, CR4_PAE);
	set_reg(c, vcpuid, VM_REG_GUEST_EFER, EFER_LME | EFER_LMA);
	set_reg(c, vcpuid, VM_REG_GUEST_CR0, CR0_PE | CR0_NE | CR0_WP | CR0_PG);
	set_desc(c, vcpuid, VM_REG_GUEST_CS, 0x08, (struct seg_desc){0, UINT32_MAX, 0xa09b});
}

void user_mode(struct contract *c, int vcpuid, const void *code, size_t n)
{
	const uint64_t rsp0 = STACK;

	long_mode(c, vcpuid, code, n);
	memset(c->ram + TSS, 0, 0x68);
	memcpy(c->ram + TSS + 4, &rsp0, sizeof(rsp0));
	c->ram[TSS + 102] = 0x68; /* no I/O permission bitmap */
	set_desc(c, vcpuid, VM_REG_GUEST_TR, 0x40, (struct seg_desc){TSS, 0x67, 0x8b});
	set_data_segments(c, vcpuid, 0x33, (struct seg_desc){0, UINT32_MAX, 0xc0f3});
	set_desc(c, vcpuid, VM_REG_GUEST_CS, 0x3b, (struct seg_desc){0, UINT32_MAX, 0xa0fb});
	set_reg(c, vcpuid, VM_REG_GUEST_RSP, STACK - 0x800);
}

void set_ivt(struct contract *c, unsigned vector, uint16_t offset)
{
	const uint16_t entry[2] = {offset, 0};

	memcpy(c->ram + vector * 4, entry, sizeof(entry));
}

/* ---- Running ---- */

void step_over(struct contract *c, int vcpuid)
{
	struct vm_exit *exit = &c->run[vcpuid].vm_exit;

	c->run[vcpuid].rip = exit->rip + (uint64_t)exit->inst_length;
	exit->rip = c->run[vcpuid].rip;
	exit->inst_length = 0;
}

static const char *const code_names[] = {"INOUT", "VMX", "BOGUS", "RDMSR", "WRMSR", "HLT", "MTRAP",
	"PAUSE", "PAGING", "INST_EMUL", "SPINUP_AP", "DEPRECATED1", "RENDEZVOUS", "IOAPIC_EOI",
	"SUSPENDED", "INOUT_STR", "TASK_SWITCH"};

static void expect_code(const struct vm_exit *exit, enum vm_exitcode code)
{
	if (exit->exitcode != code)
		fail_msg("exit %s instead of %s at %#llx", code_names[exit->exitcode],
			code_names[code], (unsigned long long)exit->rip);
}

struct vm_exit *run_to(struct contract *c, int vcpuid, enum vm_exitcode code)
{
	step_over(c, vcpuid);
	assert_int_equal(vm_run(c->vm, &c->run[vcpuid]), 0);
	expect_code(&c->run[vcpuid].vm_exit, code);
	return &c->run[vcpuid].vm_exit;
}

uint32_t run_to_out(struct contract *c, int vcpuid)
{
	const struct vm_exit *exit = run_to(c, vcpuid, VM_EXITCODE_INOUT);

	assert_int_equal(exit->u.inout.port, DONE_PORT);
	assert_int_equal(exit->u.inout.in, 0);
	step_over(c, vcpuid);
	return exit->u.inout.eax;
}

struct runner {
	struct contract *c;
	int vcpuid;
};

static void *runner_main(void *arg)
{
	struct runner *runner = arg;
	struct contract *c = runner->c;

	c->error[runner->vcpuid] = vm_run(c->vm, &c->run[runner->vcpuid]);
	free(runner);
	return NULL;
}

void run_start(struct contract *c, int vcpuid)
{
	struct runner *runner = malloc(sizeof(*runner));

	*runner = (struct runner){c, vcpuid};
	step_over(c, vcpuid);
	assert_int_equal(pthread_create(&c->thread[vcpuid], NULL, runner_main, runner), 0);
}

struct vm_exit *run_join(struct contract *c, int vcpuid)
{
	assert_int_equal(pthread_join(c->thread[vcpuid], NULL), 0);
	assert_int_equal(c->error[vcpuid], 0);
	return &c->run[vcpuid].vm_exit;
}

void wait_state(struct contract *c, int vcpuid, enum vcpu_state state)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};

	for (int i = 0; i < POLLS_MAX; i++) {
		if (vcpu_get_state(c->vm, vcpuid, NULL) == state)
			return;
		nanosleep(&pause, NULL);
	}
	fail_msg("vcpu %d never came into state %d", vcpuid, (int)state);
}

/* ---- Registers ---- */

uint64_t get_reg(struct contract *c, int vcpuid, int reg)
{
	uint64_t value = 0;

	assert_int_equal(vm_get_register(c->vm, vcpuid, reg, &value), 0);
	return value;
}

void set_reg(struct contract *c, int vcpuid, int reg, uint64_t value)
{
	assert_int_equal(vm_set_register(c->vm, vcpuid, reg, value), 0);
}

void lapic_write(struct contract *c, int vcpuid, uint32_t offset, uint32_t value)
{
	bool retu = false;

	assert_int_equal(
		vlapic_mmio_write(c->vm, vcpuid, PC_LAPIC_BASE + offset, value, 4, &retu), 0);
}

uint32_t lapic_read(struct contract *c, int vcpuid, uint32_t offset)
{
	uint64_t value;
	bool retu = false;

	assert_int_equal(
		vlapic_mmio_read(c->vm, vcpuid, PC_LAPIC_BASE + offset, &value, 4, &retu), 0);
	return (uint32_t)value;
}
