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
	bool asleep; /* until an enabled event */
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

/*
 * Caller holds the lock. Whether the guest has to be woken, for which it must be dropped. `always` wakes
 * without being enabled.
 */
static bool wakes(struct acpi_pm *pm, uint16_t always)
{
	if (!pm->asleep || !(pm->status & (pm->enable | always) & PM1_EN_MASK))
		return false;
	pm->asleep = false;
	pm->status |= PM1_WAK;
	return true;
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
	int type = -1;
	bool wake;

	pthread_mutex_lock(&pm->lock);
	bits |= pm->control & ~mask;
	if (bits & PC_SLP_EN)
		type = bits >> PM1_SLP_TYP_SHIFT & PM1_SLP_TYP_MASK;
	pm->control = bits & (uint16_t)~PC_SLP_EN; /* write-only */
	pm->asleep |= type == PC_SLP_TYP_S3;
	sci_update(pm);
	wake = wakes(pm, 0); /* at once: something has come up already */
	pthread_mutex_unlock(&pm->lock);
	if (type == PC_SLP_TYP_S5)
		guest_end(pm->guest, GUEST_POWEROFF);
	else if (type == PC_SLP_TYP_S3)
		guest_end(pm->guest, GUEST_SLEEP);
	if (wake)
		guest_wake(pm->guest);
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
	bool wake;

	pthread_mutex_lock(&pm->lock);
	if (event == DEVICE_POWER_BUTTON && !(pm->control & PM1_SCI_EN))
		log_warn(pm->guest->log, "acpi", "power button: the guest does not use ACPI yet");
	pm->status |= event == DEVICE_POWER_BUTTON ? PM1_PWRBTN : PM1_RTC;
	sci_update(pm);
	/* A PC's button does so also if the guest has no driver for it. */
	wake = wakes(pm, event == DEVICE_POWER_BUTTON ? PM1_PWRBTN : 0);
	pthread_mutex_unlock(&pm->lock);
	if (wake)
		guest_wake(pm->guest);
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
