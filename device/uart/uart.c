/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "device/uart/uart.h"

#include <string.h>

/* Interrupts in order of priority; each condition is asked for in IER. */
static bool line_due(const struct uart *u)
{
	return u->errors != 0;
}

static unsigned trigger_level(const struct uart *u)
{
	static const uint8_t levels[4] = {1, 4, 8, 14};

	return (u->fcr & UART_FCR_ENABLE) ? levels[u->fcr >> 6] : 1;
}

static bool data_due(const struct uart *u)
{
	return u->rx_count >= trigger_level(u);
}

static bool timeout_due(const struct uart *u)
{
	return u->timeout_pending && u->rx_count > 0;
}

static bool thre_due(const struct uart *u)
{
	return u->thre_pending;
}

static bool modem_due(const struct uart *u)
{
	return (u->msr & 0x0f) != 0;
}

static const struct {
	uint8_t ier, iir;
	bool (*due)(const struct uart *u);
} sources[] = {
	{UART_IER_LINE, UART_IIR_LINE, line_due},
	{UART_IER_RDA, UART_IIR_RDA, data_due},
	{UART_IER_RDA, UART_IIR_TIMEOUT, timeout_due},
	{UART_IER_THRE, UART_IIR_THRE, thre_due},
	{UART_IER_MODEM, UART_IIR_MODEM, modem_due},
};

static uint8_t pending_source(const struct uart *u)
{
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if ((u->ier & sources[i].ier) && sources[i].due(u))
			return sources[i].iir;
	return UART_IIR_NONE;
}

bool uart_irq(const struct uart *u)
{
	/* In loopback the OUT2 pin is inactive, whatever the bit says. */
	bool gate = (u->mcr & (UART_MCR_OUT2 | UART_MCR_LOOP)) == UART_MCR_OUT2;

	return gate && pending_source(u) != UART_IIR_NONE;
}

/* ---- receiver ---- */

static unsigned rx_size(const struct uart *u)
{
	return (u->fcr & UART_FCR_ENABLE) ? UART_FIFO_SIZE : 1;
}

/* The errors of a character show in LSR when it reaches the top of the FIFO. */
static void rx_reveal(struct uart *u)
{
	if (u->rx_count > 0) {
		u->errors |= u->rx[u->rx_head].errors;
		u->rx[u->rx_head].errors = 0;
	}
}

static void rx_receive(struct uart *u, uint8_t byte, uint8_t errors)
{
	if (u->rx_count >= rx_size(u)) {
		u->errors |= UART_LSR_OE;
		/*
		 * Without FIFO the holding register is overwritten, with it the newcomer is lost.
		 */
		if (!(u->fcr & UART_FCR_ENABLE))
			u->rx[u->rx_head].byte = byte;
		return;
	}
	u->rx[(u->rx_head + u->rx_count++) % UART_FIFO_SIZE] =
		(struct uart_char){.byte = byte, .errors = errors};
	u->timeout_pending = false;
	if (u->rx_count == 1)
		rx_reveal(u);
}

static uint8_t rx_take(struct uart *u)
{
	uint8_t byte = u->rx[u->rx_head].byte; /* the last one again when empty */

	u->timeout_pending = false;
	if (u->rx_count > 0) {
		u->rx_count--;
		if (u->rx_count > 0)
			u->rx_head = (u->rx_head + 1) % UART_FIFO_SIZE;
		rx_reveal(u);
	}
	return byte;
}

static void rx_clear(struct uart *u)
{
	u->rx_count = 0;
	u->timeout_pending = false;
}

size_t uart_rx_room(const struct uart *u)
{
	return (u->mcr & UART_MCR_LOOP) ? 0 : rx_size(u) - u->rx_count;
}

void uart_rx_put(struct uart *u, uint8_t byte)
{
	if (!(u->mcr & UART_MCR_LOOP))
		rx_receive(u, byte, 0);
}

void uart_rx_break(struct uart *u)
{
	if (!(u->mcr & UART_MCR_LOOP))
		rx_receive(u, 0, UART_LSR_BI);
}

bool uart_wants_timeout(const struct uart *u)
{
	return (u->fcr & UART_FCR_ENABLE) && u->rx_count > 0 && !data_due(u) && !u->timeout_pending;
}

void uart_rx_timeout(struct uart *u)
{
	if (uart_wants_timeout(u))
		u->timeout_pending = true;
}

uint64_t uart_timeout_ns(const struct uart *u)
{
	unsigned divisor = (unsigned)u->dlm << 8 | u->dll;
	/* Start and stop bit, data bits, a second stop bit and parity as LCR asks. */
	unsigned bits = 2 + 5 + (u->lcr & 3) + ((u->lcr >> 2) & 1) + ((u->lcr >> 3) & 1);

	/* 115200 baud at divisor 1; the chip treats 0 as no clock, we as the slowest. */
	return 4ull * bits * (divisor ? divisor : 0x10000) * 1000000000ull / 115200;
}

/* ---- transmitter ---- */

static void tx_put(struct uart *u, uint8_t byte)
{
	u->thre_pending = false;
	if (u->mcr & UART_MCR_LOOP) {
		rx_receive(u, byte, 0);
		u->thre_pending = true;
		return;
	}
	/* A guest that writes without looking at THRE loses the newest, as the chip does. */
	if (u->tx_count < ((u->fcr & UART_FCR_ENABLE) ? UART_FIFO_SIZE : 1u))
		u->tx[(u->tx_head + u->tx_count++) % UART_FIFO_SIZE] = byte;
}

bool uart_tx_take(struct uart *u, uint8_t *byte)
{
	if (u->tx_count == 0)
		return false;
	*byte = u->tx[u->tx_head];
	u->tx_head = (u->tx_head + 1) % UART_FIFO_SIZE;
	if (--u->tx_count == 0)
		u->thre_pending = true;
	return true;
}

static void tx_clear(struct uart *u)
{
	if (u->tx_count > 0)
		u->thre_pending = true;
	u->tx_count = 0;
}

/* ---- modem lines ---- */

/* What the line's other end, or in loopback MCR, drives into the four inputs. */
static uint8_t modem_inputs(const struct uart *u)
{
	if (!(u->mcr & UART_MCR_LOOP))
		return UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD;
	return (uint8_t)(((u->mcr & UART_MCR_RTS) ? UART_MSR_CTS : 0) |
			 ((u->mcr & UART_MCR_DTR) ? UART_MSR_DSR : 0) |
			 ((u->mcr & UART_MCR_OUT1) ? UART_MSR_RI : 0) |
			 ((u->mcr & UART_MCR_OUT2) ? UART_MSR_DCD : 0));
}

static void modem_update(struct uart *u)
{
	uint8_t now = modem_inputs(u), changed = (u->msr ^ now) & 0xf0;

	/* RI counts only its trailing edge. */
	if (now & UART_MSR_RI)
		changed &= (uint8_t)~UART_MSR_RI;
	u->msr = (uint8_t)(now | (u->msr & 0x0f) | changed >> 4);
}

/* ---- registers ---- */

static uint8_t iir_read(struct uart *u)
{
	uint8_t iir = pending_source(u);

	if (iir == UART_IIR_THRE)
		u->thre_pending = false;
	return iir | ((u->fcr & UART_FCR_ENABLE) ? UART_IIR_FIFO : 0);
}

static uint8_t lsr_read(struct uart *u)
{
	uint8_t lsr = u->errors;

	if (u->rx_count > 0)
		lsr |= UART_LSR_DR;
	if (u->tx_count == 0)
		lsr |= UART_LSR_THRE | UART_LSR_TEMT;
	for (unsigned i = 0; (u->fcr & UART_FCR_ENABLE) && i < u->rx_count; i++)
		if (u->rx[(u->rx_head + i) % UART_FIFO_SIZE].errors)
			lsr |= UART_LSR_FIFO_ERROR;
	u->errors = 0;
	return lsr;
}

static uint8_t msr_read(struct uart *u)
{
	uint8_t msr = u->msr;

	u->msr &= 0xf0;
	return msr;
}

static void ier_write(struct uart *u, uint8_t value)
{
	/* Drivers rely on it: enabling the interrupt with an empty transmitter raises it. */
	if ((value & ~u->ier & UART_IER_THRE) && u->tx_count == 0)
		u->thre_pending = true;
	u->ier = value & 0x0f;
}

static void fcr_write(struct uart *u, uint8_t value)
{
	bool toggled = (value ^ u->fcr) & UART_FCR_ENABLE;

	/* Without the enable bit the others are not programmed; switching it empties both FIFOs. */
	u->fcr = (value & UART_FCR_ENABLE) ? value & 0xc9 : 0;
	if (toggled || (value & UART_FCR_ENABLE && value & UART_FCR_RX_RESET))
		rx_clear(u);
	if (toggled || (value & UART_FCR_ENABLE && value & UART_FCR_TX_RESET))
		tx_clear(u);
}

static void lcr_write(struct uart *u, uint8_t value)
{
	bool start = value & ~u->lcr & UART_LCR_BREAK;

	u->lcr = value;
	if (start && (u->mcr & UART_MCR_LOOP))
		rx_receive(u, 0, UART_LSR_BI);
}

static void mcr_write(struct uart *u, uint8_t value)
{
	u->mcr = value & 0x1f;
	modem_update(u);
}

uint8_t uart_read(struct uart *u, unsigned reg)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_RBR:
		return dlab ? u->dll : rx_take(u);
	case UART_IER:
		return dlab ? u->dlm : u->ier;
	case UART_IIR:
		return iir_read(u);
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		return lsr_read(u);
	case UART_MSR:
		return msr_read(u);
	case UART_SCR:
		return u->scr;
	}
	return 0xff;
}

void uart_write(struct uart *u, unsigned reg, uint8_t value)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (reg) {
	case UART_THR:
		if (dlab)
			u->dll = value;
		else
			tx_put(u, value);
		break;
	case UART_IER:
		if (dlab)
			u->dlm = value;
		else
			ier_write(u, value);
		break;
	case UART_FCR:
		fcr_write(u, value);
		break;
	case UART_LCR:
		lcr_write(u, value);
		break;
	case UART_MCR:
		mcr_write(u, value);
		break;
	case UART_SCR:
		u->scr = value;
		break;
		/* LSR is for factory tests only, MSR read-only. */
	}
}

void uart_reset(struct uart *u)
{
	memset(u, 0, sizeof(*u));
	u->dll = 12; /* 9600 baud, as a BIOS leaves it */
	u->msr = modem_inputs(u);
}
