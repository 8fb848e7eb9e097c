/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Translations that have been made already, by another vcpu or for another address.
 *
 * Each vcpu runs its own copy of a block, so nothing that is executed is shared.  But the second
 * vcpu that comes to some code copies what the first one has made of it, out of that one's cache,
 * which costs a fraction of a translation; and so does the second process that has mapped some
 * library, elsewhere.  With the block goes a record: what in its code depends on where that lies, on
 * whose it is and on rip, and the bytes of the guest that it was made from.
 *
 * Whether the guest's code is still the same is no question to the other vcpu, who may not have
 * heard of a store yet: as for a translation we first ask to be told of stores to the page, and
 * then compare all bytes, also those that only the liveness of flags rests on.
 *
 * The owner goes on meanwhile.  A block that is on offer has a stamp that its cache has given to no
 * other; the owner takes the stamp away before the block or anything that belongs to it changes or
 * goes.  So who finds the same stamp before and behind its reads has read one block as it was.
 * Displacements of jumps to other blocks are the exception: the owner patches them at any time, and
 * copies get their own.  The host is x86: loads are done in their order, and so are stores.
 */
#include <sys/mman.h>

#include "backend/soft/gen.h"

#define WAYS	  4u
#define SLOTS	  (WAYS << 15)
#define WAY_BYTES 64u /* of a stub that is a link or an edge; 55 is known */

/* What there is to know of a block besides its code; parts_of() says what follows. */
struct record {
	uint64_t rip, gpa;
	uint32_t mode;
	uint32_t code;	/* offset of the entry with parked flags in the owner's cache */
	uint32_t sites; /* ... in its metadata */
	uint16_t bytes; /* of the record */
	uint16_t size;	/* of the code, but for the ways out that a copy makes for itself */
	uint16_t host;	/* the other entry, from `code` on */
	uint16_t nlook; /* bytes */
	uint16_t nguest;
	uint16_t nfixes;
	uint8_t ninsns, nmemos, nops, njumps, nlooks;
	bool invpcid : 1; /* CPUID says that it is there */
	bool placed : 1;  /* for this rip alone */
};

/* A link or an edge. */
struct jump {
	int32_t target; /* from rip on */
	uint16_t at;	/* its displacement in the code */
	uint8_t kind;	/* enum gen_stub_kind */
	bool flags_parked : 1, nomerge : 1;
};

struct parts {
	uint32_t *op; /* offset in the owner's metadata */
	struct jump *jump;
	struct gen_fix *fix;
	uint16_t *memo; /* size | MEMO_WRITES */
	struct gen_look *look;
	uint8_t *guest; /* the block's bytes, then those that were looked at */
};
#define MEMO_WRITES 0x8000u

/* Their places, and how long the record is, in words, with what copy_words() writes behind it. */
static unsigned parts_of(const struct record *r, struct parts *p)
{
	uint8_t *at = (uint8_t *)(uintptr_t)(r + 1);

	p->op = (void *)at;
	p->jump = (void *)(p->op + r->nops);
	p->fix = (void *)(p->jump + r->njumps);
	p->memo = (void *)(p->fix + r->nfixes);
	p->look = (void *)(p->memo + r->nmemos);
	p->guest = (void *)(p->look + r->nlooks);
	return (unsigned)(p->guest + r->nguest + r->nlook - (const uint8_t *)r + 7 + 7) & ~7u;
}

/* ---- where blocks may be found ---- */

/*
 * A table of hints: who reads one looks what is there.  32 bits of the key's hash, the vcpu, and
 * the number of the block.
 */
#define HINT(hash, vcpu, block) ((hash) >> 32 << 32 | (uint64_t)(vcpu) << 28 | (uint64_t)(block))
#define HINT_VCPU(hint)		((hint) >> 28 & 15)
#define HINT_BLOCK(hint)	((uint32_t)(hint)&0x0fffffff)
_Static_assert(VM_MAXCPU <= 16, "four bits");

_Atomic uint64_t *soft_share_table(void)
{
	void *p = mmap(NULL, SLOTS * sizeof(uint64_t), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void soft_share_free(_Atomic uint64_t *table)
{
	if (table)
		munmap((void *)table, SLOTS * sizeof(uint64_t));
}

/*
 * Programs and libraries that are mapped at another address in each process.  What the code has of
 * its address is in eight bytes each time, as all addresses here have more than 32 bits.
 */
static bool is_movable(uint64_t rip, uint32_t mode)
{
	return SOFT_MODE_SIZE(mode) == SOFT_MODE_SIZE_64 && rip >> 32 && rip >> 47 == 0;
}

static uint64_t hash_of(uint64_t rip, uint64_t gpa, uint32_t mode)
{
	uint64_t x = (gpa ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ull;

	x ^= is_movable(rip, mode) ? 1 : rip;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

static _Atomic uint64_t *slots_of(const struct soft_vm *s, uint64_t hash)
{
	return &s->shared[hash % (SLOTS / WAYS) * WAYS];
}

/* In place of an older hint for the same code, or where nothing is, or of any. */
static void put_hint(struct soft_vm *s, uint64_t hash, uint64_t hint)
{
	_Atomic uint64_t *slot = slots_of(s, hash), *to = &slot[hash >> 24 & (WAYS - 1)];

	for (unsigned i = WAYS; i-- > 0;) {
		uint64_t old = atomic_load_explicit(&slot[i], memory_order_relaxed);

		if (!old)
			to = &slot[i];
		if (old && (old ^ hint) >> 32 == 0) {
			to = &slot[i];
			break;
		}
	}
	atomic_store_explicit(to, hint, memory_order_release);
}

/* ---- on offer ---- */

void soft_share_begin(struct soft_vcpu *v)
{
	struct soft_vm *s = v->soft;
	uint16_t sockets, cores, threads, most;
	bool others;

	vm_get_topology(v->vm, &sockets, &cores, &threads, &most);
	others = (unsigned)sockets * cores * threads > 1 || atomic_exchange(&s->running, true);
	if (s->share && others)
		atomic_store(&s->sharing, true);
}

/* Will there be hints to such a block? */
static bool is_hinted(const struct soft_vcpu *v, uint64_t rip, uint32_t mode)
{
	return atomic_load_explicit(&v->soft->sharing, memory_order_relaxed) ||
	       (v->soft->share && is_movable(rip, mode));
}

static bool has_invpcid(const struct soft_vcpu *v)
{
	return x86_has_feature(&v->cpu, X86_F_INVPCID);
}

/* Of what somebody else may be writing: to the compiler, and to ThreadSanitizer, it is no access. */
static uint64_t word_at(const void *p)
{
	uint64_t word;

	__asm__ volatile("mov (%1), %0" : "=r"(word) : "r"(p) : "memory");
	return word;
}

/*
 * Up to seven bytes more.  The owner may be writing what is read: only is_there() tells what that
 * is worth then.
 */
static void copy_words(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		uint64_t word = word_at((const uint8_t *)from + i);

		__builtin_memcpy((uint8_t *)to + i, &word, 8);
	}
}

/* The ways out of the block; false: one of them cannot be noted. */
static bool note_jumps(const struct gen *g, struct jump *jump)
{
	for (unsigned i = 0; i < g->nstubs; i++) {
		const struct gen_stub *s = &g->stub[i];

		if (s->kind != STUB_LINK && s->kind != STUB_EDGE)
			continue;
		*jump = (struct jump){
			.target = (int32_t)(s->target - g->rip),
			.at = (uint16_t)(s->jump - g->start),
			.kind = s->kind,
			.flags_parked = s->flags_parked,
			.nomerge = s->nomerge,
		};
		if (g->rip + (uint64_t)(int64_t)jump->target != s->target)
			return false;
		jump++;
	}
	return true;
}

/* In this order: each may run over into the next. */
static void note_parts(const struct gen *g, const struct record *r, const struct parts *p)
{
	for (unsigned i = 0; i < r->nops; i++)
		p->op[i] = (uint32_t)((const uint8_t *)g->op[i] - g->v->cache.meta);
	copy_words(p->fix, g->fix, r->nfixes * sizeof(*p->fix));
	for (unsigned i = 0; i < r->nmemos; i++)
		p->memo[i] = (uint16_t)(g->memo[i].size | (g->memo[i].write ? MEMO_WRITES : 0));
	copy_words(p->look, g->look, r->nlooks * sizeof(*p->look));
	copy_words(p->guest, g->code, r->nguest);
	copy_words(p->guest + r->nguest, g->look_bytes, r->nlook);
}

static unsigned count_jumps(const struct gen *g)
{
	unsigned n = 0;

	for (unsigned i = 0; i < g->nstubs; i++)
		n += g->stub[i].kind == STUB_LINK || g->stub[i].kind == STUB_EDGE;
	return n;
}

/* The block that the translator has just made; NULL: it is not for sharing. */
static struct record *make_record(struct gen *g, const struct soft_block *b)
{
	struct soft_cache *c = &g->v->cache;
	unsigned njumps = count_jumps(g), bytes;
	struct record r, *to;
	struct parts p;

	if (njumps > UINT8_MAX || g->nmemos > UINT8_MAX)
		return NULL;
	r = (struct record){
		.rip = b->rip,
		.gpa = b->gpa,
		.mode = b->mode,
		.code = b->host_mem,
		.sites = (uint32_t)((const uint8_t *)b->sites - c->meta),
		.size = (uint16_t)(g->ways - g->start),
		.host = (uint16_t)(b->host - b->host_mem),
		.nlook = (uint16_t)g->nlook_bytes,
		.nguest = (uint16_t)g->offset[g->n],
		.nfixes = (uint16_t)g->nfixes,
		.ninsns = (uint8_t)g->n,
		.nmemos = (uint8_t)g->nmemos,
		.nops = (uint8_t)g->nops,
		.njumps = (uint8_t)njumps,
		.nlooks = (uint8_t)g->nlooks,
		.invpcid = has_invpcid(g->v),
		.placed = g->placed || !is_movable(b->rip, b->mode),
	};
	bytes = parts_of(&r, &p);
	to = bytes > GEN_RECORD ? NULL : soft_meta_alloc(c, bytes, 8);
	if (!to)
		return NULL;
	r.bytes = (uint16_t)bytes;
	*to = r;
	parts_of(to, &p);
	note_parts(g, to, &p);
	return note_jumps(g, p.jump) ? to : NULL;
}

void soft_share(struct soft_vcpu *v, const struct soft_block *b)
{
	struct soft_cache *c = &v->cache;
	uint32_t number = (uint32_t)(b - c->blocks);
	const struct record *r;
	uint64_t hash;

	bool hinted = is_hinted(v, b->rip, b->mode);

	if (!hinted && !(v->soft->share && (v->check || soft_tortured(v))))
		return;
	r = make_record(v->gen, b);
	if (!r)
		return;
	if (++c->stamps == 0)
		c->stamps = 1;
	atomic_store_explicit(&c->shared[number].record, (uint32_t)((const uint8_t *)r - c->meta),
		memory_order_relaxed);
	atomic_store_explicit(&c->shared[number].stamp, c->stamps, memory_order_release);
	if (!hinted)
		return;
	hash = hash_of(b->rip, b->gpa, b->mode);
	put_hint(v->soft, hash, HINT(hash, v->vcpuid, number));
}

/* The compiler may not move loads or stores of memory over it, and the host does not. */
static void in_order(void)
{
	__asm__ volatile("" ::: "memory");
}

void soft_unshare(struct soft_cache *c, const struct soft_block *b)
{
	if (c->stamps)
		atomic_store_explicit(&c->shared[b - c->blocks].stamp, 0, memory_order_relaxed);
	in_order();
}

/* ---- a copy ---- */

/* A block on offer, as it was when its stamp was read. */
struct offer {
	const struct soft_cache *c;
	uint32_t number, stamp;
};

static bool is_there(const struct offer *o)
{
	in_order();
	return atomic_load_explicit(&o->c->shared[o->number].stamp, memory_order_acquire) ==
	       o->stamp;
}

/* May it be copied to where we want it? */
static bool is_at(const struct record *r, const struct gen *g)
{
	return r->gpa == g->gpa && r->mode == g->mode &&
	       (r->rip == g->rip || (!r->placed && is_movable(g->rip, g->mode)));
}

/* Its record into gen->record[]; false: it is not that block. */
static bool read_record(struct gen *g, const struct offer *o)
{
	struct record *r = (void *)g->record;
	uint32_t at;

	at = atomic_load_explicit(&o->c->shared[o->number].record, memory_order_relaxed);
	if (!is_there(o))
		return false;
	_Static_assert(sizeof(*r) % 8 == 0, "in words");
	copy_words(r, o->c->meta + at, sizeof(*r));
	if (!is_there(o) || !is_at(r, g) || r->invpcid != has_invpcid(g->v))
		return false;
	for (unsigned i = 0; i < r->size; i += 64)
		__builtin_prefetch(o->c->rw + r->code + i);
	copy_words(r + 1, o->c->meta + at + sizeof(*r), r->bytes - sizeof(*r));
	copy_words(g->site, o->c->meta + r->sites, (r->ninsns + 1u) * sizeof(g->site[0]));
	return is_there(o);
}

/* Quicker than memcmp() without vector registers. */
static bool same_bytes(const uint8_t *guest, const uint8_t *b, unsigned n)
{
	uint64_t x;

	for (; n >= 8; n -= 8, guest += 8, b += 8) {
		__builtin_memcpy(&x, b, 8);
		if (word_at(guest) != x)
			return false;
	}
	while (n && __atomic_load_n(guest, __ATOMIC_RELAXED) == *b)
		guest++, b++, n--;
	return n == 0;
}

/* Has the guest the same bytes there now? */
static bool same_guest(struct gen *g, const struct record *r, const struct parts *p)
{
	const uint8_t *looked = p->guest + r->nguest;

	if (!same_bytes(g->page + (g->gpa & 0xfff), p->guest, r->nguest))
		return false;
	for (unsigned i = 0; i < r->nlooks; i++) {
		if (!same_bytes(g->page + p->look[i].from, looked, p->look[i].len))
			return false;
		looked += p->look[i].len;
		g->lines |= soft_lines(p->look[i].from, p->look[i].len);
	}
	return true;
}

/* Does the piece that we are filling have room for all of it?  It cannot fail behind this. */
static bool has_room(struct gen *g, const struct record *r)
{
	const struct soft_piece *p = soft_filling(&g->v->cache);
	uint32_t meta = r->nops * (uint32_t)sizeof(struct soft_op) +
			(r->ninsns + 1u) * (uint32_t)sizeof(struct soft_site) + 32;

	return g->e.end - g->e.p >= (ptrdiff_t)(r->size + r->njumps * WAY_BYTES + GEN_STEP) &&
	       p->meta_end - p->meta_used >= meta;
}

/* Its code and ops, to the end of that piece. */
static bool read_code(
	struct gen *g, const struct offer *o, const struct record *r, const struct parts *p)
{
	if (!has_room(g, r))
		return false;
	for (unsigned i = 0; i < r->nops; i++) {
		struct soft_op *op =
			soft_meta_alloc(&g->v->cache, sizeof(*op), _Alignof(struct soft_op));

		if (!op)
			return false;
		_Static_assert(sizeof(*op) % 8 == 0, "in words");
		copy_words(op, o->c->meta + p->op[i], sizeof(*op));
		g->op[i] = op;
	}
	copy_words(g->start, o->c->rw + r->code, r->size);
	return is_there(o);
}

/* From here on nothing of the owner's is read. */
static void fix_ops(struct gen *g, const struct offer *o, const struct record *r)
{
	const uint8_t *from = o->c->rx + r->code, *to = g->start + g->e.to_rx;

	for (unsigned i = 0; i < r->nops; i++) {
		g->op[i]->rip += g->rip - r->rip;
		if (g->op[i]->resume)
			g->op[i]->resume = to + ((const uint8_t *)g->op[i]->resume - from);
	}
}

static int32_t memo_member(const struct gen *g, unsigned memo, int32_t disp)
{
	int32_t first = STATE(memo) + (int32_t)(g->class * SOFT_MEMOS * sizeof(struct soft_memo));
	uint32_t member = (uint32_t)(disp - first) % sizeof(struct soft_memo);

	return first + (int32_t)(memo * sizeof(struct soft_memo) + member);
}

static void fix_code(struct gen *g, const struct record *r, const struct parts *p)
{
	uint32_t moved = r->code - (uint32_t)(g->start - g->v->cache.rw), disp;
	uint16_t memo[UINT8_MAX + 1];
	uint64_t rip;

	for (unsigned i = 0; i < r->nmemos; i++)
		memo[i] = (uint16_t)soft_memo_new(
			g->v, g->class, p->memo[i] & ~MEMO_WRITES, p->memo[i] & MEMO_WRITES);
	for (unsigned i = 0; i < r->nfixes; i++) {
		uint8_t *at = g->start + p->fix[i].at;
		unsigned n = p->fix[i].n;

		switch (p->fix[i].kind) {
		case FIX_WHAT:
			__builtin_memcpy(at, &memo[n], 2);
			continue;
		case FIX_OP:
			__builtin_memcpy(at, &g->op[n], 8);
			continue;
		case FIX_RIP:
			__builtin_memcpy(&rip, at, 8);
			rip += g->rip - r->rip;
			__builtin_memcpy(at, &rip, 8);
			continue;
		}
		__builtin_memcpy(&disp, at, 4);
		disp = p->fix[i].kind == FIX_THUNK
			       ? disp + moved
			       : (uint32_t)memo_member(g, memo[n], (int32_t)disp);
		__builtin_memcpy(at, &disp, 4);
	}
}

/* As the translator does it: links to what there is, the others to their stubs.  False: no edge is
 * left. */
static bool fix_jumps(struct gen *g, const struct record *r, const struct parts *p)
{
	for (unsigned i = 0; i < r->njumps; i++) {
		const struct jump *j = &p->jump[i];
		struct gen_stub *s = gen_stub(g, j->kind);
		int32_t disp;

		s->target = g->rip + (uint64_t)(int64_t)j->target;
		s->jump = g->start + j->at;
		s->flags_parked = j->flags_parked;
		s->nomerge = j->nomerge;
		if (j->kind != STUB_EDGE)
			continue;
		if (!soft_edge_left(g->v))
			return false;
		s->edge = soft_edge_new(g->v);
		disp = STATE(edge) + 8 * (int32_t)s->edge;
		__builtin_memcpy(s->jump, &disp, 4);
	}
	return true;
}

/* What the translator would know of the block now. */
static struct soft_block *new_block(struct gen *g, const struct record *r)
{
	struct soft_block *b = gen_new_block(g, 0);

	b->host = b->host_mem + r->host;
	b->meta = g->meta;
	g->n = r->ninsns;
	g->copied = true;
	g->e.p = g->start + r->size;
	return b;
}

/* NULL: it has changed, the guest's code is another, or there is no room. */
static struct soft_block *copy(struct gen *g, const struct offer *o, struct soft_block *in_place_of)
{
	struct soft_piece *p = soft_filling(&g->v->cache);
	const struct record *r = (const void *)g->record;
	uint32_t edges = p->edges;
	struct parts parts;
	struct soft_block *b;

	g->meta = p->meta_used;
	if (!read_record(g, o))
		return NULL;
	parts_of(r, &parts);
	if (!same_guest(g, r, &parts) || !read_code(g, o, r, &parts))
		goto fail;
	fix_ops(g, o, r);
	fix_code(g, r, &parts);
	b = new_block(g, r);
	if (!fix_jumps(g, r, &parts))
		goto fail;
	gen_ways(g, b);
	if (in_place_of)
		soft_block_retire(g->v, in_place_of);
	b = gen_finish(g, b);
	if (b)
		return b;
fail:
	soft_edges_drop(g->v, p, edges);
	p->meta_used = g->meta;
	g->v->stat_copy_misses++;
	return NULL;
}

/* Thunks have to be where the code expects them. */
static bool fits(const struct soft_cache *a, const struct soft_cache *b)
{
	return a->start == b->start && a->call_op - a->rx == b->call_op - b->rx &&
	       a->string[SOFT_SUPER_AC][1][3] - a->rx == b->string[SOFT_SUPER_AC][1][3] - b->rx;
}

static struct soft_block *try_hint(struct gen *g, uint64_t hint)
{
	const struct soft_vcpu *owner = g->v->soft->vcpu[HINT_VCPU(hint)];
	struct offer o = {.c = &owner->cache, .number = HINT_BLOCK(hint)};

	if (!fits(o.c, &g->v->cache))
		return NULL;
	o.stamp = atomic_load_explicit(&o.c->shared[o.number].stamp, memory_order_acquire);
	return o.stamp ? copy(g, &o, NULL) : NULL;
}

struct soft_block *soft_copy(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page)
{
	uint64_t gpa = (page->gpa & ~0xfffull) | (x86_linear_rip(&v->cpu) & 0xfff), hash;
	struct soft_block *b = NULL;
	_Atomic uint64_t *slot;

	if (!is_hinted(v, rip, mode))
		return NULL;
	hash = hash_of(rip, gpa, mode);
	slot = slots_of(v->soft, hash);
	__builtin_prefetch((const void *)slot);
	if (!soft_has_room(&v->cache, GEN_STEP) || soft_block_died(&v->cache, rip, gpa, mode))
		return NULL;
	gen_prepare(v, rip, mode, page);
	for (unsigned i = 0; i < WAYS && !b; i++) {
		uint64_t hint = atomic_load_explicit(&slot[i], memory_order_acquire);

		if (hint && (hint ^ hash) >> 32 == 0)
			b = try_hint(v->gen, hint);
	}
	return b;
}

struct soft_block *soft_copy_own(
	struct soft_vcpu *v, struct soft_block *b, const struct soft_itlb_entry *page)
{
	struct offer o = {.c = &v->cache, .number = (uint32_t)(b - v->cache.blocks)};
	struct soft_block *copied;

	o.stamp = atomic_load(&v->cache.shared[o.number].stamp);
	if (!(o.stamp & 1) || !soft_has_room(&v->cache, GEN_STEP))
		return b;
	gen_prepare(v, b->rip, b->mode, page);
	copied = copy(v->gen, &o, b);
	return copied ? copied : b;
}
