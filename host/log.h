/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The log: one sink, a level per room, and a limit on how much a guest can make us write.
 * A log travels by pointer; NULL is a log that is off.
 */
#ifndef HOST_LOG_H
#define HOST_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log;

/* Lines go to `fd`, which stays the caller's. Level WARN everywhere. 0 or ENOMEM. */
int log_create(int fd, struct log **log);
void log_destroy(struct log *log);

/* "err", "warn", "info" or "debug". False if it is none of them. */
bool log_level_parse(const char *text, enum log_level *level);
/* Sets the level of one room, or with "all" of every room not set by itself. 0, EINVAL, ENOSPC. */
int log_set_level(struct log *log, const char *room, enum log_level level);

/* Any thread. At most 20 lines a second and room get out; a line then says how many did not. */
void log_print(struct log *log, const char *room, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#define log_err(log, room, ...)	  log_print(log, room, LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(log, room, ...)  log_print(log, room, LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(log, room, ...)  log_print(log, room, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(log, room, ...) log_print(log, room, LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
