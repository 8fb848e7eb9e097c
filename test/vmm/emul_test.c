/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Instructions on device memory: 64-bit code at CODE, identity-mapped by one 1 GiB page per GiB, a
 * device at DEV whose registers log their accesses.
 */
#include <errno.h>

#include <vmm/pc.h>

#include "test/vmm/harness.h"

#define RAM_SIZE 0x20000
#define TABLES	 0x1000
#define CODE	 0x8000
#define DATA	 0xa000
#define DEV	 0xd0000000ull
#define DEV_SIZE 64

struct device {
	uint8_t mem[DEV_SIZE];
	unsigned reads, writes;
	int last_size;
	uint64_t last_gpa;
	int error;
};

static int dev_read(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct device *dev = arg;

	(void)vm;
	(void)vcpuid;
	assert_in_range(gpa - DEV, 0, DEV_SIZE - size);
	dev->reads++;
	dev->last_size = size;
	dev->last_gpa = gpa;
	*value = 0;
	memcpy(value, dev->mem + (gpa - DEV), (size_t)size);
	return dev->error;
}

static int dev_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct device *dev = arg;

	(void)vm;
	(void)vcpuid;
	assert_in_range(gpa - DEV, 0, DEV_SIZE - size);
	dev->writes++;
	dev->last_size = size;
	dev->last_gpa = gpa;
	memcpy(dev->mem + (gpa - DEV), &value, (size_t)size);
	return dev->error;
}

static int setup(void **state)
{
	struct vm *vm = vm_new(&fake_lending_ops);
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	uint64_t *tables;

	assert_int_equal(vm_malloc(vm, 0, RAM_SIZE), 0);
	tables = vm_gpa_ram(vm, TABLES, NULL);
	tables[0] = (TABLES + 0x1000) | 7;
	for (uint64_t i = 0; i < 4; i++)
		tables[512 + i] = i << 30 | 0x87;
	cpu->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_NE | X86_CR0_MP;
	cpu->cr3 = TABLES;
	cpu->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
	cpu->xcr0 = X86_XCR0_SUPPORTED;
	cpu->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	for (int i = 0; i < 6; i++)
		cpu->seg[i] = (struct x86_seg){.limit = UINT32_MAX, .access = 0xc093, .sel = 0x10};
	cpu->seg[X86_CS] = (struct x86_seg){.limit = UINT32_MAX, .access = 0xa09b, .sel = 8};
	cpu->gpr[X86_RSP] = 0xc000;
	*state = vm;
	return 0;
}

static struct vm_exit exit_at(struct vm *vm, const char *code, size_t n)
{
	memcpy(vm_gpa_ram(vm, CODE, NULL), code, n);
	return (struct vm_exit){.exitcode = VM_EXITCODE_INST_EMUL,
		.rip = CODE,
		.u.inst_emul = {.gpa = DEV, .gla = DEV}};
}

/* Emulates one instruction of the user's and returns how many bytes rip moved. */
static uint64_t emulate(struct vm *vm, struct device *dev, const char *code, size_t n)
{
	struct vm_exit exit = exit_at(vm, code, n);

	assert_int_equal(vm_emulate_instruction(vm, 0, &exit, dev_read, dev_write, dev), 0);
	return exit.rip + (uint64_t)exit.inst_length - CODE;
}
#define EMULATE(code) emulate(vm, dev, code, sizeof(code) - 1)

static uint64_t queued(struct vm *vm)
{
	uint64_t info1, info2;

	assert_int_equal(vm_get_intinfo(vm, 0, &info1, &info2), 0);
	return info2;
}

static struct device *device(void)
{
	struct device *dev = calloc(1, sizeof(*dev));

	for (int i = 0; i < DEV_SIZE; i++)
		dev->mem[i] = (uint8_t)(0x80 + i);
	return dev;
}

/* movs from a device to memory that the guest cannot change; then to what it can */
static void stores_to_roms_are_lost(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	memset(vm_gpa_ram(vm, 0xd000, NULL), 0x77, 0x2000);
	assert_int_equal(vm_map_rom(vm, 0xd000, 0x1000), 0);
	cpu->gpr[X86_RSI] = DEV;
	cpu->gpr[X86_RDI] = 0xdff8;
	assert_int_equal(EMULATE("\x48\xa5"), 2);
	assert_int_equal(*(uint64_t *)vm_gpa_ram(vm, 0xdff8, NULL), 0x7777777777777777);
	assert_int_equal(EMULATE("\x48\xa5"), 2);
	assert_int_equal(*(uint64_t *)vm_gpa_ram(vm, 0xe000, NULL), 0x8f8e8d8c8b8a8988);
	assert_int_equal(dev->reads, 2);
	free(dev);
}

/* mov eax, [rbx] */
static void load(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	cpu->gpr[X86_RAX] = UINT64_MAX;
	cpu->gpr[X86_RBX] = DEV;
	assert_int_equal(EMULATE("\x8b\x03"), 2);
	assert_int_equal(cpu->gpr[X86_RAX], 0x83828180);
	assert_int_equal(dev->reads, 1);
	assert_int_equal(dev->last_size, 4);
	/* movsx rcx, byte [rbx+8]; movzx edx, word [rbx+2]; mov ah, [rbx+2] */
	assert_int_equal(EMULATE("\x48\x0f\xbe\x4b\x08"), 5);
	assert_int_equal(cpu->gpr[X86_RCX], 0xffffffffffffff88);
	assert_int_equal(EMULATE("\x0f\xb7\x53\x02"), 4);
	assert_int_equal(cpu->gpr[X86_RDX], 0x8382);
	assert_int_equal(EMULATE("\x8a\x63\x02"), 3);
	assert_int_equal(cpu->gpr[X86_RAX], 0x83828180 + 0x100);
	free(dev);
}

/* mov [rbx+8], rax; mov byte [rbx], 0x11 */
static void store(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	cpu->gpr[X86_RAX] = 0x1122334455667788;
	cpu->gpr[X86_RBX] = DEV;
	assert_int_equal(EMULATE("\x48\x89\x43\x08"), 4);
	assert_int_equal(dev->writes, 1);
	assert_int_equal(dev->last_size, 8);
	assert_memory_equal(dev->mem + 8, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
	assert_int_equal(EMULATE("\xc6\x03\x11"), 3);
	assert_int_equal(dev->mem[0], 0x11);
	assert_int_equal(dev->reads, 0);
	free(dev);
}

/* Any instruction will do: arithmetic with flags, exchange, bit test, double shift. */
static void read_modify_write(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	cpu->gpr[X86_RBX] = DEV;
	memset(dev->mem, 0, 16);
	/* dec dword [rbx] */
	assert_int_equal(EMULATE("\xff\x0b"), 2);
	assert_memory_equal(dev->mem, "\xff\xff\xff\xff\x00", 5);
	assert_int_equal(cpu->rflags & X86_FL_STATUS, X86_FL_SF | X86_FL_PF | X86_FL_AF);
	assert_int_equal(dev->reads, 1);
	assert_int_equal(dev->writes, 1);
	/* add dword [rbx], 1 */
	assert_int_equal(EMULATE("\x83\x03\x01"), 3);
	assert_int_equal(
		cpu->rflags & X86_FL_STATUS, X86_FL_CF | X86_FL_ZF | X86_FL_PF | X86_FL_AF);
	/* lock xadd [rbx], eax */
	cpu->gpr[X86_RAX] = 5;
	assert_int_equal(EMULATE("\xf0\x0f\xc1\x03"), 4);
	assert_int_equal(dev->mem[0], 5);
	assert_int_equal(cpu->gpr[X86_RAX], 0);
	/* xchg [rbx+4], ecx */
	cpu->gpr[X86_RCX] = 0x99;
	assert_int_equal(EMULATE("\x87\x4b\x04"), 3);
	assert_int_equal(dev->mem[4], 0x99);
	/* test dword [rbx], 4 only reads */
	dev->writes = 0;
	assert_int_equal(EMULATE("\xf7\x03\x04\x00\x00\x00"), 6);
	assert_int_equal(dev->writes, 0);
	assert_int_equal(cpu->rflags & X86_FL_ZF, 0);
	free(dev);
}

/* movdqu xmm1, [rbx]; movups [rbx+16], xmm1: two pieces of eight bytes each way */
static void vector_registers(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();
	uint8_t *xmm1 = cpu->fpu + 160 + 16;

	cpu->gpr[X86_RBX] = DEV;
	assert_int_equal(EMULATE("\xf3\x0f\x6f\x0b"), 4);
	assert_memory_equal(xmm1, dev->mem, 16);
	assert_int_equal(dev->reads, 2);
	memset(xmm1, 0x3c, 16);
	assert_int_equal(EMULATE("\x0f\x11\x4b\x10"), 4);
	assert_int_equal(dev->writes, 2);
	assert_int_equal(dev->mem[16], 0x3c);
	assert_int_equal(dev->mem[31], 0x3c);
	assert_int_equal(dev->mem[32], 0xa0);
	free(dev);
}

/* fild dword [rbx]; the x87 of this thread is as before. */
static void x87_registers(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();
	volatile long double third = 1.0L;

	cpu->gpr[X86_RBX] = DEV;
	memcpy(cpu->fpu, "\x7f\x03\x00\x00\x00", 5); /* FNINIT: masked, empty */
	memcpy(dev->mem, "\x07\x00\x00\x00", 4);
	assert_int_equal(EMULATE("\xdb\x03"), 2);
	/* ST(0) = 7.0: exponent 0x4001, mantissa 0xe000... */
	assert_memory_equal(cpu->fpu + 32, "\x00\x00\x00\x00\x00\x00\x00\xe0\x01\x40", 10);
	third /= 3;
	assert_true(third > 0.3L && third < 0.4L);
	free(dev);
}

/* rep movsb from RAM to the device, and back */
static void string_to_device(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	memcpy(vm_gpa_ram(vm, DATA, NULL), "hello", 5);
	cpu->gpr[X86_RSI] = DATA;
	cpu->gpr[X86_RDI] = DEV + 3;
	cpu->gpr[X86_RCX] = 5;
	assert_int_equal(EMULATE("\xf3\xa4"), 2);
	assert_memory_equal(dev->mem + 3, "hello", 5);
	assert_int_equal(dev->writes, 5);
	assert_int_equal(cpu->gpr[X86_RCX], 0);
	assert_int_equal(cpu->gpr[X86_RSI], DATA + 5);
	cpu->gpr[X86_RSI] = DEV + 3;
	cpu->gpr[X86_RDI] = DATA + 0x100;
	cpu->gpr[X86_RCX] = 5;
	assert_int_equal(EMULATE("\xf3\xa4"), 2);
	assert_memory_equal(vm_gpa_ram(vm, DATA + 0x100, NULL), "hello", 5);
	free(dev);
}

/* An event stops a long one between elements, restartable. */
static int dev_write_and_notify(
	struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg)
{
	vcpu_notify_event(vm, vcpuid, false);
	return dev_write(vm, vcpuid, gpa, value, size, arg);
}

static void string_gives_way_to_events(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();
	struct vm_exit exit = exit_at(vm, "\xf3\xaa", 2); /* rep stosb */

	cpu->gpr[X86_RDI] = DEV;
	cpu->gpr[X86_RCX] = 32;
	assert_int_equal(
		vm_emulate_instruction(vm, 0, &exit, dev_read, dev_write_and_notify, dev), 0);
	assert_int_equal(exit.rip, CODE);
	assert_int_equal(exit.inst_length, 0);
	assert_in_range(cpu->gpr[X86_RCX], 1, 31);
	assert_int_equal(dev->writes, 32 - cpu->gpr[X86_RCX]);
	free(dev);
}

/* push qword [rbx]; pop qword [rbx+8]; call [rbx] */
static void stack_and_branch(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();
	uint64_t target = 0x4321, top;

	cpu->gpr[X86_RBX] = DEV;
	memcpy(dev->mem, &target, 8);
	assert_int_equal(EMULATE("\xff\x33"), 2);
	assert_int_equal(cpu->gpr[X86_RSP], 0xbff8);
	memcpy(&top, vm_gpa_ram(vm, 0xbff8, NULL), 8);
	assert_int_equal(top, target);
	assert_int_equal(EMULATE("\x8f\x43\x08"), 3);
	assert_memory_equal(dev->mem + 8, &target, 8);
	assert_int_equal(CODE + EMULATE("\xff\x13"), target);
	memcpy(&top, vm_gpa_ram(vm, 0xbff8, NULL), 8);
	assert_int_equal(top, CODE + 2);
	free(dev);
}

static void failing_device_reads_ones(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	dev->error = EIO;
	cpu->gpr[X86_RBX] = DEV;
	assert_int_equal(EMULATE("\x8b\x03"), 2);
	assert_int_equal(cpu->gpr[X86_RAX], UINT32_MAX);
	free(dev);
}

/* mov [rbx], eax over two registers of the device: as naturally aligned pieces */
static void misaligned_access_is_split(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	cpu->gpr[X86_RBX] = DEV + 3;
	cpu->gpr[X86_RAX] = 0x44332211;
	assert_int_equal(EMULATE("\x89\x03"), 2);
	assert_int_equal(dev->writes, 3); /* 1, 2 and 1 bytes */
	assert_memory_equal(dev->mem + 3, "\x11\x22\x33\x44", 4);
	free(dev);
}

/*
 * mov [rcx], ss-relative data beyond RAM tables: the fault is the guest's and nothing has changed
 */
static void fault_restarts(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	cpu->gpr[X86_RBX] = 0x4000000000; /* not mapped */
	cpu->gpr[X86_RAX] = 7;
	assert_int_equal(EMULATE("\x8b\x03"), 0);
	assert_int_equal(VM_INTINFO_VECTOR(queued(vm)), 14);
	assert_int_equal(cpu->cr2, 0x4000000000);
	assert_int_equal(cpu->gpr[X86_RAX], 7);
	assert_int_equal(dev->reads, 0);
	free(dev);
}

static void single_step_traps_behind(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	cpu->rflags |= X86_RF_TF;
	cpu->shadow = X86_SHADOW_STI;
	cpu->gpr[X86_RBX] = DEV;
	assert_int_equal(EMULATE("\x8b\x03"), 2);
	assert_int_equal(VM_INTINFO_VECTOR(queued(vm)), 1);
	assert_int_equal(cpu->dr[6] & 0x4000, 0x4000);
	assert_int_equal(cpu->shadow, 0);
	free(dev);
}

static void code_outside_ram(void **state)
{
	struct vm *vm = *state;
	struct device dev = {0};
	struct vm_exit exit = {.rip = RAM_SIZE};

	assert_int_equal(vm_emulate_instruction(vm, 0, &exit, dev_read, dev_write, &dev), EFAULT);
	assert_int_equal(vm_emulate_instruction(vm, 0, &exit, NULL, NULL, NULL), EINVAL);
	assert_int_equal(vm_emulate_instruction(vm, 16, &exit, dev_read, dev_write, &dev), EINVAL);
}

static void backend_gets_its_ops_back(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct device *dev = device();

	cpu->owner = dev;
	cpu->gpr[X86_RBX] = DEV;
	EMULATE("\x8b\x03");
	assert_null(cpu->ops);
	assert_ptr_equal(cpu->owner, dev);
	free(dev);
}

/* ---- Inside vm_run ---- */

static const struct fake_step *mmio_then_pause(uint64_t gpa)
{
	static struct fake_step steps[2];

	steps[0] = (struct fake_step){
		.exit = {.exitcode = VM_EXITCODE_INST_EMUL,
			.rip = CODE,
			.u.inst_emul = {
				.gpa = gpa, .gla = gpa, .paging.cpu_mode = CPU_MODE_64BIT}}};
	steps[1] = (struct fake_step){.exit = {.exitcode = VM_EXITCODE_PAUSE}};
	return steps;
}

/* mov eax, [rbx] on the local APIC's version register: no exit reaches the user */
static void chip_is_served_inside(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct vm_run run = {.rip = CODE};

	cpu->gpr[X86_RBX] = PC_LAPIC_BASE + 0x30;
	exit_at(vm, "\x8b\x03", 2);
	fake_script(vm, 0, mmio_then_pause(PC_LAPIC_BASE + 0x30), 2);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
	assert_int_equal(fake_log(vm, 0)->last_rip, CODE + 2);
	assert_int_equal(cpu->gpr[X86_RAX] & 0xff00ff, 0x60010 & 0xff00ff);
}

/* The exit reaches the user with the instruction decoded and its length. */
static void user_device_is_decoded(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct vm_run run = {.rip = CODE};
	struct vm_exit *exit = &run.vm_exit;
	struct device *dev = device();

	cpu->gpr[X86_RBX] = DEV;
	exit_at(vm, "\x8b\x43\x04", 3);
	fake_script(vm, 0, mmio_then_pause(DEV + 4), 2);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(exit->exitcode, VM_EXITCODE_INST_EMUL);
	assert_int_equal(exit->u.inst_emul.gpa, DEV + 4);
	assert_int_equal(exit->u.inst_emul.vie.op.op_byte, 0x8b);
	assert_int_equal(exit->u.inst_emul.vie.base_register, VM_REG_GUEST_RBX);
	assert_int_equal(exit->inst_length, 3);
	assert_int_equal(vm_emulate_instruction(vm, 0, exit, dev_read, dev_write, dev), 0);
	run.rip = exit->rip + (uint64_t)exit->inst_length;
	assert_int_equal(run.rip, CODE + 3);
	assert_int_equal(cpu->gpr[X86_RAX], 0x87868584);
	free(dev);
}

/* mov [rbx], eax to ICR: STARTUP. The payload takes the place of the decoded instruction. */
static void startup_by_mmio(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct vm_run run = {.rip = CODE};

	vm_chip_write(vm, 0, PC_LAPIC_BASE + 0xf0, 0x1ff, 4, &(bool){false});
	vm_chip_write(vm, 0, PC_LAPIC_BASE + 0x310, 2u << 24, 4, &(bool){false});
	vm_chip_write(vm, 0, PC_LAPIC_BASE + 0x300, 0x4500, 4, &(bool){false});
	cpu->gpr[X86_RBX] = PC_LAPIC_BASE + 0x300;
	cpu->gpr[X86_RAX] = 0x4699;
	exit_at(vm, "\x89\x03", 2);
	fake_script(vm, 0, mmio_then_pause(PC_LAPIC_BASE + 0x300), 2);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_SPINUP_AP);
	assert_int_equal(run.vm_exit.u.spinup_ap.vcpu, 2);
	assert_int_equal(run.vm_exit.u.spinup_ap.rip, 0x99000);
	assert_int_equal(run.vm_exit.rip + (uint64_t)run.vm_exit.inst_length, CODE + 2);
}

/* movsd from the local APIC to the user's device: the user does both sides. */
static void chip_and_device_in_one(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct vm_run run = {.rip = CODE};
	struct device *dev = device();

	cpu->gpr[X86_RSI] = PC_LAPIC_BASE + 0x30;
	cpu->gpr[X86_RDI] = DEV;
	exit_at(vm, "\xa5", 1);
	fake_script(vm, 0, mmio_then_pause(PC_LAPIC_BASE + 0x30), 2);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INST_EMUL);
	assert_int_equal(run.vm_exit.u.inst_emul.gpa, DEV);
	assert_int_equal(vm_emulate_instruction(vm, 0, &run.vm_exit, dev_read, dev_write, dev), 0);
	assert_int_equal(dev->mem[0], 0x10); /* the version */
	assert_int_equal(cpu->gpr[X86_RDI], DEV + 4);
	free(dev);
}

/* The page with the code went away meanwhile: the guest gets the page fault of the fetch. */
static void fetch_fault_goes_to_the_guest(void **state)
{
	struct vm *vm = *state;
	struct vm_run run = {.rip = CODE};

	((uint64_t *)vm_gpa_ram(vm, TABLES, NULL))[512] = 0;
	fake_script(vm, 0, mmio_then_pause(PC_LAPIC_BASE), 2);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
	assert_int_equal(VM_INTINFO_VECTOR(fake_log(vm, 0)->last_event), 14);
	assert_int_equal(fake_log(vm, 0)->last_rip, CODE);
}

/* ---- Task switch: 32-bit TSS to TSS by JMP ---- */

#define GDT  0x9000
#define OLD  0x9800
#define NEWT 0x9900

static void write32(struct vm *vm, uint64_t gpa, uint32_t value)
{
	memcpy(vm_gpa_ram(vm, gpa, NULL), &value, 4);
}

static void gdt_entry(struct vm *vm, unsigned i, uint32_t base, uint32_t limit, uint32_t access)
{
	write32(vm, GDT + i * 8, (base & 0xffff) << 16 | (limit & 0xffff));
	write32(vm, GDT + i * 8 + 4,
		(base & 0xff000000) | (access & 0xf000) << 8 | (limit & 0xf0000) |
			(access & 0xff) << 8 | (base >> 16 & 0xff));
}

static void task_switch(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct vm_exit exit = {.exitcode = VM_EXITCODE_TASK_SWITCH,
		.rip = CODE,
		.inst_length = 7,
		.u.task_switch = {.tsssel = 0x20, .reason = TSR_JMP}};
	uint32_t eip;

	gdt_entry(vm, 1, 0, 0xfffff, 0xc09b);
	gdt_entry(vm, 2, 0, 0xfffff, 0xc093);
	gdt_entry(vm, 3, OLD, 103, 0x8b);
	gdt_entry(vm, 4, NEWT, 103, 0x89);
	cpu->cr0 = X86_CR0_PE;
	cpu->efer = 0;
	cpu->cr4 = 0;
	cpu->seg[X86_CS].access = 0xc09b;
	cpu->gdtr.base = GDT;
	cpu->gdtr.limit = 5 * 8 - 1;
	cpu->tr = (struct x86_seg){.base = OLD, .limit = 103, .access = 0x8b, .sel = 0x18};
	write32(vm, NEWT + 32, 0x5678); /* EIP */
	write32(vm, NEWT + 36, 2);	/* EFLAGS */
	write32(vm, NEWT + 40, 0xaaaa); /* EAX */
	for (unsigned i = 0; i < 6; i++)
		write32(vm, NEWT + 72 + i * 4, i == 1 ? 0x08 : 0x10);
	assert_int_equal(vm_emulate_task_switch(vm, 0, &exit), 0);
	assert_int_equal(queued(vm), 0);
	assert_int_equal(exit.rip, 0x5678);
	assert_int_equal(exit.inst_length, 0);
	assert_int_equal(cpu->gpr[X86_RAX], 0xaaaa);
	assert_int_equal(cpu->tr.sel, 0x20);
	assert_int_equal(cpu->cr0 & X86_CR0_TS, X86_CR0_TS);
	memcpy(&eip, vm_gpa_ram(vm, OLD + 32, NULL), 4);
	assert_int_equal(eip, CODE + 7);
}

static void task_switch_that_faults(void **state)
{
	struct vm *vm = *state;
	struct x86_cpu *cpu = fake_cpu(vm, 0);
	struct vm_exit exit = {.rip = CODE,
		.inst_length = 7,
		.u.task_switch = {.tsssel = 0x20, .reason = TSR_JMP}};

	cpu->cr0 = X86_CR0_PE;
	cpu->efer = 0;
	cpu->gdtr.base = GDT;
	cpu->gdtr.limit = 7; /* the selector lies outside */
	assert_int_equal(vm_emulate_task_switch(vm, 0, &exit), 0);
	assert_int_equal(VM_INTINFO_VECTOR(queued(vm)), 13);
	assert_int_equal(queued(vm) >> 32, 0x20);
	assert_int_equal(exit.rip + (uint64_t)exit.inst_length, CODE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(load),
		TEST(stores_to_roms_are_lost),
		TEST(store),
		TEST(read_modify_write),
		TEST(vector_registers),
		TEST(x87_registers),
		TEST(string_to_device),
		TEST(string_gives_way_to_events),
		TEST(stack_and_branch),
		TEST(failing_device_reads_ones),
		TEST(misaligned_access_is_split),
		TEST(fault_restarts),
		TEST(single_step_traps_behind),
		TEST(code_outside_ram),
		TEST(backend_gets_its_ops_back),
		TEST(chip_is_served_inside),
		TEST(user_device_is_decoded),
		TEST(startup_by_mmio),
		TEST(chip_and_device_in_one),
		TEST(fetch_fault_goes_to_the_guest),
		TEST(task_switch),
		TEST(task_switch_that_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
