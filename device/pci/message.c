/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Message-signalled interrupts (PCI 3.0, 6.8): MSI with one vector, MSI-X with a table. */
#include "device/pci/function.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"

/* Offsets in the capabilities. */
enum {
	MSI_CONTROL = 2,
	MSI_ADDRESS = 4,
	MSI_DATA = 12,
	MSI_MASK = 16,
	MSI_PENDING = 20,
	MSI_LEN = 24,
	MSI_64BIT = 0x80,
	MSI_MASKABLE = 0x100,

	MSIX_CONTROL = 2,
	MSIX_LEN = 12,
	MSIX_MASK_ALL = 0x4000,
	MSIX_ENABLE = 0x8000,
	MSIX_ENTRY_MASKED = 1,
	MSIX_ENTRY_SIZE = 16,
	MSIX_PBA = 0x800, /* behind PCI_MSIX_MAX entries */
	MSIX_BAR_SIZE = 0x1000,
};

struct message {
	uint64_t address;
	uint32_t data;
	bool send;
};

/* ---- MSI ---- */

int pci_msi(struct pci_function *f)
{
	const uint16_t control = MSI_64BIT | MSI_MASKABLE;
	uint8_t body[MSI_LEN - 2] = {(uint8_t)control, control >> 8};

	f->msi = pci_capability(f, PCI_CAP_MSI, body, sizeof(body));
	if (!f->msi)
		return ENOMEM;
	f->writable[f->msi + MSI_CONTROL] = 0x01;
	memset(f->writable + f->msi + MSI_ADDRESS, 0xff, 8);
	f->writable[f->msi + MSI_ADDRESS] = 0xfc;
	memset(f->writable + f->msi + MSI_DATA, 0xff, 2);
	f->writable[f->msi + MSI_MASK] = 0x01;
	return 0;
}

/* The message, if it may go out; if not it is pending. */
static struct message msi_take(struct pci_function *f)
{
	uint8_t *cap = f->config + f->msi;
	bool on = cap[MSI_CONTROL] & 1, masked = cap[MSI_MASK] & 1;

	cap[MSI_PENDING] = on && masked;
	return (struct message){
		.address = pci_get(f, f->msi + MSI_ADDRESS, 8),
		.data = (uint32_t)pci_get(f, f->msi + MSI_DATA, 2),
		.send = on && !masked,
	};
}

/* ---- MSI-X ---- */

static bool msix_enabled(const struct pci_function *f)
{
	return f->msix && pci_get(f, f->msix + MSIX_CONTROL, 2) & MSIX_ENABLE;
}

static struct message msix_take(struct pci_function *f, unsigned vector)
{
	struct pci_msix_entry *e = &f->vectors[vector];
	bool masked = (pci_get(f, f->msix + MSIX_CONTROL, 2) & MSIX_MASK_ALL) ||
		      (e->control & MSIX_ENTRY_MASKED);

	e->pending = masked;
	return (struct message){.address = e->address, .data = e->data, .send = !masked};
}

static void send(struct pci_function *f, struct message m)
{
	if (m.send)
		guest_msi(f->guest, m.address, m.data);
}

void pci_message(struct pci_function *f, unsigned vector)
{
	struct message m = {0};

	pthread_mutex_lock(&f->lock);
	if (msix_enabled(f)) {
		if (vector < f->nvectors)
			m = msix_take(f, vector);
	} else if (f->msi) {
		m = msi_take(f);
	}
	pthread_mutex_unlock(&f->lock);
	send(f, m);
}

/* Delivery takes locks of chips alone, which never call back here. */
void pci_messages_update(struct pci_function *f)
{
	if (f->msi && f->config[f->msi + MSI_PENDING])
		send(f, msi_take(f));
	if (!msix_enabled(f))
		return;
	for (unsigned i = 0; i < f->nvectors; i++)
		if (f->vectors[i].pending)
			send(f, msix_take(f, i));
}

/* Field at an offset of the table, 4 bytes wide; NULL: pending bits or nothing. */
static uint64_t table_read(struct pci_function *f, uint64_t offset)
{
	const struct pci_msix_entry *e = &f->vectors[offset / MSIX_ENTRY_SIZE];

	switch (offset % MSIX_ENTRY_SIZE) {
	case 0:
		return (uint32_t)e->address;
	case 4:
		return e->address >> 32;
	case 8:
		return e->data;
	default:
		return e->control;
	}
}

static void table_write(struct pci_function *f, uint64_t offset, uint32_t value)
{
	struct pci_msix_entry *e = &f->vectors[offset / MSIX_ENTRY_SIZE];

	switch (offset % MSIX_ENTRY_SIZE) {
	case 0:
		e->address = (e->address & ~0xffffffffull) | (value & ~3u);
		break;
	case 4:
		e->address = (uint32_t)e->address | (uint64_t)value << 32;
		break;
	case 8:
		e->data = value;
		break;
	default:
		e->control = value & MSIX_ENTRY_MASKED;
		if (e->pending && msix_enabled(f))
			send(f, msix_take(f, (unsigned)(offset / MSIX_ENTRY_SIZE)));
	}
}

static uint64_t pending_read(const struct pci_function *f, uint64_t offset)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 32 && 8 * offset + i < f->nvectors; i++)
		bits |= (uint64_t)f->vectors[8 * offset + i].pending << i;
	return bits;
}

static uint64_t dword_read(struct pci_function *f, uint64_t offset)
{
	if (offset < f->nvectors * MSIX_ENTRY_SIZE)
		return table_read(f, offset);
	return offset >= MSIX_PBA ? pending_read(f, offset - MSIX_PBA) : 0;
}

/* Only whole, aligned double- and quadwords are defined (PCI 3.0, 6.8.2). */
static uint64_t msix_read(void *arg, uint64_t offset, unsigned size)
{
	struct pci_function *f = arg;
	uint64_t value;

	if (size < 4 || offset % size)
		return 0;
	pthread_mutex_lock(&f->lock);
	value = dword_read(f, offset);
	if (size == 8)
		value |= dword_read(f, offset + 4) << 32;
	pthread_mutex_unlock(&f->lock);
	return value;
}

static void msix_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_function *f = arg;

	if (size < 4 || offset % size)
		return;
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < size; i += 4, value >>= 32)
		if (offset + i < f->nvectors * MSIX_ENTRY_SIZE)
			table_write(f, offset + i, (uint32_t)value);
	pthread_mutex_unlock(&f->lock);
}

static const struct guest_io msix_io = {.width = 8, .read = msix_read, .write = msix_write};

int pci_msix(struct pci_function *f, unsigned vectors, unsigned bar)
{
	uint8_t body[MSIX_LEN - 2] = {(uint8_t)(vectors - 1), (uint8_t)((vectors - 1) >> 8)};

	assert(vectors > 0 && vectors <= PCI_MSIX_MAX);
	body[2] = (uint8_t)bar;
	body[6] = (uint8_t)bar;
	body[7] = MSIX_PBA >> 8;
	f->vectors = calloc(vectors, sizeof(*f->vectors));
	f->msix = f->vectors ? pci_capability(f, PCI_CAP_MSIX, body, sizeof(body)) : 0;
	if (!f->msix)
		return ENOMEM;
	f->nvectors = vectors;
	for (unsigned i = 0; i < vectors; i++)
		f->vectors[i].control = MSIX_ENTRY_MASKED;
	f->writable[f->msix + MSIX_CONTROL + 1] = (MSIX_ENABLE | MSIX_MASK_ALL) >> 8;
	pci_bar(f, bar, PCI_BAR_MEM32, MSIX_BAR_SIZE, &msix_io, f);
	return 0;
}
