/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <string.h>

#include "test/differential/value.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum {
	FXSAVE_FCW = 0,
	FXSAVE_FSW = 2,
	FXSAVE_FTW = 4,
	FXSAVE_MXCSR = 24,
	FXSAVE_ST = 32,
	FXSAVE_XMM = 160,
	XSAVE_BV = 512,
	XSAVE_YMM = 576
};

uint64_t value_integer(struct diff_random *r)
{
	static const uint64_t edges[] = {0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xff, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000,
		0xffffffffffffffff, 0xffffffffffffff80, 0xffffffffffff8000, 0xffffffff80000000,
		0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0x0102030405060708, 0x00ff00ff00ff00ff};
	uint64_t any = random_next(r);

	switch (any >> 60) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		return edges[random_below(r, COUNT(edges))];
	case 5:
		return 1ull << (any & 63);
	case 6:
		return (1ull << (any & 63)) - 1;
	case 7:
		return -(1ull << (any & 63));
	case 8:
		return any & 0xff;
	case 9:
		return any & 0x3f;
	case 10:
		return (uint32_t)any;
	case 11:
		return (uint64_t)(int64_t)(int32_t)any;
	default:
		return random_next(r);
	}
}

static uint32_t value_float(struct diff_random *r)
{
	static const uint32_t edges[] = {0, 1, 0x007fffff, 0x00400000, 0x00800000, 0x00800001,
		0x3f800000, 0x3f800001, 0x3f7fffff, 0x3f000000, 0x3fc00000, 0x40200000, 0x40490fdb,
		0x4b000000, 0x4b7fffff, 0x4effffff, 0x4f000000, 0x4f800000, 0x5effffff, 0x5f000000,
		0x5f800000, 0x7f7fffff, 0x7f000000, 0x7f800000, 0x7fc00000, 0x7fc12345, 0x7f800001,
		0x7fa00000, 0x42f6e979, 0x1e3ce508, 0x00000400, 0x33000000};
	uint32_t sign = (uint32_t)(random_next(r) >> 32) & 0x80000000;

	return one_in(r, 4) ? (uint32_t)(random_next(r) >> 32)
			    : edges[random_below(r, COUNT(edges))] | sign;
}

static uint64_t value_double(struct diff_random *r)
{
	static const uint64_t edges[] = {0, 1, 0x000fffffffffffff, 0x0008000000000000,
		0x0010000000000000, 0x3ff0000000000000, 0x3ff0000000000001, 0x3fefffffffffffff,
		0x3fe0000000000000, 0x3ff8000000000000, 0x4004000000000000, 0x400921fb54442d18,
		0x41dfffffffc00000, 0x41e0000000000000, 0x41efffffffe00000, 0x43dfffffffffffff,
		0x43e0000000000000, 0x43f0000000000000, 0x4330000000000000, 0x7fefffffffffffff,
		0x7fe0000000000000, 0x7ff0000000000000, 0x7ff8000000000000, 0x7ff8123456789abc,
		0x7ff0000000000001, 0x7ff4000000000000, 0x47efffffe0000000, 0x36a0000000000000,
		0x380fffffc0000000};
	uint64_t sign = random_next(r) & 0x8000000000000000;

	return one_in(r, 4) ? random_next(r) : edges[random_below(r, COUNT(edges))] | sign;
}

/* Extended precision: also the encodings that no x87 since the 387 produces. */
static void value_extended(struct diff_random *r, uint8_t out[10])
{
	static const struct {
		uint64_t significand;
		uint16_t exponent;
	} edges[] = {{0, 0}, {1, 0}, {0x7fffffffffffffff, 0},
		{0x8000000000000000, 0}, /* pseudo-denormal */
		{0x8000000000000000, 1}, {0x8000000000000000, 0x3fff}, {0x8000000000000001, 0x3fff},
		{0xffffffffffffffff, 0x3ffe}, {0xc000000000000000, 0x3fff},
		{0xc90fdaa22168c235, 0x4000}, {0xc90fdaa22168c235, 0x3ffe},
		{0x8000000000000000, 0x3ffe}, {0xffffffffffffffff, 0x403d},
		{0x8000000000000000, 0x403e}, {0x8000000000000000, 0x403f},
		{0xde0b6b3a763ffff0, 0x403a}, /* about 1e18: the edge of packed decimal */
		{0xffffffffffffffff, 0x7ffe}, {0x8000000000000000, 0x7fff}, /* infinity */
		{0, 0x7fff}, {0xc000000000000000, 0x7fff}, {0xc000000000001234, 0x7fff},
		{0x8000000000000001, 0x7fff}, {0xa000000000000000, 0x7fff}, {1, 0x7fff},
		{0x4000000000000000, 0x3fff}, /* unnormal */
		{0xffffff0000000000, 0x407e}, {0xfffffffffffff800, 0x43fe},
		{0x8000000000000000, 0x3c00}};
	unsigned i = random_below(r, COUNT(edges));
	uint64_t any = random_next(r), significand = edges[i].significand;
	uint16_t exponent = edges[i].exponent;

	if (one_in(r, 4)) {
		significand = random_next(r) | 1ull << 63;
		exponent = (uint16_t)(0x3fff - 40 + (any & 127));
	}
	exponent |= (uint16_t)(any >> 48 & 0x8000);
	memcpy(out, &significand, 8);
	memcpy(out + 8, &exponent, 2);
}

static unsigned value_lane(struct diff_random *r, unsigned kind, uint8_t *out)
{
	uint64_t wide;
	uint32_t narrow;

	switch (kind) {
	case 0:
		narrow = value_float(r);
		memcpy(out, &narrow, 4);
		return 4;
	case 1:
		wide = value_double(r);
		memcpy(out, &wide, 8);
		return 8;
	case 2:
		value_extended(r, out);
		return 10;
	case 3:
		wide = value_integer(r);
		memcpy(out, &wide, 4);
		return 4;
	case 4:
		wide = value_integer(r);
		memcpy(out, &wide, 8);
		return 8;
	default:
		wide = random_next(r);
		memcpy(out, &wide, 8);
		return 8;
	}
}

void value_bytes(struct diff_random *r, uint8_t *out, unsigned len)
{
	unsigned kind = random_below(r, 6);
	uint8_t lane[16];

	for (unsigned at = 0; at < len;) {
		unsigned n = value_lane(r, kind, lane);

		if (n > len - at)
			n = len - at;
		memcpy(out + at, lane, n);
		at += n;
	}
}

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, 2);
}

/* Mostly masked exceptions; ES agrees with flags and masks, as the hardware keeps it. */
static void value_x87(struct diff_random *r, uint8_t *fpu, bool mmx)
{
	uint64_t any = random_next(r);
	uint16_t fcw = (uint16_t)(0x40 | (any & 0xf00)), fsw = (uint16_t)(any >> 16 & 0x7f00);

	fcw |= one_in(r, 8) ? (uint16_t)(any >> 32 & 0x3f) : 0x3f;
	if (one_in(r, 4))
		fcw = 0x37f;
	if (one_in(r, 4))
		fsw |= (uint16_t)(any >> 40 & 0x7f);
	fsw &= (uint16_t)~0x8080u;
	if (fsw & ~fcw & 0x3f)
		fsw |= one_in(r, 4) ? 0x8080 : 0;
	if (!(fsw & 0x80))
		fsw &= (uint16_t)(fcw | ~0x3f); /* no pending exception */
	put16(fpu + FXSAVE_FCW, fcw);
	put16(fpu + FXSAVE_FSW, fsw);
	fpu[FXSAVE_FTW] = mmx || one_in(r, 2) ? 0xff : (uint8_t)(any >> 48);
	for (unsigned i = 0; i < 8; i++) {
		uint8_t *st = fpu + FXSAVE_ST + 16 * i;

		if (mmx) {
			value_bytes(r, st, 8);
			put16(st + 8, 0xffff);
		} else {
			value_extended(r, st);
		}
	}
}

static void value_sse(struct diff_random *r, uint8_t *fpu)
{
	uint64_t any = random_next(r);
	uint32_t mxcsr = (uint32_t)(any & 0xe040); /* rounding, FTZ, DAZ */

	mxcsr |= one_in(r, 8) ? (uint32_t)(any >> 16 & 0x1f80) : 0x1f80;
	mxcsr |= one_in(r, 4) ? (uint32_t)(any >> 32 & 0x3f) : 0;
	if (one_in(r, 4))
		mxcsr = 0x1f80;
	memcpy(fpu + FXSAVE_MXCSR, &mxcsr, 4);
	for (unsigned i = 0; i < 16; i++) {
		value_bytes(r, fpu + FXSAVE_XMM + 16 * i, 16);
		value_bytes(r, fpu + XSAVE_YMM + 16 * i, 16);
	}
}

void value_fpu(struct diff_random *r, uint8_t fpu[X86_XSAVE_SIZE], bool mmx)
{
	static const uint64_t components = X86_XCR0_SUPPORTED;

	memset(fpu, 0, X86_XSAVE_SIZE);
	memcpy(fpu + XSAVE_BV, &components, 8);
	value_x87(r, fpu, mmx);
	value_sse(r, fpu);
}
