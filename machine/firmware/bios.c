/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What a BIOS leaves for software that may go on in real mode: an interrupt vector table whose
 * handlers return, a timer that ticks, and the interrupt controllers set up for both.
 */
#include <errno.h>
#include <string.h>

#include <vmm/pc.h>
#include <vmm/vatpic.h>
#include <vmm/vatpit.h>

#include "machine/firmware/firmware.h"

enum {
	SEGMENT = 0xf000,
	TIMER = 0xfea5, /* offsets, where they have been since the first PC */
	MASTER = 0xfec0,
	SLAVE = 0xfed0,
	DUMMY = 0xff53,
};

/* push ds; push ax; mov ax, 40h; mov ds, ax; inc dword [6ch]; EOI; pop ax; pop ds; iret */
static const uint8_t timer_code[] = {0x1e, 0x50, 0xb8, 0x40, 0x00, 0x8e, 0xd8, 0x66, 0xff, 0x06,
	0x6c, 0x00, 0xb0, 0x20, 0xe6, PC_PIC1_PORT, 0x58, 0x1f, 0xcf};
/* push ax; EOI; pop ax; iret */
static const uint8_t master_code[] = {0x50, 0xb0, 0x20, 0xe6, PC_PIC1_PORT, 0x58, 0xcf};
static const uint8_t slave_code[] = {
	0x50, 0xb0, 0x20, 0xe6, PC_PIC2_PORT, 0xe6, PC_PIC1_PORT, 0x58, 0xcf};
static const uint8_t dummy_code[] = {0xcf};

static const struct {
	uint16_t offset;
	uint8_t first, last; /* vectors; a later line overrides */
	const uint8_t *code;
	size_t size;
} handlers[] = {
	{DUMMY, 0, 0xff, dummy_code, sizeof(dummy_code)},
	{MASTER, FW_PIC1_VECTOR, FW_PIC1_VECTOR + 7, master_code, sizeof(master_code)},
	{SLAVE, FW_PIC2_VECTOR, FW_PIC2_VECTOR + 7, slave_code, sizeof(slave_code)},
	{TIMER, FW_PIC1_VECTOR, FW_PIC1_VECTOR, timer_code, sizeof(timer_code)},
};

void ivt_write(const struct ram *ram)
{
	uint32_t *ivt = ram_at(ram, 0, 0x400);

	if (!ivt)
		return;
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
		uint64_t at = SEGMENT * 16ull + handlers[i].offset;

		memcpy(ram_at(ram, at, handlers[i].size), handlers[i].code, handlers[i].size);
		for (unsigned v = handlers[i].first; v <= handlers[i].last; v++)
			ivt[v] = (uint32_t)SEGMENT << 16 | handlers[i].offset;
	}
}

struct port_write {
	int (*handler)(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *eax);
	int port;
	uint32_t value;
};

/* Vectors from FW_PIC1_VECTOR and FW_PIC2_VECTOR on; the timer and the cascade are not masked. */
static const struct port_write writes[] = {
	{vatpic_master_handler, PC_PIC1_PORT, 0x11},
	{vatpic_master_handler, PC_PIC1_PORT + 1, FW_PIC1_VECTOR},
	{vatpic_master_handler, PC_PIC1_PORT + 1, 0x04},
	{vatpic_master_handler, PC_PIC1_PORT + 1, 0x01},
	{vatpic_slave_handler, PC_PIC2_PORT, 0x11},
	{vatpic_slave_handler, PC_PIC2_PORT + 1, FW_PIC2_VECTOR},
	{vatpic_slave_handler, PC_PIC2_PORT + 1, 0x02},
	{vatpic_slave_handler, PC_PIC2_PORT + 1, 0x01},
	{vatpic_master_handler, PC_PIC1_PORT + 1, 0xfa},
	{vatpic_slave_handler, PC_PIC2_PORT + 1, 0xff},
	/* Counter 0: mode 2, 65536, 18.2 times a second. */
	{vatpit_handler, PC_PIT_PORT + 3, 0x34},
	{vatpit_handler, PC_PIT_PORT, 0},
	{vatpit_handler, PC_PIT_PORT, 0},
};

int bios_set_up_chips(struct vm *vm)
{
	int error = 0;

	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]) && !error; i++) {
		uint32_t value = writes[i].value;

		error = writes[i].handler(vm, 0, false, writes[i].port, 1, &value) ? EIO : 0;
	}
	return error;
}
