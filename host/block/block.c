/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Requests on their way through an image:
 *
 *	submit -> (limit) -> start -> in the host's cache: done at once
 *	                           -> where it lies is known: works for the engine
 *	                           -> else: the format does it on a thread that may wait
 *	       -> end -> (the host is full: held) -> (write-through: a flush) -> done
 */
#include "host/block/image.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/event.h"
#include "host/log.h"

enum {
	EXTENTS = 8,
	INLINE_MAX = 256 << 10,
	/* A write that took longer than this buys so many times as long without another. */
	INLINE_SLOW_NS = 200000,
	INLINE_SHARE = 64,
	SECTOR = 512,
};

#define RETRY_NS 1000000000ull

struct piece {
	struct block_work work; /* first: the engine hands back its address */
	struct job *job;
};

struct job {
	struct block *block;
	struct block_request *request;
	struct job *next;
	uint64_t start_ns;
	_Atomic unsigned pending; /* works that have not ended */
	_Atomic int error;
	bool entered;  /* the format's enter() */
	bool flushing; /* the write is done, its flush under way */
	bool through;  /* not done before it is on the medium */
	struct piece pieces[EXTENTS];
	struct iovec iov[]; /* the request's, cut into extents */
};

struct job_list {
	struct job *first, **last;
};

/* Works gathered for one call of the engine. */
struct batch {
	struct block_work *first, **last;
	bool for_caller; /* gathered by block_submit(): its caller alone waits for a write */
};

struct block {
	struct block_facts facts;
	struct block_image *image;
	struct block_engine_state *engine;
	struct log *log;
	bool sync, pause_when_full;
	_Atomic bool writeback;
	_Atomic bool no_inline; /* the host cannot say whether a read would wait */
	_Atomic uint64_t write_inline_ns; /* until then writes go to the engine */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t idle;
	bool draining, is_full;
	struct limit limit;
	struct job_list throttled, held;
	struct event_timer *limit_timer, *retry_timer;
	struct block_stats stats;
};

static void job_start(struct job *job, struct batch *batch);

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void list_init(struct job_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_add(struct job_list *list, struct job *job)
{
	job->next = NULL;
	*list->last = job;
	list->last = &job->next;
}

static struct job *list_take_all(struct job_list *list)
{
	struct job *first = list->first;

	list_init(list);
	return first;
}

static void batch_submit(struct block *block, struct batch *batch)
{
	if (batch->first)
		block_engine_submit(block->engine, batch->first);
}

static void start_all(struct block *block, struct job *job)
{
	struct batch batch = {NULL, &batch.first, false};
	struct job *next;

	for (; job; job = next) {
		next = job->next;
		job_start(job, &batch);
	}
	batch_submit(block, &batch);
}

/* ---- the end of a request ---- */

static void count(struct block *block, const struct job *job, int error)
{
	const struct block_request *request = job->request;

	block->stats.op[request->op].count++;
	block->stats.op[request->op].bytes += error ? 0 : request->length;
	block->stats.op[request->op].errors += error != 0;
	block->stats.op[request->op].time_ns += now_ns() - job->start_ns;
}

static void job_done(struct job *job, int error)
{
	struct block *block = job->block;

	if (error && error != EOPNOTSUPP)
		log_warn(block->log, "block", "%s: %s", block->image->file->path, strerror(error));
	pthread_mutex_lock(&block->lock);
	count(block, job, error);
	pthread_mutex_unlock(&block->lock);
	job->request->done(job->request, error);
	free(job);
	pthread_mutex_lock(&block->lock);
	if (--block->stats.in_flight == 0)
		pthread_cond_broadcast(&block->idle);
	pthread_mutex_unlock(&block->lock);
}

static bool is_full(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

/* Keeps what found the host full. False: the guest shall see it. */
static bool job_hold(struct job *job)
{
	struct block *block = job->block;
	bool first = false, hold;

	pthread_mutex_lock(&block->lock);
	hold = block->pause_when_full && !block->draining;
	if (hold) {
		first = !block->is_full;
		block->is_full = true;
		block->stats.full += first;
		job->flushing = false;
		list_add(&block->held, job);
		event_timer_set(block->retry_timer, RETRY_NS);
	}
	pthread_mutex_unlock(&block->lock);
	if (first)
		log_err(block->log, "block",
			"%s: the host has no space left; the guest's writes wait for some",
			block->image->file->path);
	return hold;
}

static void note_space(struct block *block)
{
	bool was_full;

	pthread_mutex_lock(&block->lock);
	was_full = block->is_full && !block->held.first;
	if (was_full)
		block->is_full = false;
	pthread_mutex_unlock(&block->lock);
	if (was_full)
		log_err(block->log, "block", "%s: the host has space again",
			block->image->file->path);
}

static bool is_write(enum block_op op)
{
	return op == BLOCK_WRITE || op == BLOCK_WRITE_ZEROES || op == BLOCK_DISCARD;
}

static void job_flush(struct job *job, struct batch *batch);

/* All of its works have ended. */
static void job_end(struct job *job)
{
	struct block *block = job->block;
	int error = atomic_load(&job->error);

	if (job->entered)
		block->image->format->leave(block->image);
	job->entered = false;
	if (is_full(error) && job_hold(job))
		return;
	if (is_write(job->request->op) && !error && block->pause_when_full)
		note_space(block);
	if (is_write(job->request->op) && !error && job->through && !job->flushing) {
		struct batch batch = {NULL, &batch.first, false};

		job->flushing = true;
		job_flush(job, &batch);
		batch_submit(block, &batch);
		return;
	}
	job_done(job, error);
}

/* ---- what waits, on a thread of the engine ---- */

/*
 * The user has named no format, so the next start looks at the first bytes once more, and the guest
 * must not make another format of a raw image: a backing file of its choice would be the host's.
 * Copied first, because the guest may change it meanwhile.
 */
static int write_guarded(struct block *block, const struct block_request *request)
{
	struct iovec *iov = malloc(((size_t)request->niov + 1) * sizeof(*iov));
	uint8_t head[SECTOR];
	int error = ENOMEM;

	if (!iov)
		return ENOMEM;
	block_iov_read(request->iov, request->niov, head, sizeof(head));
	iov[0] = (struct iovec){head, sizeof(head)};
	int n = 1 + block_iov_slice(request->iov, request->niov, sizeof(head),
			    request->length - sizeof(head), iov + 1);

	if (block_has_magic(head, sizeof(head))) {
		log_err(block->log, "block",
			"%s: the guest may not make another format of it; format=raw allows that",
			block->image->file->path);
		error = EIO;
	} else {
		error = block->image->format->write(block->image, iov, n, request->offset);
	}
	free(iov);
	return error;
}

static bool is_guarded(const struct block_image *image, const struct block_request *request)
{
	return image->probed && image->format == &block_raw && request->op == BLOCK_WRITE &&
	       request->offset < SECTOR;
}

static int perform(struct block *block, const struct block_request *request, bool flush)
{
	struct block_image *image = block->image;

	switch (flush ? BLOCK_FLUSH : request->op) {
	case BLOCK_READ:
		return image->format->read(image, request->iov, request->niov, request->offset);
	case BLOCK_WRITE:
		if (is_guarded(image, request))
			return write_guarded(block, request);
		return image->format->write(image, request->iov, request->niov, request->offset);
	case BLOCK_FLUSH:
		return image->format->flush(image);
	case BLOCK_DISCARD:
		return image->format->discard(image, request->offset, request->length);
	case BLOCK_WRITE_ZEROES:
		return image->format->zero(image, request->offset, request->length);
	default:
		return EINVAL;
	}
}

static struct job *work_job(struct block_work *work)
{
	return ((struct piece *)work)->job;
}

static void call_done(struct block_work *work, int error)
{
	struct job *job = work_job(work);

	(void)error;
	atomic_store(&job->error, perform(job->block, job->request, job->flushing));
	job_end(job);
}

static void work_done(struct block_work *work, int error)
{
	struct job *job = work_job(work);

	if (error)
		atomic_store(&job->error, error);
	if (atomic_fetch_sub(&job->pending, 1) == 1)
		job_end(job);
}

/* ---- the start ---- */

static void batch_add(struct batch *batch, struct job *job, unsigned n, struct block_work work)
{
	job->pieces[n] = (struct piece){work, job};
	*batch->last = &job->pieces[n].work;
	batch->last = &job->pieces[n].work.next;
}

static void job_call(struct job *job, struct batch *batch)
{
	batch_add(batch, job, 0, (struct block_work){.kind = BLOCK_DO_CALL, .done = call_done});
}

static void job_flush(struct job *job, struct batch *batch)
{
	struct block_image *image = job->block->image;
	struct block_work sync = {.kind = BLOCK_DO_SYNC, .file = image->file, .done = work_done};

	if (!image->flush_is_sync) {
		job_call(job, batch);
		return;
	}
	atomic_store(&job->pending, 1);
	batch_add(batch, job, 0, sync);
}

/*
 * Finds where all of a read or write lies, as works for the engine.  False: it has to be performed.
 * `n` is the number of works.
 */
static bool job_map(struct job *job, struct block_work *works, unsigned *n)
{
	const struct block_request *request = job->request;
	struct block_image *image = job->block->image;
	bool write = request->op == BLOCK_WRITE;
	struct iovec *iov = job->iov;
	struct block_extent extent;

	*n = 0;
	for (uint64_t done = 0; done < request->length; done += extent.length) {
		if (image->format->map(image, write, request->offset + done, request->length - done,
			    &extent) != 0)
			return false;
		int niov = block_iov_slice(request->iov, request->niov, done, extent.length, iov);

		if (!extent.file) {
			block_iov_zero(iov, niov);
			continue;
		}
		if (*n == EXTENTS || !block_file_is_aligned(extent.file, iov, niov, extent.offset))
			return false;
		works[(*n)++] = (struct block_work){
			.kind = write ? BLOCK_DO_WRITE : BLOCK_DO_READ,
			.file = extent.file,
			.offset = extent.offset,
			.iov = iov,
			.niov = niov,
			.done = work_done,
		};
		iov += niov;
	}
	return true;
}

/* What the host has in its cache is copied at once: cheaper than any way round. */
static ssize_t read_now(struct block *block, const struct block_work *work)
{
	if (atomic_load_explicit(&block->no_inline, memory_order_relaxed))
		return 0;
	ssize_t r = preadv2(work->file->fd, work->iov, work->niov, (off_t)work->offset, RWF_NOWAIT);

	if (r < 0 && errno == EOPNOTSUPP)
		atomic_store(&block->no_inline, true);
	return r;
}

/*
 * The same into the cache.  Most file systems cannot say whether it would wait, as it does when the
 * medium is slower than the guest writes; so it is tried, and held against the clock: at most one part
 * in INLINE_SHARE of the caller's time is lost to waiting.
 */
static ssize_t write_now(struct block *block, const struct block_work *work)
{
	uint64_t start = now_ns(), took;

	if (block->sync || start < atomic_load_explicit(&block->write_inline_ns, memory_order_relaxed))
		return 0;
	ssize_t r = pwritev(work->file->fd, work->iov, work->niov, (off_t)work->offset);

	took = now_ns() - start;
	if (took > INLINE_SLOW_NS)
		atomic_store(&block->write_inline_ns, start + took + INLINE_SHARE * took);
	return r;
}

/*
 * On this thread, all of it or the beginning; the engine does the rest, and says what is wrong.  The event
 * loop's thread, on which others wait, too, starts no writes.
 */
static bool transfer_now(
	struct block *block, struct block_work *work, uint64_t length, const struct batch *batch)
{
	if (work->kind == BLOCK_DO_WRITE && !batch->for_caller)
		return false;
	if (!work->file->plain || work->file->align > 1 || length > INLINE_MAX || work->niov > IOV_MAX)
		return false;
	ssize_t r = work->kind == BLOCK_DO_READ ? read_now(block, work) : write_now(block, work);

	if (r <= 0)
		return false;
	work->offset += (uint64_t)r;
	block_iov_advance(&work->iov, &work->niov, (size_t)r);
	return work->niov == 0;
}

static void job_transfer(struct job *job, struct batch *batch)
{
	struct block *block = job->block;
	const struct block_format *format = block->image->format;
	struct block_work works[EXTENTS];
	unsigned n;

	job->entered = !format->enter || format->enter(block->image);
	if (!job->entered || is_guarded(block->image, job->request) || !job_map(job, works, &n)) {
		if (job->entered)
			format->leave(block->image);
		job->entered = false;
		job_call(job, batch);
		return;
	}
	if (n == 1 && transfer_now(block, &works[0], job->request->length, batch)) {
		pthread_mutex_lock(&block->lock);
		if (job->request->op == BLOCK_READ)
			block->stats.inline_reads++;
		else
			block->stats.inline_writes++;
		pthread_mutex_unlock(&block->lock);
		n = 0;
	}
	atomic_store(&job->pending, n);
	for (unsigned i = 0; i < n; i++)
		batch_add(batch, job, i, works[i]);
	if (n == 0)
		job_end(job);
}

static void job_start(struct job *job, struct batch *batch)
{
	atomic_store(&job->error, 0);
	job->through = !atomic_load(&job->block->writeback);
	if (job->request->op == BLOCK_READ || job->request->op == BLOCK_WRITE)
		job_transfer(job, batch);
	else if (job->request->op == BLOCK_FLUSH)
		job_flush(job, batch);
	else
		job_call(job, batch);
}

/* ---- limits and space ---- */

/* Takes the cost of a request; else how long to wait. Caller holds the lock. */
static uint64_t limit_ask(struct block *block, const struct job *job)
{
	bool moves = job->request->op == BLOCK_READ || job->request->op == BLOCK_WRITE;

	return limit_take(&block->limit, moves ? job->request->length : 0, 1, now_ns());
}

/* Whether a request may start now. If not, it is queued. */
static bool limit_pass(struct job *job)
{
	struct block *block = job->block;
	uint64_t wait = 0;

	if (!limit_is_set(&block->limit) || job->request->op == BLOCK_FLUSH)
		return true;
	pthread_mutex_lock(&block->lock);
	bool queued = block->throttled.first != NULL;

	if (!queued)
		wait = limit_ask(block, job);
	if (queued || wait) {
		list_add(&block->throttled, job);
		block->stats.throttled++;
	}
	if (!queued && wait)
		event_timer_set(block->limit_timer, wait);
	pthread_mutex_unlock(&block->lock);
	return !queued && !wait;
}

static void limit_fire(void *arg)
{
	struct block *block = arg;
	struct job_list ready;
	uint64_t wait = 0;

	list_init(&ready);
	pthread_mutex_lock(&block->lock);
	while (block->throttled.first && (wait = limit_ask(block, block->throttled.first)) == 0) {
		struct job *job = block->throttled.first;

		block->throttled.first = job->next;
		if (!job->next)
			block->throttled.last = &block->throttled.first;
		list_add(&ready, job);
	}
	if (wait)
		event_timer_set(block->limit_timer, wait);
	pthread_mutex_unlock(&block->lock);
	start_all(block, ready.first);
}

static void retry_fire(void *arg)
{
	struct block *block = arg;
	struct job *held;

	pthread_mutex_lock(&block->lock);
	held = list_take_all(&block->held);
	pthread_mutex_unlock(&block->lock);
	start_all(block, held);
}

/* ---- the door ---- */

static int request_check(const struct block *block, const struct block_request *request)
{
	const struct block_facts *facts = &block->facts;

	if (request->op == BLOCK_FLUSH)
		return 0;
	if (is_write(request->op) && facts->read_only)
		return EROFS;
	if (request->op == BLOCK_DISCARD && !facts->can_discard)
		return EOPNOTSUPP;
	if (request->offset > facts->size || request->length > facts->size - request->offset ||
		((request->offset | request->length) & (facts->logical - 1)) != 0)
		return EINVAL;
	if ((request->op == BLOCK_READ || request->op == BLOCK_WRITE) &&
		block_iov_size(request->iov, request->niov) != request->length)
		return EINVAL;
	return 0;
}

static void request_start(struct block *block, struct block_request *request, struct batch *batch)
{
	size_t pieces = request->op == BLOCK_READ || request->op == BLOCK_WRITE
				? (size_t)request->niov + EXTENTS
				: 0;
	int error = request_check(block, request);
	struct job *job;

	if (error) {
		pthread_mutex_lock(&block->lock);
		block->stats.op[request->op].count++;
		block->stats.op[request->op].errors++;
		pthread_mutex_unlock(&block->lock);
		request->done(request, error);
		return;
	}
	job = malloc(sizeof(*job) + pieces * sizeof(job->iov[0]));
	if (!job) {
		request->done(request, ENOMEM);
		return;
	}
	job->block = block;
	job->request = request;
	job->next = NULL;
	job->start_ns = now_ns();
	job->entered = job->flushing = false;
	pthread_mutex_lock(&block->lock);
	block->stats.in_flight++;
	pthread_mutex_unlock(&block->lock);
	if (request->length == 0 && request->op != BLOCK_FLUSH)
		job_done(job, 0);
	else if (limit_pass(job))
		job_start(job, batch);
}

void block_submit(struct block *block, struct block_request *list)
{
	struct batch batch = {NULL, &batch.first, true};
	struct block_request *next;

	for (; list; list = next) {
		next = list->next;
		request_start(block, list, &batch);
	}
	batch_submit(block, &batch);
}

void block_drain(struct block *block)
{
	struct job *throttled, *held, *next;

	pthread_mutex_lock(&block->lock);
	block->draining = true;
	throttled = list_take_all(&block->throttled);
	held = list_take_all(&block->held);
	pthread_mutex_unlock(&block->lock);
	for (; held; held = next) {
		next = held->next;
		job_done(held, ENOSPC);
	}
	start_all(block, throttled);
	pthread_mutex_lock(&block->lock);
	while (block->stats.in_flight > 0)
		pthread_cond_wait(&block->idle, &block->lock);
	block->draining = false;
	pthread_mutex_unlock(&block->lock);
}

void block_set_writeback(struct block *block, bool writeback)
{
	/* Opened for sync, a raw file needs no more than that; other formats have metadata. */
	bool needless = block->image->flush_is_sync && block->sync;

	atomic_store(&block->writeback, needless || (writeback && !block->sync));
}

void block_stats(struct block *block, struct block_stats *stats)
{
	pthread_mutex_lock(&block->lock);
	*stats = block->stats;
	pthread_mutex_unlock(&block->lock);
}

const struct block_facts *block_facts(const struct block *block)
{
	return &block->facts;
}

/* bhyve's form, of the path. */
static void make_serial(const char *path, char *serial, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

	for (; *path; path++)
		hash = (hash ^ (uint8_t)*path) * 0x100000001b3;
	snprintf(serial, size, "HYVE-%04X-%04X-%04X", (unsigned)(hash >> 32 & 0xffff),
		(unsigned)(hash >> 16 & 0xffff), (unsigned)(hash & 0xffff));
}

static unsigned larger(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

static int make_facts(struct block *block, const struct block_settings *s, char *why, size_t size)
{
	const struct block_image *image = block->image;
	const struct block_file *file = image->file;
	bool raw = image->flush_is_sync;
	unsigned logical = s->logical ? s->logical : raw ? file->logical : SECTOR;

	block->facts = (struct block_facts){
		.size = image->size - image->size % logical,
		.logical = logical,
		.physical = larger(logical, s->physical ? s->physical : file->physical),
		.granularity = larger(logical, image->granularity),
		.read_only = image->read_only,
		.format = image->format->name,
		.engine = block_engine_name(block->engine),
	};
	/* Beyond the end there is nothing to lose. */
	block->facts.can_discard = !image->read_only && !s->nodelete &&
				   (!raw || file->is_device ||
					   block_file_punch(block->image->file,
						   (file->size | 0xfffff) + 1, 4096) == 0);
	make_serial(s->path, block->facts.serial, sizeof(block->facts.serial));
	if (block->facts.size > 0)
		return 0;
	snprintf(why, size, "%s: is smaller than a sector of %u bytes", s->path, logical);
	return EINVAL;
}

static int make_timers(struct block *block, struct event_loop *loop)
{
	int error = 0;

	if (limit_is_set(&block->limit))
		error = event_timer_create(loop, limit_fire, block, &block->limit_timer);
	if (!error && block->pause_when_full)
		error = event_timer_create(loop, retry_fire, block, &block->retry_timer);
	return error;
}

static void block_free(struct block *block)
{
	event_timer_remove(block->limit_timer);
	event_timer_remove(block->retry_timer);
	if (block->engine)
		block_engine_destroy(block->engine);
	block_image_close(block->image);
	pthread_cond_destroy(&block->idle);
	pthread_mutex_destroy(&block->lock);
	free(block);
}

int block_open(struct event_loop *loop, const struct block_settings *settings, struct block **out,
	char *why, size_t why_size)
{
	struct block *block = calloc(1, sizeof(*block));
	int error;

	if (!block) {
		snprintf(why, why_size, "%s: %s", settings->path, strerror(ENOMEM));
		return ENOMEM;
	}
	pthread_mutex_init(&block->lock, NULL);
	pthread_cond_init(&block->idle, NULL);
	list_init(&block->throttled);
	list_init(&block->held);
	block->log = settings->log;
	block->sync = settings->sync;
	block->pause_when_full = settings->pause_when_full;
	limit_init(&block->limit, &settings->bytes, &settings->ops, now_ns());
	error = block_engine_create(settings->engine, &block->engine, why, why_size);
	if (!error)
		error = block_image_open(settings, NULL, &block->image, why, why_size);
	if (!error)
		error = make_facts(block, settings, why, why_size);
	if (error)
		goto fail;
	block_set_writeback(block, true);
	error = make_timers(block, loop);
	if (error) {
		snprintf(why, why_size, "%s: no timer: %s", settings->path, strerror(error));
		goto fail;
	}
	*out = block;
	return 0;

fail:
	block_free(block);
	return error;
}

void block_close(struct block *block)
{
	if (!block)
		return;
	block_drain(block);
	block_free(block);
}
