/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* One function: its configuration space, BARs and pin (PCI 3.0, chapter 6). */
#include "device/pci/function.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "host/log.h"

int pci_function_create(struct pci_root *root, struct guest *guest, unsigned slot, unsigned func,
	struct pci_function **out)
{
	struct pci_function *f = calloc(1, sizeof(*f));

	if (!f)
		return ENOMEM;
	f->root = root;
	f->guest = guest;
	f->slot = (uint8_t)slot;
	f->func = (uint8_t)func;
	snprintf(f->name, sizeof(f->name), "0:%u.%u", slot, func);
	pthread_mutex_init(&f->lock, NULL);
	f->caps_end = PCI_HEADER_END;
	f->last_cap = PCI_CAPABILITIES;
	pci_put(f, PCI_VENDOR, 4, 0xffffffff);
	f->writable[PCI_INT_LINE] = 0xff;
	f->writable[PCI_COMMAND] = PCI_COMMAND_MASTER;
	*out = f;
	return 0;
}

void pci_function_destroy(struct pci_function *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (f->bars[i].claimed)
			guest_unclaim(f->guest, &f->bars[i].range);
	pthread_mutex_destroy(&f->lock);
	free(f->vectors);
	free(f);
}

const char *pci_name(const struct pci_function *f)
{
	return f->name;
}

/* ---- registers ---- */

uint64_t pci_get(const struct pci_function *f, unsigned reg, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)f->config[reg + i] << (8 * i);
	return value;
}

void pci_put(struct pci_function *f, unsigned reg, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		f->config[reg + i] = (uint8_t)(value >> (8 * i));
}

uint32_t pci_register(struct pci_function *f, unsigned reg, unsigned size)
{
	pthread_mutex_lock(&f->lock);
	uint32_t value = (uint32_t)pci_get(f, reg, size);

	pthread_mutex_unlock(&f->lock);
	return value;
}

void pci_identify(struct pci_function *f, const struct pci_identity *id)
{
	pci_put(f, PCI_VENDOR, 2, id->vendor);
	pci_put(f, PCI_DEVICE, 2, id->device);
	pci_put(f, PCI_SUBVENDOR, 2, id->subvendor);
	pci_put(f, PCI_SUBDEVICE, 2, id->subdevice);
	f->config[PCI_CLASS] = id->class;
	f->config[PCI_SUBCLASS] = id->subclass;
	f->config[PCI_PROG_IF] = id->prog_if;
	f->config[PCI_REVISION] = id->revision;
}

void pci_writable(struct pci_function *f, unsigned reg, const void *mask, size_t len)
{
	assert(reg + len <= PCI_CONFIG_SIZE);
	memcpy(f->writable + reg, mask, len);
}

unsigned pci_capability(struct pci_function *f, uint8_t id, const void *body, size_t len)
{
	unsigned at = f->caps_end;

	if (len + 2 > PCI_CONFIG_SIZE - at)
		return 0;
	f->config[at] = id;
	memcpy(f->config + at + 2, body, len);
	f->config[f->last_cap] = (uint8_t)at;
	f->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	f->last_cap = at + 1;
	f->caps_end = (unsigned)((at + 2 + len + 3) & ~3ul);
	return at;
}

void pci_hook(
	struct pci_function *f, unsigned reg, unsigned size, const struct guest_io *io, void *arg)
{
	f->hook.reg = reg;
	f->hook.size = size;
	f->hook.io = io;
	f->hook.arg = arg;
}

static bool hooked(const struct pci_function *f, unsigned reg, unsigned size)
{
	return reg >= f->hook.reg && reg + size <= f->hook.reg + f->hook.size;
}

/* ---- BARs ---- */

void pci_bar(struct pci_function *f, unsigned index, enum pci_bar_kind kind, uint64_t size,
	const struct guest_io *io, void *arg)
{
	static const uint8_t types[] = {[PCI_BAR_IO] = 1, [PCI_BAR_MEM32] = 0, [PCI_BAR_MEM64] = 4};
	unsigned reg = PCI_BAR0 + 4 * index, width = kind == PCI_BAR_MEM64 ? 8 : 4;
	uint64_t mask = ~(size - 1);

	assert(size >= (kind == PCI_BAR_IO ? 4 : 4096) && !(size & (size - 1)));
	assert(reg + width <= PCI_BAR0 + 4 * PCI_BARS);
	f->bars[index].kind = kind;
	f->bars[index].range = (struct guest_range){
		.space = kind == PCI_BAR_IO ? GUEST_PORTS : GUEST_MEMORY,
		.size = size,
		.io = io,
		.arg = arg,
	};
	f->config[reg] = types[kind];
	for (unsigned i = 0; i < width; i++)
		f->writable[reg + i] = (uint8_t)(mask >> (8 * i));
	f->writable[PCI_COMMAND] |= kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
}

static uint64_t bar_address(const struct pci_function *f, unsigned index)
{
	const struct pci_bar *bar = &f->bars[index];
	unsigned width = bar->kind == PCI_BAR_MEM64 ? 8 : 4;

	return pci_get(f, PCI_BAR0 + 4 * index, width) & ~(bar->range.size - 1);
}

/* At 0 no BAR answers, nor ports beyond the 64 Ki that there are. */
static bool bar_decodes(const struct pci_function *f, unsigned index, uint64_t address)
{
	bool io = f->bars[index].kind == PCI_BAR_IO;
	unsigned wanted = io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	return (f->config[PCI_COMMAND] & wanted) && address != 0 && (!io || address < 0x10000);
}

/* The bus follows the registers. Two BARs that a guest puts on each other: the first one answers.
 */
static void bars_update(struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &f->bars[i];

		if (bar->kind == PCI_BAR_NONE)
			continue;
		uint64_t address = bar_address(f, i);
		bool decodes = bar_decodes(f, i, address);

		if (bar->claimed && (!decodes || address != bar->range.base)) {
			guest_unclaim(f->guest, &bar->range);
			bar->claimed = false;
		}
		if (!decodes || bar->claimed)
			continue;
		bar->range.base = address;
		int error = guest_claim(f->guest, &bar->range);

		bar->claimed = !error;
		if (error)
			log_debug(f->guest->log, "pci", "%s: BAR %u at %#llx: %s", f->name, i,
				(unsigned long long)address, strerror(error));
	}
}

/* ---- the pin ---- */

void pci_pin(struct pci_function *f)
{
	f->config[PCI_INT_PIN] = 1;
	f->writable[PCI_COMMAND + 1] |= PCI_COMMAND_INTX_DISABLE >> 8;
}

static enum pci_signalling signalling(const struct pci_function *f)
{
	if (f->msix && pci_get(f, f->msix + 2, 2) & 0x8000)
		return PCI_SIGNAL_MSIX;
	return f->msi && f->config[f->msi + 2] & 1 ? PCI_SIGNAL_MSI : PCI_SIGNAL_INTX;
}

enum pci_signalling pci_signalling(struct pci_function *f)
{
	pthread_mutex_lock(&f->lock);
	enum pci_signalling how = signalling(f);

	pthread_mutex_unlock(&f->lock);
	return how;
}

static void intx_update(struct pci_function *f)
{
	bool off = pci_get(f, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;
	bool out = f->intx && !off && signalling(f) == PCI_SIGNAL_INTX;

	f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
	if (f->intx)
		f->config[PCI_STATUS] |= PCI_STATUS_INTX;
	if (out == f->intx_seen)
		return;
	f->intx_seen = out;
	pci_root_intx(f->root, f->slot, out);
}

void pci_intx(struct pci_function *f, bool asserted)
{
	pthread_mutex_lock(&f->lock);
	f->intx = asserted;
	intx_update(f);
	pthread_mutex_unlock(&f->lock);
}

/* ---- the guest's accesses ---- */

uint32_t pci_function_read(struct pci_function *f, unsigned reg, unsigned size)
{
	if (hooked(f, reg, size))
		return (uint32_t)f->hook.io->read(f->hook.arg, reg - f->hook.reg, size);
	return pci_register(f, reg, size);
}

void pci_function_write(struct pci_function *f, unsigned reg, unsigned size, uint32_t value)
{
	if (hooked(f, reg, size)) {
		f->hook.io->write(f->hook.arg, reg - f->hook.reg, size, value);
		return;
	}
	pthread_mutex_lock(&f->lock);
	for (unsigned i = 0; i < size; i++) {
		uint8_t mask = f->writable[reg + i], byte = (uint8_t)(value >> (8 * i));

		f->config[reg + i] = (uint8_t)((f->config[reg + i] & ~mask) | (byte & mask));
	}
	if (reg < PCI_BAR0 + 4 * PCI_BARS)
		bars_update(f);
	pci_messages_update(f);
	intx_update(f);
	pthread_mutex_unlock(&f->lock);
}
