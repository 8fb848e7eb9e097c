/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROOMS_MAX = 32, ROOM_NAME_SIZE = 16, LINES_PER_SECOND = 20 };

struct log_room {
	char name[ROOM_NAME_SIZE];
	bool own_level; /* set by itself, not by "all" */
	enum log_level level;
	time_t second; /* the rate limit counts the lines of this one */
	unsigned lines;
	unsigned dropped;
};

struct log {
	pthread_mutex_t lock;
	int fd;
	const char *newline;
	enum log_level level;
	struct log_room rooms[ROOMS_MAX];
	unsigned nrooms;
};

static const char *const level_names[] = {
	[LOG_LEVEL_ERR] = "err",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

int log_create(int fd, struct log **log)
{
	struct log *l = calloc(1, sizeof(*l));

	if (!l)
		return ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	l->fd = fd;
	/* The guest's console may have the terminal in raw mode. */
	l->newline = isatty(fd) ? "\r\n" : "\n";
	l->level = LOG_LEVEL_WARN;
	*log = l;
	return 0;
}

void log_destroy(struct log *log)
{
	if (!log)
		return;
	pthread_mutex_destroy(&log->lock);
	free(log);
}

bool log_level_parse(const char *text, enum log_level *level)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* The room's record, made when it is first heard of. Caller holds the lock. */
static struct log_room *room_find(struct log *log, const char *name)
{
	for (unsigned i = 0; i < log->nrooms; i++)
		if (strcmp(log->rooms[i].name, name) == 0)
			return &log->rooms[i];
	if (log->nrooms == ROOMS_MAX)
		return NULL;
	struct log_room *room = &log->rooms[log->nrooms++];

	snprintf(room->name, sizeof(room->name), "%s", name);
	room->level = log->level;
	return room;
}

int log_set_level(struct log *log, const char *room, enum log_level level)
{
	int error = 0;

	if (strlen(room) >= ROOM_NAME_SIZE)
		return EINVAL;
	pthread_mutex_lock(&log->lock);
	if (strcmp(room, "all") == 0) {
		log->level = level;
		for (unsigned i = 0; i < log->nrooms; i++)
			if (!log->rooms[i].own_level)
				log->rooms[i].level = level;
	} else {
		struct log_room *r = room_find(log, room);

		if (r) {
			r->own_level = true;
			r->level = level;
		} else {
			error = ENOSPC;
		}
	}
	pthread_mutex_unlock(&log->lock);
	return error;
}

static void write_line(struct log *log, const char *line, size_t len)
{
	/* A log that cannot be written to has nobody to tell. */
	if (len > 0 && write(log->fd, line, len) < 0)
		return;
}

/* Counts this line; false when the room has had its share of this second. */
static bool room_may_speak(struct log *log, struct log_room *room)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != room->second) {
		unsigned dropped = room->dropped;

		room->second = now.tv_sec;
		room->lines = room->dropped = 0;
		if (dropped > 0) {
			char line[96];
			int len = snprintf(line, sizeof(line), "hyve: %s: %u more lines dropped%s",
				room->name, dropped, log->newline);

			write_line(log, line, (size_t)len);
		}
	}
	if (room->lines >= LINES_PER_SECOND) {
		room->dropped++;
		return false;
	}
	room->lines++;
	return true;
}

void log_print(struct log *log, const char *room, enum log_level level, const char *format, ...)
{
	if (!log)
		return;
	pthread_mutex_lock(&log->lock);
	struct log_room *r = room_find(log, room);

	if (r && level <= r->level && room_may_speak(log, r)) {
		char line[512];
		size_t len = (size_t)snprintf(line, sizeof(line), "hyve: %s: ", r->name);
		va_list args;

		va_start(args, format);
		int text = vsnprintf(line + len, sizeof(line) - len - 2, format, args);

		va_end(args);
		if (text > 0)
			len += (size_t)text < sizeof(line) - len - 3 ? (size_t)text
								     : sizeof(line) - len - 3;
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%s", log->newline);
		write_line(log, line, len);
	}
	pthread_mutex_unlock(&log->lock);
}
