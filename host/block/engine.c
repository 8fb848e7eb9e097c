/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Who does the work while the caller goes on: io_uring where the host allows it, and a few threads,
 * started as they are needed, for the rest and for what has to wait.
 */
#include "host/block/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/thread.h"

enum { THREADS_MAX = 8 };

struct block_engine_state {
	struct block_uring *uring; /* NULL: threads alone */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct block_work *first, **last;
	pthread_t threads[THREADS_MAX];
	unsigned nthreads, idle, queued;
	bool stop;
};

static void work_do(struct block_work *work)
{
	int error = 0;

	switch (work->kind) {
	case BLOCK_DO_READ:
		error = block_file_readv(work->file, work->iov, work->niov, work->offset);
		break;
	case BLOCK_DO_WRITE:
		error = block_file_writev(work->file, work->iov, work->niov, work->offset);
		break;
	case BLOCK_DO_SYNC:
		error = block_file_sync(work->file);
		break;
	case BLOCK_DO_CALL:
		break;
	}
	work->done(work, error);
}

static void *worker(void *arg)
{
	struct block_engine_state *engine = arg;

	pthread_mutex_lock(&engine->lock);
	for (;;) {
		struct block_work *work = engine->first;

		if (work) {
			engine->first = work->next;
			engine->queued--;
			if (!engine->first)
				engine->last = &engine->first;
			pthread_mutex_unlock(&engine->lock);
			work_do(work);
			pthread_mutex_lock(&engine->lock);
		} else if (engine->stop) {
			break;
		} else {
			engine->idle++;
			pthread_cond_wait(&engine->more, &engine->lock);
			engine->idle--;
		}
	}
	pthread_mutex_unlock(&engine->lock);
	return NULL;
}

static int start_worker(struct block_engine_state *engine)
{
	int error =
		host_thread_start(&engine->threads[engine->nthreads], "hyve-disk", worker, engine);

	if (!error)
		engine->nthreads++;
	return error;
}

static void pool_submit(struct block_engine_state *engine, struct block_work *work)
{
	pthread_mutex_lock(&engine->lock);
	work->next = NULL;
	*engine->last = work;
	engine->last = &work->next;
	engine->queued++;
	/* Without another thread, those that are there do it later. */
	if (engine->queued > engine->idle && engine->nthreads < THREADS_MAX)
		(void)start_worker(engine);
	pthread_cond_signal(&engine->more);
	pthread_mutex_unlock(&engine->lock);
}

void block_engine_submit(struct block_engine_state *engine, struct block_work *list)
{
	struct block_work *ring = NULL, **end = &ring, *next;

	for (; list; list = next) {
		next = list->next;
		if (engine->uring && list->kind != BLOCK_DO_CALL && list->file->plain) {
			*end = list;
			end = &list->next;
		} else {
			pool_submit(engine, list);
		}
	}
	*end = NULL;
	if (ring)
		block_uring_submit(engine->uring, ring);
}

const char *block_engine_name(const struct block_engine_state *engine)
{
	return engine->uring ? "io_uring" : "threads";
}

int block_engine_create(
	enum block_engine kind, struct block_engine_state **out, char *why, size_t why_size)
{
	struct block_engine_state *engine = calloc(1, sizeof(*engine));
	int error = engine ? 0 : ENOMEM;

	if (!engine)
		goto fail;
	pthread_mutex_init(&engine->lock, NULL);
	pthread_cond_init(&engine->more, NULL);
	engine->last = &engine->first;
	if (kind != BLOCK_ENGINE_THREADS)
		error = block_uring_create(&engine->uring);
	if (error && kind == BLOCK_ENGINE_URING)
		goto fail;
	/* One that is there from the start, so that work is always done. */
	error = start_worker(engine);
	if (error)
		goto fail;
	*out = engine;
	return 0;

fail:
	snprintf(why, why_size, "%s: the host says errno %d",
		kind == BLOCK_ENGINE_URING ? "io_uring is not to be had"
					   : "no threads for the disk",
		error);
	if (engine)
		block_engine_destroy(engine);
	return error;
}

void block_engine_destroy(struct block_engine_state *engine)
{
	pthread_mutex_lock(&engine->lock);
	engine->stop = true;
	pthread_cond_broadcast(&engine->more);
	pthread_mutex_unlock(&engine->lock);
	for (unsigned i = 0; i < engine->nthreads; i++)
		pthread_join(engine->threads[i], NULL);
	block_uring_destroy(engine->uring);
	pthread_cond_destroy(&engine->more);
	pthread_mutex_destroy(&engine->lock);
	free(engine);
}
