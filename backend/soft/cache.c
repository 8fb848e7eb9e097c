/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The code cache of one vcpu.  One memfd, mapped writable in one place and executable in another,
 * never both; metadata lies behind the code in the writable view only.  Blocks are found by
 * physical address, rip and mode.  When either part is full everything is dropped and begun again.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/soft/soft.h"

#define HASH_BITS  16
#define HASH_SIZE  (1u << HASH_BITS)
#define META_RATIO 1u		/* bytes of metadata for each byte of code */
#define MAX_PAGES  (1ull << 24) /* guest-physical pages with translated code: the first 64 GiB */

static void *reserve(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
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

int soft_cache_create(struct soft_vcpu *v, uint32_t size)
{
	struct soft_cache *c = &v->cache;
	int error;

	c->size = size;
	c->meta_size = size * META_RATIO;
	c->max_blocks = size / 128;
	c->pages = MAX_PAGES;
	error = map_code(c);
	if (error)
		goto fail;
	c->blocks = reserve(c->max_blocks * sizeof(*c->blocks));
	c->hash = reserve(HASH_SIZE * sizeof(*c->hash));
	c->page_head = reserve(c->pages * sizeof(*c->page_head));
	c->page_lines = reserve(c->pages * sizeof(*c->page_lines));
	error = ENOMEM;
	if (!c->blocks || !c->hash || !c->page_head || !c->page_lines)
		goto fail;
	soft_emit_thunks(c);
	c->start = c->used;
	return 0;
fail:
	soft_cache_destroy(c);
	return error;
}

void soft_cache_destroy(struct soft_cache *c)
{
	release(c->rw, (size_t)c->size + c->meta_size);
	release(c->rx, c->size);
	release(c->blocks, c->max_blocks * sizeof(*c->blocks));
	release(c->hash, HASH_SIZE * sizeof(*c->hash));
	release(c->page_head, c->pages * sizeof(*c->page_head));
	release(c->page_lines, c->pages * sizeof(*c->page_lines));
	*c = (struct soft_cache){0};
}

static uint32_t hash_of(uint64_t rip, uint64_t gpa, uint32_t mode)
{
	uint64_t x = (gpa ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull ^ rip;

	return (uint32_t)(x >> 20 ^ x) & (HASH_SIZE - 1);
}

static void page_forget(struct soft_vcpu *v, uint64_t page)
{
	v->cache.page_head[page] = 0;
	v->cache.page_lines[page] = 0;
	atomic_fetch_and(&v->soft->page_code[page], (uint16_t) ~(1u << v->vcpuid));
}

void soft_cache_flush(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;

	for (uint32_t i = 0; i < c->nblocks; i++) {
		page_forget(v, c->blocks[i].gpa >> 12);
		if (c->blocks[i].gpa2)
			page_forget(v, c->blocks[i].gpa2 >> 12);
	}
	for (uint32_t i = 0; i < HASH_SIZE; i++)
		c->hash[i] = 0;
	c->nblocks = 0;
	c->used = c->start;
	c->meta_used = 0;
	soft_jc_flush(v);
	v->nedges = 0;
	v->stat_flushes++;
}

void *soft_meta_alloc(struct soft_cache *c, uint32_t size)
{
	void *p = c->meta + c->meta_used;

	size = (size + 15) & ~15u;
	if (c->meta_size - c->meta_used < size)
		return NULL;
	c->meta_used += size;
	return p;
}

/* Blocks are laid out in the order of their numbers, so a host address finds its block by
 * bisection. */
struct soft_block *soft_block_at(struct soft_cache *c, const void *host)
{
	uint64_t off = (uint64_t)((const uint8_t *)host - c->rx);
	uint32_t lo = 0, hi = c->nblocks;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (c->blocks[mid].host_end <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->nblocks && off >= c->blocks[lo].host ? &c->blocks[lo] : NULL;
}

struct soft_block *soft_block_find(
	struct soft_vcpu *v, uint64_t rip, uint64_t gpa, uint64_t gpa2, uint32_t mode)
{
	struct soft_cache *c = &v->cache;

	for (uint32_t i = c->hash[hash_of(rip, gpa, mode)]; i; i = c->blocks[i - 1].next_hash) {
		struct soft_block *b = &c->blocks[i - 1];

		if (b->rip == rip && b->gpa == gpa && b->mode == mode && !b->dead &&
			(!b->gpa2 || b->gpa2 == gpa2))
			return b;
	}
	return NULL;
}

void soft_mark_lines(struct soft_cache *c, uint64_t gpa, unsigned len)
{
	unsigned first = (gpa & 0xfff) >> 6, last = (unsigned)((gpa & 0xfff) + len - 1) >> 6;

	for (unsigned i = first; i <= last && i < 64; i++)
		c->page_lines[gpa >> 12] |= 1ull << i;
}

void soft_block_insert(struct soft_vcpu *v, struct soft_block *b)
{
	struct soft_cache *c = &v->cache;
	uint32_t number = (uint32_t)(b - c->blocks) + 1, h = hash_of(b->rip, b->gpa, b->mode);
	unsigned len = b->sites[b->nsites].guest;

	b->next_hash = c->hash[h];
	c->hash[h] = number;
	b->next_page = c->page_head[b->gpa >> 12];
	c->page_head[b->gpa >> 12] = number;
	soft_mark_lines(c, b->gpa, len);
	if (b->gpa2) {
		b->next_page2 = c->page_head[b->gpa2 >> 12];
		c->page_head[b->gpa2 >> 12] = number;
		soft_mark_lines(c, b->gpa2, (unsigned)((b->gpa & 0xfff) + len - 4096));
	}
}

static void unhash(struct soft_cache *c, struct soft_block *b)
{
	uint32_t number = (uint32_t)(b - c->blocks) + 1;
	uint32_t *link = &c->hash[hash_of(b->rip, b->gpa, b->mode)];

	while (*link && *link != number)
		link = &c->blocks[*link - 1].next_hash;
	if (*link)
		*link = b->next_hash;
}

static void drop_page(struct soft_vcpu *v, uint64_t page)
{
	struct soft_cache *c = &v->cache;
	uint32_t i = c->page_head[page];

	while (i) {
		struct soft_block *b = &c->blocks[i - 1];

		if (!b->dead) {
			b->dead = true;
			unhash(c, b);
		}
		i = b->gpa >> 12 == page ? b->next_page : b->next_page2;
	}
	page_forget(v, page);
	soft_jc_flush(v);
	v->stat_invalidations++;
}

static uint64_t line_mask(uint64_t gpa, uint64_t len)
{
	unsigned first = (gpa & 0xfff) >> 6, last = (unsigned)((gpa & 0xfff) + len - 1) >> 6;

	return (last == 63 ? ~0ull : (1ull << (last + 1)) - 1) & ~((1ull << first) - 1);
}

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
		if (c->page_lines[page] & line_mask(gpa, n)) {
			drop_page(v, page);
			hit = true;
		}
		gpa += n;
		len -= n;
	}
	return hit;
}

static void request_written(struct soft_vcpu *to, uint64_t gpa, uint64_t len)
{
	uint32_t req = SOFT_REQ_CODE;

	pthread_mutex_lock(&to->lock);
	if (to->nwritten < sizeof(to->written) / sizeof(to->written[0])) {
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
				request_written(v->soft->vcpu[i], gpa, len);
		}
	}
}

/*
 * A page begins to hold code: nobody may have a write tag for it any more.  The mark is set first;
 * a fill on another vcpu sets its writer bit first and looks at the mark afterwards, so one of us
 * sees the other.
 */
void soft_page_has_code(struct soft_vcpu *v, uint64_t gpa)
{
	uint64_t page = gpa >> 12;
	unsigned self = 1u << v->vcpuid, writers;

	if (atomic_fetch_or(&v->soft->page_code[page], (uint16_t)self) & self)
		return;
	writers = atomic_exchange(&v->soft->page_writers[page], 0);
	if (writers & self)
		soft_tlb_drop_writes(v, gpa);
	writers &= ~self;
	for (int i = 0; writers && i < VM_MAXCPU; i++) {
		struct soft_vcpu *o = v->soft->vcpu[i];

		if (!(writers & 1u << i))
			continue;
		atomic_fetch_or(&o->flush_request, SOFT_REQ_WRITE);
		atomic_store(&o->run, 0);
		while (atomic_load(&o->in_guest) &&
			(atomic_load(&o->flush_request) & SOFT_REQ_WRITE)) {
			if (atomic_load(&v->flush_request) & SOFT_REQ_WRITE) {
				atomic_fetch_and(&v->flush_request, ~SOFT_REQ_WRITE);
				soft_tlb_drop_writes(v, SOFT_ALL_PAGES);
			}
			sched_yield();
		}
	}
}

static void serve_written(struct soft_vcpu *v)
{
	uint64_t gpa[16], len[16];
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
	uint32_t req = atomic_fetch_and(&v->flush_request, SOFT_REQ_WRITE);

	if (!req)
		return;
	if (req & SOFT_REQ_CODE)
		serve_written(v);
	if (req & SOFT_REQ_MAP)
		for (unsigned i = 0; i < 4; i++)
			v->ram[i].len = 0;
	if (req & (SOFT_REQ_CODE_ALL | SOFT_REQ_MAP))
		soft_cache_flush(v);
	if (req & SOFT_REQ_MAP)
		soft_tlb_flush(v, X86_FLUSH_ALL, 0);
	if (req & SOFT_REQ_WRITE)
		soft_tlb_drop_writes(v, SOFT_ALL_PAGES);
	atomic_fetch_and(&v->flush_request, ~(req & SOFT_REQ_WRITE));
}
