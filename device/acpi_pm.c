/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * ACPI's fixed hardware: the PM1a event and control registers and the SMI command port
 * (ACPI 4.8.3).  The PM timer between them is a chip of the core.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "host/host.h"

enum {
	PM1_STS = 0, /* offsets in the event block */
	PM1_EN = 2,

	PM1_PWRBTN = 1u << 8, /* in both */
	PM1_RTC = 1u << 10,
	PM1_GBL = 1u << 5,
	PM1_WAK = 1u << 15, /* status only */
	PM1_STS_MASK = PM1_PWRBTN | PM1_RTC | PM1_GBL | PM1_WAK,
	PM1_EN_MASK = PM1_PWRBTN | PM1_RTC | PM1_GBL,

	PM1_SCI_EN = 1u << 0, /* control */
	PM1_SLP_TYP_SHIFT = 10,
	PM1_SLP_TYP_MASK = 7,
};

struct acpi_pm {
	pthread_mutex_t lock;
	struct guest *guest;
	uint16_t status, enable, control;
	bool sci;
};

/* Caller holds the lock. */
static void sci_update(struct acpi_pm *pm)
{
	bool sci = (pm->control & PM1_SCI_EN) && (pm->status & pm->enable & PM1_EN_MASK);

	if (sci != pm->sci) {
		pm->sci = sci;
		guest_irq(pm->guest, PC_SCI_IRQ, sci);
	}
}

static uint64_t event_read(void *arg, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = arg;

	(void)size; /* 2: the width that we asked for, or a byte */
	pthread_mutex_lock(&pm->lock);
	uint32_t both = (uint32_t)pm->enable << 16 | pm->status;

	pthread_mutex_unlock(&pm->lock);
	return both >> (8 * offset) & device_all_ones(size);
}

static void event_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *pm = arg;
	uint32_t bits = (uint32_t)(value & device_all_ones(size)) << (8 * offset);
	uint32_t mask = (uint32_t)device_all_ones(size) << (8 * offset);

	pthread_mutex_lock(&pm->lock);
	pm->status &= (uint16_t) ~(bits & PM1_STS_MASK); /* write one to clear */
	pm->enable = (uint16_t)((pm->enable & ~(mask >> 16)) | (bits >> 16 & PM1_EN_MASK));
	sci_update(pm);
	pthread_mutex_unlock(&pm->lock);
}

static uint64_t control_read(void *arg, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = arg;

	pthread_mutex_lock(&pm->lock);
	uint16_t control = pm->control;

	pthread_mutex_unlock(&pm->lock);
	return control >> (8 * offset) & device_all_ones(size);
}

static void control_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *pm = arg;
	uint16_t mask = (uint16_t)(device_all_ones(size) << (8 * offset));
	uint16_t bits = (uint16_t)(value << (8 * offset)) & mask;
	bool off;

	pthread_mutex_lock(&pm->lock);
	bits |= pm->control & ~mask;
	off = (bits & PC_SLP_EN) && (bits >> PM1_SLP_TYP_SHIFT & PM1_SLP_TYP_MASK) == PC_SLP_TYP_S5;
	pm->control = bits & (uint16_t)~PC_SLP_EN; /* write-only */
	sci_update(pm);
	pthread_mutex_unlock(&pm->lock);
	if (off)
		guest_end(pm->guest, GUEST_POWEROFF);
}

/* There is no SMM: the command takes effect at once. */
static void smi_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *pm = arg;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&pm->lock);
	if (value == PC_ACPI_ENABLE)
		pm->control |= PM1_SCI_EN;
	else if (value == PC_ACPI_DISABLE)
		pm->control &= (uint16_t)~PM1_SCI_EN;
	sci_update(pm);
	pthread_mutex_unlock(&pm->lock);
}

static uint64_t smi_read(void *arg, uint64_t offset, unsigned size)
{
	(void)arg;
	(void)offset;
	return device_all_ones(size);
}

static void pm_event(void *dev, enum device_event event)
{
	struct acpi_pm *pm = dev;

	if (event != DEVICE_POWER_BUTTON)
		return;
	pthread_mutex_lock(&pm->lock);
	if (!(pm->control & PM1_SCI_EN))
		log_warn(pm->guest->log, "acpi", "power button: the guest does not use ACPI yet");
	pm->status |= PM1_PWRBTN;
	sci_update(pm);
	pthread_mutex_unlock(&pm->lock);
}

static int pm_create(const struct device_args *args, void **dev)
{
	struct acpi_pm *pm = calloc(1, sizeof(*pm));

	if (!pm) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	pthread_mutex_init(&pm->lock, NULL);
	pm->guest = args->guest;
	guest_irq_level(pm->guest, PC_SCI_IRQ);
	*dev = pm;
	return 0;
}

static void pm_destroy(void *dev)
{
	struct acpi_pm *pm = dev;

	pthread_mutex_destroy(&pm->lock);
	free(pm);
}

static const struct guest_io event_io = {.width = 2, .read = event_read, .write = event_write};
static const struct guest_io control_io = {
	.width = 2, .read = control_read, .write = control_write};
static const struct guest_io smi_io = {.width = 1, .read = smi_read, .write = smi_write};

static const struct device_unit pm_units[] = {
	{
		.name = "acpi",
		.config = "acpi",
		.res =
			{
				{DEVICE_RES_PORTS, PC_PM1A_EVT, 4, &event_io, true},
				{DEVICE_RES_PORTS, PC_PM1A_CNT, 2, &control_io, true},
				{DEVICE_RES_PORTS, PC_SMI_CMD, 1, &smi_io, true},
			},
	},
};

const struct device_model device_acpi_pm = {
	.name = "acpi",
	.units = pm_units,
	.nunits = sizeof(pm_units) / sizeof(pm_units[0]),
	.create = pm_create,
	.destroy = pm_destroy,
	.event = pm_event,
};
