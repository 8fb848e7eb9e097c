/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Writes ACPI machine language (ACPI 6.4, chapter 20): just what describing a PC takes.  Objects
 * are opened and closed; closing fills in the length.  Running out of room is remembered, not
 * fatal.
 */
#ifndef MACHINE_FIRMWARE_AML_H
#define MACHINE_FIRMWARE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_DEPTH = 12 };

struct aml {
	uint8_t *bytes;
	size_t size, len;
	bool overflow;
	size_t open[AML_DEPTH]; /* where the lengths of open objects belong */
	unsigned depth;
	size_t buffer_size; /* where the size of the open resource template belongs */
};

void aml_byte(struct aml *aml, uint8_t byte);
void aml_bytes(struct aml *aml, const void *bytes, size_t count);

/* `path` is like "\\_SB", "PCI0" or "\\_SB.PCI0"; short segments are filled up with '_'. */
void aml_scope(struct aml *aml, const char *path);
void aml_device(struct aml *aml, const char *path);
void aml_method(struct aml *aml, const char *path, unsigned nargs);
void aml_package(struct aml *aml, unsigned count);
void aml_close(struct aml *aml);

/* Name (path, ...): a data object must follow. */
void aml_name(struct aml *aml, const char *path);
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
/* "PNP0A03" */
void aml_eisa_id(struct aml *aml, const char *id);
/* Store (Arg0, path) */
void aml_store_arg0(struct aml *aml, const char *path);
/* If (path) { ... aml_close */
void aml_if(struct aml *aml, const char *path);
/* Return (path) */
void aml_return(struct aml *aml, const char *path);

/* A resource template as a buffer, and the descriptors in it (ACPI 6.4). */
void aml_resources(struct aml *aml);
void aml_resources_end(struct aml *aml);
void aml_res_io(struct aml *aml, uint16_t base, uint8_t len);
void aml_res_irq(struct aml *aml, unsigned line);
void aml_res_memory(struct aml *aml, uint32_t base, uint32_t len);
/* Windows of a bridge: what it passes on. */
void aml_res_window_bus(struct aml *aml, uint16_t first, uint16_t last);
void aml_res_window_io(struct aml *aml, uint16_t first, uint16_t last);
void aml_res_window_memory(struct aml *aml, uint32_t first, uint32_t last);

#endif
