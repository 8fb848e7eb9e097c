/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "machine/firmware/dsdt.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "machine/firmware/aml.h"
#include "machine/firmware/firmware.h"

/* Devices of the core, whose resources no model carries. */
static const struct core_device {
	const char *name, *hid;
	struct {
		uint16_t port;
		uint8_t size;
	} ports[4];
	int irq; /* -1: none */
	uint32_t memory, memory_size;
} core_devices[] = {
	{"PIC", "PNP0000", {{PC_PIC1_PORT, 2}, {PC_PIC2_PORT, 2}, {PC_ELCR_PORT, 2}}, 2, 0, 0},
	{"TIMR", "PNP0100", {{PC_PIT_PORT, 4}}, PC_PIT_IRQ, 0, 0},
	{"RTC", "PNP0B00", {{PC_RTC_INDEX, 2}}, PC_RTC_IRQ, 0, 0},
	{"HPET", "PNP0103", {{0, 0}}, -1, PC_HPET_BASE, PC_HPET_SIZE},
	/* The configuration space has to be reserved by a motherboard device (PCI
	   firmware 3.2, 4.1.2). */
	{"MB", "PNP0C02", {{PC_POST_PORT, 1}, {PC_PORT92, 1}}, -1, PC_ECAM_BASE, PC_ECAM_SIZE},
};

static void core_device(struct aml *a, const struct core_device *d)
{
	aml_device(a, d->name);
	aml_name(a, "_HID");
	aml_eisa_id(a, d->hid);
	aml_name(a, "_CRS");
	aml_resources(a);
	for (int i = 0; i < 4 && d->ports[i].size > 0; i++)
		aml_res_io(a, d->ports[i].port, d->ports[i].size);
	if (d->irq >= 0)
		aml_res_irq(a, (unsigned)d->irq);
	if (d->memory)
		aml_res_memory(a, d->memory, d->memory_size);
	aml_resources_end(a);
	aml_close(a);
}

static void unit_resource(struct aml *a, const struct device_resource *res)
{
	if (res->hidden)
		return;
	switch (res->kind) {
	case DEVICE_RES_PORTS:
		aml_res_io(a, (uint16_t)res->base, (uint8_t)res->size);
		break;
	case DEVICE_RES_MEMORY:
		aml_res_memory(a, (uint32_t)res->base, (uint32_t)res->size);
		break;
	case DEVICE_RES_IRQ:
		aml_res_irq(a, (unsigned)res->base);
		break;
	case DEVICE_RES_NONE:
		break;
	}
}

/* "PNP0501" is packed into an integer, "QEMU0001" stays text. */
static void hardware_id(struct aml *a, const char *id)
{
	aml_name(a, "_HID");
	if (strlen(id) == 7)
		aml_eisa_id(a, id);
	else
		aml_string(a, id);
}

/* A name in capitals is the ACPI name. */
static void open_device(struct aml *a, const char *name, const char *id)
{
	char path[5] = "";

	for (unsigned i = 0; i < 4 && name[i]; i++)
		path[i] = (char)toupper((unsigned char)name[i]);
	aml_device(a, path);
	hardware_id(a, id);
}

static void beside_device(struct aml *a, const struct device_beside *beside)
{
	open_device(a, beside->name, beside->acpi_hid);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_irq(a, beside->irq);
	aml_resources_end(a);
	aml_close(a);
}

static void unit_device(struct aml *a, const struct device_unit *unit, unsigned uid)
{
	open_device(a, unit->name, unit->acpi_hid);
	aml_name(a, "_UID");
	aml_integer(a, uid);
	aml_name(a, "_CRS");
	aml_resources(a);
	for (unsigned i = 0; i < DEVICE_MAX_RESOURCES; i++)
		unit_resource(a, &unit->res[i]);
	aml_resources_end(a);
	aml_close(a);
}

/* INTA..INTD of every slot: I/O APIC pins, or the ISA lines to which firmware routes the links. */
static void pci_routes(struct aml *a, const char *name, bool apic)
{
	static const uint8_t lines[] = PC_PIRQ_LINES;
	enum { SLOTS = 32, PINS = 4 };

	aml_name(a, name);
	aml_package(a, (SLOTS - 1) * PINS);
	/* Slot 0 is the host bridge, which has no pin. */
	for (unsigned slot = 1; slot < SLOTS; slot++) {
		for (unsigned pin = 0; pin < PINS; pin++) {
			unsigned link = PC_PCI_LINK(slot, pin);

			aml_package(a, 4);
			aml_integer(a, slot << 16 | 0xffff); /* any function */
			aml_integer(a, pin);
			aml_integer(a, 0); /* no link device: */
			aml_integer(a, apic ? PC_PCI_PIN_FIRST + link : lines[link]);
			aml_close(a);
		}
	}
	aml_close(a);
}

/* The guest says by _PIC which interrupt controller it uses (ACPI 6.4, 5.8.1). */
static void pci_routing(struct aml *a)
{
	pci_routes(a, "PRTA", true);
	pci_routes(a, "PRTP", false);
	aml_method(a, "_PRT", 0);
	aml_if(a, "\\PICM");
	aml_return(a, "PRTA");
	aml_close(a);
	aml_return(a, "PRTP");
	aml_close(a);
}

static void pic_mode(struct aml *a)
{
	aml_name(a, "\\PICM");
	aml_integer(a, 0);
	aml_method(a, "\\_PIC", 1);
	aml_store_arg0(a, "\\PICM");
	aml_close(a);
}

static void pci_root(struct aml *a)
{
	aml_device(a, "PCI0");
	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0A03");
	aml_name(a, "_BBN");
	aml_integer(a, 0);
	aml_name(a, "_UID");
	aml_integer(a, 0);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_window_bus(a, 0, 255);
	aml_res_io(a, PC_PCI_CONF_ADDR, 8);
	aml_res_window_io(a, 0, PC_PCI_CONF_ADDR - 1);
	aml_res_window_io(a, PC_PCI_CONF_ADDR + 8, 0xffff);
	aml_res_window_memory(a, PC_PCI_HOLE_BASE, PC_PCI_HOLE_LIMIT - 1);
	aml_resources_end(a);
	pci_routing(a);
	aml_close(a);
}

static void processors(struct aml *a, unsigned ncpus)
{
	char name[5];

	for (unsigned i = 0; i < ncpus; i++) {
		snprintf(name, sizeof(name), "CP%02u", i % 100);
		aml_device(a, name);
		aml_name(a, "_HID");
		aml_string(a, "ACPI0007");
		aml_name(a, "_UID");
		aml_integer(a, i);
		aml_close(a);
	}
}

static void sleep_state(struct aml *a, const char *name, unsigned slp_typ)
{
	aml_name(a, name);
	aml_package(a, 2);
	aml_integer(a, slp_typ);
	aml_integer(a, 0);
	aml_close(a);
}

void dsdt_fill(struct aml *a, const struct firmware_facts *facts)
{
	unsigned uid = 1;

	pic_mode(a);
	sleep_state(a, "\\_S3", PC_SLP_TYP_S3);
	sleep_state(a, "\\_S5", PC_SLP_TYP_S5);

	aml_scope(a, "\\_SB");
	processors(a, facts->ncpus);
	pci_root(a);
	for (size_t i = 0; i < sizeof(core_devices) / sizeof(core_devices[0]); i++)
		core_device(a, &core_devices[i]);
	for (size_t i = 0; i < facts->nunits; i++) {
		if (facts->units[i]->acpi_hid)
			unit_device(a, facts->units[i], uid++);
		if (facts->units[i]->beside.name)
			beside_device(a, &facts->units[i]->beside);
	}
	aml_close(a);
}
