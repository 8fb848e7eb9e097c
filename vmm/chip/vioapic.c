/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The I/O APIC (Intel 82093AA; vmm-api.md 10.3). */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <vmm/pc.h>
#include <vmm/vioapic.h>
#include <vmm/vlapic.h>

#define PINS PC_IOAPIC_PINS

/* Offsets in the page. */
#define IOREGSEL 0x00
#define IOWIN	 0x10

/* Indirect registers. */
#define IOAPIC_ID    0x00
#define IOAPIC_VER   0x01
#define IOAPIC_ARB   0x02
#define IOAPIC_REDIR 0x10

/* Four bits, as in the 82093AA's. */
#define IOAPIC_ID_MASK	     0x0f000000u
#define IOAPIC_VERSION_VALUE ((PINS - 1) << 16 | 0x11)

#define REDIR_VECTOR(r)	 ((int)((r)&0xff))
#define REDIR_DELMODE(r) ((int)((r) >> 8 & 7))
#define REDIR_LOGICAL	 (1ull << 11)
#define REDIR_STATUS	 (1ull << 12)
#define REDIR_REMOTE_IRR (1ull << 14)
#define REDIR_LEVEL	 (1ull << 15)
#define REDIR_MASKED	 (1ull << 16)
#define REDIR_DEST(r)	 ((uint32_t)((r) >> 56))
#define REDIR_READONLY	 (REDIR_REMOTE_IRR | REDIR_STATUS)

struct pin {
	uint64_t redir;
	int asserters; /* may go below 0 when a device is unbalanced */
};

struct vioapic {
	struct vm *vm;
	pthread_mutex_t lock;
	uint32_t id;
	uint8_t index;
	struct pin pins[PINS];
};

/*
 * Sends what an asserted, unmasked pin stands for.  A level entry waits for the EOI of its last
 * message: that is what remote-IRR says.  Caller holds the lock, which is outside those of the
 * vcpus.
 */
static void send(struct vioapic *vioapic, struct pin *pin)
{
	bool level = pin->redir & REDIR_LEVEL;

	if (pin->redir & REDIR_MASKED || (level && pin->redir & REDIR_REMOTE_IRR))
		return;
	if (level)
		pin->redir |= REDIR_REMOTE_IRR;
	vlapic_deliver_intr(vioapic->vm, level, REDIR_DEST(pin->redir),
		!(pin->redir & REDIR_LOGICAL), REDIR_DELMODE(pin->redir), REDIR_VECTOR(pin->redir));
}

static void assert_pin(struct vioapic *vioapic, struct pin *pin)
{
	if (pin->asserters++ == 0)
		send(vioapic, pin);
}

enum line_change { LINE_ASSERT, LINE_DEASSERT, LINE_PULSE };

static int change_line(struct vm *vm, int irq, enum line_change change)
{
	struct vioapic *vioapic = vm_ioapic(vm);

	if (irq < 0 || irq >= PINS)
		return EINVAL;
	pthread_mutex_lock(&vioapic->lock);
	if (change != LINE_DEASSERT)
		assert_pin(vioapic, &vioapic->pins[irq]);
	if (change != LINE_ASSERT)
		vioapic->pins[irq].asserters--;
	pthread_mutex_unlock(&vioapic->lock);
	return 0;
}

int vioapic_assert_irq(struct vm *vm, int irq)
{
	return change_line(vm, irq, LINE_ASSERT);
}

int vioapic_deassert_irq(struct vm *vm, int irq)
{
	return change_line(vm, irq, LINE_DEASSERT);
}

int vioapic_pulse_irq(struct vm *vm, int irq)
{
	return change_line(vm, irq, LINE_PULSE);
}

int vioapic_pincount(struct vm *vm)
{
	(void)vm;
	return PINS;
}

void vioapic_process_eoi(struct vm *vm, int vcpuid, int vector)
{
	struct vioapic *vioapic = vm_ioapic(vm);

	(void)vcpuid;
	pthread_mutex_lock(&vioapic->lock);
	for (int i = 0; i < PINS; i++) {
		struct pin *pin = &vioapic->pins[i];

		if (!(pin->redir & REDIR_REMOTE_IRR) || REDIR_VECTOR(pin->redir) != vector)
			continue;
		pin->redir &= ~REDIR_REMOTE_IRR;
		if (pin->asserters > 0)
			send(vioapic, pin);
	}
	pthread_mutex_unlock(&vioapic->lock);
}

/* The low or high half of a pin's entry; NULL: not a redirection register. */
static struct pin *redir_pin(struct vioapic *vioapic)
{
	unsigned pin = (vioapic->index - IOAPIC_REDIR) / 2u;

	return vioapic->index >= IOAPIC_REDIR && pin < PINS ? &vioapic->pins[pin] : NULL;
}

static uint32_t read_window(struct vioapic *vioapic)
{
	const struct pin *pin = redir_pin(vioapic);

	if (pin)
		return (uint32_t)(vioapic->index & 1 ? pin->redir >> 32 : pin->redir);
	switch (vioapic->index) {
	case IOAPIC_ID:
	case IOAPIC_ARB:
		return vioapic->id;
	case IOAPIC_VER:
		return IOAPIC_VERSION_VALUE;
	default:
		return 0;
	}
}

/*
 * Unmasking a pin whose line is high sends, also for an edge entry.  Turning an entry to edge
 * clears remote-IRR: that is how systems end an interrupt on I/O APICs without an EOI register.
 */
static void write_redir(struct vioapic *vioapic, struct pin *pin, uint32_t value)
{
	unsigned shift = vioapic->index & 1 ? 32 : 0;
	uint64_t keep = ~((uint64_t)UINT32_MAX << shift) | REDIR_READONLY;

	pin->redir = (pin->redir & keep) | ((uint64_t)value << shift & ~keep);
	if (!(pin->redir & REDIR_LEVEL))
		pin->redir &= ~REDIR_REMOTE_IRR;
	if (pin->asserters > 0)
		send(vioapic, pin);
}

static void write_window(struct vioapic *vioapic, uint32_t value)
{
	struct pin *pin = redir_pin(vioapic);

	if (pin)
		write_redir(vioapic, pin, value);
	else if (vioapic->index == IOAPIC_ID)
		vioapic->id = value & IOAPIC_ID_MASK;
}

int vioapic_mmio_read(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct vioapic *vioapic = vm_ioapic(vm);
	uint64_t offset = gpa - PC_IOAPIC_BASE;

	(void)vcpuid;
	(void)arg;
	*value = 0;
	pthread_mutex_lock(&vioapic->lock);
	if (size == 4 && offset == IOREGSEL)
		*value = vioapic->index;
	else if (size == 4 && offset == IOWIN)
		*value = read_window(vioapic);
	pthread_mutex_unlock(&vioapic->lock);
	return 0;
}

int vioapic_mmio_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct vioapic *vioapic = vm_ioapic(vm);
	uint64_t offset = gpa - PC_IOAPIC_BASE;

	(void)vcpuid;
	(void)arg;
	pthread_mutex_lock(&vioapic->lock);
	if (size == 4 && offset == IOREGSEL)
		vioapic->index = (uint8_t)value;
	else if (size == 4 && offset == IOWIN)
		write_window(vioapic, (uint32_t)value);
	pthread_mutex_unlock(&vioapic->lock);
	return 0;
}

struct vioapic *vioapic_init(struct vm *vm)
{
	struct vioapic *vioapic = calloc(1, sizeof(*vioapic));

	if (!vioapic)
		return NULL;
	vioapic->vm = vm;
	pthread_mutex_init(&vioapic->lock, NULL);
	for (int i = 0; i < PINS; i++)
		vioapic->pins[i].redir = REDIR_MASKED;
	return vioapic;
}

void vioapic_cleanup(struct vioapic *vioapic)
{
	if (!vioapic)
		return;
	pthread_mutex_destroy(&vioapic->lock);
	free(vioapic);
}
