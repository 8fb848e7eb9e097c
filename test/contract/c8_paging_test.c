/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmm-api.md 8.4, and section 14 on it: what a page may be used for, in each paging mode.  Every
 * case is asked twice: of the API's walk, and of a guest that does it (SDM vol. 3, 4.6, 4.7).
 *
 *	gla 0	     all of RAM for the supervisor: handlers, stack, supervisor code
 *	gla 4 MiB    the same for the user
 *	gla 8 MiB    the page of the case: physical 0x50000; or a large page at 0
 *	gla 1 GiB    in 64-bit mode: a page of 1 GiB at 0
 */
#include "test/contract/contract.h"

#define P     0x1u
#define W     0x2u
#define U     0x4u
#define A     0x20u
#define D     0x40u
#define PS    0x80u
#define NX    (1ull << 63)
#define RSVD  (1ull << 51) /* beyond any physical address here */
#define LARGE 0x1000000u   /* in `leaf`: the level above is the leaf */
#define GIANT 0x2000000u   /* ... the one above that */
#define OK    (-1)

#define TABLES	0x60000u
#define UP	0x400000u
#define GLA	0x800000u
#define GIGA	0x40000000u
#define TARGET	0x50000u
#define HANDLER 0x3000u
#define IDT	0x4000u
#define TSS	0x0900u
#define ENTRY	0x1000u

enum mode { PAGED32, PAGEDPAE, PAGED64 };

struct paging_row {
	const char *name;
	enum mode mode;
	char access; /* r, w, x */
	int cpl;
	uint64_t leaf, upper; /* flags of the entry that maps the page, and of the one above */
	/* What else is on: */
	bool wp, nxe, smep, smap, ac;
	int code; /* of the page fault, or OK */
};

struct world {
	uint64_t gla;
	void *leaf, *upper; /* the entries */
	int size;	    /* of an entry */
};

static void put(struct contract *c, enum mode mode, uint32_t table, unsigned i, uint64_t entry)
{
	memcpy(c->ram + table + i * (mode == PAGED32 ? 4 : 8), &entry, mode == PAGED32 ? 4 : 8);
}

static uint64_t entry_at(const struct world *w, const void *at)
{
	uint64_t entry = 0;

	memcpy(&entry, at, (size_t)w->size);
	return entry;
}

/* The low 2 MiB through a table, for the supervisor and, aliased, for the user. */
static void map_ram(struct contract *c, enum mode mode, uint32_t directory, uint32_t table)
{
	for (unsigned i = 0; i < RAM_SIZE >> 12; i++) {
		put(c, mode, table, i, i << 12 | P | W);
		put(c, mode, table + 0x1000, i, i << 12 | P | W | U);
	}
	put(c, mode, directory, 0, table | P | W);
	put(c, mode, directory, mode == PAGED32 ? 1 : 2, (table + 0x1000) | P | W | U);
}

static struct world map_case(struct contract *c, const struct paging_row *row, uint32_t directory)
{
	unsigned slot = row->mode == PAGED32 ? GLA >> 22 : GLA >> 21;
	int size = row->mode == PAGED32 ? 4 : 8;
	uint32_t table = directory + 0x3000;
	struct world w = {
		.gla = GLA, .size = size, .upper = c->ram + directory + slot * (unsigned)size};

	if (row->leaf & LARGE) {
		w.gla = GLA + TARGET;
		w.leaf = w.upper;
		w.upper = w.leaf;
		put(c, row->mode, directory, slot, (row->leaf & ~(uint64_t)LARGE) | PS);
		return w;
	}
	w.leaf = c->ram + table;
	put(c, row->mode, table, 0, TARGET | row->leaf);
	put(c, row->mode, directory, slot, table | row->upper);
	return w;
}

static struct world map64(struct contract *c, const struct paging_row *row)
{
	struct world w;

	put(c, PAGED64, TABLES, 0, (TABLES + 0x1000) | P | W | U);
	put(c, PAGED64, TABLES + 0x1000, 0, (TABLES + 0x2000) | P | W | U);
	map_ram(c, PAGED64, TABLES + 0x2000, TABLES + 0x3000);
	if (!(row->leaf & GIANT))
		return map_case(c, row, TABLES + 0x2000);
	put(c, PAGED64, TABLES + 0x1000, 1, (row->leaf & ~(uint64_t)GIANT) | PS);
	w = (struct world){GIGA + TARGET, c->ram + TABLES + 0x1008, c->ram + TABLES, 8};
	return w;
}

static struct world map(struct contract *c, const struct paging_row *row)
{
	struct world w;

	memset(c->ram + TABLES, 0, 0x8000);
	if (row->mode == PAGED64)
		return map64(c, row);
	if (row->mode == PAGED32) {
		map_ram(c, PAGED32, TABLES, TABLES + 0x1000);
		return map_case(c, row, TABLES);
	}
	put(c, PAGEDPAE, TABLES, 0, (TABLES + 0x1000) | P);
	map_ram(c, PAGEDPAE, TABLES + 0x1000, TABLES + 0x2000);
	w = map_case(c, row, TABLES + 0x1000);
	set_reg(c, 0, VM_REG_GUEST_PDPTE0, (TABLES + 0x1000) | P);
	for (int i = 1; i < 4; i++)
		set_reg(c, 0, VM_REG_GUEST_PDPTE0 + i, 0);
	return w;
}

static void set_control(struct contract *c, const struct paging_row *row)
{
	uint64_t cr4 = CR4_PSE;

	if (row->mode != PAGED32)
		cr4 |= CR4_PAE;
	cr4 |= (row->smep ? CR4_SMEP : 0) | (row->smap ? CR4_SMAP : 0);
	set_reg(c, 0, VM_REG_GUEST_CR3, TABLES);
	set_reg(c, 0, VM_REG_GUEST_CR4, cr4);
	set_reg(c, 0, VM_REG_GUEST_EFER,
		(row->mode == PAGED64 ? EFER_LME | EFER_LMA : 0) | (row->nxe ? EFER_NXE : 0));
	set_reg(c, 0, VM_REG_GUEST_CR0, CR0_PE | CR0_NE | CR0_PG | (row->wp ? CR0_WP : 0));
}

static void set_segment(struct contract *c, int reg, uint16_t selector, uint32_t access)
{
	struct seg_desc desc = {0, UINT32_MAX, access};

	assert_int_equal(vm_set_seg_desc(c->vm, 0, reg, &desc), 0);
	set_reg(c, 0, reg, selector);
}

static void set_segments(struct contract *c, const struct paging_row *row)
{
	uint32_t dpl = row->cpl ? 0x60 : 0;

	set_segment(c, VM_REG_GUEST_SS, row->cpl ? 0x33 : 0x10, 0xc093 | dpl);
	set_segment(c, VM_REG_GUEST_DS, 0x33, 0xc0f3);
	if (row->mode == PAGED64)
		set_segment(c, VM_REG_GUEST_CS, row->cpl ? 0x3b : 0x08, 0xa09b | dpl);
	else
		set_segment(c, VM_REG_GUEST_CS, row->cpl ? 0x1b : 0x18, 0xc09b | dpl);
}

/* Handlers of #UD and #PF report their vector, with the error code on the stack. */
static void write_handlers(struct contract *c, enum mode mode)
{
	struct seg_desc idtr = {IDT, 0xfff, 0}, tr = {TSS, 0x67, 0x8b};
	const uint64_t stack = STACK, stack32 = STACK | (uint64_t)0x10 << 32;

	for (unsigned v = 0; v < 32; v++) {
		const uint8_t code[] = {0xb0, (uint8_t)v, 0xe6, DONE_PORT};
		const uint64_t gate = (HANDLER + v * 8) | (mode == PAGED64 ? 0x08u : 0x18u) << 16 |
				      (uint64_t)0x8e00 << 32;

		memcpy(c->ram + HANDLER + v * 8, code, sizeof(code));
		memcpy(c->ram + IDT + v * (mode == PAGED64 ? 16 : 8), &gate, 8);
	}
	memcpy(c->ram + TSS + 4, mode == PAGED64 ? &stack : &stack32, 8);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_TR, &tr), 0);
	set_reg(c, 0, VM_REG_GUEST_TR, 0x40);
}

static struct world build(struct contract *c, const struct paging_row *row)
{
	struct world w;

	/* The access, then UD2, which says that it went well; the page of the case has a UD2, too.
	 */
	GUEST(protected_mode, c, 0, "\x8b\x03\x0f\x0b"); /* mov eax, [ebx] */
	if (row->access == 'w')
		PLACE(c, ENTRY, "\x89\x03"); /* mov [ebx], eax */
	if (row->access == 'x')
		PLACE(c, ENTRY, "\xff\xe3"); /* jmp ebx */
	PLACE(c, TARGET, "\x0f\x0b\x00\x00");
	w = map(c, row);
	write_handlers(c, row->mode);
	set_segments(c, row);
	set_control(c, row);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, row->ac ? 0x40002 : 2);
	set_reg(c, 0, VM_REG_GUEST_RAX, 0x0b0f);
	set_reg(c, 0, VM_REG_GUEST_RBX, w.gla);
	set_reg(c, 0, VM_REG_GUEST_RSP, STACK);
	c->run[0].vm_exit.rip = row->cpl ? UP + ENTRY : ENTRY;
	return w;
}

/* Accessed all the way, dirty where written. */
static void expect_used(const struct paging_row *row, const struct world *w)
{
	assert_int_equal(entry_at(w, w->leaf) & (A | D), row->access == 'w' ? A | D : A);
	assert_int_equal(entry_at(w, w->upper) & A, A);
}

static void walk(void **state)
{
	struct contract *c = *state;
	const struct paging_row *row = c->row;
	struct world w = build(c, row);
	struct vm_guest_paging paging;
	uint64_t gpa = 0, info1, info2;
	int fault = -1;
	int prot = row->access == 'r'	? PROT_READ
		   : row->access == 'w' ? PROT_WRITE
					: PROT_READ | PROT_EXEC;

	assert_int_equal(vm_get_paging(c->vm, 0, &paging), 0);
	assert_int_equal(vm_gla2gpa(c->vm, 0, &paging, w.gla, prot, &gpa, &fault), 0);
	assert_int_equal(fault, row->code != OK);
	if (row->code == OK) {
		assert_int_equal(gpa, TARGET);
		expect_used(row, &w);
		return;
	}
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info2, (uint64_t)row->code << 32 | VM_INTINFO_VALID |
					VM_INTINFO_DEL_ERRCODE | VM_INTINFO_HWEXCEPTION | 14);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR2), w.gla);
}

static void run(void **state)
{
	struct contract *c = *state;
	const struct paging_row *row = c->row;
	struct world w = build(c, row);
	uint32_t vector = run_to_out(c, 0) & 0xff, code;

	if (row->code == OK) {
		assert_int_equal(vector, 6);
		expect_used(row, &w);
		return;
	}
	assert_int_equal(vector, 14);
	memcpy(&code, c->ram + get_reg(c, 0, VM_REG_GUEST_RSP), 4);
	assert_int_equal(code, row->code);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR2), w.gla);
	assert_int_equal(entry_at(&w, w.leaf) & D, 0);
}

/* ---- The cases ---- */

#define ALL P | W | U

/* Of all modes. */
#define COMMON(X)                                                                                  \
	X(read, 'r', 0, P, ALL, OK)                                                                \
	X(write, 'w', 0, P | W, ALL, OK)                                                           \
	X(fetch, 'x', 0, P, ALL, OK)                                                               \
	X(read_absent, 'r', 0, 0, ALL, 0)                                                          \
	X(write_absent, 'w', 0, W, ALL, 2)                                                         \
	X(read_absent_table, 'r', 0, ALL, 0, 0)                                                    \
	X(write_absent_table, 'w', 0, ALL, W, 2)                                                   \
	X(write_readonly, 'w', 0, P, ALL, OK)                                                      \
	X(write_readonly_wp, 'w', 0, P, ALL, 3, .wp = true)                                        \
	X(write_readonly_table_wp, 'w', 0, P | W, P | U, 3, .wp = true)                            \
	X(read_readonly_wp, 'r', 0, P, P | U, OK, .wp = true)                                      \
	X(user_read, 'r', 3, P | U, ALL, OK)                                                       \
	X(user_write, 'w', 3, ALL, ALL, OK)                                                        \
	X(user_fetch, 'x', 3, P | U, ALL, OK)                                                      \
	X(user_read_absent, 'r', 3, 0, ALL, 4)                                                     \
	X(user_write_absent, 'w', 3, 0, ALL, 6)                                                    \
	X(user_read_supervisor, 'r', 3, P | W, ALL, 5)                                             \
	X(user_read_supervisor_table, 'r', 3, ALL, P | W, 5)                                       \
	X(user_write_supervisor, 'w', 3, P | W, ALL, 7)                                            \
	X(user_write_readonly, 'w', 3, P | U, ALL, 7)                                              \
	X(user_write_readonly_table, 'w', 3, ALL, P | U, 7)                                        \
	X(user_fetch_supervisor, 'x', 3, P, ALL, 5)                                                \
	X(supervisor_reads_user_page, 'r', 0, P | U, ALL, OK)                                      \
	X(supervisor_fetches_user_page, 'x', 0, P | U, ALL, OK)                                    \
	X(smep_fetch, 'x', 0, P | U, ALL, 0x11, .smep = true)                                      \
	X(smep_fetch_supervisor_page, 'x', 0, P, ALL, OK, .smep = true)                            \
	X(smep_fetch_absent, 'x', 0, 0, ALL, 0x10, .smep = true)                                   \
	X(smep_read, 'r', 0, P | U, ALL, OK, .smep = true)                                         \
	X(smep_user_fetch, 'x', 3, P | U, ALL, OK, .smep = true)                                   \
	X(smap_read, 'r', 0, P | U, ALL, 1, .smap = true)                                          \
	X(smap_write, 'w', 0, ALL, ALL, 3, .smap = true)                                           \
	X(smap_read_with_ac, 'r', 0, P | U, ALL, OK, .smap = true, .ac = true)                     \
	X(smap_write_with_ac, 'w', 0, ALL, ALL, OK, .smap = true, .ac = true)                      \
	X(smap_supervisor_page, 'r', 0, P, ALL, OK, .smap = true)                                  \
	X(smap_user_read, 'r', 3, P | U, ALL, OK, .smap = true)                                    \
	X(large_read, 'r', 0, LARGE | P, 0, OK)                                                    \
	X(large_write, 'w', 0, LARGE | P | W, 0, OK, .wp = true)                                   \
	X(large_write_readonly_wp, 'w', 0, LARGE | P, 0, 3, .wp = true)                            \
	X(large_user_read, 'r', 3, LARGE | P | U, 0, OK)                                           \
	X(large_user_read_supervisor, 'r', 3, LARGE | P, 0, 5)                                     \
	X(large_user_write_readonly, 'w', 3, LARGE | P | U, 0, 7)

/* Of entries of 64 bits. */
#define WIDE(X)                                                                                    \
	X(nx_fetch, 'x', 0, P | NX, ALL, 0x11, .nxe = true)                                        \
	X(nx_fetch_by_table, 'x', 0, P, ALL | NX, 0x11, .nxe = true)                               \
	X(nx_read, 'r', 0, P | NX, ALL, OK, .nxe = true)                                           \
	X(nx_user_fetch, 'x', 3, P | U | NX, ALL, 0x15, .nxe = true)                               \
	X(nx_fetch_absent, 'x', 0, 0, ALL, 0x10, .nxe = true)                                      \
	X(nx_is_reserved_without_nxe, 'r', 0, P | NX, ALL, 9)                                      \
	X(reserved_bit, 'r', 0, P | RSVD, ALL, 9)                                                  \
	X(reserved_bit_on_write, 'w', 0, P | W | RSVD, ALL, 0xb)                                   \
	X(reserved_bit_for_user, 'r', 3, P | U | RSVD, ALL, 0xd)                                   \
	X(reserved_bit_of_table, 'r', 0, P, ALL | RSVD, 9)                                         \
	X(reserved_bit_before_rights, 'w', 3, P | RSVD, ALL, 0xf)                                  \
	X(reserved_bit_of_absent, 'r', 0, RSVD, ALL, 0)                                            \
	X(large_reserved_bit, 'r', 0, LARGE | P | 0x2000, 0, 9)                                    \
	X(large_nx_fetch, 'x', 0, LARGE | P | NX, 0, 0x11, .nxe = true)

#define ONLY32(X) X(large_reserved_bit, 'r', 0, LARGE | P | 0x200000, 0, 9)

#define ONLY64(X)                                                                                  \
	X(1g_read, 'r', 0, GIANT | P, 0, OK)                                                       \
	X(1g_write_readonly_wp, 'w', 0, GIANT | P, 0, 3, .wp = true)                               \
	X(1g_user_read_supervisor, 'r', 3, GIANT | P, 0, 5)                                        \
	X(1g_reserved_bit, 'r', 0, GIANT | P | 0x2000, 0, 9)

#define CASE(prefix, mode_, name_, access_, cpl_, leaf_, upper_, code_, ...)                       \
	{.name = prefix #name_,                                                                    \
		.mode = mode_,                                                                     \
		.access = access_,                                                                 \
		.cpl = cpl_,                                                                       \
		.leaf = leaf_,                                                                     \
		.upper = upper_,                                                                   \
		.code = code_,                                                                     \
		__VA_ARGS__},
#define WALK32(...)  CASE("c8_4_walk32_", PAGED32, __VA_ARGS__)
#define WALKPAE(...) CASE("c8_4_walkpae_", PAGEDPAE, __VA_ARGS__)
#define WALK64(...)  CASE("c8_4_walk64_", PAGED64, __VA_ARGS__)
#define RUN32(...)   CASE("c8_4_run32_", PAGED32, __VA_ARGS__)
#define RUNPAE(...)  CASE("c8_4_runpae_", PAGEDPAE, __VA_ARGS__)
#define RUN64(...)   CASE("c8_4_run64_", PAGED64, __VA_ARGS__)

static const struct paging_row walks[] = {COMMON(WALK32) ONLY32(WALK32) COMMON(WALKPAE)
		WIDE(WALKPAE) COMMON(WALK64) WIDE(WALK64) ONLY64(WALK64)};
static const struct paging_row runs[] = {COMMON(RUN32) ONLY32(RUN32) COMMON(RUNPAE) WIDE(RUNPAE)
		COMMON(RUN64) WIDE(RUN64) ONLY64(RUN64)};

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(walk, walks),
		CONTRACT_ROWS(run, runs),
	};

	return contract_run("c8 paging", tests, sizeof(tests) / sizeof(tests[0]));
}
