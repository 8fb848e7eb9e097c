/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The 16550A, register by register, as the PC16550D data sheet has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "device/uart/uart.h"

static struct uart u;

static int reset(void **state)
{
	(void)state;
	uart_reset(&u);
	return 0;
}

static void put(unsigned reg, unsigned value)
{
	uart_write(&u, reg, (uint8_t)value);
}

static unsigned get(unsigned reg)
{
	return uart_read(&u, reg);
}

/* Interrupts on, through the gate of a PC. */
static void enable(unsigned ier)
{
	put(UART_MCR, UART_MCR_OUT2);
	put(UART_IER, ier);
}

static void drain(void)
{
	uint8_t byte;

	while (uart_tx_take(&u, &byte))
		;
}

static void after_reset(void **state)
{
	(void)state;
	assert_int_equal(get(UART_IER), 0);
	assert_int_equal(get(UART_IIR), UART_IIR_NONE);
	assert_int_equal(get(UART_LCR), 0);
	assert_int_equal(get(UART_MCR), 0);
	assert_int_equal(get(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	assert_int_equal(get(UART_MSR), UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD);
	assert_false(uart_irq(&u));
}

static void registers_keep_their_bits(void **state)
{
	(void)state;
	for (unsigned v = 0; v < 256; v++) {
		put(UART_SCR, v);
		assert_int_equal(get(UART_SCR), v);
		put(UART_LCR, v & 0x7f);
		assert_int_equal(get(UART_LCR), v & 0x7f);
		put(UART_IER, v);
		assert_int_equal(get(UART_IER), v & 0x0f);
		put(UART_MCR, v);
		assert_int_equal(get(UART_MCR), v & 0x1f);
	}
}

static void dlab_shows_the_divisor(void **state)
{
	(void)state;
	put(UART_LCR, UART_LCR_DLAB);
	put(UART_DLL, 0x34);
	put(UART_DLM, 0x12);
	assert_int_equal(get(UART_DLL), 0x34);
	assert_int_equal(get(UART_DLM), 0x12);
	put(UART_LCR, 3);
	assert_int_equal(get(UART_IER), 0);
	assert_int_equal(u.tx_count, 0);
}

static void lsr_and_msr_are_read_only(void **state)
{
	(void)state;
	put(UART_LSR, 0xff);
	put(UART_MSR, 0xff);
	assert_int_equal(get(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	assert_int_equal(get(UART_MSR) & 0x0f, 0);
}

static void one_byte_without_fifo(void **state)
{
	uint8_t byte;

	(void)state;
	put(UART_THR, 'a');
	assert_int_equal(get(UART_LSR) & (UART_LSR_THRE | UART_LSR_TEMT), 0);
	put(UART_THR, 'b'); /* lost */
	assert_true(uart_tx_take(&u, &byte));
	assert_int_equal(byte, 'a');
	assert_false(uart_tx_take(&u, &byte));
	assert_int_equal(uart_rx_room(&u), 1);
	uart_rx_put(&u, 'x');
	assert_int_equal(uart_rx_room(&u), 0);
	uart_rx_put(&u, 'y'); /* overwrites */
	assert_int_equal(get(UART_LSR) & (UART_LSR_DR | UART_LSR_OE), UART_LSR_DR | UART_LSR_OE);
	assert_int_equal(get(UART_LSR) & UART_LSR_OE, 0);
	assert_int_equal(get(UART_RBR), 'y');
	assert_int_equal(get(UART_LSR) & UART_LSR_DR, 0);
}

static void sixteen_with_fifo(void **state)
{
	uint8_t byte;

	(void)state;
	put(UART_FCR, UART_FCR_ENABLE);
	assert_int_equal(get(UART_IIR), UART_IIR_FIFO | UART_IIR_NONE);
	for (unsigned i = 0; i < 17; i++)
		put(UART_THR, i);
	for (unsigned i = 0; i < 16; i++) {
		assert_true(uart_tx_take(&u, &byte));
		assert_int_equal(byte, i);
	}
	assert_false(uart_tx_take(&u, &byte));
	for (unsigned i = 0; i < 17; i++)
		uart_rx_put(&u, (uint8_t)(i + 100));
	assert_true(get(UART_LSR) & UART_LSR_OE);
	for (unsigned i = 0; i < 16; i++) {
		assert_true(get(UART_LSR) & UART_LSR_DR);
		assert_int_equal(get(UART_RBR), i + 100);
	}
	assert_false(get(UART_LSR) & UART_LSR_DR);
}

static void fcr_clears_fifos(void **state)
{
	(void)state;
	put(UART_FCR, UART_FCR_ENABLE);
	uart_rx_put(&u, 1);
	put(UART_THR, 2);
	put(UART_FCR, UART_FCR_ENABLE | UART_FCR_RX_RESET);
	assert_int_equal(u.rx_count, 0);
	assert_int_equal(u.tx_count, 1);
	put(UART_FCR, UART_FCR_ENABLE | UART_FCR_TX_RESET);
	assert_int_equal(u.tx_count, 0);
	uart_rx_put(&u, 1);
	put(UART_FCR, 0); /* a change of the enable bit clears both */
	assert_int_equal(u.rx_count, 0);
	assert_int_equal(get(UART_IIR) & UART_IIR_FIFO, 0);
}

static void trigger_levels(void **state)
{
	static const unsigned levels[] = {1, 4, 8, 14};

	(void)state;
	for (unsigned t = 0; t < 4; t++) {
		uart_reset(&u);
		enable(UART_IER_RDA);
		put(UART_FCR, UART_FCR_ENABLE | t << 6);
		for (unsigned n = 1; n <= 16; n++) {
			uart_rx_put(&u, 0);
			assert_int_equal(uart_irq(&u), n >= levels[t]);
		}
		while (u.rx_count >= levels[t]) {
			assert_int_equal(get(UART_IIR) & 0x0f, UART_IIR_RDA);
			get(UART_RBR);
		}
		assert_false(uart_irq(&u));
	}
}

static void timeout_reports_a_remainder(void **state)
{
	(void)state;
	enable(UART_IER_RDA);
	put(UART_FCR, UART_FCR_ENABLE | 3 << 6);
	assert_false(uart_wants_timeout(&u));
	uart_rx_put(&u, 'a');
	uart_rx_put(&u, 'b');
	assert_true(uart_wants_timeout(&u));
	assert_false(uart_irq(&u));
	uart_rx_timeout(&u);
	assert_true(uart_irq(&u));
	assert_int_equal(get(UART_IIR) & 0x0f, UART_IIR_TIMEOUT);
	assert_int_equal(get(UART_RBR), 'a'); /* ends it, until it runs out again */
	assert_false(uart_irq(&u));
	assert_true(uart_wants_timeout(&u));
	assert_int_equal(get(UART_RBR), 'b');
	assert_false(uart_wants_timeout(&u));
	uart_rx_timeout(&u); /* too late: nothing is there */
	assert_false(uart_irq(&u));
}

static void timeout_is_four_characters(void **state)
{
	(void)state;
	put(UART_LCR, UART_LCR_DLAB);
	put(UART_DLL, 12); /* 9600 */
	put(UART_DLM, 0);
	put(UART_LCR, 3); /* 8N1: ten bits */
	assert_in_range(uart_timeout_ns(&u), 4166000, 4167000);
	put(UART_LCR, 0x0f); /* 8, two stop bits, parity */
	assert_in_range(uart_timeout_ns(&u), 4999000, 5001000);
}

static void thre_interrupt(void **state)
{
	(void)state;
	enable(UART_IER_THRE); /* empty: at once */
	assert_true(uart_irq(&u));
	assert_int_equal(get(UART_IIR), UART_IIR_THRE);
	assert_int_equal(get(UART_IIR), UART_IIR_NONE); /* reading took it */
	assert_false(uart_irq(&u));
	put(UART_THR, 'a');
	assert_false(uart_irq(&u));
	drain();
	assert_true(uart_irq(&u));
	put(UART_THR, 'b'); /* writing takes it as well */
	assert_false(uart_irq(&u));
	drain();
	assert_true(uart_irq(&u));
	/* Off and on again raises it anew: Linux tests for that. */
	get(UART_IIR);
	put(UART_IER, 0);
	put(UART_IER, UART_IER_THRE);
	assert_int_equal(get(UART_IIR), UART_IIR_THRE);
}

static void reading_another_source_keeps_thre(void **state)
{
	(void)state;
	enable(UART_IER_THRE | UART_IER_RDA);
	uart_rx_put(&u, 'x');
	assert_int_equal(get(UART_IIR), UART_IIR_RDA);
	get(UART_RBR);
	assert_int_equal(get(UART_IIR), UART_IIR_THRE);
}

static void line_status_interrupt(void **state)
{
	(void)state;
	enable(UART_IER_LINE);
	uart_rx_break(&u);
	assert_true(uart_irq(&u));
	assert_int_equal(get(UART_IIR), UART_IIR_LINE);
	assert_true(get(UART_LSR) & UART_LSR_BI);
	assert_false(uart_irq(&u));
	assert_int_equal(get(UART_RBR), 0);
}

static void errors_wait_in_the_fifo(void **state)
{
	(void)state;
	put(UART_FCR, UART_FCR_ENABLE);
	uart_rx_put(&u, 'a');
	uart_rx_break(&u);
	unsigned lsr = get(UART_LSR);

	assert_true(lsr & UART_LSR_FIFO_ERROR);
	assert_false(lsr & UART_LSR_BI);
	assert_int_equal(get(UART_RBR), 'a');
	lsr = get(UART_LSR);
	assert_true(lsr & UART_LSR_BI);
	assert_false(lsr & UART_LSR_FIFO_ERROR);
}

static void priorities(void **state)
{
	(void)state;
	enable(0x0f);
	put(UART_MCR, UART_MCR_LOOP);
	put(UART_MCR, UART_MCR_OUT2); /* out of loopback: all inputs change */
	uart_rx_break(&u);
	static const unsigned order[] = {
		UART_IIR_LINE, UART_IIR_RDA, UART_IIR_THRE, UART_IIR_MODEM};
	static const unsigned clear[] = {UART_LSR, UART_RBR, UART_SCR, UART_MSR};

	for (unsigned i = 0; i < 4; i++) {
		assert_true(uart_irq(&u));
		assert_int_equal(get(UART_IIR), order[i]);
		get(clear[i]);
	}
	assert_int_equal(get(UART_IIR), UART_IIR_NONE);
	assert_false(uart_irq(&u));
}

static void out2_gates_the_line(void **state)
{
	(void)state;
	put(UART_IER, UART_IER_THRE);
	assert_false(uart_irq(&u));
	assert_int_equal(u.thre_pending, 1);
	put(UART_MCR, UART_MCR_OUT2);
	assert_true(uart_irq(&u));
	put(UART_MCR, UART_MCR_OUT2 | UART_MCR_LOOP);
	assert_false(uart_irq(&u));
}

static void loopback_bytes(void **state)
{
	uint8_t byte;

	(void)state;
	put(UART_FCR, UART_FCR_ENABLE);
	put(UART_MCR, UART_MCR_LOOP);
	put(UART_THR, 0x5a);
	assert_false(uart_tx_take(&u, &byte));
	assert_int_equal(
		get(UART_LSR) & (UART_LSR_DR | UART_LSR_THRE), UART_LSR_DR | UART_LSR_THRE);
	assert_int_equal(get(UART_RBR), 0x5a);
	assert_int_equal(uart_rx_room(&u), 0);
	uart_rx_put(&u, 'x'); /* the line is cut */
	assert_false(get(UART_LSR) & UART_LSR_DR);
	put(UART_LCR, UART_LCR_BREAK);
	assert_true(get(UART_LSR) & UART_LSR_BI);
}

static void loopback_modem_lines(void **state)
{
	static const struct {
		unsigned mcr, msr;
	} pairs[] = {
		{UART_MCR_DTR, UART_MSR_DSR},
		{UART_MCR_RTS, UART_MSR_CTS},
		{UART_MCR_OUT1, UART_MSR_RI},
		{UART_MCR_OUT2, UART_MSR_DCD},
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		put(UART_MCR, UART_MCR_LOOP | pairs[i].mcr);
		assert_int_equal(get(UART_MSR) & 0xf0, pairs[i].msr);
	}
}

static void modem_deltas(void **state)
{
	(void)state;
	put(UART_MCR, UART_MCR_LOOP);
	assert_int_equal(get(UART_MSR), UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);
	assert_int_equal(get(UART_MSR), 0); /* reading cleared them */
	put(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	assert_int_equal(get(UART_MSR), UART_MSR_RI); /* a rising RI is no event */
	put(UART_MCR, UART_MCR_LOOP);
	assert_int_equal(get(UART_MSR), UART_MSR_TERI);
}

/* Whatever a guest writes: indices stay inside, and the line ends. */
static void random_accesses_keep_the_invariants(void **state)
{
	uint32_t seed = 12345;

	(void)state;
	for (unsigned i = 0; i < 2000000; i++) {
		seed = seed * 1664525 + 1013904223;
		unsigned what = seed >> 28, reg = seed >> 24 & 7, value = seed >> 8 & 0xff;
		uint8_t byte;

		if (what < 6)
			put(reg, value);
		else if (what < 12)
			get(reg);
		else if (what == 12)
			uart_rx_put(&u, (uint8_t)value);
		else if (what == 13)
			uart_tx_take(&u, &byte);
		else if (what == 14)
			uart_rx_break(&u);
		else
			uart_rx_timeout(&u);
		assert_true(u.rx_count <= UART_FIFO_SIZE && u.tx_count <= UART_FIFO_SIZE);
		assert_true(u.rx_head < UART_FIFO_SIZE && u.tx_head < UART_FIFO_SIZE);
		assert_true(uart_rx_room(&u) <= UART_FIFO_SIZE);
		assert_true(uart_timeout_ns(&u) > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(after_reset, reset),
		cmocka_unit_test_setup(registers_keep_their_bits, reset),
		cmocka_unit_test_setup(dlab_shows_the_divisor, reset),
		cmocka_unit_test_setup(lsr_and_msr_are_read_only, reset),
		cmocka_unit_test_setup(one_byte_without_fifo, reset),
		cmocka_unit_test_setup(sixteen_with_fifo, reset),
		cmocka_unit_test_setup(fcr_clears_fifos, reset),
		cmocka_unit_test_setup(trigger_levels, reset),
		cmocka_unit_test_setup(timeout_reports_a_remainder, reset),
		cmocka_unit_test_setup(timeout_is_four_characters, reset),
		cmocka_unit_test_setup(thre_interrupt, reset),
		cmocka_unit_test_setup(reading_another_source_keeps_thre, reset),
		cmocka_unit_test_setup(line_status_interrupt, reset),
		cmocka_unit_test_setup(errors_wait_in_the_fifo, reset),
		cmocka_unit_test_setup(priorities, reset),
		cmocka_unit_test_setup(out2_gates_the_line, reset),
		cmocka_unit_test_setup(loopback_bytes, reset),
		cmocka_unit_test_setup(loopback_modem_lines, reset),
		cmocka_unit_test_setup(modem_deltas, reset),
		cmocka_unit_test_setup(random_accesses_keep_the_invariants, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
