/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The decoder: against encodings written out by hand (decode_vectors.def), against an independent
 * decoder over many generated ones, and against itself where bytes are missing or too many.
 *
 * HYVE_DECODE_N: encodings per code size.  HYVE_DECODE_SEED: where they start.
 * HYVE_DECODE_GAPS=1: prints what the other decoder knows and we do not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "test/x86/encodings.h"
#include "test/x86/oracle.h"
#include "x86/insn_table.h"

#ifdef HYVE_SAN
#define DEFAULT_N 300000
#else
#define DEFAULT_N 100000000
#endif

static const unsigned code_sizes[] = {16, 32, 64};

static unsigned long env_number(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

static void hex(char *text, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		text += sprintf(text, "%02x ", bytes[i]);
	text[-1] = 0;
}

/* ---- an instruction as one line of text ---- */

static const char *gpr_name(unsigned reg, unsigned size, bool high)
{
	static const char *const name[4][16] = {
		{"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b",
			"r12b", "r13b", "r14b", "r15b"},
		{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w",
			"r12w", "r13w", "r14w", "r15w"},
		{"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d",
			"r11d", "r12d", "r13d", "r14d", "r15d"},
		{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
			"r12", "r13", "r14", "r15"},
	};
	static const char *const high_name[4] = {"ah", "ch", "dh", "bh"};

	return high ? high_name[reg] : name[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3][reg];
}

static char *put_memory(char *p, const struct x86_insn *insn)
{
	static const char *const seg[] = {"es", "cs", "ss", "ds", "fs", "gs"};
	const struct x86_mem *mem = &insn->mem;

	p += sprintf(p, "[%s:", seg[mem->seg]);
	if (mem->base == X86_RIP_BASE)
		p += sprintf(p, "rip");
	else if (mem->base != X86_NOREG)
		p += sprintf(p, "%s", gpr_name(mem->base, insn->addrsize, false));
	if (mem->index != X86_NOREG && insn->row->props & X86_P_VSIB)
		p += sprintf(p, "+v%u*%u", mem->index, 1u << mem->scale);
	else if (mem->index != X86_NOREG)
		p += sprintf(
			p, "+%s*%u", gpr_name(mem->index, insn->addrsize, false), 1u << mem->scale);
	p += sprintf(p, "%s0x%llx]%u", mem->disp < 0 ? "-" : "+",
		(unsigned long long)(mem->disp < 0 ? -(uint64_t)mem->disp : (uint64_t)mem->disp),
		mem->size);
	return p;
}

static char *put_operand(
	char *p, const struct x86_insn *insn, const struct x86_operand *op, unsigned imm)
{
	static const char *const prefix[] = {[X86_OK_SEG] = "sreg",
		[X86_OK_CR] = "cr",
		[X86_OK_DR] = "dr",
		[X86_OK_ST] = "st",
		[X86_OK_MMX] = "mm",
		[X86_OK_XMM] = "xmm",
		[X86_OK_YMM] = "ymm"};
	static const char *const access[] = {"-", "r", "w", "rw"};

	switch (op->kind) {
	case X86_OK_GPR:
		return p + sprintf(p, " %s=%s", access[op->access],
				   gpr_name(op->reg, op->size, op->high));
	case X86_OK_MEM:
		p += sprintf(p, " %s=", access[op->access]);
		if (insn->has_mem)
			return put_memory(p, insn);
		return p + sprintf(p, "(%s)%u", gpr_name(op->reg, insn->addrsize, false), op->size);
	case X86_OK_IMM:
		return p + sprintf(p, " %lld", imm ? (long long)insn->imm2 : (long long)insn->imm);
	case X86_OK_REL:
		return p + sprintf(p, " rel%+lld", (long long)insn->imm);
	case X86_OK_FAR:
		return p + sprintf(p, " far%x:%llx", insn->imm2, (unsigned long long)insn->imm);
	default:
		return p + sprintf(p, " %s=%s%u", access[op->access], prefix[op->kind], op->reg);
	}
}

/*
 * "lock add o4a8 rw=[ds:rbx+0x8]4 r=eax R=0x9 W=0x0": sizes, operands, registers read and written.
 */
static void describe(char *p, const struct x86_insn *insn)
{
	unsigned imms = 0;

	p += sprintf(p, "%s%s%s o%ua%u", insn->lock ? "lock " : "", insn->rep ? "rep " : "",
		insn->row->name, insn->opsize, insn->addrsize);
	for (unsigned i = 0; i < insn->nops; i++)
		p = put_operand(p, insn, &insn->op[i], insn->op[i].kind == X86_OK_IMM ? imms++ : 0);
	sprintf(p, " R=%x W=%x", insn->gpr_read, insn->gpr_write);
}

/* ---- by hand ---- */

static const struct {
	const char *bytes;
	unsigned code_size;
	const char *text; /* NULL: #UD */
} vectors[] = {
#define VECTOR(code_size, bytes, text) {bytes, code_size, text},
#include "test/x86/decode_vectors.def"
#undef VECTOR
};

static unsigned parse_hex(const char *text, uint8_t *bytes)
{
	unsigned n = 0;
	int used;

	while (sscanf(text, " %2hhx%n", &bytes[n], &used) == 1) {
		text += used;
		n++;
	}
	return n;
}

static void test_vectors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		enum x86_decode_result res;
		struct x86_insn insn;
		uint8_t bytes[32] = {0};
		char text[300] = "#UD";
		unsigned n = parse_hex(vectors[i].bytes, bytes);

		res = x86_decode(&insn, bytes, sizeof(bytes), vectors[i].code_size);
		if (res == X86_DECODE_OK)
			describe(text, &insn);
		if (strcmp(text, vectors[i].text ? vectors[i].text : "#UD"))
			fail_msg("%u-bit %s: expected \"%s\", got \"%s\"", vectors[i].code_size,
				vectors[i].bytes, vectors[i].text, text);
		if (res == X86_DECODE_OK) {
			assert_int_equal(insn.len, n);
			assert_memory_equal(insn.bytes, bytes, n);
		}
	}
}

/* ---- against the other decoder ---- */

static struct oracle oracle;
static unsigned long gaps[ZYDIS_MNEMONIC_MAX_VALUE + 1];

/* What is different, in words, or false. */
static bool differs(const uint8_t *bytes, unsigned code_size, char text[static 300])
{
	struct x86_insn insn;
	enum x86_decode_result res = x86_decode(&insn, bytes, X86_INSN_MAX, code_size);
	bool known = oracle_decode(&oracle, bytes, X86_INSN_MAX, code_size);
	const char *why = NULL;
	char digits[100];

	if (res == X86_DECODE_OK)
		why = known ? oracle_compare(&oracle, &insn) : "no instruction there";
	else if (known && res == X86_DECODE_UD && oracle_not_ours(&oracle))
		gaps[oracle.insn.mnemonic]++;
	else if (known)
		why = "no instruction here";
	if (!why)
		return false;
	hex(digits, bytes, X86_INSN_MAX);
	snprintf(text, 300, "%u-bit %s: %s (%s, %s)", code_size, digits, why,
		res == X86_DECODE_OK ? insn.row->name : "-", known ? oracle_name(&oracle) : "-");
	return true;
}

static void compare_one(const uint8_t *bytes, unsigned code_size)
{
	char text[300];

	if (differs(bytes, code_size, text))
		fail_msg("%s", text);
}

static void print_gaps(void)
{
	for (unsigned i = 0; i <= ZYDIS_MNEMONIC_MAX_VALUE; i++)
		if (gaps[i])
			print_message(
				"%10lu %s\n", gaps[i], ZydisMnemonicGetString((ZydisMnemonic)i));
}

static bool compare_many(unsigned size, unsigned long n)
{
	struct rng rng = {env_number("HYVE_DECODE_SEED", 1) * 0x10001 + size};
	uint8_t bytes[ENCODING_BYTES];
	char text[300];

	for (unsigned long k = 0; k < n; k++) {
		encoding_any(&rng, code_sizes[size], bytes);
		if (differs(bytes, code_sizes[size], text)) {
			fprintf(stderr, "%s\n", text);
			return false;
		}
	}
	if (getenv("HYVE_DECODE_GAPS"))
		print_gaps();
	return true;
}

/* A process for each code size, as this takes minutes. */
static void test_against_oracle(void **state)
{
	unsigned long n = env_number("HYVE_DECODE_N", DEFAULT_N);
	pid_t child[3];

	(void)state;
	oracle_init(&oracle);
	for (unsigned i = 0; i < 3; i++) {
		fflush(NULL);
		child[i] = fork();
		assert_true(child[i] >= 0);
		if (child[i] == 0) {
			bool same = compare_many(i, n);

			fflush(NULL);
			_exit(same ? 0 : 1);
		}
	}
	for (unsigned i = 0; i < 3; i++) {
		int status;

		assert_int_equal(waitpid(child[i], &status, 0), child[i]);
		assert_int_equal(status, 0);
	}
	print_message("# %lu encodings in each of three code sizes, no difference\n", n);
}

/* ---- every one- and two-byte opcode with every ModRM byte ---- */

static void test_opcode_maps(void **state)
{
	static const uint8_t escape[][2] = {{0}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
	static const uint8_t prefix[] = {0, 0x66, 0xf3, 0xf2};

	(void)state;
	oracle_init(&oracle);
	for (unsigned i = 0; i < 3 * 4 * 4 * 65536u; i++) {
		unsigned pp = i >> 16 & 3, map = i >> 18 & 3;
		uint8_t bytes[X86_INSN_MAX] = {0}, *p = bytes;

		if (pp)
			*p++ = prefix[pp];
		for (unsigned k = 0; k < 2 && escape[map][k]; k++)
			*p++ = escape[map][k];
		*p++ = (uint8_t)(i >> 8);
		*p++ = (uint8_t)i;
		*p++ = 0x24; /* SIB: no index */
		compare_one(bytes, code_sizes[i >> 20]);
	}
}

/* ---- too few bytes and too many ---- */

static void test_truncated(void **state)
{
	struct rng rng = {7};

	(void)state;
	for (unsigned k = 0; k < 300000; k++) {
		unsigned code_size = code_sizes[k % 3];
		uint8_t bytes[ENCODING_BYTES];
		struct x86_insn insn, part;

		encoding_any(&rng, code_size, bytes);
		if (x86_decode(&insn, bytes, X86_INSN_MAX, code_size) != X86_DECODE_OK)
			continue;
		assert_in_range(insn.len, 1, X86_INSN_MAX);
		for (unsigned n = 0; n < insn.len; n++)
			assert_int_equal(x86_decode(&part, bytes, n, code_size), X86_DECODE_MORE);
		assert_int_equal(x86_decode(&part, bytes, insn.len, code_size), X86_DECODE_OK);
		assert_int_equal(part.len, insn.len);
	}
}

static void test_too_long(void **state)
{
	uint8_t bytes[20];
	struct x86_insn insn;

	(void)state;
	memset(bytes, 0x2e, sizeof(bytes));
	bytes[14] = 0x90;
	assert_int_equal(x86_decode(&insn, bytes, sizeof(bytes), 64), X86_DECODE_OK);
	assert_int_equal(insn.len, 15);
	bytes[14] = 0x05; /* four more bytes */
	assert_int_equal(x86_decode(&insn, bytes, sizeof(bytes), 64), X86_DECODE_LONG);
	bytes[14] = 0x2e;
	assert_int_equal(x86_decode(&insn, bytes, sizeof(bytes), 64), X86_DECODE_LONG);
	assert_int_equal(x86_decode(&insn, bytes, 14, 64), X86_DECODE_MORE);
}

/* ---- the table itself ---- */

/* Rows of one opcode are neighbours, and the index points to the last of them. */
static void test_index(void **state)
{
	(void)state;
	for (unsigned i = 0; i < x86_row_count; i++) {
		const struct x86_form *form = &x86_forms[i];
		unsigned last = (x86_index[form->group] & X86_INDEX_ROW) - 1;

		assert_int_equal(x86_rows[i].id, i);
		assert_true(last >= i && last < x86_row_count);
		for (unsigned k = i; k <= last; k++)
			assert_int_equal(x86_forms[k].group, form->group);
		assert_int_equal(
			form->flags & X86_FORM_MODRM, x86_forms[last].flags & X86_FORM_MODRM);
	}
}

static bool is_memory_only(unsigned method)
{
	return method == X86_M_MEM || method == X86_M_VSIB;
}

/* What the columns of one row promise each other. */
static void test_rows(void **state)
{
	(void)state;
	for (unsigned i = 0; i < x86_row_count; i++) {
		const struct x86_row *row = &x86_rows[i];
		const struct x86_form *form = &x86_forms[i];

		assert_int_equal(form->value & ~form->mask, 0);
		assert_int_equal(row->fl_kill & ~row->fl_write, 0);
		assert_false(row->props & X86_P_I64 && row->props & X86_P_O64);
		assert_false(row->class == X86_NATIVE && row->props & X86_P_PRIV);
		assert_false(row->class == X86_NATIVE && row->props & X86_P_VSIB);
		for (unsigned k = 0; k < X86_FORM_OPERANDS && form->spec[k]; k++)
			if (is_memory_only(x86_specs[form->spec[k]].method) &&
				!(form->mask & form->value & X86_K_MEM))
				fail_msg("%s %s takes memory only", row->name, row->syntax);
		if (row->props & X86_P_LOCK && form->spec[0])
			assert_true(form->access & X86_WR);
	}
}

/* Each row is found by some encoding: none is hidden behind another. */
static void test_rows_reachable(void **state)
{
	struct rng rng = {3};

	(void)state;
	for (unsigned i = 0; i < x86_row_count; i++) {
		bool found = false;

		for (unsigned k = 0; k < 3000 && !found; k++) {
			unsigned code_size = code_sizes[k % 3];
			uint8_t bytes[ENCODING_BYTES];
			struct x86_insn insn;

			encoding_of_row(&rng, i, code_size, bytes);
			found = x86_decode(&insn, bytes, sizeof(bytes), code_size) ==
					X86_DECODE_OK &&
				insn.row == &x86_rows[i];
		}
		if (!found)
			fail_msg("%s %s is never decoded", x86_rows[i].name, x86_rows[i].syntax);
	}
}

/* With a memory and without: the same, whatever stands behind a head that is known already. */
static void test_cached(void **state)
{
	struct x86_decode_cache *cache = calloc(1, sizeof(*cache));
	struct rng rng = {11};
	unsigned long known = 0;

	(void)state;
	assert_non_null(cache);
	for (unsigned k = 0; k < 300000; k++) {
		uint8_t bytes[ENCODING_BYTES + X86_INSN_MAX];
		struct x86_insn plain, cached;

		for (unsigned i = ENCODING_BYTES; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)rng_next(&rng);
		encoding_any(&rng, 64, bytes);
		for (unsigned again = 0; again < 4; again++) {
			memset(&plain, 0, sizeof(plain));
			memset(&cached, 0, sizeof(cached));
			assert_int_equal(x86_decode_cached(cache, &cached, bytes, sizeof(bytes)),
				x86_decode(&plain, bytes, sizeof(bytes), 64));
			assert_memory_equal(&cached, &plain, sizeof(plain));
			for (unsigned i = 1 + rng_below(&rng, 8); i < sizeof(bytes); i++)
				bytes[i] = (uint8_t)rng_next(&rng);
		}
	}
	for (unsigned i = 0; i < 1u << X86_DECODE_CACHE_BITS; i++)
		known += cache->entry[i].key != 0;
	assert_in_range(known, 1u << (X86_DECODE_CACHE_BITS - 1), 1u << X86_DECODE_CACHE_BITS);
	free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_rows_reachable),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_opcode_maps),
		cmocka_unit_test(test_cached),
		cmocka_unit_test(test_against_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
