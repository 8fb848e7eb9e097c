/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/x86/encodings.h"
#include "x86/insn_table.h"

/* splitmix64 */
uint32_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static bool one_in(struct rng *rng, uint32_t n)
{
	return rng_below(rng, n) == 0;
}

struct writer {
	struct rng *rng;
	const struct x86_form *form;
	unsigned code_size;
	uint8_t *out;
};

static void put(struct writer *w, unsigned byte)
{
	*w->out++ = (uint8_t)byte;
}

/* The value that the row asks of a key bit, or a random one. */
static unsigned key_bit(struct writer *w, unsigned bits)
{
	if (w->form->mask & bits)
		return !!(w->form->value & bits);
	return rng_below(w->rng, 2);
}

static unsigned mandatory_prefix(struct writer *w)
{
	if ((w->form->mask & X86_K_PP) == X86_K_PP)
		return (w->form->value & X86_K_PP) >> X86_K_PP_SHIFT;
	return X86_PP_NP;
}

static void put_prefixes(struct writer *w)
{
	static const uint8_t prefix[] = {
		0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x48};
	static const uint8_t how_many[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 3};
	bool vex = w->form->group >= X86_MAP_VEX * 256;
	unsigned n = how_many[rng_below(w->rng, sizeof(how_many))];

	if (vex && !one_in(w->rng, 8))
		n = 0; /* most are illegal there */
	while (n--)
		put(w, prefix[rng_below(w->rng, sizeof(prefix))]);
}

static void put_legacy(struct writer *w, unsigned map)
{
	static const uint8_t pp[] = {0, 0x66, 0xf3, 0xf2};
	bool wide = key_bit(w, X86_K_RW) && (w->form->mask & X86_K_RW || one_in(w->rng, 2));

	if (mandatory_prefix(w))
		put(w, pp[mandatory_prefix(w)]);
	if (w->code_size == 64 && (wide || one_in(w->rng, 2)))
		put(w, 0x40 | (wide ? 8 : 0) | rng_below(w->rng, 8));
	if (map != X86_MAP_OP)
		put(w, 0x0f);
	if (map == X86_MAP_0F38 || map == X86_MAP_0F3A)
		put(w, map == X86_MAP_0F38 ? 0x38 : 0x3a);
}

static bool uses_vvvv(const struct x86_form *form)
{
	for (unsigned i = 0; i < X86_FORM_OPERANDS && form->spec[i]; i++)
		if (x86_specs[form->spec[i]].field == X86_OF_VVVV)
			return true;
	return false;
}

static void put_vex(struct writer *w, unsigned map)
{
	unsigned wide = key_bit(w, X86_K_W | X86_K_RW), length = key_bit(w, X86_K_L);
	unsigned vvvv = uses_vvvv(w->form) || one_in(w->rng, 16) ? rng_below(w->rng, 16) : 15;
	unsigned last = wide << 7 | vvvv << 3 | length << 2 | mandatory_prefix(w);
	unsigned rxb = rng_below(w->rng, 8) << 5;

	if (w->code_size != 64)
		rxb |= 0xc0; /* else LES, LDS */
	if (map == X86_MAP_0F && !wide && one_in(w->rng, 2)) {
		put(w, 0xc5);
		put(w, (rxb & 0x80) | last);
		return;
	}
	put(w, 0xc4);
	put(w, rxb | map);
	put(w, last);
}

static void put_modrm(struct writer *w)
{
	unsigned fixed = w->form->mask & X86_K_MODRM;
	unsigned modrm = (rng_below(w->rng, 256) & ~fixed) | (w->form->value & X86_K_MODRM);

	if (w->form->mask & X86_K_MEM) {
		bool memory = w->form->value & X86_K_MEM;

		modrm = (modrm & 0x3f) | (memory ? rng_below(w->rng, 3) << 6 : 0xc0);
	}
	put(w, modrm);
}

void encoding_of_row(
	struct rng *rng, unsigned row, unsigned code_size, uint8_t bytes[ENCODING_BYTES])
{
	struct writer w = {rng, &x86_forms[row], code_size, bytes};
	unsigned map = w.form->group / 256, opcode = w.form->group % 256;

	for (unsigned i = 0; i < ENCODING_BYTES; i++)
		bytes[i] = (uint8_t)rng_next(rng);
	put_prefixes(&w);
	if (map < X86_MAP_VEX)
		put_legacy(&w, map);
	else
		put_vex(&w, map - X86_MAP_VEX + X86_MAP_0F);
	put(&w, w.form->flags & X86_FORM_Z ? opcode + rng_below(rng, 8) : opcode);
	if (w.form->flags & X86_FORM_MODRM)
		put_modrm(&w);
}

void encoding_any(struct rng *rng, unsigned code_size, uint8_t bytes[ENCODING_BYTES])
{
	if (one_in(rng, 8)) {
		for (unsigned i = 0; i < ENCODING_BYTES; i++)
			bytes[i] = (uint8_t)rng_next(rng);
		return;
	}
	encoding_of_row(rng, rng_below(rng, x86_row_count), code_size, bytes);
	if (one_in(rng, 16))
		bytes[rng_below(rng, X86_INSN_MAX)] ^= (uint8_t)(1u << rng_below(rng, 8));
}
