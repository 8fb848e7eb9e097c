/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "machine/firmware/aml.h"

#include <assert.h>
#include <string.h>

enum {
	AML_ZERO_OP = 0x00,
	AML_ONE_OP = 0x01,
	AML_NAME_OP = 0x08,
	AML_BYTE_PREFIX = 0x0a,
	AML_WORD_PREFIX = 0x0b,
	AML_DWORD_PREFIX = 0x0c,
	AML_STRING_PREFIX = 0x0d,
	AML_QWORD_PREFIX = 0x0e,
	AML_SCOPE_OP = 0x10,
	AML_BUFFER_OP = 0x11,
	AML_PACKAGE_OP = 0x12,
	AML_METHOD_OP = 0x14,
	AML_DUAL_NAME_PREFIX = 0x2e,
	AML_MULTI_NAME_PREFIX = 0x2f,
	AML_EXT_PREFIX = 0x5b,
	AML_DEVICE_OP = 0x82, /* behind AML_EXT_PREFIX */
	AML_RETURN_OP = 0xa4,
	AML_STORE_OP = 0x70,
	AML_ARG0 = 0x68,
	AML_IF_OP = 0xa0,
};

void aml_bytes(struct aml *a, const void *bytes, size_t count)
{
	if (count > a->size - a->len) {
		a->overflow = true;
		return;
	}
	memcpy(a->bytes + a->len, bytes, count);
	a->len += count;
}

void aml_byte(struct aml *a, uint8_t byte)
{
	aml_bytes(a, &byte, 1);
}

/* Little endian. */
static void aml_number(struct aml *a, uint64_t value, unsigned bytes)
{
	while (bytes-- > 0) {
		aml_byte(a, (uint8_t)value);
		value >>= 8;
	}
}

/* ---- names ---- */

static void name_segment(struct aml *a, const char *text, size_t len)
{
	char segment[4] = {'_', '_', '_', '_'};

	assert(len >= 1 && len <= 4);
	memcpy(segment, text, len);
	aml_bytes(a, segment, 4);
}

static void name_string(struct aml *a, const char *path)
{
	unsigned segments = 1;

	if (*path == '\\')
		aml_byte(a, (uint8_t)*path++);
	for (const char *p = path; *p; p++)
		segments += *p == '.';
	if (segments == 2)
		aml_byte(a, AML_DUAL_NAME_PREFIX);
	if (segments > 2) {
		aml_byte(a, AML_MULTI_NAME_PREFIX);
		aml_byte(a, (uint8_t)segments);
	}
	while (*path) {
		size_t len = strcspn(path, ".");

		name_segment(a, path, len);
		path += len + (path[len] == '.');
	}
}

/* ---- objects with a length (PkgLength, ACPI 20.2.4) ---- */

static void object_open(struct aml *a)
{
	assert(a->depth < AML_DEPTH);
	a->open[a->depth++] = a->len;
}

/*
 * The length counts itself, in one to three bytes: the contents are moved up to make room.  It is
 * shorter by two bits in the first byte when more follow.
 */
void aml_close(struct aml *a)
{
	size_t at = a->open[--a->depth], contents = a->len - at;
	unsigned bytes = contents + 1 < 0x40 ? 1 : contents + 2 < 0x1000 ? 2 : 3;
	size_t length = contents + bytes;

	for (unsigned i = 0; i < bytes; i++)
		aml_byte(a, 0);
	if (a->overflow)
		return;
	memmove(a->bytes + at + bytes, a->bytes + at, contents);
	if (bytes == 1) {
		a->bytes[at] = (uint8_t)length;
		return;
	}
	a->bytes[at] = (uint8_t)((bytes - 1) << 6 | (length & 0x0f));
	for (unsigned i = 1; i < bytes; i++)
		a->bytes[at + i] = (uint8_t)(length >> (8 * i - 4));
}

void aml_scope(struct aml *a, const char *path)
{
	aml_byte(a, AML_SCOPE_OP);
	object_open(a);
	name_string(a, path);
}

void aml_device(struct aml *a, const char *path)
{
	aml_byte(a, AML_EXT_PREFIX);
	aml_byte(a, AML_DEVICE_OP);
	object_open(a);
	name_string(a, path);
}

void aml_method(struct aml *a, const char *path, unsigned nargs)
{
	aml_byte(a, AML_METHOD_OP);
	object_open(a);
	name_string(a, path);
	aml_byte(a, (uint8_t)nargs);
}

void aml_package(struct aml *a, unsigned count)
{
	aml_byte(a, AML_PACKAGE_OP);
	object_open(a);
	aml_byte(a, (uint8_t)count);
}

/* ---- data ---- */

void aml_name(struct aml *a, const char *path)
{
	aml_byte(a, AML_NAME_OP);
	name_string(a, path);
}

void aml_integer(struct aml *a, uint64_t value)
{
	static const struct {
		uint64_t max;
		uint8_t prefix, bytes;
	} forms[] = {
		{0xff, AML_BYTE_PREFIX, 1},
		{0xffff, AML_WORD_PREFIX, 2},
		{0xffffffff, AML_DWORD_PREFIX, 4},
		{UINT64_MAX, AML_QWORD_PREFIX, 8},
	};
	unsigned i = 0;

	if (value <= 1) {
		aml_byte(a, value ? AML_ONE_OP : AML_ZERO_OP);
		return;
	}
	while (value > forms[i].max)
		i++;
	aml_byte(a, forms[i].prefix);
	aml_number(a, value, forms[i].bytes);
}

void aml_string(struct aml *a, const char *text)
{
	aml_byte(a, AML_STRING_PREFIX);
	aml_bytes(a, text, strlen(text) + 1);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

/* Three letters of five bits and four hex digits, big endian (ACPI 19.6.36). */
void aml_eisa_id(struct aml *a, const char *id)
{
	unsigned letters = 0, number = 0;

	for (int i = 0; i < 3; i++)
		letters = letters << 5 | (unsigned)(id[i] - '@');
	for (int i = 3; i < 7; i++)
		number = number << 4 | hex_digit(id[i]);
	aml_byte(a, AML_DWORD_PREFIX);
	aml_byte(a, (uint8_t)(letters >> 8));
	aml_byte(a, (uint8_t)letters);
	aml_byte(a, (uint8_t)(number >> 8));
	aml_byte(a, (uint8_t)number);
}

void aml_store_arg0(struct aml *a, const char *path)
{
	aml_byte(a, AML_STORE_OP);
	aml_byte(a, AML_ARG0);
	name_string(a, path);
}

void aml_if(struct aml *a, const char *path)
{
	aml_byte(a, AML_IF_OP);
	object_open(a);
	name_string(a, path);
}

void aml_return(struct aml *a, const char *path)
{
	aml_byte(a, AML_RETURN_OP);
	name_string(a, path);
}

/* ---- resources ---- */

void aml_resources(struct aml *a)
{
	aml_byte(a, AML_BUFFER_OP);
	object_open(a);
	aml_byte(a, AML_WORD_PREFIX);
	a->buffer_size = a->len;
	aml_number(a, 0, 2);
}

void aml_resources_end(struct aml *a)
{
	static const uint8_t end_tag[] = {0x79, 0x00}; /* checksum 0: not used */

	aml_bytes(a, end_tag, sizeof(end_tag));
	size_t size = a->len - a->buffer_size - 2;

	if (!a->overflow) {
		a->bytes[a->buffer_size] = (uint8_t)size;
		a->bytes[a->buffer_size + 1] = (uint8_t)(size >> 8);
	}
	aml_close(a);
}

void aml_res_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_byte(a, 0x47); /* small, I/O port, 7 bytes */
	aml_byte(a, 1);	   /* decodes 16 bits */
	aml_number(a, base, 2);
	aml_number(a, base, 2);
	aml_byte(a, 1); /* alignment */
	aml_byte(a, len);
}

void aml_res_irq(struct aml *a, unsigned line)
{
	aml_byte(a, 0x22); /* small, IRQ, 2 bytes: edge, active high */
	aml_number(a, 1u << line, 2);
}

void aml_res_memory(struct aml *a, uint32_t base, uint32_t len)
{
	aml_byte(a, 0x86); /* large, 32-bit fixed memory */
	aml_number(a, 9, 2);
	aml_byte(a, 1); /* writable */
	aml_number(a, base, 4);
	aml_number(a, len, 4);
}

enum { WINDOW_MEMORY, WINDOW_IO, WINDOW_BUS };

/*
 * An address space descriptor whose numbers have `bytes` bytes: both ends fixed, positive decode.
 */
static void res_window(struct aml *a, uint8_t tag, unsigned bytes, uint8_t type, uint8_t flags,
	uint32_t first, uint32_t last)
{
	aml_byte(a, tag);
	aml_number(a, 3 + 5 * bytes, 2);
	aml_byte(a, type);
	aml_byte(a, 0x0c); /* minimum and maximum are fixed */
	aml_byte(a, flags);
	aml_number(a, 0, bytes); /* granularity */
	aml_number(a, first, bytes);
	aml_number(a, last, bytes);
	aml_number(a, 0, bytes); /* translation */
	aml_number(a, (uint64_t)last - first + 1, bytes);
}

void aml_res_window_bus(struct aml *a, uint16_t first, uint16_t last)
{
	res_window(a, 0x88, 2, WINDOW_BUS, 0, first, last);
}

void aml_res_window_io(struct aml *a, uint16_t first, uint16_t last)
{
	res_window(a, 0x88, 2, WINDOW_IO, 3, first,
		last); /* 3: the whole range, not ISA's part of it */
}

void aml_res_window_memory(struct aml *a, uint32_t first, uint32_t last)
{
	res_window(a, 0x87, 4, WINDOW_MEMORY, 1, first, last); /* 1: writable, not cacheable */
}
