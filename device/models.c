/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "device/device.h"

/* The list: a new model is its folder or file, and a line here. */
const struct device_model *const device_models[] = {
	&device_pci_root,
	&device_acpi_pm,
	&device_reset,
	&device_post,
	&device_fwcfg,
	&device_testdev,
	&device_uart,
	&device_ps2,
	&device_pvpanic,
};

const size_t device_nmodels = sizeof(device_models) / sizeof(device_models[0]);
