/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The code cache of one vcpu.  One memfd, mapped writable in one place and executable in another,
 * never both; metadata lies behind the code in the writable view only.  Blocks are found by
 * physical address, rip and mode, and by the page that they were made from.  See piece.c for how it
 * is shared out, and link.c for what leads from block to block.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/soft/soft.h"

#define HUGE_PAGE     (2ul << 20)
#define META_RATIO    1u /* bytes of metadata for each byte of code */
#define PATCHED_OFTEN 3
#define MAX_PAGES     (1ull << 24) /* guest-physical pages with translated code: the first 64 GiB */

static void *reserve(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * For what is looked up at random all the time: on pages of 2 MiB if the host has any, which saves
 * it a walk for each look.  Below that size there is nothing to save.
 */
static void *reserve_huge(size_t size)
{
	uint8_t *p, *at;
	size_t front;

	if (size < HUGE_PAGE)
		return reserve(size);
	size = (size + 4095) & ~4095ul;
	p = reserve(size + HUGE_PAGE);
	if (!p)
		return NULL;
	front = -(uintptr_t)p & (HUGE_PAGE - 1);
	at = p + front;
	if (front)
		munmap(p, front);
	if (front < HUGE_PAGE)
		munmap(at + size, HUGE_PAGE - front);
	madvise(at, size, MADV_HUGEPAGE);
	return at;
}

static void release(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

static int map_code(struct soft_cache *c)
{
	int fd = memfd_create("hyve-code", MFD_CLOEXEC), error = 0;
	size_t total = (size_t)c->size + c->meta_size;

	if (fd < 0)
		return errno;
	if (ftruncate(fd, (off_t)total) != 0) {
		error = errno;
		goto out;
	}
	c->rw = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c->rw == MAP_FAILED) {
		error = errno;
		c->rw = NULL;
		goto out;
	}
	c->rx = mmap(NULL, c->size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (c->rx == MAP_FAILED) {
		error = errno;
		c->rx = NULL;
	}
	c->meta = c->rw + c->size;
out:
	close(fd);
	return error;
}

/* The hash table stands behind the blocks. */
static size_t blocks_bytes(const struct soft_cache *c)
{
	return (c->max_blocks * sizeof(*c->blocks) + 63) & ~(size_t)63;
}

static size_t hash_bytes(const struct soft_cache *c)
{
	return c->nhash * sizeof(*c->hash);
}

int soft_cache_create(struct soft_vcpu *v, uint32_t size)
{
	struct soft_cache *c = &v->cache;
	int error;

	c->size = size;
	c->meta_size = size * META_RATIO;
	c->max_blocks = size / 128;
	for (c->nhash = 256; c->nhash < c->max_blocks;)
		c->nhash *= 2;
	c->max_links = size / 48; /* a jump and its stub have more */
	c->pages = MAX_PAGES;
	error = map_code(c);
	if (error)
		goto fail;
	c->blocks = reserve_huge(blocks_bytes(c) + hash_bytes(c));
	c->shared = reserve(c->max_blocks * sizeof(*c->shared));
	c->links = reserve(c->max_links * sizeof(*c->links));
	c->page_head = reserve(c->pages * sizeof(*c->page_head));
	c->page_lines = reserve(c->pages * sizeof(*c->page_lines));
	error = ENOMEM;
	if (!c->blocks || !c->shared || !c->links || !c->page_head || !c->page_lines)
		goto fail;
	c->hash = (uint32_t *)((uint8_t *)c->blocks + blocks_bytes(c));
	soft_emit_thunks(v);
	soft_pieces_create(c);
	soft_memo_reset(c);
	return 0;
fail:
	soft_cache_destroy(c);
	return error;
}

void soft_cache_destroy(struct soft_cache *c)
{
	release(c->rw, (size_t)c->size + c->meta_size);
	release(c->rx, c->size);
	release(c->blocks, blocks_bytes(c) + hash_bytes(c));
	release(c->shared, c->max_blocks * sizeof(*c->shared));
	release(c->links, c->max_links * sizeof(*c->links));
	release(c->page_head, c->pages * sizeof(*c->page_head));
	release(c->page_lines, c->pages * sizeof(*c->page_lines));
	*c = (struct soft_cache){0};
}

static uint32_t hash_of(const struct soft_cache *c, uint64_t rip, uint64_t gpa, uint32_t mode)
{
	uint64_t x = (gpa ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull ^ rip;

	return (uint32_t)(x >> 20 ^ x) & (c->nhash - 1);
}

static void page_forget(struct soft_vcpu *v, uint64_t page)
{
	v->cache.page_head[page] = 0;
	v->cache.page_lines[page] = 0;
	if (!soft_is_rom(v->soft, page << 12))
		atomic_fetch_and(&v->soft->page_code[page], (uint16_t) ~(1u << v->vcpuid));
}

void soft_page_idle(struct soft_vcpu *v, uint64_t gpa)
{
	if (!v->cache.page_lines[gpa >> 12])
		page_forget(v, gpa >> 12);
}

uint64_t soft_lines(uint64_t gpa, uint64_t len)
{
	uint64_t first = (gpa & 0xfff) >> 6, last = ((gpa & 0xfff) + len - 1) >> 6;

	return (last >= 63 ? ~0ull : (1ull << (last + 1)) - 1) & ~((1ull << first) - 1);
}

/* ---- a block's entry ---- */

/*
 * Jumps to a block stay when it dies: its entry then calls soft_dead(), or jumps to the block that
 * has been made from the changed code, whose `root` it is.
 */
static struct soft_block *root_of(const struct soft_cache *c, const struct soft_block *b)
{
	return &c->blocks[b->root ? b->root - 1 : (uint32_t)(b - c->blocks)];
}

uint32_t soft_entry(const struct soft_cache *c, const struct soft_block *b, bool parked)
{
	const struct soft_block *root = root_of(c, b);

	return parked ? root->host_mem : root->host;
}

static void put_jump(struct soft_cache *c, uint32_t at, uint8_t opcode, const uint8_t *to)
{
	uint32_t rel = (uint32_t)(to - (c->rx + at + 5));

	c->rw[at] = opcode;
	__builtin_memcpy(c->rw + at + 1, &rel, 4);
}

static void entry_dies(struct soft_cache *c, const struct soft_block *root)
{
	put_jump(c, root->host, 0xe8, c->dead);
	if (root->host_mem != root->host)
		put_jump(c, root->host_mem, 0xe8, c->dead_mem);
}

static void entry_leads_to(
	struct soft_cache *c, const struct soft_block *root, const struct soft_block *b)
{
	put_jump(c, root->host, 0xe9, c->rx + b->host);
	if (root->host_mem != root->host)
		put_jump(c, root->host_mem, 0xe9, c->rx + b->host_mem);
}

const void *soft_dead(struct soft_vcpu *v, const uint8_t *ret)
{
	v->cpu.rip = soft_block_at(&v->cache, ret - 1)->rip;
	v->reason = SOFT_LOOKUP;
	v->stat_dead_entries++;
	return NULL;
}

static struct soft_block *find(
	struct soft_cache *c, uint64_t rip, uint64_t gpa, uint64_t gpa2, uint32_t mode, bool dead)
{
	for (uint32_t i = c->hash[hash_of(c, rip, gpa, mode)]; i; i = c->blocks[i - 1].next_hash) {
		struct soft_block *b = &c->blocks[i - 1];

		if (b->rip == rip && b->gpa == gpa && b->mode == mode && b->dead == dead &&
			(!b->page2 || b->page2 == gpa2 >> 12))
			return b;
	}
	return NULL;
}

struct soft_block *soft_block_find(
	struct soft_vcpu *v, uint64_t rip, uint64_t gpa, uint64_t gpa2, uint32_t mode)
{
	return find(&v->cache, rip, gpa, gpa2, mode, false);
}

void soft_block_insert(struct soft_vcpu *v, struct soft_block *b)
{
	struct soft_cache *c = &v->cache;
	uint32_t number = (uint32_t)(b - c->blocks) + 1, h = hash_of(c, b->rip, b->gpa, b->mode);
	unsigned len = b->sites[b->nsites].guest;
	struct soft_block *root = find(c, b->rip, b->gpa, (uint64_t)b->page2 << 12, b->mode, true);

	if (root && root->page2 == b->page2) {
		b->root = (uint32_t)(root - c->blocks) + 1;
		entry_leads_to(c, root, b);
	}
	c->added++;
	b->next_hash = c->hash[h];
	c->hash[h] = number;
	b->next_page = c->page_head[b->gpa >> 12];
	c->page_head[b->gpa >> 12] = number;
	b->ahead = b->lines;
	b->lines |= soft_lines(b->gpa, len);
	if (b->page2 && b->gpa >> 12 == b->page2)
		b->lines |= 1; /* one page in two places: its first line holds the rest */
	if (b->lines & ~c->page_lines[b->gpa >> 12] || b->page2)
		soft_memo_code_added(v);
	c->page_lines[b->gpa >> 12] |= b->lines;
	if (b->page2) {
		b->next_page2 = c->page_head[b->page2];
		c->page_head[b->page2] = number;
		c->page_lines[b->page2] |= 1; /* 14 bytes at most */
	}
}

static void unhash(struct soft_cache *c, struct soft_block *b)
{
	uint32_t number = (uint32_t)(b - c->blocks) + 1;
	uint32_t *link = &c->hash[hash_of(c, b->rip, b->gpa, b->mode)];

	while (*link && *link != number)
		link = &c->blocks[*link - 1].next_hash;
	if (*link)
		*link = b->next_hash;
}

/* A root stays in the hash, to be found by the block that takes its place. */
static void kill(struct soft_cache *c, struct soft_block *b)
{
	b->dead = true;
	soft_unshare(c, b);
	entry_dies(c, root_of(c, b));
	if (b->root)
		unhash(c, b);
}

static void unlist(struct soft_cache *c, struct soft_block *b, uint64_t page)
{
	uint32_t *link = &c->page_head[page];

	while (*link) {
		struct soft_block *o = &c->blocks[*link - 1];
		uint32_t *next = o->gpa >> 12 == page ? &o->next_page : &o->next_page2;

		if (o == b) {
			*link = *next;
			return;
		}
		link = next;
	}
}

void soft_block_retire(struct soft_vcpu *v, struct soft_block *b)
{
	kill(&v->cache, b);
	unlist(&v->cache, b, b->gpa >> 12);
	if (b->page2)
		unlist(&v->cache, b, b->page2);
}

static uint64_t lines_in(const struct soft_block *b, uint64_t page)
{
	return b->gpa >> 12 == page ? b->lines : 1;
}

/* Bytes of a page. */
struct range {
	uint64_t page;
	int from, to;
};

/* Are offsets from..to-1 of a block nothing but what is read when it runs? */
static bool is_fresh(const struct soft_block *b, int from, int to)
{
	for (unsigned i = 0; i < b->nsites; i++) {
		int end = b->sites[i + 1].guest;

		if (end > from)
			return from >= end - b->sites[i].fresh && to <= end;
	}
	return false;
}

/* Does a store there change what a block was made from? */
static bool is_hit(const struct soft_block *b, const struct range *r)
{
	int start = (int)(b->gpa & 0xfff), end = start + b->sites[b->nsites].guest;

	if (b->gpa >> 12 == r->page) {
		if (b->ahead & soft_lines((uint64_t)r->from, (uint64_t)(r->to - r->from)))
			return true;
		if (r->from < end && r->to > start && !is_fresh(b, r->from - start, r->to - start))
			return true;
	}
	return b->page2 && b->page2 == r->page && r->from + 4096 < end;
}

static unsigned patch_slot(uint64_t gpa)
{
	return (gpa ^ gpa >> 6 ^ gpa >> 12) % SOFT_PATCHES;
}

static void note_patch(struct soft_cache *c, const struct range *r)
{
	uint64_t gpa = r->page << 12 | (uint64_t)r->from;
	struct soft_patch *p = &c->patch[patch_slot(gpa)];

	if (r->to - r->from > 8)
		return;
	if (p->gpa != gpa)
		*p = (struct soft_patch){.gpa = gpa};
	if (++p->count >= PATCHED_OFTEN)
		c->patched_pages |= 1ull << r->page % 64;
}

bool soft_is_patched(const struct soft_cache *c, uint64_t gpa)
{
	const struct soft_patch *p = &c->patch[patch_slot(gpa)];

	return p->gpa == gpa && p->count >= PATCHED_OFTEN;
}

static bool is_code(const struct soft_cache *c, const struct range *r)
{
	for (uint32_t i = c->page_head[r->page]; i;) {
		const struct soft_block *b = &c->blocks[i - 1];

		if (!b->dead && is_hit(b, r))
			return true;
		i = b->gpa >> 12 == r->page ? b->next_page : b->next_page2;
	}
	return false;
}

/* Blocks that were made from these bytes.  Says whether there were any. */
static bool drop_range(struct soft_vcpu *v, const struct range *r)
{
	struct soft_cache *c = &v->cache;
	uint32_t *link = &c->page_head[r->page];
	uint64_t page = r->page, left = 0;
	bool hit = false;

	while (*link) {
		struct soft_block *b = &c->blocks[*link - 1];
		uint32_t *next = b->gpa >> 12 == page ? &b->next_page : &b->next_page2;

		if (!b->dead && is_hit(b, r)) {
			kill(c, b);
			hit = true;
		}
		if (b->dead) {
			*link = *next;
		} else {
			left |= lines_in(b, page);
			link = next;
		}
	}
	c->page_lines[page] = left;
	if (hit) {
		note_patch(c, r);
		v->stat_invalidations++;
	}
	return hit;
}

bool soft_code_yields(struct soft_vcpu *v, uint64_t gpa, unsigned len, const uint8_t *running)
{
	struct soft_cache *c = &v->cache;
	struct soft_beside *s = &c->beside[gpa / 4 % SOFT_BESIDES];
	struct range r = {gpa >> 12, (int)(gpa & 0xfff), (int)(gpa & 0xfff) + (int)len};

	if (s->gpa == gpa && s->len == len && s->added == c->added)
		return true;
	if (!is_code(c, &r)) {
		*s = (struct soft_beside){gpa, c->added, len};
		return true;
	}
	/* It is left right behind that store: nothing that runs is ever dead. */
	if (is_hit(soft_block_at(c, running), &r))
		return false;
	drop_range(v, &r);
	return true;
}

bool soft_block_died(struct soft_cache *c, uint64_t rip, uint64_t gpa, uint32_t mode)
{
	return c->patched_pages >> (gpa >> 12) % 64 & 1 && find(c, rip, gpa, 0, mode, true);
}

void soft_cache_trim(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;
	struct soft_piece *p = soft_filling(c);

	while (p->nblocks) {
		const struct soft_block *b = &c->blocks[p->first + p->nblocks - 1];

		/* One of two pages may be in the other one's list still. */
		if (!b->dead || !b->root || b->page2 || b->recorded)
			return;
		p->nblocks--;
		p->used = b->host_mem;
		p->meta_used = b->meta;
		soft_edges_drop(v, p, b->edges);
		c->reused++;
	}
}

/* ---- eviction ---- */

/*
 * A root and the block that its entry leads to may be in different pieces.  Without that block the
 * root's entry calls soft_dead() again; without its root the block is found by its own entry.
 */
static void part(struct soft_cache *c, const struct soft_block *b)
{
	uint32_t number = (uint32_t)(b - c->blocks) + 1;

	if (b->root && !b->dead)
		entry_dies(c, root_of(c, b));
	if (b->root || !b->dead)
		return;
	for (uint32_t i = c->hash[hash_of(c, b->rip, b->gpa, b->mode)]; i;
		i = c->blocks[i - 1].next_hash)
		if (c->blocks[i - 1].root == number)
			c->blocks[i - 1].root = 0;
}

/* An entry of the jump cache leads to a block with its rip, or to the root of that. */
static void jc_leave(struct soft_vcpu *v, const struct soft_block *b, const struct soft_piece *p)
{
	struct soft_jump *j = &v->jc[SOFT_MODE_CLASS(b->mode)][soft_jc_slot(b->rip)];
	uint64_t off = (uint64_t)((const uint8_t *)j->code - v->cache.rx);

	if (off - p->code < p->end - p->code)
		j->rip = ~(uint64_t)soft_jc_slot(b->rip);
}

/* All blocks of a piece leave the list of a page, and of the others those that are dead. */
static void leave_page(struct soft_vcpu *v, uint64_t page, const struct soft_piece *p)
{
	struct soft_cache *c = &v->cache;
	uint32_t *link = &c->page_head[page];
	uint64_t left = 0;

	while (*link) {
		struct soft_block *b = &c->blocks[*link - 1];
		uint32_t *next = b->gpa >> 12 == page ? &b->next_page : &b->next_page2;

		if (b->dead || *link - 1 - p->first < p->nblocks) {
			b->unlisted |= b->gpa >> 12 == page;
			b->unlisted2 |= b->page2 == page;
			*link = *next;
		} else {
			left |= lines_in(b, page);
			link = next;
		}
	}
	c->page_lines[page] = left;
	if (!c->page_head[page])
		page_forget(v, page);
}

void soft_blocks_remove(struct soft_vcpu *v, const struct soft_piece *p)
{
	struct soft_cache *c = &v->cache;

	for (uint32_t i = p->first; i < p->first + p->nblocks; i++) {
		struct soft_block *b = &c->blocks[i];

		soft_unshare(c, b);
		part(c, b);
		unhash(c, b);
		jc_leave(v, b, p);
		if (!b->unlisted)
			leave_page(v, b->gpa >> 12, p);
		if (b->page2 && !b->unlisted2)
			leave_page(v, b->page2, p);
	}
}

void soft_blocks_forget(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;

	for (unsigned k = 0; k < c->npieces; k++)
		for (uint32_t i = 0; i < c->piece[k].nblocks; i++) {
			const struct soft_block *b = &c->blocks[c->piece[k].first + i];

			soft_unshare(c, b);
			page_forget(v, b->gpa >> 12);
			if (b->page2)
				page_forget(v, b->page2);
		}
	__builtin_memset(c->hash, 0, hash_bytes(c));
}

/* ---- changed code ---- */

bool soft_code_written(struct soft_vcpu *v, uint64_t gpa, uint64_t len)
{
	struct soft_cache *c = &v->cache;
	bool hit = false;

	if (!c->rw)
		return false;
	while (len) {
		uint64_t page = gpa >> 12, n = 4096 - (gpa & 0xfff);

		if (n > len)
			n = len;
		if (page >= c->pages)
			break;
		if (c->page_lines[page] & soft_lines(gpa, n)) {
			int from = (int)(gpa & 0xfff);

			hit |= drop_range(v, &(struct range){page, from, from + (int)n});
		}
		gpa += n;
		len -= n;
	}
	return hit;
}

void soft_request_written(struct soft_vcpu *to, uint64_t gpa, uint64_t len)
{
	uint32_t req = SOFT_REQ_CODE;

	pthread_mutex_lock(&to->lock);
	if (to->nwritten && to->written[to->nwritten - 1].gpa + to->written[to->nwritten - 1].len == gpa) {
		to->written[to->nwritten - 1].len += len;
	} else if (to->nwritten < sizeof(to->written) / sizeof(to->written[0])) {
		to->written[to->nwritten].gpa = gpa;
		to->written[to->nwritten++].len = len;
	} else {
		req = SOFT_REQ_CODE_ALL;
	}
	pthread_mutex_unlock(&to->lock);
	atomic_fetch_or(&to->flush_request, req);
	atomic_store(&to->run, 0);
}

void soft_code_broadcast(struct soft_vcpu *v, uint64_t gpa, uint64_t len)
{
	for (uint64_t page = gpa >> 12; page <= (gpa + len - 1) >> 12 && page < v->soft->pages;
		page++) {
		unsigned others = atomic_load(&v->soft->page_code[page]) & ~(1u << v->vcpuid);

		for (int i = 0; others && i < VM_MAXCPU; i++) {
			if (others & 1u << i)
				soft_request_written(v->soft->vcpu[i], gpa, len);
		}
	}
}

/* Until another vcpu has no write tags any more.  It may be waiting for ours. */
static void await_writer(struct soft_vcpu *v, struct soft_vcpu *writer)
{
	atomic_fetch_or(&writer->flush_request, SOFT_REQ_WRITE);
	atomic_store(&writer->run, 0);
	while (atomic_load(&writer->in_guest) &&
		(atomic_load(&writer->flush_request) & SOFT_REQ_WRITE)) {
		if (atomic_load(&v->flush_request) & SOFT_REQ_WRITE) {
			atomic_fetch_and(&v->flush_request, ~SOFT_REQ_WRITE);
			soft_tlb_drop_writes(v, SOFT_ALL_PAGES);
		}
		sched_yield();
	}
}

/*
 * A page begins to hold code: nobody may have a write tag for it any more.  The mark is set first;
 * a fill on another vcpu sets its writer bit first and looks at the mark afterwards, so one of us
 * sees the other.  A writer's bit stays until it has been waited for, because whoever begins to
 * translate the page meanwhile has to wait, too; it is stale from then on, as nobody gets a write
 * tag where there is a mark.
 */
void soft_page_has_code(struct soft_vcpu *v, uint64_t gpa)
{
	uint64_t page = gpa >> 12;
	unsigned self = 1u << v->vcpuid, writers;

	if (atomic_fetch_or(&v->soft->page_code[page], (uint16_t)self) & self)
		return;
	writers = atomic_load(&v->soft->page_writers[page]);
	if (!writers)
		return;
	if (writers & self)
		soft_tlb_drop_writes(v, gpa);
	for (int i = 0; i < VM_MAXCPU; i++)
		if (writers & ~self & 1u << i)
			await_writer(v, v->soft->vcpu[i]);
	atomic_fetch_and(&v->soft->page_writers[page], (uint16_t)~writers);
}

static void serve_written(struct soft_vcpu *v)
{
	uint64_t gpa[SOFT_WRITTEN_MAX], len[SOFT_WRITTEN_MAX];
	unsigned n;

	pthread_mutex_lock(&v->lock);
	n = v->nwritten;
	for (unsigned i = 0; i < n; i++) {
		gpa[i] = v->written[i].gpa;
		len[i] = v->written[i].len;
	}
	v->nwritten = 0;
	pthread_mutex_unlock(&v->lock);
	for (unsigned i = 0; i < n; i++)
		soft_code_written(v, gpa[i], len[i]);
}

void soft_serve_requests(struct soft_vcpu *v)
{
	/* First, so that what is asked for meanwhile stays; but who waits for the tags waits for
	 * the end of it. */
	uint32_t req = atomic_load(&v->flush_request);

	if (!req)
		return;
	req = atomic_fetch_and(&v->flush_request, SOFT_REQ_WRITE);
	if (req & SOFT_REQ_CODE)
		serve_written(v);
	if (req & SOFT_REQ_MAP)
		for (unsigned i = 0; i < 4; i++)
			v->ram[i].len = 0;
	if (req & (SOFT_REQ_CODE_ALL | SOFT_REQ_MAP))
		soft_cache_flush(v);
	if (req & SOFT_REQ_MAP) {
		soft_tlb_flush(v, X86_FLUSH_ALL, 0);
		soft_mirror_drop_all(v);
		soft_split_drop(v);
	}
	if (req & SOFT_REQ_WRITE)
		soft_tlb_drop_writes(v, SOFT_ALL_PAGES);
	atomic_fetch_and(&v->flush_request, ~(req & SOFT_REQ_WRITE));
}
