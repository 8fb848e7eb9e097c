/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <vmm/vlapic.h>

#include "test/vmm/storm.h"

#define NS_PER_MS 1000000u

struct storm {
	struct vm *vm;
	int vcpus;
	void (*prepare)(struct vm *vm, int vcpu, void *arg);
	void *arg;
	uint64_t end_ns;

	/* Vcpus that have stopped wait here for a new beginning. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int parked;
	unsigned epoch;

	_Atomic bool over;	/* for those who disturb */
	_Atomic bool last;	/* the next stop is the end */
	_Atomic bool ended;	/* it was */
	_Atomic unsigned wrong; /* line of the first check that failed */
	_Atomic unsigned rendezvous, calls, writes, suspends, resets, events, looks;
};

struct member {
	struct storm *s;
	int id;
	uint32_t seed;
	pthread_t thread;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t dice(struct member *m, uint32_t sides)
{
	m->seed = m->seed * 1664525u + 1013904223u;
	return (m->seed >> 8) % sides;
}

/* cmocka's assertions are for the main thread alone: it looks at the line. */
static void check_at(struct storm *s, bool right, unsigned line)
{
	unsigned none = 0;

	if (!right)
		atomic_compare_exchange_strong(&s->wrong, &none, line);
}
#define check(s, right) check_at(s, right, __LINE__)

/* ---- Rendezvous ---- */

struct meeting {
	struct storm *s;
	uint32_t invited;
	_Atomic uint32_t came;
	pthread_t caller;
};

static void attend(struct vm *vm, int vcpu, void *arg)
{
	struct meeting *meeting = arg;
	uint32_t bit = 1u << vcpu;

	check(meeting->s, vm == meeting->s->vm && (meeting->invited & bit) != 0);
	check(meeting->s, (atomic_fetch_or(&meeting->came, bit) & bit) == 0);
	atomic_fetch_add(&meeting->s->calls, 1);
}

/* All of those who run take part, and a vcpu that calls for it does in any case. */
static void meet(struct member *m, int vcpu)
{
	struct storm *s = m->s;
	struct meeting meeting = {.s = s, .invited = dice(m, 1u << s->vcpus)};
	cpuset_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < s->vcpus; i++)
		if (meeting.invited >> i & 1)
			CPU_SET(i, &set);
	vm_smp_rendezvous(s->vm, vcpu, set, attend, &meeting);
	check(s, (meeting.came & ~meeting.invited) == 0);
	if (vcpu >= 0)
		check(s, (meeting.came >> vcpu & 1) == (meeting.invited >> vcpu & 1));
	atomic_fetch_add(&s->rendezvous, 1);
}

/* ---- Vcpus ---- */

static int at_port(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct member *m = arg;

	(void)vm;
	(void)in;
	(void)bytes;
	(void)eax;
	check(m->s, vcpu == m->id && port == STORM_PORT);
	atomic_fetch_add(&m->s->writes, 1);
	if (dice(m, 4) == 0)
		meet(m, vcpu);
	return 0;
}

/* The last one to stop makes the VM begin again; or it is over, false. */
static void begin_again(struct storm *s)
{
	int error;

	while ((error = vmmdev_reinit(s->vm)) == EBUSY)
		usleep(100); /* one of them is still on its way out of vmmdev_run */
	check(s, error == 0);
	for (int i = 0; i < s->vcpus && error == 0; i++)
		s->prepare(s->vm, i, s->arg);
	atomic_fetch_add(&s->resets, 1);
}

static bool park(struct storm *s)
{
	unsigned epoch;

	pthread_mutex_lock(&s->lock);
	epoch = s->epoch;
	if (++s->parked < s->vcpus) {
		while (s->epoch == epoch)
			pthread_cond_wait(&s->cond, &s->lock);
	} else {
		if (atomic_load(&s->last))
			atomic_store(&s->ended, true);
		else
			begin_again(s);
		s->parked = 0;
		s->epoch++;
		pthread_cond_broadcast(&s->cond);
	}
	pthread_mutex_unlock(&s->lock);
	return !atomic_load(&s->ended);
}

/* False: the storm is over. */
static bool serve(struct member *m, struct vm_run *run)
{
	struct storm *s = m->s;

	switch (run->vm_exit.exitcode) {
	case VM_EXITCODE_INOUT:
		check(s, vmmdev_emulate_inout(s->vm, m->id, &run->vm_exit, at_port, m) == 0);
		break;
	case VM_EXITCODE_BOGUS:
	case VM_EXITCODE_PAUSE:
		break;
	case VM_EXITCODE_SUSPENDED:
		if (!park(s))
			return false;
		check(s, vmmdev_get_register(s->vm, m->id, VM_REG_GUEST_RIP, &run->rip) == 0);
		return true;
	default:
		check_at(s, false, 100000 + (unsigned)run->vm_exit.exitcode);
	}
	run->rip = run->vm_exit.rip + (uint64_t)run->vm_exit.inst_length;
	return true;
}

static void *vcpu_main(void *arg)
{
	struct member *m = arg;
	struct vm_run run = {.cpuid = m->id};
	int error = vmmdev_get_register(m->s->vm, m->id, VM_REG_GUEST_RIP, &run.rip);

	do {
		error = error == 0 ? vmmdev_run(m->s->vm, &run) : error;
	} while (error == 0 && serve(m, &run));
	check(m->s, error == 0);
	return NULL;
}

/* ---- Those who disturb ---- */

static void call_meetings(struct member *m)
{
	meet(m, -1);
	usleep(dice(m, 100));
}

static void pull_out(struct member *m)
{
	vm_vcpu_yield(m->s->vm, (int)dice(m, (uint32_t)m->s->vcpus));
	usleep(dice(m, 300));
}

static void raise_events(struct member *m)
{
	struct vm *vm = m->s->vm;
	int vcpu = (int)dice(m, (uint32_t)m->s->vcpus), error = 0;

	switch (dice(m, 6)) {
	case 0:
		error = vmmdev_inject_nmi(vm, vcpu);
		break;
	case 1:
		error = vmmdev_lapic_irq(vm, vcpu, 32 + (int)dice(m, 200));
		break;
	case 2:
		error = vmmdev_lapic_msi(vm, 0xfee00000 | (uint64_t)vcpu << 12, 0x41);
		break;
	case 3:
		error = vmmdev_ioapic_pulse_irq(vm, 5);
		break;
	case 4:
		error = vmmdev_isa_pulse_irq(vm, 7, 7);
		break;
	default:
		error = vmmdev_lapic_local_irq(vm, -1, VLAPIC_LVT_LINT1);
		break;
	}
	check(m->s, error == 0);
	atomic_fetch_add(&m->s->events, 1);
	usleep(dice(m, 50));
}

/* RBX is nobody's.  A reinit between the two is as good as a change. */
static void look(struct member *m)
{
	struct vm *vm = m->s->vm;
	int vcpu = (int)dice(m, (uint32_t)m->s->vcpus);
	uint64_t value = 0;
	struct seg_desc cs;
	uint32_t word = m->seed;
	vm_paddr_t own = 0x8000 + 64 * (vm_paddr_t)m->id;

	check(m->s, vmmdev_set_register(vm, vcpu, VM_REG_GUEST_RBX, 0x1234) == 0);
	check(m->s, vmmdev_get_register(vm, vcpu, VM_REG_GUEST_RBX, &value) == 0);
	check(m->s, value == 0x1234 || value == 0);
	check(m->s, vmmdev_get_seg_desc(vm, vcpu, VM_REG_GUEST_CS, &cs) == 0);
	check(m->s, vmmdev_write(vm, own, &word, sizeof(word)) == 0);
	check(m->s, vmmdev_read(vm, own, &word, sizeof(word)) == 0 && word == m->seed);
	atomic_fetch_add(&m->s->looks, 1);
	usleep(dice(m, 200));
}

/* All vcpus at once, for a call that is refused. */
static void stop_all(struct member *m)
{
	check(m->s, vmmdev_map_memory(m->s->vm, 0x1001, 4096) == EINVAL);
	usleep(1000 + dice(m, 3000));
}

static void suspend(struct member *m)
{
	static const enum vm_suspend_how how[] = {
		VM_SUSPEND_RESET, VM_SUSPEND_POWEROFF, VM_SUSPEND_HALT, VM_SUSPEND_TRIPLEFAULT};
	int error = vmmdev_suspend(m->s->vm, how[dice(m, 4)]);

	check(m->s, error == 0 || error == EALREADY);
	atomic_fetch_add(&m->s->suspends, error == 0);
	usleep(5000 + dice(m, 100000));
}

static void (*const disturb[])(struct member *m) = {call_meetings, call_meetings, pull_out,
	raise_events, look, look, stop_all, suspend, suspend};
#define DISTURBERS ((int)(sizeof(disturb) / sizeof(disturb[0])))

static void *disturber_main(void *arg)
{
	struct member *m = arg;

	while (!atomic_load(&m->s->over))
		disturb[m->id](m);
	return NULL;
}

/* ---- The whole ---- */

static void launch(struct storm *s, struct member *m, int n, void *(*body)(void *), uint32_t seed)
{
	for (int i = 0; i < n; i++) {
		m[i] = (struct member){.s = s, .id = i, .seed = seed + (uint32_t)i};
		assert_int_equal(pthread_create(&m[i].thread, NULL, body, &m[i]), 0);
	}
}

static void join(struct member *m, int n)
{
	for (int i = 0; i < n; i++)
		pthread_join(m[i].thread, NULL);
}

static void report(const struct storm *s)
{
	print_message("# %u rendezvous with %u calls, %u port writes, %u events, %u looks, %u "
		      "suspends, %u resets\n",
		s->rendezvous, s->calls, s->writes, s->events, s->looks, s->suspends, s->resets);
	assert_int_equal(s->wrong, 0);
	assert_int_not_equal(s->rendezvous, 0);
	assert_int_not_equal(s->calls, 0);
	assert_int_not_equal(s->writes, 0);
	assert_int_not_equal(s->resets, 0);
}

void storm(struct vm *vm, int vcpus, void (*prepare)(struct vm *vm, int vcpu, void *arg), void *arg)
{
	struct storm *s = calloc(1, sizeof(*s));
	struct member vcpu[VM_MAXCPU], other[DISTURBERS];
	const char *ms = getenv("STORM_MS");

	*s = (struct storm){.vm = vm, .vcpus = vcpus, .prepare = prepare, .arg = arg};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->cond, NULL);
	s->end_ns = now_ns() + (ms ? strtoull(ms, NULL, 0) : 3000) * NS_PER_MS;
	for (int i = 0; i < vcpus; i++)
		prepare(vm, i, arg);
	alarm(60 + (unsigned)((s->end_ns - now_ns()) / 1000000000u));
	launch(s, vcpu, vcpus, vcpu_main, 1);
	launch(s, other, DISTURBERS, disturber_main, 1000);
	while (now_ns() < s->end_ns && atomic_load(&s->wrong) == 0)
		usleep(10000);
	if (s->wrong) /* the others may wait for each other now: they are left where they are */
		fail_msg("%s:%u", __FILE__, s->wrong);
	/* Who waits for a rendezvous needs vcpus that run: they stop last. */
	atomic_store(&s->over, true);
	join(other, DISTURBERS);
	atomic_store(&s->last, true);
	while (!atomic_load(&s->ended)) {
		(void)!vmmdev_suspend(vm, VM_SUSPEND_POWEROFF);
		usleep(1000);
	}
	join(vcpu, vcpus);
	alarm(0);
	report(s);
	pthread_cond_destroy(&s->cond);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
