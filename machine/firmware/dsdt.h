/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The differentiated system description table: the PC's devices in AML. For machine/firmware/. */
#ifndef MACHINE_FIRMWARE_DSDT_H
#define MACHINE_FIRMWARE_DSDT_H

struct aml;
struct firmware_facts;

/* The definition block behind the table's header. */
void dsdt_fill(struct aml *aml, const struct firmware_facts *facts);

#endif
