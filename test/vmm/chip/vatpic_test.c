/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <errno.h>

#include "test/vmm/chip/fake_vm.h"

#define MASTER(port, val) port_out(vm, vatpic_master_handler, port, val)
#define SLAVE(port, val)  port_out(vm, vatpic_slave_handler, port, val)

static int setup(void **state)
{
	fake_vm_setup(state);
	pic_init(*state);
	return 0;
}

static uint8_t master(struct vm *vm, int port)
{
	return port_in(vm, vatpic_master_handler, port);
}

static uint8_t slave(struct vm *vm, int port)
{
	return port_in(vm, vatpic_slave_handler, port);
}

static uint8_t master_isr(struct vm *vm)
{
	uint8_t isr;

	MASTER(0x20, 0x0b);
	isr = master(vm, 0x20);
	MASTER(0x20, 0x0a);
	return isr;
}

static uint8_t slave_isr(struct vm *vm)
{
	uint8_t isr;

	SLAVE(0xa0, 0x0b);
	isr = slave(vm, 0xa0);
	SLAVE(0xa0, 0x0a);
	return isr;
}

/* INTA: the vector, which goes into service. */
static int take(struct vm *vm)
{
	int vector;

	vatpic_pending_intr(vm, &vector);
	vatpic_intr_accepted(vm, vector);
	return vector;
}

static void vectors(void **state)
{
	struct vm *vm = *state;

	for (int irq = 0; irq < 16; irq++) {
		if (irq == 2)
			continue;
		assert_false(vatpic_intr_asserted(vm));
		vm->extints[0] = 0;
		assert_int_equal(vatpic_pulse_irq(vm, irq), 0);
		assert_int_equal(vm->extints[0], 1);
		assert_true(vatpic_intr_asserted(vm));
		assert_int_equal(take(vm), 0x20 + irq);
		assert_false(vatpic_intr_asserted(vm));
		if (irq >= 8) {
			assert_int_equal(slave_isr(vm), 1 << (irq - 8));
			assert_int_equal(master_isr(vm), 4);
			SLAVE(0xa0, 0x20);
		} else {
			assert_int_equal(master_isr(vm), 1 << irq);
		}
		MASTER(0x20, 0x20);
	}
	assert_int_equal(vatpic_pulse_irq(vm, 2), 0); /* the cascade is no input */
	assert_false(vatpic_intr_asserted(vm));
	assert_int_equal(vatpic_assert_irq(vm, 16), EINVAL);
	assert_int_equal(vatpic_deassert_irq(vm, -1), EINVAL);
	assert_int_equal(vatpic_pulse_irq(vm, 99), EINVAL);
}

/* INTR goes to LINT0 of all active vcpus and to pin 0. */
static void output(void **state)
{
	struct vm *vm = *state;

	vm->active = 5;
	lapic_enable(vm, 0);
	ioapic_set_pin(vm, 0, 0x99);
	vatpic_pulse_irq(vm, 3);
	assert_int_equal(vm->extints[0], 0); /* its LINT0 is masked */
	assert_int_equal(vm->extints[1], 0);
	assert_int_equal(vm->extints[2], 1);
	assert_int_equal(lapic_take(vm, 0), 0x99);
	vatpic_pulse_irq(vm, 4); /* INTR is up already */
	assert_int_equal(vm->extints[2], 1);
	assert_int_equal(take(vm), 0x23);
	assert_int_equal(vm->extints[2], 1); /* 4 is below 3 */
	MASTER(0x20, 0x20);
	assert_int_equal(vm->extints[2], 2);
	/* Masked away again: INTR falls, and INTA would be spurious. */
	unsigned before = vm->withdrawn;

	MASTER(0x21, 0x10);
	assert_false(vatpic_intr_asserted(vm));
	assert_int_equal(vm->withdrawn, before + 1);
	assert_int_equal(take(vm), 0x27);
	assert_int_equal(master_isr(vm), 0);
	MASTER(0x21, 0);
	assert_int_equal(vm->extints[2], 3);
	assert_int_equal(take(vm), 0x24);
}

/* The 2014 code began its search at line 7. */
static void priorities(void **state)
{
	struct vm *vm = *state;
	static const int order[] = {0, 1, 8, 9, 15, 3, 6, 7};

	for (int i = 7; i >= 0; i--)
		vatpic_pulse_irq(vm, order[i]);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(take(vm), 0x20 + order[i]);
		if (order[i] >= 8)
			SLAVE(0xa0, 0x20);
		MASTER(0x20, 0x20);
	}
	assert_false(vatpic_intr_asserted(vm));
	/* A higher one interrupts a lower one in service, not the other way round. */
	vatpic_pulse_irq(vm, 4);
	assert_int_equal(take(vm), 0x24);
	vatpic_pulse_irq(vm, 5);
	assert_false(vatpic_intr_asserted(vm));
	vatpic_pulse_irq(vm, 1);
	assert_int_equal(take(vm), 0x21);
	assert_int_equal(master_isr(vm), 0x12);
	MASTER(0x20, 0x20); /* non-specific: the highest */
	assert_int_equal(master_isr(vm), 0x10);
	MASTER(0x20, 0x64); /* specific */
	assert_int_equal(master_isr(vm), 0);
	assert_int_equal(take(vm), 0x25);
}

static void rotation(void **state)
{
	struct vm *vm = *state;

	MASTER(0x20, 0xc3); /* set priority: 3 lowest, 4 highest */
	for (int irq = 0; irq < 8; irq++) {
		if (irq != 2)
			vatpic_pulse_irq(vm, irq);
	}
	assert_int_equal(take(vm), 0x24);
	MASTER(0x20, 0xa0); /* rotate on non-specific EOI: 4 lowest */
	assert_int_equal(take(vm), 0x25);
	MASTER(0x20, 0xe5); /* rotate on specific EOI: 5 lowest */
	assert_int_equal(take(vm), 0x26);
	MASTER(0x20, 0x20);
	vatpic_pulse_irq(vm, 5);
	assert_int_equal(take(vm), 0x27);
	MASTER(0x20, 0x20);
	assert_int_equal(take(vm), 0x20);
	MASTER(0x20, 0x20);
	assert_int_equal(take(vm), 0x21);
	MASTER(0x20, 0x40); /* no operation */
	MASTER(0x20, 0x20);
	assert_int_equal(take(vm), 0x23);
	MASTER(0x20, 0x20);
	assert_int_equal(take(vm), 0x25);
}

static void automatic_eoi(void **state)
{
	struct vm *vm = *state;
	static const uint8_t icw[] = {0x11, 0x20, 0x04, 0x03};

	for (int i = 0; i < 4; i++)
		MASTER(i ? 0x21 : 0x20, icw[i]);
	vatpic_pulse_irq(vm, 1);
	vatpic_pulse_irq(vm, 3);
	assert_int_equal(take(vm), 0x21);
	assert_int_equal(master_isr(vm), 0);
	assert_int_equal(take(vm), 0x23);
	MASTER(0x20, 0x80); /* rotate in automatic EOI mode */
	vatpic_pulse_irq(vm, 1);
	assert_int_equal(take(vm), 0x21);
	vatpic_pulse_irq(vm, 1);
	vatpic_pulse_irq(vm, 5);
	assert_int_equal(take(vm), 0x25);
	MASTER(0x20, 0x00); /* no more */
	assert_int_equal(take(vm), 0x21);
}

static void special_mask(void **state)
{
	struct vm *vm = *state;

	vatpic_pulse_irq(vm, 1);
	assert_int_equal(take(vm), 0x21);
	vatpic_pulse_irq(vm, 5);
	MASTER(0x21, 0x02);
	assert_false(vatpic_intr_asserted(vm));
	MASTER(0x20, 0x68);
	assert_true(vatpic_intr_asserted(vm)); /* the masked line no longer blocks */
	assert_int_equal(take(vm), 0x25);
	MASTER(0x20, 0x20); /* skips the masked one */
	assert_int_equal(master_isr(vm), 0x02);
	MASTER(0x20, 0x48);
	MASTER(0x20, 0x20);
	assert_int_equal(master_isr(vm), 0);
}

/* The slave's better request while another of its lines is in service: only in SFNM. */
static void special_fully_nested(void **state)
{
	struct vm *vm = *state;
	static const uint8_t icw[] = {0x11, 0x20, 0x04, 0x11};

	vatpic_pulse_irq(vm, 12);
	assert_int_equal(take(vm), 0x2c);
	vatpic_pulse_irq(vm, 8);
	assert_false(vatpic_intr_asserted(vm));
	SLAVE(0xa0, 0x20);
	MASTER(0x20, 0x20);
	assert_int_equal(take(vm), 0x28);
	SLAVE(0xa0, 0x20);
	for (int i = 0; i < 4; i++)
		MASTER(i ? 0x21 : 0x20, icw[i]);
	vatpic_pulse_irq(vm, 12);
	assert_int_equal(take(vm), 0x2c);
	vatpic_pulse_irq(vm, 3);
	assert_false(vatpic_intr_asserted(vm));
	vatpic_pulse_irq(vm, 8);
	assert_int_equal(take(vm), 0x28);
}

static void poll(void **state)
{
	struct vm *vm = *state;

	MASTER(0x20, 0x0c);
	assert_int_equal(master(vm, 0x20), 0);
	vatpic_pulse_irq(vm, 6);
	vatpic_pulse_irq(vm, 10);
	MASTER(0x20, 0x0c);
	assert_int_equal(master(vm, 0x21), 0x82); /* either port */
	SLAVE(0xa0, 0x0c);
	assert_int_equal(slave(vm, 0xa0), 0x82);
	assert_int_equal(master_isr(vm), 0x04);
	assert_int_equal(slave_isr(vm), 0x04);
	assert_int_equal(master(vm, 0x20), 0x40); /* once only: IRR again */
	SLAVE(0xa0, 0x20);
	MASTER(0x20, 0x20);
	MASTER(0x20, 0x0c);
	assert_int_equal(master(vm, 0x20), 0x86);
}

/* The 2014 code kept the request of a level line that fell. */
static void level(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vatpic_set_irq_trigger(vm, 5, LEVEL_TRIGGER), 0);
	vatpic_assert_irq(vm, 5);
	vatpic_assert_irq(vm, 5);
	assert_int_equal(master(vm, 0x20), 0x20);
	vatpic_deassert_irq(vm, 5);
	assert_true(vatpic_intr_asserted(vm));
	vatpic_deassert_irq(vm, 5);
	assert_int_equal(master(vm, 0x20), 0);
	assert_false(vatpic_intr_asserted(vm));
	vatpic_assert_irq(vm, 5);
	assert_int_equal(take(vm), 0x25);
	assert_int_equal(master(vm, 0x20), 0x20); /* still requesting */
	MASTER(0x20, 0x20);
	assert_int_equal(take(vm), 0x25);
	vatpic_deassert_irq(vm, 5);
	MASTER(0x20, 0x20);
	assert_false(vatpic_intr_asserted(vm));
	/* On the slave. */
	vatpic_set_irq_trigger(vm, 11, LEVEL_TRIGGER);
	vatpic_assert_irq(vm, 11);
	assert_int_equal(master(vm, 0x20), 0x04);
	vatpic_deassert_irq(vm, 11);
	assert_int_equal(master(vm, 0x20), 0);
	/* A line that is high when it becomes level requests. */
	vatpic_assert_irq(vm, 10);
	assert_int_equal(take(vm), 0x2a);
	vatpic_set_irq_trigger(vm, 10, LEVEL_TRIGGER);
	assert_int_equal(slave(vm, 0xa0), 0x04);
}

static void edge(void **state)
{
	struct vm *vm = *state;

	vatpic_assert_irq(vm, 4);
	vatpic_assert_irq(vm, 4);
	assert_int_equal(take(vm), 0x24);
	MASTER(0x20, 0x20);
	assert_false(vatpic_intr_asserted(vm)); /* high, but no edge */
	vatpic_deassert_irq(vm, 4);
	vatpic_assert_irq(vm, 4);
	assert_false(vatpic_intr_asserted(vm));
	vatpic_deassert_irq(vm, 4);
	vatpic_deassert_irq(vm, 4);
	vatpic_assert_irq(vm, 4);
	assert_int_equal(take(vm), 0x24);
	/* An edge while masked is kept. */
	MASTER(0x20, 0x20);
	MASTER(0x21, 0xff);
	vatpic_pulse_irq(vm, 6);
	assert_false(vatpic_intr_asserted(vm));
	MASTER(0x21, 0x00);
	assert_int_equal(take(vm), 0x26);
}

/* The 2014 code put a spurious IRQ 7 into service, and gave the slave's a wrong vector. */
static void spurious(void **state)
{
	struct vm *vm = *state;
	int vector;

	assert_int_equal(take(vm), 0x27);
	assert_int_equal(master_isr(vm), 0);
	vatpic_pulse_irq(vm, 7); /* the real one */
	assert_int_equal(take(vm), 0x27);
	assert_int_equal(master_isr(vm), 0x80);
	MASTER(0x20, 0x20);
	/* The slave's request goes between the two INTA pulses. */
	vatpic_set_irq_trigger(vm, 15, LEVEL_TRIGGER);
	vatpic_assert_irq(vm, 15);
	vatpic_pending_intr(vm, &vector);
	assert_int_equal(vector, 0x2f);
	vatpic_deassert_irq(vm, 15);
	vatpic_intr_accepted(vm, vector);
	assert_int_equal(slave_isr(vm), 0);
	assert_int_equal(master_isr(vm), 0x04); /* the master does not know */
}

static void elcr(void **state)
{
	struct vm *vm = *state;
	static const int edge_only[] = {0, 1, 2, 8, 13};

	port_out(vm, vatpic_elc_handler, 0x4d0, 0xff);
	port_out(vm, vatpic_elc_handler, 0x4d1, 0xff);
	assert_int_equal(port_in(vm, vatpic_elc_handler, 0x4d0), 0xf8);
	assert_int_equal(port_in(vm, vatpic_elc_handler, 0x4d1), 0xde);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(vatpic_set_irq_trigger(vm, edge_only[i], LEVEL_TRIGGER), EINVAL);
		assert_int_equal(vatpic_set_irq_trigger(vm, edge_only[i], EDGE_TRIGGER), 0);
	}
	assert_int_equal(vatpic_set_irq_trigger(vm, 9, EDGE_TRIGGER), 0);
	assert_int_equal(port_in(vm, vatpic_elc_handler, 0x4d1), 0xdc);
	assert_int_equal(vatpic_set_irq_trigger(vm, 16, EDGE_TRIGGER), EINVAL);
	assert_int_equal(vatpic_set_irq_trigger(vm, -1, LEVEL_TRIGGER), EINVAL);
}

/* ICW1 clears what the data sheet says; the 2014 code left IRR and ISR. */
static void initialisation(void **state)
{
	struct vm *vm = *state;

	MASTER(0x21, 0xa5);
	assert_int_equal(master(vm, 0x21), 0xa5);
	vatpic_pulse_irq(vm, 1);
	vatpic_pulse_irq(vm, 3);
	MASTER(0x21, 0);
	assert_int_equal(take(vm), 0x21);
	MASTER(0x20, 0x11);
	assert_int_equal(master(vm, 0x20), 0);
	assert_int_equal(master_isr(vm), 0);
	assert_int_equal(master(vm, 0x21), 0);
	assert_false(vatpic_intr_asserted(vm));
	vatpic_pulse_irq(vm, 4); /* lost: not ready */
	vatpic_set_irq_trigger(vm, 5, LEVEL_TRIGGER);
	vatpic_assert_irq(vm, 5); /* a level is not */
	MASTER(0x21, 0x70);
	MASTER(0x21, 0x04);
	MASTER(0x20, 0x20); /* OCW2 in between: ignored */
	MASTER(0x21, 0x01);
	assert_int_equal(master(vm, 0x20), 0x20);
	assert_int_equal(take(vm), 0x75);
	/* Without ICW3 and ICW4. */
	vatpic_deassert_irq(vm, 5);
	MASTER(0x20, 0x12);
	MASTER(0x21, 0x37);
	MASTER(0x21, 0xfe);
	assert_int_equal(master(vm, 0x21), 0xfe);
	vatpic_pulse_irq(vm, 0);
	assert_int_equal(take(vm), 0x30);
}

static void uninitialised(void **state)
{
	struct vm *vm = *state;

	MASTER(0x21, 0x55);
	assert_int_equal(master(vm, 0x21), 0x55);
	MASTER(0x20, 0x0b);
	vatpic_pulse_irq(vm, 1);
	assert_int_equal(master(vm, 0x20), 0);
	assert_int_equal(vm->extints[0], 0);
}

static void odd_accesses(void **state)
{
	struct vm *vm = *state;
	static const port_handler handlers[] = {
		vatpic_master_handler, vatpic_slave_handler, vatpic_elc_handler};
	static const int ports[] = {0x20, 0xa0, 0x4d0};

	for (int i = 0; i < 3; i++) {
		for (int bytes = 2; bytes <= 4; bytes += 2) {
			uint32_t val = 0;

			assert_int_equal(handlers[i](vm, 0, true, ports[i], bytes, &val), 0);
			assert_int_equal(val, bytes == 2 ? 0xffff : UINT32_MAX);
			val = 0x1111;
			assert_int_equal(handlers[i](vm, 0, false, ports[i], bytes, &val), 0);
		}
	}
	vatpic_pulse_irq(vm, 1);
	assert_int_equal(take(vm), 0x21); /* not reinitialised */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fake_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(vectors),
		TEST(output),
		TEST(priorities),
		TEST(rotation),
		TEST(automatic_eoi),
		TEST(special_mask),
		TEST(special_fully_nested),
		TEST(poll),
		TEST(level),
		TEST(edge),
		TEST(spurious),
		TEST(elcr),
		TEST(initialisation),
		cmocka_unit_test_setup_teardown(uninitialised, fake_vm_setup, fake_vm_teardown),
		TEST(odd_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
