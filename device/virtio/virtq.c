/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Queues: split rings (virtio 1.2, 2.7) and packed ones (2.8).
 *
 * The rings lie in guest memory, and whoever writes there may be hostile: each descriptor is copied
 * once, checked, and then only the copy is used; a chain is no longer than the ring (or the
 * indirect table), so that a loop ends.
 */
#include "device/virtio/virtq.h"

#include <errno.h>
#include <string.h>

enum {
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
	DESC_AVAIL = 1 << 7, /* packed */
	DESC_USED = 1 << 15,
	DESC_SIZE = 16,

	AVAIL_NO_INTERRUPT = 1,
	USED_NO_NOTIFY = 1,

	/* Offsets: flags, index, ring, and behind the ring the event index. */
	RING_FLAGS = 0,
	RING_INDEX = 2,
	RING_ENTRIES = 4,

	/* Event suppression structures of packed rings. */
	EVENT_POSITION = 0,
	EVENT_FLAGS = 2,
	EVENT_SIZE = 4,
	EVENT_ENABLE = 0,
	EVENT_DISABLE = 1,
	EVENT_AT = 2,

	WRAP = 1 << 15,
};

/* Split: next chains by `next`.  Packed: `next` is the buffer id. */
struct desc {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next;
};

/* ---- shared memory ---- */

static uint16_t load16(const uint8_t *at)
{
	return atomic_load_explicit((const _Atomic uint16_t *)at, memory_order_acquire);
}

static void store16(uint8_t *at, uint16_t value)
{
	atomic_store_explicit((_Atomic uint16_t *)at, value, memory_order_release);
}

size_t virtq_avail_bytes(uint16_t size)
{
	return RING_ENTRIES + 2u * size + 2;
}

size_t virtq_used_bytes(uint16_t size)
{
	return RING_ENTRIES + 8u * size + 2;
}

static uint8_t *avail_event(const struct virtq *q)
{
	return q->device_at + RING_ENTRIES + 8u * q->size;
}

static uint8_t *used_event(const struct virtq *q)
{
	return q->driver_at + RING_ENTRIES + 2u * q->size;
}

/* Descriptors of a packed ring have another order of fields. */
static struct desc load_desc(const uint8_t *at, bool packed)
{
	struct desc d;
	uint16_t a, b;

	memcpy(&d.address, at, 8);
	memcpy(&d.len, at + 8, 4);
	memcpy(&a, at + 12, 2);
	memcpy(&b, at + 14, 2);
	d.flags = packed ? b : a;
	d.next = packed ? a : b;
	return d;
}

/* ---- life ---- */

void virtq_init(
	struct virtq *q, struct virtio *v, struct guest *guest, unsigned index, uint16_t size_max)
{
	*q = (struct virtq){.v = v, .guest = guest, .index = index, .size_max = size_max};
	pthread_mutex_init(&q->lock, NULL);
	virtq_reset(q);
}

void virtq_destroy(struct virtq *q)
{
	pthread_mutex_destroy(&q->lock);
}

void virtq_reset(struct virtq *q)
{
	pthread_mutex_lock(&q->lock);
	q->size = q->size_max;
	q->vector = 0xffff;
	q->desc = q->driver = q->device = 0;
	q->live = false;
	pthread_mutex_unlock(&q->lock);
}

void virtq_stop(struct virtq *q)
{
	pthread_mutex_lock(&q->lock);
	q->live = false;
	pthread_mutex_unlock(&q->lock);
}

static bool map_areas(struct virtq *q)
{
	size_t driver = q->packed ? EVENT_SIZE : virtq_avail_bytes(q->size);
	size_t device = q->packed ? EVENT_SIZE : virtq_used_bytes(q->size);

	if (q->desc % DESC_SIZE || q->driver % (q->packed ? 4 : 2) || q->device % 4)
		return false;
	q->desc_at = guest_at(q->guest, q->desc, (size_t)q->size * DESC_SIZE);
	q->driver_at = guest_at(q->guest, q->driver, driver);
	q->device_at = guest_at(q->guest, q->device, device);
	return q->desc_at && q->driver_at && q->device_at;
}

bool virtq_start(struct virtq *q, uint64_t features)
{
	pthread_mutex_lock(&q->lock);
	q->packed = features & VIRTIO_F_RING_PACKED;
	q->event_idx = features & VIRTIO_F_EVENT_IDX;
	q->indirect = features & VIRTIO_F_INDIRECT_DESC;
	q->next_avail = q->next_used = q->packed ? WRAP : 0;
	q->signalled = 0;
	q->signalled_valid = q->pushed = false;
	q->live = map_areas(q);
	bool live = q->live;

	pthread_mutex_unlock(&q->lock);
	return live;
}

bool virtq_is_live(struct virtq *q)
{
	pthread_mutex_lock(&q->lock);
	bool live = q->live;

	pthread_mutex_unlock(&q->lock);
	return live;
}

/* ---- positions in a packed ring ---- */

static uint16_t packed_advance(const struct virtq *q, uint16_t position, unsigned by)
{
	unsigned at = (position & ~WRAP) + by;
	uint16_t wrap = position & WRAP;

	if (at >= q->size) {
		at -= q->size;
		wrap ^= WRAP;
	}
	return (uint16_t)(at | wrap);
}

static uint16_t packed_retreat(const struct virtq *q, uint16_t position, unsigned by)
{
	unsigned at = position & ~WRAP;
	uint16_t wrap = position & WRAP;

	if (at < by) {
		at += q->size;
		wrap ^= WRAP;
	}
	return (uint16_t)((at - by) | wrap);
}

static uint8_t *packed_at(const struct virtq *q, uint16_t position)
{
	return q->desc_at + (size_t)(position & ~WRAP) * DESC_SIZE;
}

/* Available: the driver's wrap counter in AVAIL, its opposite in USED. */
static bool packed_is_available(const struct virtq *q)
{
	uint16_t flags = load16(packed_at(q, q->next_avail) + 14);
	bool wrap = q->next_avail & WRAP;

	return !!(flags & DESC_AVAIL) == wrap && !!(flags & DESC_USED) != wrap;
}

static bool has_buffers(const struct virtq *q)
{
	return q->packed ? packed_is_available(q)
			 : load16(q->driver_at + RING_INDEX) != q->next_avail;
}

bool virtq_has_buffers(struct virtq *q)
{
	pthread_mutex_lock(&q->lock);
	bool has = q->live && has_buffers(q);

	pthread_mutex_unlock(&q->lock);
	return has;
}

/* ---- taking ---- */

/* Why a chain is refused; NULL: it is not. */
static const char *add_piece(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	bool write = d->flags & DESC_WRITE;

	if (!write && c->nwrite)
		return "a descriptor to be read behind one to be written";
	if (d->len == 0)
		return NULL;
	if (c->nread + c->nwrite == c->max)
		return "a chain of too many descriptors";
	void *at = guest_at(q->guest, d->address, d->len);

	if (!at)
		return "a descriptor outside of RAM";
	c->iov[c->nread + c->nwrite] = (struct iovec){.iov_base = at, .iov_len = d->len};
	*(write ? &c->nwrite : &c->nread) += 1;
	*(write ? &c->write_len : &c->read_len) += d->len;
	return NULL;
}

/*
 * A table of descriptors, chained by `next` (split) or one after the other (packed). `first` is
 * where a split chain begins in it.
 */
static const char *add_table(struct virtq *q, struct virtq_chain *c, const uint8_t *table,
	unsigned count, unsigned first)
{
	unsigned i = first;

	for (unsigned n = 0; n < count; n++) {
		struct desc d = load_desc(table + (size_t)i * DESC_SIZE, q->packed);

		if (d.flags & DESC_INDIRECT)
			return "an indirect descriptor inside of a chain";
		const char *why = add_piece(q, c, &d);

		if (why)
			return why;
		if (q->packed) {
			i++;
			continue;
		}
		if (!(d.flags & DESC_NEXT))
			return NULL;
		if (d.next >= count)
			return "a descriptor beyond its table";
		i = d.next;
	}
	return q->packed ? NULL : "a chain that does not end";
}

static const char *add_indirect(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	unsigned count = d->len / DESC_SIZE;

	if (!q->indirect)
		return "an indirect descriptor without the feature";
	/* Flags but these are reserved for the driver not to set; Linux sets none. */
	if (d->flags & DESC_NEXT || d->len % DESC_SIZE || count == 0 || count > VIRTQ_PIECES_MAX)
		return "an indirect table of a wrong size";
	const uint8_t *table = guest_at(q->guest, d->address, d->len);

	return table ? add_table(q, c, table, count, 0) : "an indirect table outside of RAM";
}

static const char *pop_split(struct virtq *q, struct virtq_chain *c)
{
	uint16_t index = load16(q->driver_at + RING_INDEX), head;

	if ((uint16_t)(index - q->next_avail) > q->size)
		return "an available index too far ahead";
	head = load16(q->driver_at + RING_ENTRIES + 2u * (q->next_avail % q->size));
	if (head >= q->size)
		return "a buffer beyond the ring";
	struct desc d = load_desc(q->desc_at + (size_t)head * DESC_SIZE, false);

	c->id = head;
	c->ndescs = 1;
	q->next_avail++;
	return d.flags & DESC_INDIRECT ? add_indirect(q, c, &d)
				       : add_table(q, c, q->desc_at, q->size, head);
}

static const char *pop_packed(struct virtq *q, struct virtq_chain *c)
{
	uint16_t at = q->next_avail;
	struct desc d;

	for (c->ndescs = 0; c->ndescs < q->size;) {
		const char *why;

		d = load_desc(packed_at(q, at), true);
		at = packed_advance(q, at, 1);
		c->ndescs++;
		if (d.flags & DESC_INDIRECT && c->ndescs > 1)
			return "an indirect descriptor inside of a chain";
		why = d.flags & DESC_INDIRECT ? add_indirect(q, c, &d) : add_piece(q, c, &d);
		if (why)
			return why;
		if (!(d.flags & DESC_NEXT))
			break;
	}
	if (d.flags & DESC_NEXT)
		return "a chain that does not end";
	c->id = d.next;
	q->next_avail = at;
	return NULL;
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	const char *why = NULL;
	int error = 0;

	c->nread = c->nwrite = 0;
	c->read_len = c->write_len = 0;
	pthread_mutex_lock(&q->lock);
	if (!q->live)
		error = EIO;
	else if (!has_buffers(q))
		error = EAGAIN;
	else
		why = q->packed ? pop_packed(q, c) : pop_split(q, c);
	if (why) {
		q->live = false;
		error = EIO;
	} else if (!error) {
		q->buffers++;
	}
	pthread_mutex_unlock(&q->lock);
	if (why)
		virtio_broken(q->v, why);
	return error;
}

void virtq_unpop(struct virtq *q, const struct virtq_chain *chains, unsigned n)
{
	pthread_mutex_lock(&q->lock);
	for (unsigned i = n; i-- > 0 && q->live;) {
		if (q->packed)
			q->next_avail = packed_retreat(q, q->next_avail, chains[i].ndescs);
		else
			q->next_avail--;
		q->buffers--;
	}
	pthread_mutex_unlock(&q->lock);
}

/* ---- giving back ---- */

/* Whoever runs the guest has to know what was written to its memory. */
static void report_written(struct virtq *q, const struct virtq_chain *c, size_t written)
{
	for (unsigned i = 0; i < c->nwrite && written > 0; i++) {
		const struct iovec *piece = &c->iov[c->nread + i];
		size_t n = written < piece->iov_len ? written : piece->iov_len;

		guest_written(q->guest, piece->iov_base, n);
		written -= n;
	}
}

static void push_split(struct virtq *q, const struct virtq_chain *c, size_t written, unsigned ahead)
{
	uint8_t *entry =
		q->device_at + RING_ENTRIES + 8u * ((uint16_t)(q->next_used + ahead) % q->size);
	const uint32_t element[2] = {c->id, (uint32_t)written};

	memcpy(entry, element, sizeof(element));
	guest_written(q->guest, entry, sizeof(element));
}

/* Fills a used descriptor but for its flags, which make it visible. */
static void push_packed(
	struct virtq *q, uint16_t position, const struct virtq_chain *c, size_t written)
{
	uint8_t *d = packed_at(q, position);
	const uint32_t len = (uint32_t)written;

	memcpy(d + 8, &len, 4);
	memcpy(d + 12, &c->id, 2);
}

static void publish_packed(struct virtq *q, uint16_t position, const struct virtq_chain *c)
{
	uint8_t *d = packed_at(q, position);
	uint16_t flags = position & WRAP ? DESC_AVAIL | DESC_USED : 0;

	store16(d + 14, (uint16_t)(flags | (c->nwrite ? DESC_WRITE : 0)));
	guest_written(q->guest, d, DESC_SIZE);
}

static void push_all_split(
	struct virtq *q, const struct virtq_chain *chains, const size_t *written, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		push_split(q, &chains[i], written[i], i);
	q->next_used = (uint16_t)(q->next_used + n);
	store16(q->device_at + RING_INDEX, q->next_used);
	guest_written(q->guest, q->device_at, RING_ENTRIES);
}

/* The first one becomes visible last, and with it the others. */
static void push_all_packed(
	struct virtq *q, const struct virtq_chain *chains, const size_t *written, unsigned n)
{
	uint16_t first = q->next_used, at = first;

	for (unsigned i = 0; i < n; i++) {
		push_packed(q, at, &chains[i], written[i]);
		if (i > 0)
			publish_packed(q, at, &chains[i]);
		at = packed_advance(q, at, chains[i].ndescs);
	}
	publish_packed(q, first, &chains[0]);
	q->next_used = at;
}

void virtq_push_all(
	struct virtq *q, const struct virtq_chain *chains, const size_t *written, unsigned n)
{
	if (n == 0)
		return;
	for (unsigned i = 0; i < n; i++)
		report_written(q, &chains[i], written[i]);
	pthread_mutex_lock(&q->lock);
	if (q->live) {
		if (q->packed)
			push_all_packed(q, chains, written, n);
		else
			push_all_split(q, chains, written, n);
		for (unsigned i = 0; i < n; i++)
			q->bytes += written[i] + chains[i].read_len;
		q->pushed = true;
	}
	pthread_mutex_unlock(&q->lock);
}

void virtq_push(struct virtq *q, const struct virtq_chain *chain, size_t written)
{
	virtq_push_all(q, chain, &written, 1);
}

/* ---- interrupts and notifications ---- */

/* Has `event` been passed on the way from `old` to `new`? (2.7.10) */
static bool passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static bool split_wants(struct virtq *q, uint16_t old, bool old_valid)
{
	if (!q->event_idx)
		return !(load16(q->driver_at + RING_FLAGS) & AVAIL_NO_INTERRUPT);
	return !old_valid || passed(load16(used_event(q)), q->next_used, old);
}

/* A position without its wrap counter, on a line with the others of this round. */
static bool packed_wants(struct virtq *q, uint16_t old, bool old_valid)
{
	uint16_t flags = load16(q->driver_at + EVENT_FLAGS) & 3, position;
	int event, from;

	if (flags != EVENT_AT || !q->event_idx)
		return flags != EVENT_DISABLE;
	position = load16(q->driver_at + EVENT_POSITION);
	event = position & ~WRAP;
	if ((position & WRAP) != (q->next_used & WRAP))
		event -= q->size;
	from = old & ~WRAP;
	if ((old & WRAP) != (q->next_used & WRAP))
		from -= q->size;
	return !old_valid || passed((uint16_t)event, q->next_used & ~WRAP, (uint16_t)from);
}

void virtq_interrupt(struct virtq *q)
{
	bool wanted = false;

	pthread_mutex_lock(&q->lock);
	if (q->live && q->pushed) {
		/* What was pushed is visible before the driver's wish is read. */
		atomic_thread_fence(memory_order_seq_cst);
		wanted = q->packed ? packed_wants(q, q->signalled, q->signalled_valid)
				   : split_wants(q, q->signalled, q->signalled_valid);
		q->signalled = q->next_used;
		q->signalled_valid = true;
		q->pushed = false;
		q->interrupts += wanted;
	}
	pthread_mutex_unlock(&q->lock);
	if (wanted)
		virtio_signal(q->v, q->index);
}

static void tell_wish(struct virtq *q, bool wanted)
{
	if (q->packed) {
		store16(q->device_at + EVENT_FLAGS, wanted ? EVENT_ENABLE : EVENT_DISABLE);
	} else if (!q->event_idx) {
		store16(q->device_at + RING_FLAGS, wanted ? 0 : USED_NO_NOTIFY);
	} else if (wanted) {
		/* Not wanted: the event index stays behind, where it is not passed again. */
		store16(avail_event(q), q->next_avail);
	}
}

bool virtq_want_notify(struct virtq *q, bool wanted)
{
	bool more = false;

	pthread_mutex_lock(&q->lock);
	if (q->live) {
		tell_wish(q, wanted);
		if (wanted) {
			atomic_thread_fence(memory_order_seq_cst);
			more = has_buffers(q);
		}
	}
	pthread_mutex_unlock(&q->lock);
	return more;
}
