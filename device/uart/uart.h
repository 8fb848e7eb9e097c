/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The 16550A as a pure state machine: no lock, no host, no guest.  The glue in uart_model.c moves
 * bytes and watches the interrupt.  Register layout: National Semiconductor PC16550D data sheet.
 */
#ifndef DEVICE_UART_UART_H
#define DEVICE_UART_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UART_FIFO_SIZE = 16 };

/* Registers, DLAB = 0. */
enum {
	UART_RBR = 0, /* read */
	UART_THR = 0, /* write */
	UART_IER = 1,
	UART_IIR = 2, /* read */
	UART_FCR = 2, /* write */
	UART_LCR = 3,
	UART_MCR = 4,
	UART_LSR = 5,
	UART_MSR = 6,
	UART_SCR = 7,
	UART_DLL = 0, /* DLAB = 1 */
	UART_DLM = 1,
};

enum {
	UART_IER_RDA = 0x01,
	UART_IER_THRE = 0x02,
	UART_IER_LINE = 0x04,
	UART_IER_MODEM = 0x08,

	UART_IIR_NONE = 0x01,
	UART_IIR_MODEM = 0x00,
	UART_IIR_THRE = 0x02,
	UART_IIR_RDA = 0x04,
	UART_IIR_LINE = 0x06,
	UART_IIR_TIMEOUT = 0x0c,
	UART_IIR_FIFO = 0xc0,

	UART_FCR_ENABLE = 0x01,
	UART_FCR_RX_RESET = 0x02,
	UART_FCR_TX_RESET = 0x04,

	UART_LCR_BREAK = 0x40,
	UART_LCR_DLAB = 0x80,

	UART_MCR_DTR = 0x01,
	UART_MCR_RTS = 0x02,
	UART_MCR_OUT1 = 0x04,
	UART_MCR_OUT2 = 0x08,
	UART_MCR_LOOP = 0x10,

	UART_LSR_DR = 0x01,
	UART_LSR_OE = 0x02,
	UART_LSR_PE = 0x04,
	UART_LSR_FE = 0x08,
	UART_LSR_BI = 0x10,
	UART_LSR_THRE = 0x20,
	UART_LSR_TEMT = 0x40,
	UART_LSR_FIFO_ERROR = 0x80,

	UART_MSR_DCTS = 0x01,
	UART_MSR_DDSR = 0x02,
	UART_MSR_TERI = 0x04,
	UART_MSR_DDCD = 0x08,
	UART_MSR_CTS = 0x10,
	UART_MSR_DSR = 0x20,
	UART_MSR_RI = 0x40,
	UART_MSR_DCD = 0x80,
};

/* A received character and the LSR errors that came with it. */
struct uart_char {
	uint8_t byte;
	uint8_t errors;
};

struct uart {
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	uint8_t errors;	      /* OE, PE, FE, BI, until LSR is read */
	bool thre_pending;    /* the "transmitter empty" interrupt waits */
	bool timeout_pending; /* characters lay below the trigger level for four character times */
	bool break_sent;      /* in loopback: one break per setting of LCR bit 6 */
	struct uart_char rx[UART_FIFO_SIZE];
	unsigned rx_head, rx_count;
	uint8_t tx[UART_FIFO_SIZE];
	unsigned tx_head, tx_count;
};

/* Power-on state, with a device attached that is ready (CTS, DSR, DCD). */
void uart_reset(struct uart *uart);

/* A guest's access; `reg` is 0..7. */
uint8_t uart_read(struct uart *uart, unsigned reg);
void uart_write(struct uart *uart, unsigned reg, uint8_t value);

/* The level of the interrupt pin, behind the gate that OUT2 controls on a PC. */
bool uart_irq(const struct uart *uart);

/* The line takes the oldest byte to be sent. False if there is none. */
bool uart_tx_take(struct uart *uart, uint8_t *byte);

/* How many characters can come in without an overrun; 0 in loopback, where the line is cut. */
size_t uart_rx_room(const struct uart *uart);
void uart_rx_put(struct uart *uart, uint8_t byte);
void uart_rx_break(struct uart *uart);

/* Should the time-out run? Restart it on any receive or RBR read, then call uart_rx_timeout. */
bool uart_wants_timeout(const struct uart *uart);
void uart_rx_timeout(struct uart *uart);
/* Four character times, from the divisor and the word format. */
uint64_t uart_timeout_ns(const struct uart *uart);

#endif
