/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The translated-address cache and the memory side of struct x86_ops.
 *
 * Translated code looks up (address >> 12) modulo the table's size, subtracts the tag, and has a
 * hit if the difference is small enough for the whole access to lie in the page.  A tag of 0 fits
 * no index but that of page 0, so cleared memory is an empty table; entry 0 gets the tag of page 1
 * instead.
 */
#include <errno.h>

#include "backend/soft/soft.h"

static void entry_clear(struct soft_tlb *t, unsigned i)
{
	t->entry[i] = (struct soft_tlb_entry){.read = i ? 0 : 4096, .write = i ? 0 : 4096};
}

static bool entry_used(const struct soft_tlb_entry *e)
{
	return e->gpa != 0;
}

static void log_entry(struct soft_tlb *t, unsigned i)
{
	struct soft_log *log = &t->log[t->entry[i].gpa & SOFT_TLB_GLOBAL];

	if (log->n < SOFT_LOG_MAX)
		log->index[log->n] = (uint16_t)i;
	if (log->n <= SOFT_LOG_MAX)
		log->n++;
}

/* Entries of one kind; an entry may have been taken by the other meanwhile. */
static void tlb_clear_kind(struct soft_tlb *t, unsigned global)
{
	struct soft_log *log = &t->log[global];
	unsigned n = log->n <= SOFT_LOG_MAX ? log->n : SOFT_TLB_ENTRIES;

	for (unsigned k = 0; k < n; k++) {
		unsigned i = log->n <= SOFT_LOG_MAX ? log->index[k] : k;

		if (entry_used(&t->entry[i]) && (t->entry[i].gpa & SOFT_TLB_GLOBAL) == global)
			entry_clear(t, i);
	}
	log->n = 0;
}

static void entry_drop_write(struct soft_tlb *t, unsigned i, uint64_t gpa)
{
	if (gpa == SOFT_ALL_PAGES || (t->entry[i].gpa ^ gpa) >> 12 == 0)
		t->entry[i].write = i ? 0 : 4096;
}

void soft_tlb_read_only(struct soft_tlb *t, uint64_t gpa)
{
	if (!t->log[0].n && !t->log[1].n)
		return;
	for (unsigned kind = 0; kind < 2; kind++) {
		const struct soft_log *log = &t->log[kind];
		bool all = log->n > SOFT_LOG_MAX;

		for (unsigned k = 0; k < (all ? SOFT_TLB_ENTRIES : log->n); k++)
			entry_drop_write(t, all ? k : log->index[k], gpa);
	}
}

void soft_tlb_drop_writes(struct soft_vcpu *v, uint64_t gpa)
{
	for (unsigned c = 0; c < SOFT_CLASSES; c++) {
		soft_memo_clear(v, c, true);
		soft_tlb_read_only(v->tlb[c], gpa);
	}
	soft_bank_drop_writes(v, gpa);
}

/* Of zeroes. */
void soft_tlb_init(struct soft_vcpu *v)
{
	soft_memo_init(v);
}

static void set_bit(uint64_t *filter, unsigned bit)
{
	filter[bit / 64] |= 1ull << bit % 64;
}

static bool has_bit(const uint64_t *filter, unsigned bit)
{
	return filter[bit / 64] >> bit % 64 & 1;
}

static void filter_large(struct soft_filter *f, uint64_t gla, unsigned shift)
{
	if (shift > 22)
		f->huge |= 1ull << soft_huge_bit(gla);
	else if (shift > 12)
		set_bit(f->large, soft_filter_bit(gla >> 21, gla));
	if (shift == 22)
		set_bit(f->large, soft_filter_bit(gla >> 21 ^ 1, gla));
}

void soft_note_large(struct soft_vcpu *v, unsigned class, uint64_t gla, const struct x86_walk *w)
{
	filter_large(&v->tlb[class]->filter, gla, w->page_shift);
	if (w->global)
		filter_large(&v->global[class], gla, w->page_shift);
}

static bool may_be_large(const struct soft_filter *f, uint64_t gla)
{
	return has_bit(f->large, soft_filter_bit(gla >> 21, gla)) ||
	       f->huge & 1ull << soft_huge_bit(gla);
}

static bool may_have_page(const struct soft_filter *f, uint64_t gla)
{
	return has_bit(f->pages, soft_filter_bit(gla >> 12, gla));
}

void soft_tlb_empty_nonglobal(struct soft_tlb *t)
{
	tlb_clear_kind(t, 0);
}

void soft_tlb_empty(struct soft_tlb *t)
{
	entry_clear(t, 0); /* cleared memory is not quite an empty table */
	tlb_clear_kind(t, 0);
	tlb_clear_kind(t, 1);
	__builtin_memset(&t->filter, 0, sizeof(t->filter));
}

/* INVLPG drops a large page as a whole, of which any part may be cached. */
bool soft_tlb_empty_page(struct soft_tlb *t, uint64_t gla)
{
	if (may_be_large(&t->filter, gla))
		return false;
	if (may_have_page(&t->filter, gla)) {
		entry_clear(t, soft_tlb_slot(gla));
		entry_clear(t, soft_tlb_slot2(gla));
	}
	return true;
}

bool soft_is_large(const struct soft_vcpu *v, unsigned class, uint64_t gla)
{
	return may_be_large(&v->tlb[class]->filter, gla);
}

/* Everything of a class, with what is kept track of about it. */
static void class_clear(struct soft_vcpu *v, unsigned class)
{
	soft_tlb_empty(v->tlb[class]);
	soft_memo_clear(v, class, false);
	v->itlb_stamp[class][0] = ++v->stamps;
	v->itlb_stamp[class][1] = ++v->stamps;
	__builtin_memset(&v->global[class], 0, sizeof(v->global[class]));
	soft_jump_leave(v, class);
}

void soft_tlb_clear(struct soft_vcpu *v)
{
	v->device.page = 0;
	for (unsigned c = 0; c < SOFT_CLASSES; c++)
		class_clear(v, c);
}

/* Memos are copies of entries: the kernel's stay where all of those are global. */
void soft_tlb_leave(struct soft_vcpu *v)
{
	v->device.page = 0;
	for (unsigned c = 0; c < SOFT_CLASSES; c++) {
		if (v->tlb[c]->log[0].n)
			soft_memo_clear(v, c, false);
		if (v->jc_nonglobal[c])
			soft_jump_leave(v, c);
	}
}

void soft_tlb_clear_nonglobal(struct soft_vcpu *v)
{
	soft_tlb_leave(v);
	for (unsigned c = 0; c < SOFT_CLASSES; c++) {
		tlb_clear_kind(v->tlb[c], 0);
		v->itlb_stamp[c][0] = ++v->stamps;
	}
}

void soft_tlb_clear_page(struct soft_vcpu *v, uint64_t gla)
{
	v->device.page = 0;
	for (unsigned c = 0; c < SOFT_CLASSES; c++) {
		struct soft_tlb *t = v->tlb[c];

		if (may_be_large(&v->global[c], gla) || !soft_tlb_empty_page(t, gla)) {
			class_clear(v, c);
			continue;
		}
		if (may_have_page(&t->filter, gla) || may_have_page(&v->global[c], gla))
			soft_memo_drop(v, c, gla);
		v->itlb[c][soft_itlb_slot(gla)].page = 0;
		if (has_bit(v->jc_pages[c], soft_filter_bit(gla >> 12, gla)))
			soft_jump_drop(v, c);
	}
}

/* Host address of the guest page at gpa (aligned or not), or NULL if it is not RAM. */
void *soft_ram(struct soft_vcpu *v, uint64_t gpa)
{
	size_t len = 0;
	uint8_t *hva;
	unsigned n;
	bool lent;

	for (unsigned i = 0; i < 4; i++)
		if (gpa - v->ram[i].gpa < v->ram[i].len)
			return v->ram[i].hva + (gpa - v->ram[i].gpa);
	if ((gpa | 0xfff) == v->device_page)
		return NULL;
	lent = soft_lend(v);
	hva = vm_gpa_ram(v->vm, gpa & ~0xfffull, &len);
	soft_return(v, lent);
	if (!hva || len < 4096) {
		v->device_page = gpa | 0xfff;
		return NULL;
	}
	n = v->ram_next++ & 3;
	v->ram[n].gpa = gpa & ~0xfffull;
	v->ram[n].len = len;
	v->ram[n].hva = hva;
	return hva + (gpa & 0xfff);
}

void *soft_ram_span(struct soft_vcpu *v, uint64_t gpa, uint64_t len)
{
	void *hva = soft_ram(v, gpa);

	for (unsigned i = 0; hva && i < 4; i++)
		if (gpa - v->ram[i].gpa < v->ram[i].len)
			return v->ram[i].len - (gpa - v->ram[i].gpa) >= len ? hva : NULL;
	return NULL;
}

static unsigned class_of(const struct soft_vcpu *v, unsigned acc)
{
	if (acc & X86_ACC_USER)
		return SOFT_USER;
	if (!(v->cpu.cr4 & X86_CR4_SMAP) || acc & X86_ACC_IMPLICIT || !(v->cpu.rflags & X86_RF_AC))
		return SOFT_SUPER;
	return SOFT_SUPER_AC;
}

static bool may_cache(const struct soft_vcpu *v, uint64_t gpa)
{
	return !v->watch && gpa >> 12 < v->soft->pages;
}

/* A place for the page: its own, or the first one, of which the page there moves to its second. */
static unsigned make_room(struct soft_tlb *t, uint64_t page)
{
	unsigned i = soft_tlb_slot(page), second = soft_tlb_slot2(page);

	if (entry_used(&t->entry[second]) && t->entry[second].read == page)
		return second;
	if (entry_used(&t->entry[i]) && t->entry[i].read != page) {
		unsigned to = soft_tlb_slot2(t->entry[i].read);

		if (to != i) {
			bool write = t->entry[i].write == t->entry[i].read;

			t->entry[to] = t->entry[i];
			if (!write)
				t->entry[to].write = to ? 0 : 4096;
			log_entry(t, to);
		}
		entry_clear(t, i);
	}
	return i;
}

/*
 * Enters a translation.  A page that holds translated code gets no write tag; the writer's bit is
 * set before the look, soft_page_has_code() does it the other way round.
 */
static void tlb_fill(struct soft_vcpu *v, unsigned class, uint64_t gla, const struct x86_walk *w,
	uint8_t *hva, bool write)
{
	struct soft_tlb *t = v->tlb[class];
	uint64_t page = gla & ~0xfffull, pfn = w->gpa >> 12;
	unsigned i = make_room(t, page), bit = soft_filter_bit(gla >> 12, gla);
	struct soft_tlb_entry *e = &t->entry[i];
	uint64_t was = e->gpa;

	v->stat_tlb_fills++;
	e->read = page;
	e->add = ((uint64_t)(uintptr_t)hva & ~0xfffull) - page;
	e->gpa = (w->gpa & ~0xfffull) | SOFT_TLB_USED | (w->global ? SOFT_TLB_GLOBAL : 0);
	if (!was || (was ^ e->gpa) & SOFT_TLB_GLOBAL)
		log_entry(t, i);
	set_bit(t->filter.pages, bit);
	if (w->global)
		set_bit(v->global[class].pages, bit);
	v->low_global |= w->global && !(gla >> 63);
	soft_note_large(v, class, gla, w);
	if (!write)
		return;
	if (!soft_page_has_writer(v, pfn))
		e->write = page;
	else
		e->gpa |= SOFT_TLB_CODE;
}

static void *entry_find(const struct soft_tlb_entry *e, uint64_t gla, unsigned len, bool write)
{
	uint64_t off = gla - (write ? e->write : e->read);

	return off + len <= 4096 && off < 4096 ? (void *)(uintptr_t)(e->add + gla) : NULL;
}

static void *tlb_find(struct soft_vcpu *v, unsigned class, uint64_t gla, unsigned len, bool write)
{
	struct soft_tlb *t = v->tlb[class];
	void *hva = entry_find(&t->entry[soft_tlb_slot(gla)], gla, len, write);

	return hva ? hva : entry_find(&t->entry[soft_tlb_slot2(gla)], gla, len, write);
}

/* A store is about to go to a page with code: remembered, and acted on when it has happened. */
static void note_write(struct soft_vcpu *v, uint64_t gpa, unsigned len)
{
	uint64_t pfn = gpa >> 12;

	vm_dirty_note(v->vm, gpa, len);
	if (pfn >= v->soft->pages || !atomic_load(&v->soft->page_code[pfn]))
		return;
	if (v->npending_writes < SOFT_PENDING_WRITES) {
		v->pending_write[v->npending_writes].gpa = gpa;
		v->pending_write[v->npending_writes++].len = len;
	} else { /* many small ones: the last entry grows into everything */
		v->pending_overflow = true;
	}
}

bool soft_writes_done(struct soft_vcpu *v)
{
	bool hit = false;

	for (unsigned i = 0; i < v->npending_writes; i++) {
		hit |= soft_code_written(v, v->pending_write[i].gpa, v->pending_write[i].len);
		soft_code_broadcast(v, v->pending_write[i].gpa, v->pending_write[i].len);
	}
	if (v->pending_overflow) {
		soft_cache_flush(v);
		for (int i = 0; i < VM_MAXCPU; i++) {
			struct soft_vcpu *o = v->soft->vcpu[i];

			if (!o || o == v)
				continue;
			atomic_fetch_or(&o->flush_request, SOFT_REQ_CODE_ALL);
			atomic_store(&o->run, 0);
		}
		hit = true;
	}
	v->npending_writes = 0;
	v->pending_overflow = false;
	return hit;
}

/* Data breakpoints (SDM vol. 3, 17.2.4): DR6 bits of those that [gla, gla+len) touches. */
static void watch_check(struct soft_vcpu *v, uint64_t gla, unsigned len, bool write)
{
	static const uint8_t length[] = {1, 2, 8, 4};

	for (unsigned i = 0; i < 4; i++) {
		unsigned ctl = (unsigned)(v->cpu.dr[7] >> (16 + 4 * i)) & 15, rw = ctl & 3;
		unsigned size = length[ctl >> 2];
		uint64_t at = v->cpu.dr[i] & ~(uint64_t)(size - 1);

		if (!(v->cpu.dr[7] >> (2 * i) & 3) || rw == 0 || rw == 2 || (rw == 1 && !write))
			continue;
		if (gla < at + size && at < gla + len)
			v->watch_hit |= 1u << i;
	}
}

uint32_t soft_exec_breakpoints(const struct soft_vcpu *v)
{
	uint64_t gla = x86_linear_rip(&v->cpu);
	uint32_t hit = 0;

	for (unsigned i = 0; i < 4; i++)
		if (v->cpu.dr[7] >> (2 * i) & 3 && !(v->cpu.dr[7] >> (16 + 4 * i) & 15) &&
			v->cpu.dr[i] == gla)
			hit |= 1u << i;
	return hit;
}

/* Where a store to [gpa, gpa+len), which is at hva, goes: for a ROM, to a copy that nobody looks
 * at. */
static void *store_place(struct soft_vcpu *v, uint64_t gpa, unsigned len, void *hva)
{
	if (soft_is_rom(v->soft, gpa))
		return __builtin_memcpy(v->lost + (gpa & 0xfff), hva, len);
	note_write(v, gpa, len);
	return hva;
}

static void *op_ram(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write)
{
	struct soft_vcpu *v = cpu->owner;
	void *hva = soft_ram(v, gpa);

	return hva && write ? store_place(v, gpa, len, hva) : hva;
}

/* A look-up that succeeds is what a TLB would have done; any flush ends it. */
static bool device_find(struct soft_vcpu *v, unsigned class, uint64_t gla, bool write)
{
	return v->device.page == ((gla & ~0xfffull) | 1) && v->device.class == class &&
	       (v->device.write || !write);
}

static void device_enter(
	struct soft_vcpu *v, unsigned class, uint64_t gla, uint64_t gpa, bool write)
{
	v->device.page = (gla & ~0xfffull) | 1;
	v->device.gpa = gpa & ~0xfffull;
	v->device.class = (uint8_t) class;
	v->device.write = write;
}

static void *op_map(
	struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc, enum x86_result *res)
{
	struct soft_vcpu *v = cpu->owner;
	bool write = acc & X86_ACC_WRITE;
	unsigned class = class_of(v, acc);
	struct x86_walk w;
	uint8_t *hva;

	*res = X86_DONE;
	if (acc & X86_ACC_EXEC) {
		const struct soft_itlb_entry *e = soft_itlb_find(v, class, gla);

		if (e && (gla & 0xfff) + len <= 4096)
			return e->hva + (gla & 0xfff);
	}
	if (acc & (X86_ACC_EXEC | X86_ACC_NOFAULT))
		return x86_map_walk(cpu, gla, len, acc, res);
	if (v->watch && !(acc & X86_ACC_IMPLICIT))
		watch_check(v, gla, len, write);
	hva = tlb_find(v, class, gla, len, write);
	if (hva && (!write || !(acc & X86_ACC_READ)))
		return hva;
	if (hva && tlb_find(v, class, gla, len, false))
		return hva;
	if (device_find(v, class, gla, write)) {
		*res = soft_mmio_exit(cpu, gla, v->device.gpa | (gla & 0xfff), len, write);
		return NULL;
	}
	*res = soft_walk(v, gla, acc, &w);
	if (*res != X86_DONE)
		return NULL;
	hva = soft_ram(v, w.gpa);
	if (!hva) {
		device_enter(v, class, gla, w.gpa, write);
		*res = soft_mmio_exit(cpu, gla, w.gpa, len, write);
		return NULL;
	}
	if (may_cache(v, w.gpa))
		tlb_fill(v, class, gla, &w, hva, write);
	return write ? store_place(v, w.gpa, len, hva) : hva;
}

static void op_flush(struct x86_cpu *cpu, enum x86_flush kind, uint64_t gla)
{
	soft_tlb_flush(cpu->owner, kind, gla);
}

static enum x86_result msr_result(
	struct x86_cpu *cpu, int error, bool write, uint32_t msr, uint64_t value)
{
	if (error == 0)
		return X86_DONE;
	if (error == EPERM)
		return x86_raise_error(cpu, X86_GP, 0);
	cpu->exit.reason = write ? X86_EXIT_WRMSR : X86_EXIT_RDMSR;
	cpu->exit.msr.msr = msr;
	cpu->exit.msr.value = value;
	return X86_EXIT;
}

static enum x86_result op_rdmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t *value)
{
	struct soft_vcpu *v = cpu->owner;
	bool lent = soft_lend(v);
	int error;

	error = vm_rdmsr(v->vm, v->vcpuid, msr, value);
	soft_return(v, lent);
	return msr_result(cpu, error, false, msr, 0);
}

/* A write to the APIC may have made an interrupt deliverable: look at events before going on. */
static enum x86_result op_wrmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t value)
{
	struct soft_vcpu *v = cpu->owner;
	bool lent = soft_lend(v);
	int error;

	error = vm_wrmsr(v->vm, v->vcpuid, msr, value);
	soft_return(v, lent);
	atomic_store_explicit(&v->run, 0, memory_order_relaxed);
	return msr_result(cpu, error, true, msr, value);
}

static bool op_poll(struct x86_cpu *cpu)
{
	struct soft_vcpu *v = cpu->owner;

	return !atomic_load_explicit(&v->run, memory_order_relaxed);
}

const struct x86_ops soft_x86_ops = {
	.ram = op_ram,
	.map = op_map,
	.join = soft_join,
	.mmio_read = soft_mmio_read,
	.mmio_write = soft_mmio_write,
	.flush = op_flush,
	.rdmsr = op_rdmsr,
	.wrmsr = op_wrmsr,
	.cr8_read = soft_cr8_read,
	.cr8_write = soft_cr8_write,
	.cpuid = soft_cpuid,
	.poll = op_poll,
};

/*
 * The site of a fill call: sets cpu.rip to its instruction.  Returns its index, and its block in
 * *block.
 */
static unsigned site_of(
	struct soft_vcpu *v, uint64_t site, const uint8_t *ret, struct soft_block **block)
{
	struct soft_block *b = soft_block_at(&v->cache, ret - 1);
	unsigned i = (unsigned)(site >> 16) & 0x7fff;
	uint32_t f = v->flags16;

	*block = b;
	v->cpu.rip = b->rip + b->sites[i].guest;
	if (b->sites[i].flags_parked)
		v->cpu.rflags = (v->cpu.rflags & ~(uint64_t)X86_FL_STATUS) | (f >> 8 & 0xd5) |
				(uint64_t)(f & 1) << 11;
	if (b->sites[i].borrowed)
		v->cpu.gpr[b->sites[i].borrowed - 1] = v->borrow;
	return i;
}

/* No code stands behind a branch, even one to the next instruction; POPF may have changed the mode.
 */
static bool goes_on(const struct x86_insn *insn)
{
	return insn->row->class != X86_BRANCH && insn->row->mnem != X86_I_popf;
}

/*
 * The instruction at rip, of the site that returns to `ret`.  A driver's loop comes by often, and
 * decoding costs as much as a chip's register.  Other code may stand there now: the bytes tell.
 */
static enum x86_result fetch_site(
	struct soft_vcpu *v, const uint8_t *ret, const struct x86_insn **insn)
{
	struct soft_known *k = &v->known[((uintptr_t)ret >> 3) % SOFT_KNOWN];
	enum x86_result res = X86_DONE;

	*insn = &k->insn;
	if (k->ret == ret && x86_fetch_same(&v->cpu, &k->insn))
		return X86_DONE;
	res = x86_fetch(&v->cpu, &k->insn);
	k->ret = res == X86_DONE ? ret : NULL;
	return res;
}

/* The whole instruction in C: page crossing, MMIO, stores next to code. */
static const void *execute_site(struct soft_vcpu *v, uint64_t site, const uint8_t *ret)
{
	struct soft_block *b;
	unsigned i = site_of(v, site, ret, &b);
	const struct x86_insn *insn;
	enum x86_result res = fetch_site(v, ret, &insn);
	uint64_t next = b->rip + b->sites[i + 1].guest;
	const void *resume = NULL;

	v->stat_executed++;
	if (res == X86_DONE)
		res = x86_execute(&v->cpu, insn);
	if (res == X86_DONE && v->cpu.rip == next && b->sites[i + 1].resumable && goes_on(insn) &&
		atomic_load(&v->run))
		resume = v->cache.rx + b->host + b->sites[i + 1].host;
	return soft_finish(v, res, resume);
}

/* What a group of accesses touches is not all plain RAM of one page: on without groups. */
static const void *one_by_one(struct soft_vcpu *v, uint64_t site, const uint8_t *ret)
{
	struct soft_block *b;

	site_of(v, site, ret, &b);
	if (b->region)
		soft_region_misfit(v, b);
	v->nomerge = 1;
	v->reason = SOFT_LOOKUP;
	return NULL;
}

/* The entry of a page that may be written, but for the code that it holds. */
static struct soft_tlb_entry *code_entry(struct soft_tlb *t, uint64_t gla)
{
	struct soft_tlb_entry *e = &t->entry[soft_tlb_slot(gla)];

	if (!(e->gpa & SOFT_TLB_CODE) || e->read != (gla & ~0xfffull))
		e = &t->entry[soft_tlb_slot2(gla)];
	return e->gpa & SOFT_TLB_CODE && e->read == (gla & ~0xfffull) ? e : NULL;
}

/* A store to a page with code may go on by itself this time, unless it changes the block that it is
 * in. */
static bool fill_once(
	struct soft_vcpu *v, uint64_t gla, uint64_t what, unsigned class, const uint8_t *ret)
{
	unsigned size = (unsigned)(what >> 32) & SOFT_FILL_SIZE;
	const struct soft_tlb_entry *e = code_entry(v->tlb[class], gla);
	const uint16_t self = (uint16_t)(1u << v->vcpuid);
	uint64_t gpa, lines;

	if (!e)
		return false;
	gpa = (e->gpa & ~0xfffull) | (gla & 0xfff);
	lines = v->cache.page_lines[gpa >> 12];
	/* As in tlb_fill(): who begins to translate the page waits until the store is done. */
	if (soft_page_has_writer(v, gpa >> 12) != self)
		return false;
	if (lines & soft_lines(gpa, size) && !soft_code_yields(v, gpa, size, ret - 1))
		return false;
	if (!lines && v->idle_stores++ % SOFT_IDLE_STORES == 0)
		soft_page_idle(v, gpa);
	v->stat_code_stores++;
	v->fill_add = e->add;
	if (!(lines & soft_lines(gpa, size)))
		soft_memo_beside(v, class, gla, (unsigned)what >> 16, lines, e->add);
	return true;
}

/*
 * Enters the page into the TLB: DONE, FAULT as the walk says, or EXIT for whatever needs more than
 * that. early: for a store of a later instruction.
 */
static enum x86_result fill_page(
	struct soft_vcpu *v, uint64_t gla, unsigned acc, unsigned class, bool early)
{
	bool write = acc & X86_ACC_WRITE;
	struct x86_walk w;
	enum x86_result res;
	uint8_t *hva;

	if (device_find(v, class, gla, write))
		return X86_EXIT;
	/* The block may never come to the store: it must not mark the page dirty. */
	if (early && (soft_walk(v, gla, acc | X86_ACC_NOFAULT, &w) != X86_DONE || !w.dirty))
		return X86_EXIT;
	res = soft_walk(v, gla, acc, &w);
	if (res != X86_DONE)
		return res;
	hva = soft_ram(v, w.gpa);
	if (!hva)
		device_enter(v, class, gla, w.gpa, write);
	if (!hva || !may_cache(v, w.gpa))
		return X86_EXIT;
	tlb_fill(v, class, gla, &w, hva, write);
	return write && atomic_load(&v->soft->page_code[w.gpa >> 12]) ? X86_EXIT : X86_DONE;
}

/* The walk's fault is the instruction's. */
static const void *fault_site(struct soft_vcpu *v, uint64_t site, const uint8_t *ret)
{
	struct soft_block *b;

	site_of(v, site, ret, &b);
	return soft_finish(v, X86_FAULT, NULL);
}

/*
 * A memo that has missed often enough, though the TLB knows the page; or an access across two pages
 * that may be neighbours on the host.
 */
static bool widen(struct soft_vcpu *v, unsigned class, uint64_t gla, uint64_t what, bool write)
{
	unsigned size = (unsigned)(what >> 32) & SOFT_FILL_SIZE, memo = (unsigned)what >> 16;

	if ((gla & 0xfff) + size <= 4096 && !tlb_find(v, class, gla, size, write))
		return false;
	return soft_memo_widen(v, class, gla, size, memo, write);
}

/* What cannot be done in translated code is for C. */
static const void *fill(
	struct soft_vcpu *v, uint64_t gla, uint64_t what, const uint8_t *ret, bool write)
{
	uint64_t site = what >> 32;
	unsigned size = (unsigned)site & SOFT_FILL_SIZE;
	unsigned acc =
		(write ? X86_ACC_WRITE : X86_ACC_READ) | (v->cpu.cpl == 3 ? X86_ACC_USER : 0);
	unsigned class = class_of(v, acc);
	enum x86_result res = X86_EXIT;
	bool merged = site & SOFT_FILL_MERGED,
	     good = (gla & 0xfff) + size <= 4096 && x86_canonical(gla);

	if (widen(v, class, gla, what, write))
		return ret + SOFT_LOOK_UP_BYTES;
	/* A misaligned operand faults before its page does.  A group's size is not its leader's. */
	if (site & SOFT_FILL_ALIGNED && (merged || gla & (size - 1)))
		good = false;
	if (good && write && !merged && fill_once(v, gla, what, class, ret))
		return ret + SOFT_LOOK_UP_BYTES;
	if (soft_tortured(v))
		soft_torture_fill(v);
	if (good)
		res = fill_page(v, gla, acc, class, site & SOFT_FILL_EARLY);
	if (res == X86_DONE)
		return ret;
	if (res == X86_EXIT && good && write && !merged && fill_once(v, gla, what, class, ret))
		return ret + SOFT_LOOK_UP_BYTES;
	if (merged)
		return one_by_one(v, site, ret);
	if (res == X86_FAULT && !(site & SOFT_FILL_MF))
		return fault_site(v, site, ret);
	return execute_site(v, site, ret);
}

/* From a region: C finds the registers where they belong. */
static const void *fill_swapped(
	struct soft_vcpu *v, uint64_t gla, uint64_t what, const uint8_t *ret, bool write)
{
	const struct soft_block *b = soft_block_at(&v->cache, ret);
	const void *on;

	soft_swap_out(v, b);
	on = fill(v, gla, what & ~SOFT_FILL_REGION, ret, write);
	if (soft_in_body(v, b, on)) /* and not in the handler of a fault */
		soft_swap_in(v, b);
	return on;
}

const void *soft_fill(struct soft_vcpu *v, uint64_t gla, uint64_t what, const uint8_t *ret)
{
	return what & SOFT_FILL_REGION ? fill_swapped(v, gla, what, ret, false)
				       : fill(v, gla, what, ret, false);
}

const void *soft_fill_write(struct soft_vcpu *v, uint64_t gla, uint64_t what, const uint8_t *ret)
{
	return what & SOFT_FILL_REGION ? fill_swapped(v, gla, what, ret, true)
				       : fill(v, gla, what, ret, true);
}
