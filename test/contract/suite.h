/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * How the contract suite runs: each behaviour in a child process of its own, on each backend, with
 * a result line for people (TAP) and one for the table of doc/CONFORMANCE.md.  It needs nothing but
 * the C library, so that the programs can be linked statically and taken into a virtual machine.
 *
 * Environment:
 *   CONTRACT_BACKEND=name   soft, kvm...: only there; "all" or nothing: wherever this host can
 *   CONTRACT_RESULTS=file   appends the result lines that test/contract/table reads
 *   CONTRACT_ONLY=pattern   only behaviours whose name matches, as the shell matches file names
 *   CONTRACT_SKIP=file      lines "pattern reason": what cannot even be tried out on this host
 *   CONTRACT_TIMEOUT=s      seconds for a behaviour, 30
 *   CONTRACT_RETRY=n        one that has not ended by then is tried so many times more
 *   CONTRACT_LIST=1         prints the names, runs nothing
 */
#ifndef TEST_CONTRACT_SUITE_H
#define TEST_CONTRACT_SUITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmm_ops;

/*
 * One behaviour, or a table of them: an array of structs whose first member is the name, which
 * `test` gets one after the other in struct contract's `row`.
 */
struct behaviour {
	const char *name;
	void (*test)(void **state);
	bool bare; /* contract_setup_bare instead of contract_setup */
	const void *rows;
	size_t row_size, nrows;
};

#define CONTRACT(fn)                                                                               \
	{                                                                                          \
		.name = #fn, .test = fn                                                            \
	}
#define CONTRACT_BARE(fn)                                                                          \
	{                                                                                          \
		.name = #fn, .test = fn, .bare = true                                              \
	}
#define CONTRACT_ROWS(fn, table)                                                                   \
	{                                                                                          \
		.test = fn, .rows = table, .row_size = sizeof((table)[0]),                         \
		.nrows = sizeof(table) / sizeof((table)[0])                                        \
	}
#define CONTRACT_BARE_ROWS(fn, table)                                                              \
	{                                                                                          \
		.test = fn, .bare = true, .rows = table, .row_size = sizeof((table)[0]),           \
		.nrows = sizeof(table) / sizeof((table)[0])                                        \
	}

/* The exit status of main(). */
int contract_run(const char *section, const struct behaviour *tests, size_t n);

/*
 * Why this behaviour cannot be asked of this backend here, from the table in skips.c; NULL: it can.
 */
const char *contract_skip(const struct vmm_ops *ops, const char *name);
/* fn(ops) in a child process; what it says, or false if it crashes or hangs. */
bool contract_probe(bool (*fn)(const struct vmm_ops *ops), const struct vmm_ops *ops);

/* Ends the behaviour. Any thread. */
_Noreturn void fail_at(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Ends it as well, but it is tried again: the host was too slow for what it asks. */
_Noreturn void try_again(void);
void check_equal(const char *file, int line, const char *text, uint64_t a, uint64_t b);
void check_string(const char *file, int line, const char *text, const char *a, const char *b);
void check_memory(
	const char *file, int line, const char *text, const void *a, const void *b, size_t n);

#define fail_msg(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)
#define assert_true(x)                                                                             \
	do {                                                                                       \
		if (!(x))                                                                          \
			fail_msg("not true: %s", #x);                                              \
	} while (0)
#define assert_false(x) assert_true(!(x))
#define assert_int_equal(a, b)                                                                     \
	check_equal(__FILE__, __LINE__, #a " = " #b, (uint64_t)(a), (uint64_t)(b))
#define assert_ptr_equal(a, b)	     assert_true((const void *)(a) == (const void *)(b))
#define assert_ptr_not_equal(a, b)   assert_true((const void *)(a) != (const void *)(b))
#define assert_null(p)		     assert_ptr_equal(p, NULL)
#define assert_non_null(p)	     assert_ptr_not_equal(p, NULL)
#define assert_string_equal(a, b)    check_string(__FILE__, __LINE__, #a " = " #b, a, b)
#define assert_memory_equal(a, b, n) check_memory(__FILE__, __LINE__, #a " = " #b, a, b, n)
/* low <= x <= high */
#define assert_in_range(x, low, high)                                                              \
	do {                                                                                       \
		uint64_t in_range_ = (x);                                                          \
		if (in_range_ < (uint64_t)(low) || in_range_ > (uint64_t)(high))                   \
			fail_msg("%s: %#llx not in [%#llx, %#llx]", #x,                            \
				(unsigned long long)in_range_, (unsigned long long)(low),          \
				(unsigned long long)(high));                                       \
	} while (0)

#endif
