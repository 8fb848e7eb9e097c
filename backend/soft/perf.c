/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * soft.perf: /tmp/perf-PID.map, in which perf(1) looks up the names of code that no file on disk
 * has: a line "start size name" for each, start and size in hexadecimal.  Code that comes where
 * dropped code was gets another line; perf has no way to tell when.  Or a dump, which tells all of
 * it: jitdump.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/soft/soft.h"

struct soft_perf {
	FILE *out; /* one of the two */
	struct soft_jitdump *dump;
};

/* A file of somebody else's with this name, or a link, is not written to. */
static FILE *create_map(void)
{
	char path[48];
	FILE *out;
	int fd;

	snprintf(path, sizeof(path), "/tmp/perf-%ld.map", (long)getpid());
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return NULL;
	out = fdopen(fd, "w");
	if (!out)
		close(fd);
	else
		setvbuf(out, NULL, _IOLBF, 0); /* it is read while we run */
	return out;
}

static int create(struct soft_perf *p, bool dump)
{
	if (dump)
		return soft_jitdump_open(&p->dump);
	p->out = create_map();
	return p->out ? 0 : errno;
}

int soft_perf_open(struct soft_vm *s, bool dump, char *why, size_t size)
{
	struct soft_perf *p = calloc(1, sizeof(*p));
	int error = p ? create(p, dump) : ENOMEM;

	soft_perf_close(s);
	if (error) {
		snprintf(why, size,
			dump ? "cannot write /tmp/jit-%ld.dump: %s"
			     : "cannot write /tmp/perf-%ld.map: %s",
			(long)getpid(), strerror(error));
		free(p);
		return error;
	}
	s->perf = p;
	return 0;
}

/* The file stays: it is read when the process is gone. */
void soft_perf_close(struct soft_vm *s)
{
	struct soft_perf *p = s->perf;

	s->perf = NULL;
	if (p && p->out)
		fclose(p->out);
	if (p && p->dump)
		soft_jitdump_close(p->dump);
	free(p);
}

/* ---- fixed code ---- */

#define STRING_THUNK(class, movs, i, name)                                                         \
	{                                                                                          \
		name, offsetof(struct soft_cache, string[class][movs][i])                          \
	}
#define STRING_THUNKS(class, of)                                                                   \
	STRING_THUNK(class, 0, 0, "stosb_" of), STRING_THUNK(class, 0, 1, "stosw_" of),            \
		STRING_THUNK(class, 0, 2, "stosl_" of), STRING_THUNK(class, 0, 3, "stosq_" of),    \
		STRING_THUNK(class, 1, 0, "movsb_" of), STRING_THUNK(class, 1, 1, "movsw_" of),    \
		STRING_THUNK(class, 1, 2, "movsl_" of), STRING_THUNK(class, 1, 3, "movsq_" of)

static const struct {
	const char *name;
	size_t member;
} thunks[] = {
	{"enter", offsetof(struct soft_cache, enter)},
	{"leave", offsetof(struct soft_cache, leave)},
	{"leave_raw", offsetof(struct soft_cache, leave_raw)},
	{"leave_mem", offsetof(struct soft_cache, leave_mem)},
	{"read_user", offsetof(struct soft_cache, look_up[SOFT_USER][0])},
	{"write_user", offsetof(struct soft_cache, look_up[SOFT_USER][1])},
	{"read_super", offsetof(struct soft_cache, look_up[SOFT_SUPER][0])},
	{"write_super", offsetof(struct soft_cache, look_up[SOFT_SUPER][1])},
	{"read_super_ac", offsetof(struct soft_cache, look_up[SOFT_SUPER_AC][0])},
	{"write_super_ac", offsetof(struct soft_cache, look_up[SOFT_SUPER_AC][1])},
	{"dead", offsetof(struct soft_cache, dead)},
	{"dead_mem", offsetof(struct soft_cache, dead_mem)},
	{"call_op", offsetof(struct soft_cache, call_op)},
	STRING_THUNKS(SOFT_USER, "user"),
	STRING_THUNKS(SOFT_SUPER, "super"),
	STRING_THUNKS(SOFT_SUPER_AC, "super_ac"),
};

enum { NTHUNKS = sizeof(thunks) / sizeof(thunks[0]) };

static const uint8_t *thunk(const struct soft_cache *c, unsigned i)
{
	const uint8_t *code;

	__builtin_memcpy(&code, (const uint8_t *)c + thunks[i].member, sizeof(code));
	return code;
}

const char *soft_thunk_name(const struct soft_cache *c, const uint8_t *code)
{
	for (unsigned i = 0; i < NTHUNKS; i++)
		if (thunk(c, i) == code)
			return thunks[i].name;
	return NULL;
}

static void put(struct soft_perf *p, const uint8_t *code, size_t size, const char *name)
{
	if (p->dump)
		soft_jitdump_code(p->dump, code, size, name);
	else
		fprintf(p->out, "%llx %zx %s\n", (unsigned long long)(uintptr_t)code, size, name);
}

/* Each goes to the next one. */
static void put_thunks(struct soft_perf *p, const struct soft_cache *c)
{
	char name[48];

	for (unsigned i = 0; i < NTHUNKS; i++) {
		const uint8_t *code = thunk(c, i), *end = c->rx + c->start;

		for (unsigned j = 0; j < NTHUNKS; j++)
			if (thunk(c, j) > code && thunk(c, j) < end)
				end = thunk(c, j);
		snprintf(name, sizeof(name), "hyve_%s", thunks[i].name);
		put(p, code, (size_t)(end - code), name);
	}
}

/* The cache, which holds its thunks so far, moves to anonymous memory under the same addresses. */
static int make_anonymous(struct soft_cache *c)
{
	size_t total = (size_t)c->size + c->meta_size;
	uint8_t *p = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return errno;
	memcpy(p, c->rw, c->start);
	/* An old size of 0 maps the same memory once more. */
	if (mremap(p, 0, c->size, MREMAP_MAYMOVE | MREMAP_FIXED, c->rx) == MAP_FAILED ||
		mprotect(c->rx, c->size, PROT_READ | PROT_EXEC) != 0 ||
		mremap(p, total, total, MREMAP_MAYMOVE | MREMAP_FIXED, c->rw) == MAP_FAILED) {
		int error = errno;

		munmap(p, total);
		return error;
	}
	return 0;
}

int soft_perf_cache(struct soft_vcpu *v)
{
	int error = make_anonymous(&v->cache);

	if (error)
		soft_cache_destroy(&v->cache);
	else
		put_thunks(v->soft->perf, &v->cache);
	return error;
}

/* ---- blocks ---- */

void soft_perf_block(struct soft_vcpu *v, const struct soft_block *b)
{
	char name[64];

	snprintf(name, sizeof(name), "guest_%#llx_%s%u", (unsigned long long)b->rip,
		SOFT_MODE_CLASS(b->mode) == SOFT_USER ? "user" : "kernel",
		16u << SOFT_MODE_SIZE(b->mode));
	put(v->soft->perf, v->cache.rx + b->host_mem, b->size, name);
}
