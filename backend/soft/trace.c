/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * soft.trace: the guest's code and what became of it, side by side, for every block when it is
 * translated. On the left address, bytes and text of a guest instruction; on the right, from the
 * same line on, the code for it, by its place in the code cache.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/soft/disasm.h"
#include "backend/soft/soft.h"

enum { LEFT = 68 };

struct soft_trace {
	pthread_mutex_t lock; /* one block at a time */
	FILE *out;
	struct disasm *disasm;
};

int soft_trace_open(struct soft_vm *s, const char *path, char *why, size_t size)
{
	struct soft_trace *t = calloc(1, sizeof(*t));
	int error;

	soft_trace_close(s);
	if (!t) {
		snprintf(why, size, "no memory");
		return ENOMEM;
	}
	pthread_mutex_init(&t->lock, NULL);
	s->trace = t;
	error = disasm_create(&t->disasm, why, size);
	if (!error) {
		t->out = fopen(path, "we");
		error = t->out ? 0 : errno;
		if (error)
			snprintf(why, size, "%s", strerror(error));
	}
	if (error)
		soft_trace_close(s);
	return error;
}

void soft_trace_close(struct soft_vm *s)
{
	struct soft_trace *t = s->trace;

	s->trace = NULL;
	if (!t)
		return;
	if (t->out)
		fclose(t->out);
	disasm_destroy(t->disasm);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* ---- the right column ---- */

/* Where a direct call or jump with 32 bits of displacement goes; NULL: it is none. */
static const uint8_t *target_of(const uint8_t *code, unsigned len)
{
	int32_t rel;

	if (!(len == 5 && (code[0] & 0xfe) == 0xe8) &&
		!(len == 6 && code[0] == 0x0f && (code[1] & 0xf0) == 0x80))
		return NULL;
	__builtin_memcpy(&rel, code + len - 4, 4);
	return code + len + rel;
}

/* Members of struct soft_vcpu that translated code names by their offset from r15. */
static const struct {
	size_t offset;
	const char *name;
} members[] = {
	{offsetof(struct soft_vcpu, cpu.gpr[X86_R12]), "guest r12"},
	{offsetof(struct soft_vcpu, cpu.gpr[X86_R13]), "guest r13"},
	{offsetof(struct soft_vcpu, cpu.gpr[X86_R14]), "guest r14"},
	{offsetof(struct soft_vcpu, cpu.gpr[X86_R15]), "guest r15"},
	{offsetof(struct soft_vcpu, cpu.rip), "rip"},
	{offsetof(struct soft_vcpu, cpu.rflags), "rflags"},
	{offsetof(struct soft_vcpu, flags16), "flags16"},
	{offsetof(struct soft_vcpu, reason), "reason"},
	{offsetof(struct soft_vcpu, run), "run"},
};

/* " ; name" behind a memory operand there. */
static void put_member(FILE *out, const char *text)
{
	static const char base[] = "[r15+";
	const char *at = strstr(text, base);
	unsigned long offset;
	char *end;

	if (!at)
		return;
	offset = strtoul(at + sizeof(base) - 1, &end, 16);
	for (size_t i = 0; *end == ']' && i < sizeof(members) / sizeof(members[0]); i++)
		if (members[i].offset == offset)
			fprintf(out, " ; %s", members[i].name);
}

/* Behind a jump out of the block: " ; name". */
static void put_target(FILE *out, struct soft_cache *c, const uint8_t *code, unsigned len)
{
	const uint8_t *to = target_of(code, len);
	const struct soft_block *b;
	const char *name;

	if (!to)
		return;
	to += c->rx - c->rw;
	name = soft_thunk_name(c, to);
	b = soft_block_at(c, to);
	if (name)
		fprintf(out, " ; %s", name);
	else if (b && (to == c->rx + b->host || to == c->rx + b->host_mem))
		fprintf(out, " ; block %#llx", (unsigned long long)b->rip);
}

/* Host code [from, to) beside `left`, which stands on the first line. */
static void put_piece(
	struct soft_trace *t, struct soft_cache *c, const char *left, uint32_t from, uint32_t to)
{
	char text[DISASM_TEXT];

	if (from >= to)
		fprintf(t->out, "%s\n", left);
	while (from < to) {
		const uint8_t *code = c->rw + from;
		unsigned len = disasm_insn(t->disasm, 64, from, code, to - from, text);

		fprintf(t->out, "%-*s | %6x  %s", LEFT, left, from,
			len ? text : "(no instruction)");
		put_member(t->out, text);
		put_target(t->out, c, code, len);
		fputc('\n', t->out);
		from += len ? len : 1;
		left = "";
	}
}

/* ---- the left column ---- */

static unsigned bits_of(const struct soft_block *b)
{
	return 16u << SOFT_MODE_SIZE(b->mode);
}

/* The guest's instruction at `offset` of the block, whose page is at `page`. */
static void describe(const struct soft_trace *t, const struct soft_block *b, const uint8_t *page,
	unsigned offset, char *left, size_t size)
{
	unsigned at = (unsigned)(b->gpa & 0xfff) + offset, room = 4096 - at, len;
	char text[DISASM_TEXT], bytes[2 * X86_INSN_MAX + 1] = "";
	uint64_t rip = b->rip + offset;

	if (room > X86_INSN_MAX)
		room = X86_INSN_MAX;
	len = disasm_insn(t->disasm, bits_of(b), rip, page + at, room, text);
	for (unsigned i = 0; i < (len ? len : room); i++)
		snprintf(bytes + 2 * i, 3, "%02x", page[at + i]);
	snprintf(left, size, "%0*llx  %-16s %s", bits_of(b) == 64 ? 16 : 8, (unsigned long long)rip,
		bytes, len ? text : "(undefined, or across the page's end)");
}

static void put_header(
	const struct soft_trace *t, const struct soft_vcpu *v, const struct soft_block *b)
{
	fprintf(t->out,
		"vcpu %d: block %#llx, guest-physical %#llx, %u-bit, CPL %u, mode %#x: "
		"%u instructions, %u bytes -> %u bytes\n",
		v->vcpuid, (unsigned long long)b->rip, (unsigned long long)b->gpa, bits_of(b),
		b->mode >> SOFT_MODE_CPL_SHIFT & 3, b->mode, b->nsites, b->sites[b->nsites].guest,
		b->size);
}

static void put_block(struct soft_trace *t, struct soft_vcpu *v, const struct soft_block *b)
{
	struct soft_cache *c = &v->cache;
	const uint8_t *page = soft_ram(v, b->gpa & ~0xfffull);
	char left[160];

	if (!page)
		return;
	put_header(t, v, b);
	if (b->host_mem < b->host + b->sites[0].host)
		put_piece(t, c, "entry", b->host_mem, b->host + b->sites[0].host);
	for (unsigned i = 0; i < b->nsites; i++) {
		describe(t, b, page, b->sites[i].guest, left, sizeof(left));
		put_piece(t, c, left, b->host + b->sites[i].host, b->host + b->sites[i + 1].host);
	}
	if (b->host + b->sites[b->nsites].host < soft_block_end(b))
		put_piece(t, c, "ways out", b->host + b->sites[b->nsites].host, soft_block_end(b));
	fputc('\n', t->out);
	fflush(t->out); /* the last block before a crash is the one that is looked for */
}

static bool is_wanted(const struct soft_vm *s, const struct soft_block *b)
{
	return b->rip <= s->trace_last && b->rip + b->sites[b->nsites].guest > s->trace_first;
}

void soft_observe(struct soft_vcpu *v, const struct soft_block *b)
{
	bool parked = soft_park(v);
	struct soft_trace *t = v->soft->trace;

	if (v->soft->perf)
		soft_perf_block(v, b);
	if (t && is_wanted(v->soft, b)) {
		pthread_mutex_lock(&t->lock);
		put_block(t, v, b);
		pthread_mutex_unlock(&t->lock);
	}
	soft_unpark(v, parked);
}
