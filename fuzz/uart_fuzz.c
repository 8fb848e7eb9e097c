/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The 16550A between a guest that accesses it at will and a line that sends, receives and breaks. */
#include "device/uart/uart.h"
#include "fuzz/fuzz.h"

enum { OP_READ, OP_WRITE, OP_TAKE, OP_PUT, OP_BREAK, OP_TIMEOUT, OPS };

static void check(const struct uart *uart)
{
	FUZZ_CHECK(uart->rx_count <= UART_FIFO_SIZE && uart->tx_count <= UART_FIFO_SIZE);
	FUZZ_CHECK(uart_rx_room(uart) <= UART_FIFO_SIZE);
	FUZZ_CHECK(uart_timeout_ns(uart) > 0);
}

/* An interrupt has its reason in IIR, and without one the pin is low. */
static void check_iir(struct uart *uart, uint8_t iir, bool was_raised)
{
	if (was_raised)
		FUZZ_CHECK(!(iir & UART_IIR_NONE));
	if (iir & UART_IIR_NONE)
		FUZZ_CHECK(!uart_irq(uart));
}

static void read_register(struct uart *uart, unsigned reg)
{
	bool raised = uart_irq(uart);
	uint8_t value = uart_read(uart, reg);

	if (reg == UART_IIR)
		check_iir(uart, value, raised);
	if (reg == UART_LSR)
		FUZZ_CHECK(!!(value & UART_LSR_DR) == (uart->rx_count > 0));
}

static void step(struct uart *uart, struct fuzz_input *in)
{
	unsigned op = (unsigned)fuzz_take(in, 1);
	uint8_t byte;

	switch (op % OPS) {
	case OP_READ:
		read_register(uart, op >> 5);
		break;
	case OP_WRITE:
		uart_write(uart, op >> 5, (uint8_t)fuzz_take(in, 1));
		break;
	case OP_TAKE:
		uart_tx_take(uart, &byte);
		break;
	case OP_PUT:
		uart_rx_put(uart, (uint8_t)fuzz_take(in, 1));
		break;
	case OP_BREAK:
		uart_rx_break(uart);
		break;
	case OP_TIMEOUT:
		if (uart_wants_timeout(uart))
			uart_rx_timeout(uart);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct uart uart;

	uart_reset(&uart);
	while (in.left > 0) {
		step(&uart, &in);
		check(&uart);
	}
	return 0;
}

/* The operation byte of a register access. */
#define R(reg) ((reg) << 5 | ((6 - ((reg) << 5) % 6) % 6 + OP_READ))
#define W(reg) ((reg) << 5 | ((6 - ((reg) << 5) % 6 + OP_WRITE) % 6))

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const uint8_t init[] = {W(UART_LCR), 0x83, W(UART_DLL), 1, W(UART_DLM), 0,
		W(UART_LCR), 3, W(UART_FCR), 0xc7, W(UART_MCR), 0x0b, W(UART_IER), 0x0f, R(UART_IIR),
		W(UART_THR), 'x', OP_TAKE, R(UART_IIR), OP_PUT, 'y', OP_TIMEOUT, R(UART_IIR),
		R(UART_RBR), OP_BREAK, R(UART_LSR), R(UART_MSR)};
	static const uint8_t loop[] = {W(UART_MCR), 0x1f, W(UART_THR), 'a', R(UART_LSR),
		R(UART_RBR), W(UART_LCR), 0x43, R(UART_MSR), W(UART_MCR), 0x10, R(UART_MSR)};

	if (n > 1 || room < sizeof(init))
		return 0;
	memcpy(to, n ? loop : init, n ? sizeof(loop) : sizeof(init));
	return n ? sizeof(loop) : sizeof(init);
}
