/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* COM1 between its ports and a pseudo-terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vmm/pc.h>

#include "device/uart/uart.h"
#include "host/host.h"
#include "test/device/fake_guest.h"

#define eventually(condition)                                                                      \
	do {                                                                                       \
		for (int i_ = 0; i_ < 2000 && !(condition); i_++)                                  \
			usleep(5000);                                                              \
		assert_true(condition);                                                            \
	} while (0)

static unsigned in(struct fake_guest *g, unsigned reg)
{
	return (unsigned)fake_in(g, PC_COM1_PORT + reg, 1);
}

static void out(struct fake_guest *g, unsigned reg, unsigned value)
{
	fake_out(g, PC_COM1_PORT + reg, 1, value);
}

static void without_a_terminal_output_is_lost(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_uart, "com1", 0);
	out(&g, UART_MCR, UART_MCR_OUT2);
	out(&g, UART_IER, UART_IER_THRE);
	assert_true(g.line[PC_COM1_IRQ]);
	for (int i = 0; i < 100; i++) {
		out(&g, UART_THR, 'x');
		assert_true(in(&g, UART_LSR) & UART_LSR_THRE);
	}
	assert_int_equal(in(&g, UART_IIR), UART_IIR_THRE);
	assert_false(g.line[PC_COM1_IRQ]);
	fake_destroy(&g);
}

static void every_byte_raises_an_edge(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_uart, "com2", 0);
	fake_out(&g, PC_COM2_PORT + UART_MCR, 1, UART_MCR_OUT2);
	fake_out(&g, PC_COM2_PORT + UART_IER, 1, UART_IER_THRE);
	assert_int_equal(g.raised[PC_COM2_IRQ], 1);
	for (unsigned i = 2; i < 10; i++) {
		fake_in(&g, PC_COM2_PORT + UART_IIR, 1);
		assert_false(g.line[PC_COM2_IRQ]);
		fake_out(&g, PC_COM2_PORT + UART_THR, 1, 'x');
		assert_int_equal(g.raised[PC_COM2_IRQ], i);
	}
	fake_destroy(&g);
}

static void shared_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < device_uart.nunits; i++) {
		const struct device_resource *irq = &device_uart.units[i].res[1];

		assert_int_equal(irq->kind, DEVICE_RES_IRQ);
		assert_int_equal(irq->base, i % 2 ? PC_COM2_IRQ : PC_COM1_IRQ);
	}
}

static void the_line_carries_bytes(void **state)
{
	struct fake_guest g = {.options = {{"path", "pty"}}};
	char name[64], buf[64];
	uint64_t delay;

	(void)state;
	assert_int_equal(event_loop_create(&g.guest.loop), 0);
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(log_create(fds[1], &g.guest.log), 0);
	fake_create(&g, &device_uart, "com1", 0);
	/* The log says which terminal it became. */
	ssize_t n = read(fds[0], buf, sizeof(buf) - 1);

	assert_true(n > 0);
	buf[n] = '\0';
	assert_int_equal(sscanf(buf, "hyve: com1: is %63s", name), 1);
	int fd = open(name, O_RDWR | O_NOCTTY);

	assert_true(fd >= 0);
	out(&g, UART_FCR, UART_FCR_ENABLE | 1 << 6);
	out(&g, UART_MCR, UART_MCR_OUT2);
	out(&g, UART_IER, UART_IER_RDA);
	for (const char *p = "to the host"; *p; p++)
		out(&g, UART_THR, (unsigned)*p);
	for (n = 0; n < 11;)
		n += read(fd, buf + n, sizeof(buf) - (size_t)n);
	assert_memory_equal(buf, "to the host", 11);

	assert_int_equal(write(fd, "ab", 2), 2); /* below the trigger level */
	eventually(in(&g, UART_LSR) & UART_LSR_DR);
	eventually(fake_timer_is_set(&g, &delay));
	assert_false(g.line[PC_COM1_IRQ]);
	fake_timer_fire(&g);
	assert_true(g.line[PC_COM1_IRQ]);
	assert_int_equal(in(&g, UART_RBR), 'a');
	eventually(in(&g, UART_LSR) & UART_LSR_DR);
	assert_int_equal(in(&g, UART_RBR), 'b');
	assert_false(g.line[PC_COM1_IRQ]);

	/* More than the FIFO takes: all arrives, as the guest reads. */
	assert_int_equal(write(fd, "0123456789abcdefghijklmnopqrstuvwxyz", 36), 36);
	for (int i = 0; i < 36; i++) {
		eventually(in(&g, UART_LSR) & UART_LSR_DR);
		buf[i] = (char)in(&g, UART_RBR);
	}
	assert_memory_equal(buf, "0123456789abcdefghijklmnopqrstuvwxyz", 36);
	assert_false(in(&g, UART_LSR) & UART_LSR_OE);

	fake_destroy(&g);
	log_destroy(g.guest.log);
	event_loop_destroy(g.guest.loop);
	close(fd);
	close(fds[0]);
	close(fds[1]);
}

/* Nobody reads the terminal: the guest sees a busy transmitter, and the vcpu's thread goes on. */
static void a_full_terminal_holds_the_guest_back(void **state)
{
	struct fake_guest g = {.options = {{"path", "pty"}}};
	unsigned sent = 0;

	(void)state;
	assert_int_equal(event_loop_create(&g.guest.loop), 0);
	fake_create(&g, &device_uart, "com1", 0);
	for (int idle = 0; idle < 100; usleep(1000))
		if (in(&g, UART_LSR) & UART_LSR_THRE) {
			for (int i = 0; i < 4096 && in(&g, UART_LSR) & UART_LSR_THRE; i++, sent++)
				out(&g, UART_THR, 'x');
			idle = 0;
		} else {
			idle++;
		}
	assert_in_range(sent, 65536, 1 << 20);
	assert_false(in(&g, UART_LSR) & UART_LSR_THRE);
	fake_destroy(&g);
	event_loop_destroy(g.guest.loop);
}

static void a_wrong_path_says_why(void **state)
{
	struct fake_guest g = {.options = {{"path", "nowhere"}}};

	(void)state;
	assert_int_equal(event_loop_create(&g.guest.loop), 0);
	fake_create(&g, &device_uart, "com1", EINVAL);
	assert_non_null(strstr(g.why, "nowhere"));
	event_loop_destroy(g.guest.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_terminal_output_is_lost),
		cmocka_unit_test(every_byte_raises_an_edge),
		cmocka_unit_test(shared_lines),
		cmocka_unit_test(the_line_carries_bytes),
		cmocka_unit_test(a_full_terminal_holds_the_guest_back),
		cmocka_unit_test(a_wrong_path_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
