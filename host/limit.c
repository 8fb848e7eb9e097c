/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/limit.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define SECOND_NS  1000000000ull
#define AMOUNT_MAX (1ull << 48)

/* A number with its K, M, G or T; moves `text` behind it. */
static bool amount_parse(const char **text, uint64_t *amount)
{
	static const char units[] = "kmgt";
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	uint64_t number = strtoull(*text, &end, 10);

	for (unsigned i = 0; units[i]; i++)
		if (tolower((unsigned char)*end) == units[i])
			shift = 10 * (i + 1);
	if (errno || number == 0 || number > AMOUNT_MAX >> shift)
		return false;
	*amount = number << shift;
	*text = end + (shift > 0);
	return true;
}

bool limit_rate_parse(const char *text, struct limit_rate *rate)
{
	struct limit_rate r;

	if (!amount_parse(&text, &r.per_second))
		return false;
	r.burst = r.per_second < 10 ? 1 : r.per_second / 10;
	if (*text == '/') {
		text++;
		if (!amount_parse(&text, &r.burst))
			return false;
	}
	if (*text)
		return false;
	*rate = r;
	return true;
}

static void bucket_init(struct limit_bucket *bucket, const struct limit_rate *rate)
{
	*bucket = (struct limit_bucket){.rate = *rate};
	if (bucket->rate.burst > AMOUNT_MAX)
		bucket->rate.burst = AMOUNT_MAX;
	bucket->tokens = (int64_t)bucket->rate.burst;
}

void limit_init(struct limit *limit, const struct limit_rate *bytes, const struct limit_rate *ops,
	uint64_t now_ns)
{
	bucket_init(&limit->bytes, bytes);
	bucket_init(&limit->ops, ops);
	limit->last_ns = now_ns;
}

static void bucket_refill(struct limit_bucket *bucket, uint64_t elapsed_ns)
{
	unsigned __int128 more = (unsigned __int128)elapsed_ns * bucket->rate.per_second;
	int64_t room = (int64_t)bucket->rate.burst - bucket->tokens;

	more += bucket->fraction;
	if (more / SECOND_NS >= (uint64_t)room) {
		bucket->tokens = (int64_t)bucket->rate.burst;
		bucket->fraction = 0;
		return;
	}
	bucket->tokens += (int64_t)(uint64_t)(more / SECOND_NS);
	bucket->fraction = (uint64_t)(more % SECOND_NS);
}

/* How long until the bucket has a token. */
static uint64_t bucket_wait(const struct limit_bucket *bucket)
{
	if (!bucket->rate.per_second || bucket->tokens > 0)
		return 0;
	unsigned __int128 missing =
		(unsigned __int128)(uint64_t)(1 - bucket->tokens) * SECOND_NS - bucket->fraction;

	missing = (missing + bucket->rate.per_second - 1) / bucket->rate.per_second;
	return missing > UINT64_MAX ? UINT64_MAX : (uint64_t)missing;
}

/* Debt ends at the size of the largest burst: the amounts are the caller's guest's. */
static void bucket_take(struct limit_bucket *bucket, uint64_t amount)
{
	if (!bucket->rate.per_second)
		return;
	bucket->tokens -= (int64_t)(amount < AMOUNT_MAX ? amount : AMOUNT_MAX);
}

uint64_t limit_take(struct limit *limit, uint64_t bytes, uint64_t ops, uint64_t now_ns)
{
	/* Threads may come with clocks read in another order. */
	if (now_ns > limit->last_ns) {
		bucket_refill(&limit->bytes, now_ns - limit->last_ns);
		bucket_refill(&limit->ops, now_ns - limit->last_ns);
		limit->last_ns = now_ns;
	}
	uint64_t wait = bucket_wait(&limit->bytes), wait_ops = bucket_wait(&limit->ops);

	if (wait_ops > wait)
		wait = wait_ops;
	if (wait > 0)
		return wait;
	bucket_take(&limit->bytes, bytes);
	bucket_take(&limit->ops, ops);
	return 0;
}
