/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * More code than the code cache holds: pieces of it are evicted while return addresses, linked jumps, slots of
 * edge[] and the jump cache lead to what was there, and while the guest rewrites some of its code.  Then all
 * that may lead to a block is looked at, after each of the pieces has been evicted, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "backend/soft/soft.h"
#include "test/backend/soft/world.h"
#include "vmm/vm.h"

#define FUNCTIONS 4000u
#define SPARE	  64u /* behind them, for those that go on elsewhere */
#define ROUNDS	  3u
#define CALLS_EACH 3u
#define CODE	  0x40000u
#define FUNCTION  0x60000u
#define STRIDE	  64u
#define OFFSET	  8u /* of a function in its place: before it may be the end of another */
#define FAR	  61u
#define TOP	  0xffdu /* an instruction of 5 bytes from here on lies in two pages */


/* All functions, CALLS_EACH times one after the other and ROUNDS times in all; half of them get another
 * immediate before each call. */
extern const uint8_t caller[], caller_end[];
__asm__(".pushsection .rodata\n"
	".code32\n"
	"caller:\n"
	"	mov	$3, %ecx\n"
	"	xor	%eax, %eax\n"
	"1:	mov	$0x60008, %ebx\n"
	"2:	mov	$3, %esi\n"
	"4:	test	$0x200, %ebx\n"
	"	jz	3f\n"
	"	incl	1(%ebx)\n"
	"3:	call	*%ebx\n"
	"	dec	%esi\n"
	"	jne	4b\n"
	"	add	$64, %ebx\n"
	"	cmp	$0x60008 + 64 * 4000, %ebx\n"
	"	jne	2b\n"
	"	dec	%ecx\n"
	"	jne	1b\n"
	"	out	%eax, $0xe8\n"
	"caller_end:\n"
	".code64\n"
	".popsection\n");

/* What a function does behind ADD EAX, its immediate. */
enum kind {
	RETURNS,
	CALLS,	  /* the next one, often in the same page */
	JUMPS,	  /* to another page */
	LOOPS,	  /* adds 3 + 2 + 1 */
	STRADDLES /* adds 1 with an instruction in two pages */
};

static enum kind kind_of(uint32_t n)
{
	if (n >= FUNCTIONS)
		return RETURNS;
	return n % 64 == 63 ? STRADDLES : (enum kind)(n % 4);
}

static uint32_t place_of(uint32_t n)
{
	return FUNCTION + STRIDE * n + OFFSET;
}

/* JMP or CALL, at gpa. */
static void put_jump(uint8_t *ram, uint32_t gpa, uint8_t opcode, uint32_t to)
{
	uint32_t rel = to - (gpa + 5);

	ram[gpa] = opcode;
	memcpy(ram + gpa + 1, &rel, 4);
}

static void put_add(uint8_t *ram, uint32_t gpa, uint32_t value)
{
	ram[gpa] = 0x05;
	memcpy(ram + gpa + 1, &value, 4);
}

static void put_function(uint8_t *ram, uint32_t n)
{
	static const uint8_t loop[] = { 0xba, 3, 0, 0, 0, 0x01, 0xd0, 0xff, 0xca, 0x75, 0xfa, 0xc3 };
	uint32_t at = place_of(n), top = (at & ~0xfffu) | TOP;

	put_add(ram, at, n);
	at += 5;
	switch (kind_of(n)) {
	case CALLS:
		put_jump(ram, at, 0xe8, place_of(n + 1));
		ram[at + 5] = 0xc3;
		break;
	case JUMPS:
		put_jump(ram, at, 0xe9, place_of(n + FAR));
		break;
	case LOOPS:
		memcpy(ram + at, loop, sizeof(loop));
		break;
	case STRADDLES:
		put_jump(ram, at, 0xe9, top);
		put_add(ram, top, 1);
		ram[top + 5] = 0xc3;
		break;
	case RETURNS:
		ram[at] = 0xc3;
		break;
	}
}

/* ---- what is to come out ---- */

static uint32_t value_of(const uint32_t *imm, uint32_t n)
{
	switch (kind_of(n)) {
	case CALLS:
		return imm[n] + value_of(imm, n + 1);
	case JUMPS:
		return imm[n] + value_of(imm, n + FAR);
	case LOOPS:
		return imm[n] + 6;
	case STRADDLES:
		return imm[n] + 1;
	default:
		return imm[n];
	}
}

static uint32_t expected(void)
{
	uint32_t imm[FUNCTIONS + SPARE], sum = 0;

	for (uint32_t n = 0; n < FUNCTIONS + SPARE; n++)
		imm[n] = n;
	for (unsigned round = 0; round < ROUNDS; round++)
		for (uint32_t n = 0; n < CALLS_EACH * FUNCTIONS; n++) {
			imm[n / CALLS_EACH] += (place_of(n / CALLS_EACH) & 0x200) != 0;
			sum += value_of(imm, n / CALLS_EACH);
		}
	return sum;
}

/* ---- what leads to blocks ---- */

static struct soft_block *block_at(struct soft_cache *c, uint64_t off)
{
	return soft_block_at(c, c->rx + off);
}

static bool is_entry(struct soft_cache *c, uint64_t off)
{
	const struct soft_block *b = block_at(c, off);

	return b && (off == b->host || off == b->host_mem);
}

static uint32_t target_of(const struct soft_cache *c, uint32_t site)
{
	uint32_t rel;

	memcpy(&rel, c->rw + site, 4);
	return site + 4 + rel;
}

static bool is_recorded(const struct soft_cache *c, uint32_t site, uint32_t to)
{
	unsigned found = 0;

	for (uint32_t i = 0; i < c->nlinks; i++)
		found += c->links[i].site == site && c->links[i].to == to;
	return found == 1;
}

/* A jump of a living block: inside it, to a thunk, to an entry in its piece, or known to link.c. */
static void check_jump(struct soft_cache *c, const struct soft_block *b, uint32_t site)
{
	uint32_t to = target_of(c, site);

	if (to < c->start || (to >= b->host_mem && to < soft_block_end(b)))
		return;
	assert_true(is_entry(c, to));
	if (soft_piece_at(c, to) != soft_piece_at(c, site))
		assert_true(is_recorded(c, site, to));
}

static void check_code(struct soft_cache *c, const struct soft_block *b)
{
	for (uint32_t at = b->host_mem; at < soft_block_end(b);) {
		const uint8_t *p = c->rw + at;
		struct x86_insn in;

		assert_int_equal(x86_decode(&in, p, soft_block_end(b) - at, 64), X86_DECODE_OK);
		at += in.len;
		if ((in.len == 5 && (p[0] & 0xfe) == 0xe8) ||
			(in.len == 6 && p[0] == 0x0f && (p[1] & 0xf0) == 0x80))
			check_jump(c, b, at - 4);
	}
}

/* Its entry calls soft_dead(), or leads to the block that has taken its place. */
static void check_root(struct soft_cache *c, const struct soft_block *root)
{
	const struct soft_block *b = block_at(c, target_of(c, root->host + 1));

	if (c->rw[root->host] == 0xe8) {
		assert_ptr_equal(c->rx + target_of(c, root->host + 1), c->dead);
		return;
	}
	assert_int_equal(c->rw[root->host], 0xe9);
	assert_true(b && !b->dead && b->root == root - c->blocks + 1);
}

static void check_block(struct soft_vcpu *v, const struct soft_piece *p, struct soft_block *b)
{
	struct soft_cache *c = &v->cache;
	const uint8_t *sites = (const uint8_t *)b->sites;

	assert_ptr_equal(block_at(c, b->host_mem), b);
	assert_true(b->host_mem >= p->code && soft_block_end(b) <= p->used);
	assert_true(sites >= c->meta + p->meta && sites < c->meta + p->meta_used);
	if (b->dead && !b->root)
		check_root(c, b);
	if (b->dead)
		return;
	assert_ptr_equal(soft_block_find(v, b->rip, b->gpa, (uint64_t)b->page2 << 12, b->mode), b);
	if (b->root) {
		const struct soft_block *root = &c->blocks[b->root - 1];

		assert_ptr_equal(block_at(c, root->host), root);
		assert_true(root->dead && !root->root && root->rip == b->rip);
		assert_int_equal(c->rw[root->host], 0xe9);
		assert_int_equal(target_of(c, root->host + 1), b->host);
	}
	check_code(c, b);
}

static void check_jumps(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;

	for (uint32_t i = 0; i < c->nlinks; i++) {
		const struct soft_link *l = &c->links[i];

		assert_non_null(block_at(c, l->site));
		if (block_at(c, l->site)->dead)
			continue;
		assert_ptr_equal(block_at(c, l->site), block_at(c, l->stub));
		assert_true(is_entry(c, l->to) && target_of(c, l->site) == l->to);
	}
	for (unsigned class = 0; class < SOFT_CLASSES; class ++)
		for (unsigned i = 0; i < SOFT_JC_ENTRIES; i++) {
			const struct soft_jump *j = &v->jc[class][i];

			if (soft_jc_slot(j->rip) != i || !j->code)
				continue;
			assert_non_null(soft_block_at(c, j->code));
			assert_int_equal(soft_block_at(c, j->code)->rip, j->rip);
		}
}

static bool is_logged(const struct soft_vcpu *v, uint32_t edge)
{
	for (unsigned class = 0; class < SOFT_CLASSES; class ++)
		for (uint32_t i = 0; i < v->edges_filled[class]; i++)
			if (v->edge_log[class][i].what >> 1 == edge)
				return true;
	return false;
}

static void check_edge(struct soft_vcpu *v, const struct soft_piece *p, uint32_t edge)
{
	struct soft_cache *c = &v->cache;
	uint32_t stub = v->edge_stub[edge];
	uint64_t to = (uint64_t)((const uint8_t *)v->edge[edge] - c->rx);

	assert_true(stub >= p->code && stub < p->end);
	if (to != stub)
		assert_true(is_entry(c, to) && is_logged(v, edge));
}

/* Each belongs to one piece, or to nobody. */
static void check_edges(struct soft_vcpu *v)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < v->cache.npieces; i++)
		for (uint32_t e = v->cache.piece[i].edges; e; e = v->edge_next[e - 1], n++)
			check_edge(v, &v->cache.piece[i], e - 1);
	for (uint32_t e = v->edge_free; e; e = v->edge_next[e - 1])
		n++;
	assert_int_equal(n, v->nedges);
}

/* Lists of pages hold blocks that are there, and know their lines. */
static void check_page(struct soft_vcpu *v, uint64_t page)
{
	struct soft_cache *c = &v->cache;
	uint64_t lines = 0;

	for (uint32_t i = c->page_head[page]; i;) {
		struct soft_block *b = &c->blocks[i - 1];

		assert_ptr_equal(block_at(c, b->host), b);
		if (!b->dead)
			lines |= b->gpa >> 12 == page ? b->lines : 1;
		i = b->gpa >> 12 == page ? b->next_page : b->next_page2;
	}
	assert_int_equal(c->page_lines[page], lines);
	if (lines)
		assert_true(atomic_load(&v->soft->page_code[page]) & 1u << v->vcpuid);
}

static void check_tables(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;

	for (unsigned i = 0; i < c->npieces; i++)
		for (uint32_t n = 0; n < c->piece[i].nblocks; n++)
			check_block(v, &c->piece[i], &c->blocks[c->piece[i].first + n]);
	for (uint64_t page = 0; page < WORLD_RAM >> 12; page++)
		check_page(v, page);
	check_jumps(v);
	check_edges(v);
}

static void check_empty(struct soft_vcpu *v)
{
	const struct soft_cache *c = &v->cache;

	for (uint64_t page = 0; page < WORLD_RAM >> 12; page++) {
		assert_int_equal(c->page_head[page], 0);
		assert_int_equal(atomic_load(&v->soft->page_code[page]), 0);
	}
	assert_int_equal(c->nlinks, 0);
	assert_null(soft_block_find(v, CODE, CODE, 0, v->mode));
}

static void evict_one_by_one(struct soft_vcpu *v)
{
	check_tables(v);
	for (unsigned i = 0; i < v->cache.npieces; i++) {
		soft_piece_evict(v, (i + 1) % v->cache.npieces);
		check_tables(v);
	}
	check_empty(v);
}

/* ---- the guest ---- */

/* Real mode's segments made flat: 32-bit code without paging. */
static void set_flat(struct vm *vm)
{
	struct x86_cpu *cpu = vm->ops->cpu_get(vm->vmi, 0);

	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .access = 0xc093, .sel = 8 };
	cpu->seg[X86_CS].access = 0xc09b;
	cpu->cr0 |= X86_CR0_PE;
	cpu->gpr[X86_RSP] = 0x30000;
	cpu->rflags = 2;
	vm->ops->cpu_put(vm->vmi, 0);
}

static uint64_t stat(struct vm *vm, const char *name)
{
	const char *found;
	uint64_t value;

	for (unsigned i = 0; vm->ops->stat(vm->vmi, 0, i, &found, &value); i++)
		if (strcmp(found, name) == 0)
			return value;
	fail_msg("no counter %s", name);
	return 0;
}

static void run_functions(uint32_t cache_size, unsigned pieces, uint64_t torture)
{
	struct vm_run run = { .cpuid = 0, .rip = CODE };
	struct soft_vm *s;
	uint8_t *ram;
	struct vm *vm = world_vm(&vmm_ops_soft, &ram);

	assert_non_null(vm);
	s = vm->vmi;
	s->cache_size = cache_size;
	s->torture = torture;
	memcpy(ram + CODE, caller, (size_t)(caller_end - caller));
	for (uint32_t n = 0; n < FUNCTIONS + SPARE; n++)
		put_function(ram, n);
	set_flat(vm);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(run.vm_exit.rip, CODE + (caller_end - caller) - 2);
	assert_int_equal(run.vm_exit.u.inout.eax, expected());
	assert_int_equal(s->vcpu[0]->cache.npieces, pieces);
	assert_true(stat(vm, "pieces of the code cache evicted") >= ROUNDS);
	assert_true(stat(vm, "blocks evicted") >= FUNCTIONS);
	if (!torture)
		assert_int_equal(stat(vm, "code cache flushes"), 1); /* at the start */
	evict_one_by_one(s->vcpu[0]);
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_IDLE, false), 0);
	vm_destroy(vm);
}

static void run_at(struct vm *vm, uint64_t rip)
{
	struct vm_run run = { .cpuid = 0, .rip = rip };

	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INOUT);
}

/*
 * A block begins with a JNE to one of an older piece, and dies: its entry has a jump then where the
 * JNE's displacement was, and that is no longer to be put right when the older piece goes.
 */
static void test_dead_jump(void **state)
{
	static const uint8_t jne[] = { 0x75, 0x7e, 0xe7, 0xe8 }, out[] = { 0xe7, 0xe8 };
	struct soft_vcpu *v;
	uint8_t *ram;
	struct vm *vm = world_vm(&vmm_ops_soft, &ram);

	(void)state;
	assert_non_null(vm);
	((struct soft_vm *)vm->vmi)->torture = 0;
	((struct soft_vm *)vm->vmi)->lockstep = false;
	v = ((struct soft_vm *)vm->vmi)->vcpu[0];
	memcpy(ram + CODE, jne, sizeof(jne));
	memcpy(ram + CODE + 0x80, out, sizeof(out));
	set_flat(vm);
	run_at(vm, CODE + 0x80);
	soft_make_room(v);
	run_at(vm, CODE);
	assert_true(v->cache.nlinks > 0);
	ram[CODE + 2] = 0x90;
	assert_true(soft_code_written(v, CODE + 2, 1));
	run_at(vm, CODE);
	check_tables(v);
	soft_piece_evict(v, 0);
	check_tables(v);
	run_at(vm, CODE);
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_IDLE, false), 0);
	vm_destroy(vm);
}

static void test_smallest(void **state)
{
	(void)state;
	run_functions(40960, 1, 0);
}

static void test_two(void **state)
{
	(void)state;
	run_functions(72 << 10, 2, 0);
}

static void test_some(void **state)
{
	(void)state;
	run_functions(128 << 10, 3, 0);
	run_functions(256 << 10, 7, 0);
}

static void test_all(void **state)
{
	(void)state;
	run_functions(1 << 20, SOFT_PIECES, 0);
}

/* Any piece is lost at any time. */
static void test_torture(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 4; seed++) {
		run_functions(128 << 10, 3, seed);
		run_functions(1 << 20, SOFT_PIECES, seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dead_jump),
		cmocka_unit_test(test_smallest),
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_some),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_torture),
	};

	return cmocka_run_group_tests_name("code cache", tests, NULL, NULL);
}
