/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Token buckets: so many bytes and so many operations a second, for disks and networks.  The caller
 * brings the clock (CLOCK_MONOTONIC in ns) and a lock; nothing here calls the host.
 */
#ifndef HOST_LIMIT_H
#define HOST_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* What may pass. All zero: everything. */
struct limit_rate {
	uint64_t per_second; /* 0: no limit */
	uint64_t burst;	     /* at once, after a pause; never 0 where per_second is not */
};

/* One bucket; its members are limit.c's. */
struct limit_bucket {
	struct limit_rate rate;
	int64_t tokens;	   /* never above the burst; below 0 is debt */
	uint64_t fraction; /* of a token, in 1/1000000000 */
};

struct limit {
	struct limit_bucket bytes, ops;
	uint64_t last_ns;
};

/*
 * "100", "20M" or "20M/60M": so many a second, and after the slash how many at once (a tenth of a
 * second's otherwise).  K, M, G and T are powers of 1024.  False, and nothing changed: it is none
 * of these, 0, or beyond 2^48.
 */
bool limit_rate_parse(const char *text, struct limit_rate *rate);

/* Both buckets are full at `now_ns`. */
void limit_init(struct limit *limit, const struct limit_rate *bytes, const struct limit_rate *ops,
	uint64_t now_ns);

/* Whether there is anything to ask: no lock is needed for this one. */
static inline bool limit_is_set(const struct limit *limit)
{
	return limit->bytes.rate.per_second || limit->ops.rate.per_second;
}

/*
 * Asks for `bytes` and `ops` and takes both, or neither.  Returns 0 if they were taken, else after
 * how many ns it is worth to ask again.
 *
 * What asks passes while neither bucket is in debt, however big it is, and leaves the debt to those
 * after it: so the rate is kept in the long run, and nothing waits for ever.
 */
uint64_t limit_take(struct limit *limit, uint64_t bytes, uint64_t ops, uint64_t now_ns);

#endif
