/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Windows: ranges of linear addresses with one addend, for memos that meet more than one page.
 *
 * There are two kinds.  Pages that follow each other in the guest's linear and physical memory, as
 * those of the kernel's direct map and of large pages do, follow each other on the host already.
 * Others can be made to: a *mirror* maps pages of guest RAM once more, in the order of their linear
 * addresses.  That takes system calls, some microseconds for each page, so somebody must have
 * missed in vain for about as long before; and it is done between blocks (soft_mirror_build()).
 *
 * A window holds nothing that the TLB could not hold: for writing only dirty pages without
 * translated code, all of them marked in page_writers[]; and it goes when one of its pages goes.
 * A mirror may stay: it is only host memory in another order, of which each page is held against
 * the TLB when a window is made of it.
 */
#include <sys/mman.h>

#include "backend/soft/soft.h"

#define LARGE_SIZE (2ull << 20)
#define READ_MAX   (1ull << 30)
#define WRITE_MAX  (4ull << 20) /* each page is looked at */
#define MIRROR_MAX 512u		/* pages of one */
#define MIRROR_TOTAL                                                                               \
	2048u /* of a vcpu: each may be a mapping of its own, and a process has 65530 */
#define MIRROR_PRICE (256u / SOFT_MEMO_DEBT) /* misses that a page costs */

/* ---- the list of those found before ---- */

void soft_window_clear(struct soft_vcpu *v, unsigned class, bool writes_only)
{
	for (unsigned write = writes_only; write < 2; write++)
		v->windows[class][write].n = v->windows[class][write].next = 0;
}

void soft_window_drop(struct soft_vcpu *v, unsigned class, uint64_t gla)
{
	for (unsigned write = 0; write < 2; write++)
		for (unsigned i = 0; i < v->windows[class][write].n; i++) {
			struct soft_window *w = &v->windows[class][write].window[i];

			if (gla - w->lo < w->hi - w->lo)
				w->hi = w->lo = 0;
		}
}

bool soft_window_listed(
	const struct soft_vcpu *v, unsigned class, uint64_t gla, bool write, struct soft_window *w)
{
	const struct soft_windows *l = &v->windows[class][write];

	w->lo = w->hi = 0;
	for (unsigned i = 0; i < l->n; i++)
		if (gla - l->window[i].lo < l->window[i].hi - l->window[i].lo &&
			l->window[i].hi - l->window[i].lo > w->hi - w->lo)
			*w = l->window[i];
	return w->lo != w->hi;
}

static void enlist(struct soft_vcpu *v, unsigned class, bool write, const struct soft_window *w)
{
	struct soft_windows *l = &v->windows[class][write];

	l->window[l->next++ % SOFT_WINDOWS] = *w;
	if (l->n < SOFT_WINDOWS)
		l->n++;
}

/* ---- pages that are neighbours on the host ---- */

static const struct soft_tlb_entry *known(
	const struct soft_vcpu *v, unsigned class, uint64_t page, bool write)
{
	const struct soft_tlb_entry *e = &v->tlb[class]->entry[soft_tlb_slot(page)];

	if ((write ? e->write : e->read) != page)
		e = &v->tlb[class]->entry[soft_tlb_slot2(page)];
	return (write ? e->write : e->read) == page ? e : NULL;
}

struct scan {
	struct soft_vcpu *v;
	unsigned class;
	bool write;
	uint64_t add;
	bool large, global; /* there is a large page where it begins; its pages are global */
	uint64_t part; /* 2 MiB that were looked at last, and whether they have that addend, too */
	uint64_t part_gpa; /* 0: not */
};

/*
 * Could the TLB hold this as it is, and would a flush find the window?  That of all but global
 * pages looks no further where the TLB has no others.
 */
static bool may_join(const struct scan *s, const struct x86_walk *walk)
{
	return walk->accessed && (walk->dirty || !s->write) && walk->global == s->global;
}

/* 2 MiB of a large page?  Its tables are walked, so they still say so. */
static uint64_t part_gpa(struct scan *s, uint64_t part)
{
	unsigned acc = (s->write ? X86_ACC_WRITE : X86_ACC_READ) | X86_ACC_NOFAULT |
		       (s->class == SOFT_USER ? X86_ACC_USER : 0);
	struct x86_walk walk;
	const uint8_t *hva;

	if (!x86_canonical(part) || soft_walk(s->v, part, acc, &walk) != X86_DONE ||
		walk.page_shift < 21 || !may_join(s, &walk) ||
		(walk.gpa + LARGE_SIZE) >> 12 > s->v->soft->pages)
		return 0;
	hva = soft_ram_span(s->v, walk.gpa, LARGE_SIZE);
	if (!hva || (uint64_t)(uintptr_t)hva - part != s->add)
		return 0;
	soft_note_large(s->v, s->class, part, &walk);
	return walk.gpa | 1;
}

static bool in_large(struct scan *s, uint64_t page)
{
	if (!s->large)
		return false;
	if (s->part != (page & ~(LARGE_SIZE - 1))) {
		s->part = page & ~(LARGE_SIZE - 1);
		s->part_gpa = part_gpa(s, s->part);
	}
	return s->part_gpa != 0;
}

/* As in tlb_fill(): the mark first, then the look. */
static bool may_write(struct scan *s, uint64_t page)
{
	uint64_t pfn = (s->part_gpa >> 12) + (page - s->part) / 4096;

	return !soft_page_has_writer(s->v, pfn);
}

/* How many bytes from page on (or up to its end, down) belong to the window; 0: it ends here. */
static uint64_t belongs(struct scan *s, uint64_t page, bool down)
{
	const struct soft_tlb_entry *e = known(s->v, s->class, page, s->write);

	if (!s->write && in_large(s, page))
		return down ? page + 4096 - s->part : s->part + LARGE_SIZE - page;
	if ((e && e->add == s->add) || (s->write && in_large(s, page) && may_write(s, page)))
		return 4096;
	return 0;
}

static void neighbours(struct scan *s, struct soft_window *w)
{
	const uint64_t most = s->write ? WRITE_MAX : READ_MAX;
	uint64_t n;

	while (w->hi && w->hi - w->lo < most && (n = belongs(s, w->hi, false)))
		w->hi += n;
	while (w->lo && w->hi - w->lo < most && (n = belongs(s, w->lo - 4096, true)))
		w->lo -= n;
}

/* ---- mirrors ---- */

/* Does the mirror still show what the guest has at `page`? */
static bool shows(const struct soft_vcpu *v, const struct soft_mirror *m, unsigned class,
	uint64_t page, bool write)
{
	const struct soft_tlb_entry *e = known(v, class, page, write);

	return page - m->lo < m->pages * 4096ull && e &&
	       e->gpa >> 12 == m->frame[(page - m->lo) / 4096];
}

static void mirrored(
	struct soft_vcpu *v, unsigned class, uint64_t page, bool write, struct soft_window *best)
{
	for (unsigned i = 0; i < SOFT_MIRRORS; i++) {
		const struct soft_mirror *m = &v->mirror[i];
		struct soft_window w = {page, page + 4096, (uint64_t)(uintptr_t)m->host - m->lo};

		if (!m->host || !shows(v, m, class, page, write))
			continue;
		while (shows(v, m, class, w.hi, write))
			w.hi += 4096;
		while (shows(v, m, class, w.lo - 4096, write))
			w.lo -= 4096;
		if (w.hi - w.lo > best->hi - best->lo)
			*best = w;
	}
}

bool soft_window_find(
	struct soft_vcpu *v, unsigned class, uint64_t gla, bool write, struct soft_window *w)
{
	const uint64_t page = gla & ~0xfffull;
	const struct soft_tlb_entry *e = known(v, class, page, write);
	struct scan s;

	if (soft_window_listed(v, class, gla, write, w))
		return true;
	if (!e || page + 4096 == 0)
		return false;
	s = (struct scan){.v = v,
		.class = class,
		.write = write,
		.add = e->add,
		.large = soft_is_large(v, class, gla),
		.global = e->gpa & SOFT_TLB_GLOBAL,
		.part = 1};
	*w = (struct soft_window){page, page + 4096, e->add};
	neighbours(&s, w);
	mirrored(v, class, page, write, w);
	if (w->hi - w->lo > 4096) {
		enlist(v, class, write, w);
		v->stat_windows++;
	}
	return true;
}

/* The pages around gla that the TLB knows. */
static void known_range(
	const struct soft_vcpu *v, unsigned class, uint64_t gla, bool write, struct soft_window *w)
{
	const uint64_t most = MIRROR_MAX * 4096ull;

	w->lo = gla & ~0xfffull;
	w->hi = w->lo + 4096;
	while (w->hi - w->lo < most / 2 && known(v, class, w->hi, write))
		w->hi += 4096;
	while (w->hi - w->lo < most && w->lo && known(v, class, w->lo - 4096, write))
		w->lo -= 4096;
	while (w->hi - w->lo < most && w->hi && known(v, class, w->hi, write))
		w->hi += 4096;
}

/* Pages that it would have; 0: it would be no wider than what there is. */
static unsigned wanted(struct soft_vcpu *v, unsigned class, uint64_t gla, bool write,
	const struct soft_window *have, struct soft_window *w)
{
	known_range(v, class, gla, write, w);
	return w->hi - w->lo < 2 * (have->hi - have->lo) ? 0 : (unsigned)((w->hi - w->lo) / 4096);
}

bool soft_window_want(struct soft_vcpu *v, unsigned class, uint64_t gla, bool write,
	const struct soft_window *have, unsigned debt)
{
	struct soft_window w;
	unsigned pages;

	if (debt < 2 * MIRROR_PRICE || v->mirror_wanted.hi)
		return false;
	pages = wanted(v, class, gla, write, have, &w);
	if (pages == 0 || pages * MIRROR_PRICE > debt)
		return false;
	v->mirror_wanted = w;
	v->mirror_class = (uint8_t) class;
	atomic_store_explicit(&v->run, 0, memory_order_relaxed);
	return true;
}

void soft_window_mirror(struct soft_vcpu *v, unsigned class, uint64_t gla, bool write)
{
	known_range(v, class, gla, write, &v->mirror_wanted);
	v->mirror_class = (uint8_t) class;
	soft_mirror_build(v);
}

static void drop(struct soft_vcpu *v, struct soft_mirror *m)
{
	if (!m->host)
		return;
	for (unsigned class = 0; class < SOFT_CLASSES; class ++)
		soft_memo_clear(v, class, false);
	munmap(m->host, m->pages * 4096ull);
	munmap(m->frame, m->pages * sizeof(*m->frame));
	v->mirror_pages -= m->pages;
	*m = (struct soft_mirror){0};
}

void soft_mirror_drop_all(struct soft_vcpu *v)
{
	for (unsigned i = 0; i < SOFT_MIRRORS; i++)
		drop(v, &v->mirror[i]);
}

static void *reserve(size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Room for one: the oldest ones go. */
static struct soft_mirror *make_room(struct soft_vcpu *v, unsigned pages)
{
	struct soft_mirror *m;

	do {
		m = &v->mirror[v->mirror_next++ % SOFT_MIRRORS];
		drop(v, m);
	} while (v->mirror_pages + pages > MIRROR_TOTAL);
	m->host = reserve(pages * 4096ull, PROT_NONE);
	m->frame = reserve(pages * sizeof(*m->frame), PROT_READ | PROT_WRITE);
	if (m->host && m->frame)
		return m;
	if (m->host)
		munmap(m->host, pages * 4096ull);
	if (m->frame)
		munmap(m->frame, pages * sizeof(*m->frame));
	*m = (struct soft_mirror){0};
	return NULL;
}

/* Guest RAM at hva once more at `to`: mremap() of nothing duplicates a shared mapping. */
static bool show(uint8_t *to, uint8_t *hva, size_t size)
{
	return mremap(hva, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
}

/* Pages that have gone from the TLB, or are no RAM of a shared mapping, are left out. */
static bool fill(struct soft_vcpu *v, struct soft_mirror *m, unsigned class)
{
	uint8_t *run = NULL;
	unsigned first = 0, i;

	for (i = 0; i < m->pages; i++) {
		uint64_t page = m->lo + i * 4096ull;
		const struct soft_tlb_entry *e = known(v, class, page, false);
		uint8_t *hva = e ? (uint8_t *)(uintptr_t)(e->add + page) : NULL;

		m->frame[i] = e ? (uint32_t)(e->gpa >> 12) : UINT32_MAX;
		if (run && hva == run + (i - first) * 4096ull)
			continue;
		if (run && !show(m->host + first * 4096ull, run, (i - first) * 4096ull))
			return false;
		run = hva;
		first = i;
	}
	return !run || show(m->host + first * 4096ull, run, (i - first) * 4096ull);
}

void soft_mirror_build(struct soft_vcpu *v)
{
	const struct soft_window w = v->mirror_wanted;
	const unsigned pages = (unsigned)((w.hi - w.lo) / 4096);
	struct soft_mirror *m;

	if (!w.hi)
		return;
	v->mirror_wanted = (struct soft_window){0};
	m = make_room(v, pages);
	if (!m)
		return;
	m->lo = w.lo;
	m->pages = pages;
	v->mirror_pages += pages;
	v->stat_mirrors++;
	soft_window_clear(v, v->mirror_class, false); /* wider ones can be had */
	if (!fill(v, m, v->mirror_class))
		drop(v, m);
	else
		madvise(m->host, pages * 4096ull, MADV_POPULATE_WRITE); /* as far as it goes */
}
