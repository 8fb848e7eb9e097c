/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Disks for tests: an image that is opened with a line of options, waited for at each request, and
 * compared with a model in memory; a folder of its own; and qemu-img as the second opinion.
 */
#ifndef TEST_HOST_DISK_H
#define TEST_HOST_DISK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/host.h"

struct disk {
	struct event_loop *loop;
	struct block *block;
	const struct block_facts *facts;
	uint64_t size;	/* stays when it is closed, as the model does */
	uint8_t *model; /* what the guest has written; NULL: nobody looks */
	uint64_t random;
};

/* A folder in which the test works, as its current directory; gone at the end. */
int disk_folder_make(void **state);
int disk_folder_remove(void **state);

/* printf's words as a command line of the shell; its exit status. Its output goes to "log". */
int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and it has to succeed. */
void must(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "path=x,format=qcow2,ro" as settings. 0 or an errno. */
int disk_parse(struct block_settings *settings, char *words, char *why, size_t size);
/* The errno of opening, and in `why` its line. */
int disk_try(struct disk *disk, const char *words, const struct block_io *io, char *why);
void disk_open(struct disk *disk, const char *words);
void disk_open_io(struct disk *disk, const char *words, const struct block_io *io);
void disk_close(struct disk *disk);

/* One request, waited for; its errno. */
int disk_do(struct disk *disk, enum block_op op, uint64_t offset, void *data, uint64_t length);
/* The model begins as what the disk holds. */
void disk_model(struct disk *disk);
uint64_t disk_random(struct disk *disk);
/* One random request, model included, of at most `max` bytes. */
void disk_step(struct disk *disk, uint64_t max);
/* The whole disk is as the model. */
void disk_compare(struct disk *disk);
/* A closed image: qemu-img finds no error and no leak, and the model's content. */
void disk_check(struct disk *disk, const char *path);

#endif
