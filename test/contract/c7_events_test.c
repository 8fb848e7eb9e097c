/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmm-api.md 7: what reaches the guest's handlers, in which order.  Vector n's real-mode handler
 * reports n; main code reports numbers from 0x80 on.
 */
#include <vmm/vatpic.h>

#include "test/contract/contract.h"

#define HANDLERS 0x2000u /* 8 bytes each: mov al, n; out 0xe9, al; iret */
#define VALID	 ((uint64_t)VM_INTINFO_VALID)
#define HWEXC(v) (VALID | VM_INTINFO_HWEXCEPTION | (v))

static void install_handlers(struct contract *c)
{
	for (unsigned v = 0; v < 256; v++) {
		const uint8_t code[] = {0xb0, (uint8_t)v, 0xe6, DONE_PORT, 0xcf};

		memcpy(c->ram + HANDLERS + v * 8, code, sizeof(code));
		set_ivt(c, v, (uint16_t)(HANDLERS + v * 8));
	}
}

#define RUN_WITH_HANDLERS(c, bytes)                                                                \
	do {                                                                                       \
		GUEST(real_mode, c, 0, bytes);                                                     \
		install_handlers(c);                                                               \
	} while (0)

static uint32_t out(struct contract *c)
{
	return run_to_out(c, 0) & 0xff;
}

static void inject(struct contract *c, int vector)
{
	struct vm_exception vme = {.vector = vector};

	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), 0);
}

static const char report_80[] = "\xb0\x80\xe6\xe9"; /* mov al, 0x80; out 0xe9, al */

/* ---- 7.1, 7.2 ---- */

static void c7_1_sources_are_independent(void **state)
{
	struct contract *c = *state;
	uint32_t first, second;

	RUN_WITH_HANDLERS(c, "\xfb\x90\xb0\x80\xe6\xe9"); /* sti; nop; ... */
	lapic_write(c, 0, 0xf0, 0x1ff);
	inject(c, 6);
	assert_int_equal(vm_inject_nmi(c->vm, 0), 0);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, 0), 0);
	/*
	 * The NMI comes on top of the exception or right behind it; the interrupt when IF allows.
	 */
	first = out(c);
	second = out(c);
	assert_true((first == 2 && second == 6) || (first == 6 && second == 2));
	assert_int_equal(out(c), 0x40);
	assert_int_equal(out(c), 0x80);
}

static void c7_1_nmis_merge(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, report_80);
	vm_inject_nmi(c->vm, 0);
	vm_inject_nmi(c->vm, 0);
	assert_int_equal(out(c), 2);
	assert_int_equal(out(c), 0x80);
}

static void c7_2_exit_intinfo_einval(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_exit_intinfo(c->vm, VM_MAXCPU, 0), EINVAL);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, VALID | VM_INTINFO_NMI | 1), EINVAL);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, HWEXC(32)), EINVAL);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, VALID | 0x1000 | 0x30), EINVAL);
}

static void c7_2_interrupted_event_is_delivered_again(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, report_80);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, VALID | VM_INTINFO_HWINTR | 0x33), 0);
	assert_int_equal(out(c), 0x33);
	assert_int_equal(out(c), 0x80);
}

static void c7_2_overwritten_and_extinguished(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, report_80);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, VALID | 0x33), 0);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, 0x33), 0);
	assert_int_equal(out(c), 0x80);
}

/* ---- 7.3 ---- */

static void combined(struct contract *c, uint64_t first, int second, unsigned expected)
{
	RUN_WITH_HANDLERS(c, report_80);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, first), 0);
	inject(c, second);
	assert_int_equal(out(c), expected);
	assert_int_equal(out(c), 0x80); /* and nothing remains of the other one */
}

static void c7_3_benign_first(void **state)
{
	struct contract *c = *state;

	combined(c, VALID | VM_INTINFO_HWINTR | 0x30, 1, 1);
	combined(c, VALID | VM_INTINFO_HWINTR | 0x30, 13, 13);
	combined(c, VALID | VM_INTINFO_NMI | 2, 14, 14);
	combined(c, VALID | VM_INTINFO_SWINTR | 0x21, 11, 11);
	combined(c, HWEXC(1), 13, 13);
	combined(c, HWEXC(6), 14, 14);
}

static void c7_3_contributory_first(void **state)
{
	struct contract *c = *state;

	combined(c, HWEXC(13), 6, 6);
	combined(c, HWEXC(0), 10, 8);
	combined(c, HWEXC(12), 13, 8);
	combined(c, HWEXC(11), 0, 8);
	combined(c, HWEXC(13), 14, 14);
}

static void c7_3_page_fault_first(void **state)
{
	struct contract *c = *state;

	combined(c, HWEXC(14), 6, 6);
	combined(c, HWEXC(14), 13, 8);
	combined(c, HWEXC(14), 14, 8);
}

static void c7_3_fault_in_double_fault_is_triple(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	RUN_WITH_HANDLERS(c, report_80);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, HWEXC(8) | VM_INTINFO_DEL_ERRCODE), 0);
	inject(c, 1);
	exit = run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(exit->u.suspended.how, VM_SUSPEND_TRIPLEFAULT);
}

/* A guest's own: UD2 with an IDT of limit 0: #UD, #GP, #DF, shutdown */
static void c7_3_guest_triple_fault(void **state)
{
	struct contract *c = *state;
	struct seg_desc idtr = {0, 0, 0};
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, "\x0f\x0b");
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	exit = run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(exit->u.suspended.how, VM_SUSPEND_TRIPLEFAULT);
}

/* Only the entry for #DF is there: a guest's #UD becomes #DF with error code 0. */
static void c7_3_guest_double_fault(void **state)
{
	struct contract *c = *state;
	struct seg_desc idtr = {0x6000, 9 * 8 - 1, 0};
	uint64_t gate = 0x1100 | (uint64_t)0x18 << 16 | (uint64_t)0x8e << 40;

	GUEST(protected_mode, c, 0, "\x0f\x0b");
	PLACE(c, 0x1100, "\x58\x05\x77\x00\x00\x00\xe7\xe9"); /* pop eax; add eax, 0x77; out */
	memcpy(c->ram + 0x6000 + 8 * 8, &gate, 8);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	assert_int_equal(run_to_out(c, 0), 0x77);
}

/* ---- 7.4 ---- */

static void c7_4_get_intinfo_consumes_nothing(void **state)
{
	struct contract *c = *state;
	uint64_t info1, info2;

	RUN_WITH_HANDLERS(c, report_80);
	assert_int_equal(vm_get_intinfo(c->vm, -1, &info1, &info2), EINVAL);
	assert_int_equal(vm_exit_intinfo(c->vm, 0, VALID | 0x55), 0);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info1, VALID | 0x55);
	assert_int_equal(info2, 0);
	assert_int_equal(out(c), 0x55);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info1, 0);
}

/* ---- 7.5 ---- */

static void c7_5_maskable_waits_for_if(void **state)
{
	struct contract *c = *state;

	/* report 0x80; sti; nop; report 0x81 */
	RUN_WITH_HANDLERS(c, "\xb0\x80\xe6\xe9\xfb\x90\xb0\x81\xe6\xe9");
	lapic_write(c, 0, 0xf0, 0x1ff);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(out(c), 0x80);
	assert_int_equal(out(c), 0x40);
	assert_int_equal(out(c), 0x81);
}

/* sti; mov al, 0x80 ; ...: one instruction is executed before the interrupt */
static void c7_5_sti_shadow(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, "\xfb\xe6\xe9\xb0\x81\xe6\xe9"); /* sti; out 0xe9, al; ... */
	set_reg(c, 0, VM_REG_GUEST_RAX, 0x99);
	lapic_write(c, 0, 0xf0, 0x1ff);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(out(c), 0x99);
	assert_int_equal(out(c), 0x40);
	assert_int_equal(out(c), 0x81);
}

/* mov ss, ax: the stack pointer may follow undisturbed, by NMIs too */
static void c7_5_mov_ss_shadow(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, "\x8e\xd3\xe6\xe9\xb0\x81\xe6\xe9"); /* mov ss, bx; out 0xe9, al */
	set_reg(c, 0, VM_REG_GUEST_RAX, 0x99);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, RFLAGS_IF | 2);
	lapic_write(c, 0, 0xf0, 0x1ff);
	assert_int_equal(vm_set_capability(c->vm, 0, VM_CAP_MTRAP_EXIT, 1), 0);
	run_to(c, 0, VM_EXITCODE_MTRAP); /* behind mov ss */
	assert_int_equal(vm_set_capability(c->vm, 0, VM_CAP_MTRAP_EXIT, 0), 0);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(out(c), 0x99);
	assert_int_equal(out(c), 0x40);
	assert_int_equal(out(c), 0x81);
}

static void c7_5_nmi_before_maskable(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, report_80);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, RFLAGS_IF | 2);
	lapic_write(c, 0, 0xf0, 0x1ff);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(vm_inject_nmi(c->vm, 0), 0);
	assert_int_equal(out(c), 2);
	assert_int_equal(out(c), 0x40);
	assert_int_equal(out(c), 0x80);
}

static void c7_5_nmis_do_not_nest(void **state)
{
	struct contract *c = *state;

	/* The handler reports twice, so that an NMI can come in between. */
	RUN_WITH_HANDLERS(c, report_80);
	PLACE(c, 0x1100, "\xb0\x51\xe6\xe9\xb0\x52\xe6\xe9\xcf");
	set_ivt(c, 2, 0x1100);
	vm_inject_nmi(c->vm, 0);
	assert_int_equal(out(c), 0x51);
	vm_inject_nmi(c->vm, 0);
	assert_int_equal(out(c), 0x52); /* blocked until IRET */
	assert_int_equal(out(c), 0x51);
	assert_int_equal(out(c), 0x52);
	assert_int_equal(out(c), 0x80);
}

/* Accepted when injected: IRR to ISR before the handler's first instruction. */
static void c7_5_acceptance_moves_irr_to_isr(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, "\xfb\xeb\xfe");
	lapic_write(c, 0, 0xf0, 0x1ff);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x65), 0);
	assert_int_equal(lapic_read(c, 0, 0x230), 1u << 5);
	assert_int_equal(lapic_read(c, 0, 0x130), 0);
	assert_int_equal(out(c), 0x65);
	assert_int_equal(lapic_read(c, 0, 0x230), 0);
	assert_int_equal(lapic_read(c, 0, 0x130), 1u << 5);
	/* A lower one waits for EOI, a higher one does not. */
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x50), 0);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x70), 0);
	assert_int_equal(out(c), 0x70);
	lapic_write(c, 0, 0xb0, 0);
	lapic_write(c, 0, 0xb0, 0);
	assert_int_equal(out(c), 0x50);
}

/* ---- 7.6 ---- */

static void pic_init(struct contract *c)
{
	static const struct {
		uint8_t port, value;
	} words[] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0xef}, {0xa0, 0x11},
		{0xa1, 0x28}, {0xa1, 2}, {0xa1, 1}, {0xa1, 0xff}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		uint32_t val = words[i].value;
		bool slave = words[i].port >= 0xa0;

		assert_int_equal((slave ? vatpic_slave_handler : vatpic_master_handler)(
					 c->vm, 0, false, words[i].port, 1, &val),
			0);
	}
}

/* At reset the APIC is off and the PIC's INTR reaches the processor directly. */
static void c7_6_extint_takes_the_pics_vector(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, "\xfb\xf4\xb0\x80\xe6\xe9"); /* sti; hlt; report */
	pic_init(c);
	run_start(c, 0);
	wait_state(c, 0, VCPU_SLEEPING);
	assert_int_equal(vmmdev_isa_pulse_irq(c->vm, 4, -1), 0);
	assert_int_equal(run_join(c, 0)->u.inout.eax & 0xff, 0x24);
	assert_int_equal(vm_extint_pending(c->vm, 0), 0);
	assert_int_equal(out(c), 0x80);
}

static void c7_6_extint_before_apic_vectors(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, "\xfb\x90\x90\xb0\x80\xe6\xe9");
	pic_init(c);
	lapic_write(c, 0, 0xf0, 0x1ff);
	lapic_write(c, 0, 0x350, 0x700); /* LINT0: ExtINT */
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0xf0), 0);
	assert_int_equal(vmmdev_isa_pulse_irq(c->vm, 4, -1), 0);
	assert_int_equal(vm_extint_pending(c->vm, 0), 1);
	assert_int_equal(out(c), 0x24);
	assert_int_equal(out(c), 0xf0);
	assert_int_equal(out(c), 0x80);
}

/* INTR is a level: what is masked before the vcpu takes it was nothing. */
static void c7_6_withdrawn_request(void **state)
{
	struct contract *c = *state;
	uint32_t mask = 0xff;

	RUN_WITH_HANDLERS(c, report_80);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, RFLAGS_IF | 2);
	pic_init(c);
	assert_int_equal(vmmdev_isa_pulse_irq(c->vm, 4, -1), 0);
	assert_int_equal(vm_extint_pending(c->vm, 0), 1);
	assert_int_equal(vatpic_master_handler(c->vm, 0, false, 0x21, 1, &mask), 0);
	assert_int_equal(vm_extint_pending(c->vm, 0), 0);
	assert_int_equal(out(c), 0x80);
}

/* The line has gone when the vector is fetched: the spurious one of IRQ 7, once, and nothing in service. */
static void c7_6_spurious_vector(void **state)
{
	struct contract *c = *state;
	uint32_t ocw3 = 0x0b, isr;

	RUN_WITH_HANDLERS(c, report_80);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, RFLAGS_IF | 2);
	pic_init(c);
	assert_int_equal(vm_inject_extint(c->vm, 0), 0);
	assert_int_equal(out(c), 0x27);
	assert_int_equal(vm_extint_pending(c->vm, 0), 0);
	assert_int_equal(out(c), 0x80);
	assert_int_equal(vatpic_master_handler(c->vm, 0, false, 0x20, 1, &ocw3), 0);
	assert_int_equal(vatpic_master_handler(c->vm, 0, true, 0x20, 1, &isr), 0);
	assert_int_equal(isr, 0);
}

/* ---- 7.7 ---- */

/* Reports the return IP from the stack. */
static void c7_7_fault_restarts_trap_continues(void **state)
{
	struct contract *c = *state;

	for (int fault = 0; fault < 2; fault++) {
		GUEST(real_mode, c, 0, "\xe6\x10");
		PLACE(c, 0x1100, "\x58\xe7\xe9"); /* pop ax; out 0xe9, ax */
		set_ivt(c, 13, 0x1100);
		run_to(c, 0, VM_EXITCODE_INOUT);
		if (fault) {
			vm_inject_gp(c->vm, 0);
			c->run[0].vm_exit.inst_length = vm_exitinfo(c->vm, 0)->inst_length;
		} else {
			inject(c, 13);
		}
		assert_int_equal(run_to_out(c, 0) & 0xffff, fault ? CODE : CODE + 2);
	}
}

/* Three words on the stack, no error code. */
static void c7_7_real_mode_has_no_error_code(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, report_80);
	vm_inject_ss(c->vm, 0, 0x55);
	assert_int_equal(out(c), 12);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RSP), STACK - 6);
}

static void c7_7_error_code_is_pushed_elsewhere(void **state)
{
	struct contract *c = *state;
	struct seg_desc idtr = {0x6000, 0xff, 0};
	uint64_t gate = 0x1100 | (uint64_t)0x18 << 16 | (uint64_t)0x8e << 40;

	GUEST(protected_mode, c, 0, "\x90");
	PLACE(c, 0x1100, "\x58\xe7\xe9"); /* pop eax; out 0xe9, eax */
	memcpy(c->ram + 0x6000 + 12 * 8, &gate, 8);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	vm_inject_ss(c->vm, 0, 0x58);
	assert_int_equal(run_to_out(c, 0), 0x58);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RSP), STACK - 12);
}

/* ---- 7.8 ---- */

/* sti; out 0x10, al (finished by the user); inc bx; ...: the shadow ends with the OUT */
static void c7_8_shadow_ends_with_the_emulated_instruction(void **state)
{
	struct contract *c = *state;

	RUN_WITH_HANDLERS(c, "\xfb\xe6\x10\x43\xb0\x80\xe6\xe9");
	set_reg(c, 0, VM_REG_GUEST_RBX, 0);
	lapic_write(c, 0, 0xf0, 0x1ff);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(run_to(c, 0, VM_EXITCODE_INOUT)->u.inout.port, 0x10);
	assert_int_equal(out(c), 0x40);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RBX) & 0xffff, 0); /* not one more */
	assert_int_equal(out(c), 0x80);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RBX) & 0xffff, 1);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT(c7_1_sources_are_independent),
		CONTRACT(c7_1_nmis_merge),
		CONTRACT(c7_2_exit_intinfo_einval),
		CONTRACT(c7_2_interrupted_event_is_delivered_again),
		CONTRACT(c7_2_overwritten_and_extinguished),
		CONTRACT(c7_3_benign_first),
		CONTRACT(c7_3_contributory_first),
		CONTRACT(c7_3_page_fault_first),
		CONTRACT(c7_3_fault_in_double_fault_is_triple),
		CONTRACT(c7_3_guest_triple_fault),
		CONTRACT(c7_3_guest_double_fault),
		CONTRACT(c7_4_get_intinfo_consumes_nothing),
		CONTRACT(c7_5_maskable_waits_for_if),
		CONTRACT(c7_5_sti_shadow),
		CONTRACT(c7_5_mov_ss_shadow),
		CONTRACT(c7_5_nmi_before_maskable),
		CONTRACT(c7_5_nmis_do_not_nest),
		CONTRACT(c7_5_acceptance_moves_irr_to_isr),
		CONTRACT(c7_6_extint_takes_the_pics_vector),
		CONTRACT(c7_6_extint_before_apic_vectors),
		CONTRACT(c7_6_withdrawn_request),
		CONTRACT(c7_6_spurious_vector),
		CONTRACT(c7_7_fault_restarts_trap_continues),
		CONTRACT(c7_7_real_mode_has_no_error_code),
		CONTRACT(c7_7_error_code_is_pushed_elsewhere),
		CONTRACT(c7_8_shadow_ends_with_the_emulated_instruction),
	};

	return contract_run("c7 events", tests, sizeof(tests) / sizeof(tests[0]));
}
