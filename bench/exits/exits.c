/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * bench-exits BACKEND: what the caller of vm_run pays on a backend, with guests of a few
 * instructions in flat protected mode.
 *
 * Prints "micro NAME NANOSECONDS", the quickest of some batches, and "latency NAME P50 P99 MAX",
 * also in nanoseconds, of a thousand events at random intervals; those of a bare sleep on this host
 * first, as the floor under all others.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <vmm/vmm_dev.h>

#include "backend/backend.h"

#define RAM_SIZE     (64ull << 20)
#define CODE	     0x10000u
#define IDT	     0x8000u
#define STACK	     0x9000u
#define GDT	     0x7000u
#define TOUCHED	     0x1000000u /* untouched memory from here on */
#define PAGE_SIZE    4096u
#define PAGES	     8192u
#define NOBODY	     0xd0000000u /* a gpa without RAM or chip */
#define BATCH_NS     1000000u	 /* shorter than a time slice: a busy host spares some */
#define BATCHES	     40
#define TOUCH_RUNS   5
#define EVENTS	     1000
#define PAUSE_NS     200000u /* between events, and as much again at random */
#define VEC_NMI	     2
#define CODE_SEL     0x08
#define DATA_SEL     0x10
#define RUNS_AT_ONCE 16

static void check(int error, const char *what)
{
	if (error == 0)
		return;
	fprintf(stderr, "bench-exits: %s: %s\n", what, strerror(error));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	const struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* ---- Distributions ---- */

struct events {
	const char *name;
	uint64_t random;
	unsigned n;
	uint64_t ns[EVENTS];
};

/* When the next event is to be. Not evenly spaced: something else may have the same period. */
static uint64_t next_time(struct events *e)
{
	e->random = e->random * 6364136223846793005 + 1442695040888963407;
	return now_ns() + PAUSE_NS + (e->random >> 33) % PAUSE_NS;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void events_print(struct events *e)
{
	qsort(e->ns, e->n, sizeof(e->ns[0]), compare);
	printf("latency %s %llu %llu %llu\n", e->name, (unsigned long long)e->ns[e->n / 2],
		(unsigned long long)e->ns[e->n * 99 / 100], (unsigned long long)e->ns[e->n - 1]);
	fflush(stdout);
}

static void measure_sleep(void)
{
	struct events e = {.name = "sleep"};

	while (e.n < EVENTS) {
		uint64_t due = next_time(&e);

		sleep_until(due);
		e.ns[e.n++] = now_ns() - due;
	}
	events_print(&e);
}

/* ---- A machine ---- */

struct bench {
	struct vm *vm;
	struct vm_run run;
	_Atomic uint64_t asked; /* when the last event was requested; 0: it has come */
	_Atomic bool stop;
	struct events events;
};

static void set_segment(struct vm *vm, int reg, uint16_t selector, struct seg_desc desc)
{
	check(vmmdev_set_seg_desc(vm, 0, reg, &desc), "segment");
	check(vmmdev_set_register(vm, 0, reg, selector), "segment");
}

static void set_table(struct vm *vm, int reg, uint64_t base, uint32_t limit)
{
	struct seg_desc desc = {base, limit, 0};

	check(vmmdev_set_seg_desc(vm, 0, reg, &desc), "table");
}

static void write_tables(struct vm *vm, uint32_t nmi)
{
	static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
	const uint64_t gate = (uint64_t)(nmi & 0xffff0000) << 32 | 0x8e0000000000 | CODE_SEL << 16 |
			      (nmi & 0xffff);

	check(vmmdev_write(vm, GDT, gdt, sizeof(gdt)), "GDT");
	check(vmmdev_write(vm, IDT + VEC_NMI * sizeof(gate), &gate, sizeof(gate)), "IDT");
	set_table(vm, VM_REG_GUEST_GDTR, GDT, sizeof(gdt) - 1);
	set_table(vm, VM_REG_GUEST_IDTR, IDT, 256 * sizeof(gate) - 1);
}

/* `code` at CODE, and the NMI handler at an offset into it. */
static void bench_open(
	struct bench *b, const struct vmm_ops *ops, const void *code, size_t n, uint32_t nmi)
{
	static const int data[] = {VM_REG_GUEST_DS, VM_REG_GUEST_ES, VM_REG_GUEST_SS,
		VM_REG_GUEST_FS, VM_REG_GUEST_GS};

	memset(b, 0, sizeof(*b));
	check(vmmdev_create(ops, "bench", &b->vm), "create a VM");
	check(vmmdev_map_memory(b->vm, 0, RAM_SIZE), "memory");
	check(vmmdev_write(b->vm, CODE, code, n), "code");
	check(vmmdev_activate_cpu(b->vm, 0), "activate the vcpu");
	check(vmmdev_reset(b->vm, 0), "reset");
	check(vmmdev_set_capability(b->vm, 0, VM_CAP_HALT_EXIT, 1), "HLT exits");
	write_tables(b->vm, CODE + nmi);
	check(vmmdev_set_register(b->vm, 0, VM_REG_GUEST_CR0, 0x31), "CR0");
	set_segment(b->vm, VM_REG_GUEST_CS, CODE_SEL, (struct seg_desc){0, UINT32_MAX, 0xc09b});
	for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++)
		set_segment(b->vm, data[i], DATA_SEL, (struct seg_desc){0, UINT32_MAX, 0xc093});
	check(vmmdev_set_register(b->vm, 0, VM_REG_GUEST_RSP, STACK), "RSP");
	check(vmmdev_set_register(b->vm, 0, VM_REG_GUEST_RFLAGS, 0x202), "RFLAGS");
	b->run.rip = CODE;
}

static void expect(const struct bench *b, enum vm_exitcode code)
{
	if (b->run.vm_exit.exitcode == code)
		return;
	fprintf(stderr, "bench-exits: exit %d instead of %d at %#llx\n", b->run.vm_exit.exitcode,
		code, (unsigned long long)b->run.vm_exit.rip);
	exit(1);
}

/* Runs from where the last exit has left the guest. */
static void run_to(struct bench *b, enum vm_exitcode code)
{
	check(vmmdev_run(b->vm, &b->run), "run");
	expect(b, code);
	b->run.rip = b->run.vm_exit.rip + (uint64_t)b->run.vm_exit.inst_length;
}

/* ---- Costs ---- */

static void port_exit(struct bench *b)
{
	run_to(b, VM_EXITCODE_INOUT);
}

static int no_read(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	(void)vm;
	(void)vcpu;
	(void)gpa;
	(void)size;
	(void)arg;
	*value = 0;
	return 0;
}

static int no_write(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	return no_read(vm, vcpu, gpa, &value, size, arg);
}

static void memory_exit(struct bench *b)
{
	struct vm_exit *exit = &b->run.vm_exit;

	check(vmmdev_run(b->vm, &b->run), "run");
	expect(b, VM_EXITCODE_INST_EMUL);
	check(vmmdev_emulate_instruction(b->vm, 0, exit, no_read, no_write, NULL), "emulate");
	b->run.rip = exit->rip + (uint64_t)exit->inst_length;
}

static void say_cost(const char *name, uint64_t tenths_ns)
{
	printf("micro %s %llu.%llu\n", name, (unsigned long long)tenths_ns / 10,
		(unsigned long long)tenths_ns % 10);
	fflush(stdout);
}

static void measure_cost(const char *name, struct bench *b, void (*one)(struct bench *b))
{
	uint64_t best = UINT64_MAX;

	one(b); /* translated, or mapped, now */
	for (unsigned i = 0; i < BATCHES; i++) {
		uint64_t start = now_ns(), n = 0, ns;

		do {
			for (unsigned k = 0; k < RUNS_AT_ONCE; k++)
				one(b);
			n += RUNS_AT_ONCE;
			ns = now_ns() - start;
		} while (ns < BATCH_NS);
		ns = ns * 10 / n;
		best = ns < best ? ns : best;
	}
	say_cost(name, best);
}

static void measure_ports(const struct vmm_ops *ops)
{
	static const char code[] = "\xe6\xe9\xeb\xfc"; /* 0: out %al, $0xe9; jmp 0b */
	struct bench b;

	bench_open(&b, ops, code, sizeof(code) - 1, 0);
	measure_cost("port-to-caller", &b, port_exit);
	vmmdev_destroy(b.vm);
}

static void measure_memory(const struct vmm_ops *ops)
{
	static const char code[] = "\xa1\x00\x00\x00\xd0" /* 0: mov NOBODY, %eax */
				   "\xeb\xf9";		  /* jmp 0b */
	struct bench b;

	bench_open(&b, ops, code, sizeof(code) - 1, 0);
	measure_cost("mmio-to-caller", &b, memory_exit);
	vmmdev_destroy(b.vm);
}

/* Tenths of a nanosecond for a page of what the first of two rounds takes longer than the second.
 */
static uint64_t page_cost(void (*round)(void *arg), void *arg)
{
	uint64_t start = now_ns(), first, second;

	round(arg);
	first = now_ns() - start;
	start = now_ns();
	round(arg);
	second = now_ns() - start;
	return first > second ? (first - second) * 10 / PAGES : 0;
}

static void guest_touches(void *arg)
{
	run_to(arg, VM_EXITCODE_INOUT);
}

static uint64_t guest_page(const struct vmm_ops *ops)
{
	static const char code[] = "\xb9\x00\x20\x00\x00"     /* 0: mov $PAGES, %ecx */
				   "\xbf\x00\x00\x00\x01"     /* mov $TOUCHED, %edi */
				   "\xff\x07"		      /* 1: incl (%edi) */
				   "\x81\xc7\x00\x10\x00\x00" /* add $4096, %edi */
				   "\xe2\xf6"		      /* loop 1b */
				   "\xe6\xe9\xeb\xe8";	      /* out %al, $0xe9; jmp 0b */
	struct bench b;
	uint64_t cost;

	bench_open(&b, ops, code, sizeof(code) - 1, 0);
	cost = page_cost(guest_touches, &b);
	vmmdev_destroy(b.vm);
	return cost;
}

static void host_touches(void *arg)
{
	volatile uint8_t *p = arg;

	for (unsigned i = 0; i < PAGES; i++)
		p[i * PAGE_SIZE]++;
}

/* The same without a guest, in memory of the same kind. */
static uint64_t host_page(const struct vmm_ops *ops)
{
	size_t size = (size_t)PAGES * PAGE_SIZE;
	int fd = memfd_create("bench", MFD_CLOEXEC);
	uint64_t cost;
	void *p;

	(void)ops;
	check(fd < 0 || ftruncate(fd, (off_t)size) ? errno : 0, "memfd");
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p == MAP_FAILED ? errno : 0, "mmap");
	cost = page_cost(host_touches, p);
	munmap(p, size);
	close(fd);
	return cost;
}

static void measure_pages(
	const char *name, uint64_t (*page)(const struct vmm_ops *ops), const struct vmm_ops *ops)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < TOUCH_RUNS; i++) {
		uint64_t cost = page(ops);

		best = cost < best ? cost : best;
	}
	say_cost(name, best);
}

/* ---- Latencies ---- */

static void *vcpu_main(void *arg)
{
	struct bench *b = arg;

	while (!atomic_load(&b->stop)) {
		uint64_t asked;

		check(vmmdev_run(b->vm, &b->run), "run");
		asked = atomic_exchange(&b->asked, 0);
		if (asked && b->events.n < EVENTS)
			b->events.ns[b->events.n++] = now_ns() - asked;
		b->run.rip = b->run.vm_exit.rip + (uint64_t)b->run.vm_exit.inst_length;
	}
	return NULL;
}

static void kick(struct bench *b)
{
	vm_vcpu_yield(b->vm, 0);
}

static void nmi(struct bench *b)
{
	check(vmmdev_inject_nmi(b->vm, 0), "NMI");
}

/* From `request` by this thread to what vm_run returns on the vcpu's. */
static void measure_latency(const char *name, struct bench *b, void (*request)(struct bench *b))
{
	pthread_t thread;

	b->events.name = name;
	check(pthread_create(&thread, NULL, vcpu_main, b), "thread");
	sleep_until(now_ns() + 20000000);
	for (unsigned i = 0; i < EVENTS; i++) {
		sleep_until(next_time(&b->events));
		while (atomic_load(&b->asked))
			sleep_until(now_ns() + PAUSE_NS);
		atomic_store(&b->asked, now_ns());
		request(b);
	}
	sleep_until(now_ns() + 20000000);
	atomic_store(&b->stop, true);
	check(vmmdev_suspend(b->vm, VM_SUSPEND_POWEROFF), "suspend");
	pthread_join(thread, NULL);
	events_print(&b->events);
	vmmdev_destroy(b->vm);
}

static void measure_kick(const struct vmm_ops *ops)
{
	static const char code[] = "\xeb\xfe"; /* 0: jmp 0b */
	struct bench b;

	bench_open(&b, ops, code, sizeof(code) - 1, 0);
	measure_latency("kick", &b, kick);
}

/* An NMI ends the HLT; its handler's OUT is what the caller sees. */
static void measure_wake(const struct vmm_ops *ops)
{
	static const char code[] = "\xf4\xeb\xfd"  /* 0: hlt; jmp 0b */
				   "\xe6\xe9\xcf"; /* out %al, $0xe9; iret */
	struct bench b;

	bench_open(&b, ops, code, sizeof(code) - 1, 3);
	measure_latency("wake", &b, nmi);
}

int main(int argc, char **argv)
{
	const struct vmm_ops *ops = argc == 2 ? backend_find(argv[1]) : NULL;
	char why[256];

	if (!ops) {
		fprintf(stderr, "usage: bench-exits BACKEND\n");
		return 2;
	}
	if (ops->probe(why, sizeof(why))) {
		fprintf(stderr, "bench-exits: %s: %s\n", ops->name, why);
		return 1;
	}
	/* As the library's own timer thread: the kernel's default would add 50 us. */
	prctl(PR_SET_TIMERSLACK, 1);
	measure_sleep();
	measure_ports(ops);
	measure_memory(ops);
	measure_pages("first-touch", guest_page, ops);
	measure_pages("first-touch-by-host", host_page, ops);
	measure_kick(ops);
	measure_wake(ops);
	return 0;
}
