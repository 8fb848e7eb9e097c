/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * COM1 to COM4: the chip's state machine between the guest's ports and a terminal.
 * Locks: uart->lock is held when calling the terminal; the terminal calls us with no lock of its
 * own.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "device/uart/uart.h"
#include "host/host.h"

struct uart_model {
	pthread_mutex_t lock;
	struct uart uart;
	struct guest *guest;
	const char *name;
	unsigned irq;
	bool irq_level;
	bool input_waits; /* the terminal was told that there is no room */
	struct tty *tty;
	struct guest_timer *timeout;
	bool timeout_set;
	uint64_t received, sent; /* bytes */
};

/*
 * After any change: bytes to the terminal, the level to the interrupt line. Caller holds the lock.
 */
static void model_settle(struct uart_model *m)
{
	uint8_t byte;

	while (m->uart.tx_count > 0) {
		/*
		 * No room: THRE stays 0, the guest waits as for a slow line, and the vcpu does not.
		 */
		if (m->tty && tty_write(m->tty, &m->uart.tx[m->uart.tx_head], 1) == 0)
			break;
		uart_tx_take(&m->uart, &byte);
		m->sent++;
	}
	bool level = uart_irq(&m->uart);

	if (level != m->irq_level) {
		m->irq_level = level;
		guest_irq(m->guest, m->irq, level);
	}
	if (m->input_waits && m->tty && uart_rx_room(&m->uart) > 0) {
		m->input_waits = false;
		tty_input_resume(m->tty);
	}
}

/* The time-out counts from the last character received or read. */
static void timeout_restart(struct uart_model *m)
{
	bool want = uart_wants_timeout(&m->uart);

	if (want)
		guest_timer_set(m->guest, m->timeout, uart_timeout_ns(&m->uart));
	else if (m->timeout_set)
		guest_timer_stop(m->guest, m->timeout);
	m->timeout_set = want;
}

static void timeout_fire(void *arg)
{
	struct uart_model *m = arg;

	pthread_mutex_lock(&m->lock);
	m->timeout_set = false;
	uart_rx_timeout(&m->uart);
	model_settle(m);
	pthread_mutex_unlock(&m->lock);
}

static uint64_t port_read(void *arg, uint64_t offset, unsigned size)
{
	struct uart_model *m = arg;

	(void)size;
	pthread_mutex_lock(&m->lock);
	uint8_t value = uart_read(&m->uart, (unsigned)offset);

	if (offset == UART_RBR)
		timeout_restart(m);
	model_settle(m);
	pthread_mutex_unlock(&m->lock);
	return value;
}

static void port_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct uart_model *m = arg;

	(void)size;
	pthread_mutex_lock(&m->lock);
	uart_write(&m->uart, (unsigned)offset, (uint8_t)value);
	model_settle(m);
	pthread_mutex_unlock(&m->lock);
}

/* ---- the terminal's side ---- */

static size_t line_room(void *arg)
{
	struct uart_model *m = arg;

	pthread_mutex_lock(&m->lock);
	size_t room = uart_rx_room(&m->uart);

	m->input_waits = room == 0;
	pthread_mutex_unlock(&m->lock);
	return room;
}

static void line_input(void *arg, const uint8_t *bytes, size_t count)
{
	struct uart_model *m = arg;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < count; i++)
		uart_rx_put(&m->uart, bytes[i]);
	m->received += count;
	timeout_restart(m);
	model_settle(m);
	pthread_mutex_unlock(&m->lock);
}

static void line_writable(void *arg)
{
	struct uart_model *m = arg;

	pthread_mutex_lock(&m->lock);
	model_settle(m);
	pthread_mutex_unlock(&m->lock);
}

static void line_quit(void *arg)
{
	struct uart_model *m = arg;

	guest_end(m->guest, GUEST_POWEROFF);
}

/* ---- construction ---- */

static unsigned unit_irq(const struct device_unit *unit)
{
	const struct device_resource *res = unit->res;

	while (res->kind != DEVICE_RES_IRQ)
		res++;
	return (unsigned)res->base;
}

static void model_destroy(void *dev)
{
	struct uart_model *m = dev;

	tty_close(m->tty);
	guest_timer_destroy(m->guest, m->timeout);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* The terminal may call back before tty_open returns: the lock keeps it waiting until m->tty is
 * set. */
static int model_connect(struct uart_model *m, const struct device_args *args)
{
	const char *path = args->option(args->config, "path");
	const struct tty_user user = {
		.room = line_room,
		.input = line_input,
		.writable = line_writable,
		.quit = line_quit,
		.arg = m,
	};

	if (!path)
		return 0;
	pthread_mutex_lock(&m->lock);
	int error = tty_open(args->guest->loop, path, &user, &m->tty, args->why, args->why_size);

	pthread_mutex_unlock(&m->lock);
	if (!error && strcmp(path, "pty") == 0)
		log_warn(args->guest->log, m->name, "is %s", tty_name(m->tty));
	return error;
}

static int model_create(const struct device_args *args, void **dev)
{
	struct uart_model *m = calloc(1, sizeof(*m));

	if (!m) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	m->guest = args->guest;
	m->name = args->unit->name;
	m->irq = unit_irq(args->unit);
	pthread_mutex_init(&m->lock, NULL);
	uart_reset(&m->uart);
	int error = guest_timer_create(m->guest, timeout_fire, m, &m->timeout);

	if (error)
		snprintf(args->why, args->why_size, "%s", strerror(error));
	else
		error = model_connect(m, args);
	if (error) {
		model_destroy(m);
		return error;
	}
	*dev = m;
	return 0;
}

static void model_stats(
	void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg)
{
	struct uart_model *m = dev;

	pthread_mutex_lock(&m->lock);
	const uint64_t received = m->received, sent = m->sent;

	pthread_mutex_unlock(&m->lock);
	emit(arg, "bytes received", received);
	emit(arg, "bytes sent", sent);
}

static const struct guest_io uart_io = {.width = 1, .read = port_read, .write = port_write};

#define COM(n, port, line)                                                                         \
	{                                                                                          \
		.name = "com" #n, .config = "lpc.com" #n, .required = "path",                      \
		.acpi_hid = "PNP0501",                                                             \
		.res = {                                                                           \
			{DEVICE_RES_PORTS, port, 8, &uart_io, false},                              \
			{DEVICE_RES_IRQ, line, 1, NULL, false},                                    \
		},                                                                                 \
	}

/* COM3 and COM4 share the lines of COM1 and COM2, as ever. */
static const struct device_unit uart_units[] = {
	COM(1, PC_COM1_PORT, PC_COM1_IRQ),
	COM(2, PC_COM2_PORT, PC_COM2_IRQ),
	COM(3, PC_COM3_PORT, PC_COM1_IRQ),
	COM(4, PC_COM4_PORT, PC_COM2_IRQ),
};

const struct device_model device_uart = {
	.name = "uart",
	.units = uart_units,
	.nunits = sizeof(uart_units) / sizeof(uart_units[0]),
	.create = model_create,
	.destroy = model_destroy,
	.stats = model_stats,
};
