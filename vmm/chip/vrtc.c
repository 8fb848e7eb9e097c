/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The MC146818 real-time clock (Motorola MC146818A data sheet).
 *
 * While it runs, the date is a number of seconds at an instant of the VM's clock.  Every entry into
 * this file first settles: it turns whole seconds and periods that have passed into flags, and the
 * date into the registers' format.  The timer runs only while an enabled interrupt waits for a flag
 * that is not set yet.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmm/backend.h>
#include <vmm/clock.h>
#include <vmm/pc.h>
#include <vmm/vatpic.h>
#include <vmm/vioapic.h>
#include <vmm/vrtc.h>
#include "vmm/chip/port.h"
#include "vmm/chip/ticks.h"
#include "vmm/chip/vhpet_impl.h"

enum rtc_reg {
	RTC_SEC,
	RTC_SEC_ALARM,
	RTC_MIN,
	RTC_MIN_ALARM,
	RTC_HOUR,
	RTC_HOUR_ALARM,
	RTC_WEEKDAY,
	RTC_DAY,
	RTC_MONTH,
	RTC_YEAR,
	RTC_A,
	RTC_B,
	RTC_C,
	RTC_D,
	RTC_NVRAM,
};

#define A_UIP	   0x80
#define A_DIVIDER  0x70
#define A_DV_RUN   0x20 /* 32.768 kHz */
#define A_RATE	   0x0f
#define A_WRITABLE 0x7f

#define B_SET	     0x80
#define B_PIE	     0x40
#define B_AIE	     0x20
#define B_UIE	     0x10
#define B_SQWE	     0x08
#define B_BINARY     0x04
#define B_24H	     0x02
#define B_INTERRUPTS (B_PIE | B_AIE | B_UIE) /* and the flags of register C */

#define C_IRQF 0x80
#define C_PF   0x40
#define C_AF   0x20
#define C_UF   0x10

#define D_VRT 0x80

#define HOUR_PM		 0x80
#define ALARM_DONT_CARE	 0xc0
#define OSCILLATOR_HZ	 32768u
#define UPDATE_NS	 2228000u /* UIP rises 244 us before an update of 1984 us */
#define DIVIDER_RESET_NS (NS_PER_S / 2)
#define SECS_PER_DAY	 86400
#define SECS_MAX	 253402300799 /* 9999-12-31T23:59:59Z */

/* Where a BIOS leaves the size of memory. */
#define CMOS_BASE_MEM  0x15 /* KiB below 1 MiB */
#define CMOS_EXT_MEM   0x17 /* KiB above 1 MiB */
#define CMOS_EXT_MEM2  0x30 /* the same, as found */
#define CMOS_MEM_16M   0x34 /* 64 KiB above 16 MiB */
#define CMOS_MEM_4G    0x5b /* 64 KiB above 4 GiB, three bytes */
#define CMOS_SUM_FIRST 0x10
#define CMOS_SUM_LAST  0x2d
#define CMOS_SUM       0x2e /* high byte first */

struct vrtc {
	struct vm *vm;
	struct vmm_clock *clock;
	pthread_mutex_t lock;
	uint8_t index;
	uint8_t cmos[VRTC_NVRAM_SIZE];
	bool valid; /* the registers hold a possible date */
	int64_t secs;
	uint64_t base_ns;
	uint64_t periodic_base_ns; /* when the rate was set, */
	uint64_t periods;	   /* and how many have passed */
	bool line;		   /* IRQ 8 as the controllers know it */
	void (*alarm_fn)(void *arg);
	void *alarm_arg;
	bool rang; /* the alarm's interrupt is up, and alarm_fn knows */
	struct vmm_timer timer;
};

static bool divider_runs(const struct vrtc *vrtc)
{
	return (vrtc->cmos[RTC_A] & A_DIVIDER) == A_DV_RUN;
}

static bool runs(const struct vrtc *vrtc)
{
	return vrtc->valid && divider_runs(vrtc) && !(vrtc->cmos[RTC_B] & B_SET);
}

/* Rates 1 and 2 are those of 8 and 9; 0: none. In ticks of the oscillator. */
static uint32_t period_ticks(const struct vrtc *vrtc)
{
	unsigned rate = vrtc->cmos[RTC_A] & A_RATE;

	if (rate == 0 || !divider_runs(vrtc))
		return 0;
	return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

/* ---- The registers' format ---- */

static uint8_t encode(const struct vrtc *vrtc, int n)
{
	return (uint8_t)(vrtc->cmos[RTC_B] & B_BINARY ? n : n / 10 << 4 | n % 10);
}

/* -1: no number of this format. */
static int decode(const struct vrtc *vrtc, uint8_t byte)
{
	if (vrtc->cmos[RTC_B] & B_BINARY)
		return byte;
	return (byte & 15) > 9 || byte >> 4 > 9 ? -1 : (byte >> 4) * 10 + (byte & 15);
}

static uint8_t encode_hour(const struct vrtc *vrtc, int hour)
{
	if (vrtc->cmos[RTC_B] & B_24H)
		return encode(vrtc, hour);
	return encode(vrtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct vrtc *vrtc, uint8_t byte)
{
	int hour;

	if (vrtc->cmos[RTC_B] & B_24H)
		return decode(vrtc, byte);
	hour = decode(vrtc, byte & ~HOUR_PM);
	if (hour < 1 || hour > 12)
		return -1;
	return hour % 12 + (byte & HOUR_PM ? 12 : 0);
}

/* The date into the registers. */
static void show_date(struct vrtc *vrtc)
{
	time_t secs = (time_t)vrtc->secs;
	struct tm tm;

	gmtime_r(&secs, &tm);
	vrtc->cmos[RTC_SEC] = encode(vrtc, tm.tm_sec);
	vrtc->cmos[RTC_MIN] = encode(vrtc, tm.tm_min);
	vrtc->cmos[RTC_HOUR] = encode_hour(vrtc, tm.tm_hour);
	vrtc->cmos[RTC_WEEKDAY] = encode(vrtc, tm.tm_wday + 1);
	vrtc->cmos[RTC_DAY] = encode(vrtc, tm.tm_mday);
	vrtc->cmos[RTC_MONTH] = encode(vrtc, tm.tm_mon + 1);
	vrtc->cmos[RTC_YEAR] = encode(vrtc, tm.tm_year % 100);
	vrtc->cmos[VRTC_CENTURY] = encode(vrtc, (tm.tm_year + 1900) / 100);
}

/* The date from the registers; the weekday does not count. An impossible one stops the clock. */
static void take_date(struct vrtc *vrtc)
{
	int century = decode(vrtc, vrtc->cmos[VRTC_CENTURY]);
	int year = decode(vrtc, vrtc->cmos[RTC_YEAR]);
	struct tm tm = {
		.tm_sec = decode(vrtc, vrtc->cmos[RTC_SEC]),
		.tm_min = decode(vrtc, vrtc->cmos[RTC_MIN]),
		.tm_hour = decode_hour(vrtc, vrtc->cmos[RTC_HOUR]),
		.tm_mday = decode(vrtc, vrtc->cmos[RTC_DAY]),
		.tm_mon = decode(vrtc, vrtc->cmos[RTC_MONTH]) - 1,
		.tm_year = century * 100 + year - 1900,
	};
	struct tm check = tm;
	int64_t secs;

	secs = timegm(&check);
	/* timegm() carries what overflows, so a date is possible if it came through unchanged. */
	vrtc->valid = century >= 0 && year >= 0 && year < 100 && secs >= 0 && secs <= SECS_MAX &&
		      check.tm_sec == tm.tm_sec && check.tm_min == tm.tm_min &&
		      check.tm_hour == tm.tm_hour && check.tm_mday == tm.tm_mday &&
		      check.tm_mon == tm.tm_mon;
	if (vrtc->valid)
		vrtc->secs = secs;
}

/* ---- Flags, the interrupt line, the timer ---- */

static bool alarm_field(uint8_t alarm, uint8_t value)
{
	return alarm >= ALARM_DONT_CARE || alarm == value;
}

static bool alarm_matches(const struct vrtc *vrtc, int64_t secs)
{
	int second = (int)(secs % SECS_PER_DAY);

	return alarm_field(vrtc->cmos[RTC_SEC_ALARM], encode(vrtc, second % 60)) &&
	       alarm_field(vrtc->cmos[RTC_MIN_ALARM], encode(vrtc, second / 60 % 60)) &&
	       alarm_field(vrtc->cmos[RTC_HOUR_ALARM], encode_hour(vrtc, second / 3600));
}

/* An alarm is daily at most, so a day's seconds say all there is. */
static bool alarm_between(const struct vrtc *vrtc, int64_t after, int64_t last)
{
	if (last - after > SECS_PER_DAY)
		after = last - SECS_PER_DAY;
	while (++after <= last) {
		if (alarm_matches(vrtc, after))
			return true;
	}
	return false;
}

static void settle_seconds(struct vrtc *vrtc, uint64_t now)
{
	int64_t passed = runs(vrtc) ? (int64_t)((now - vrtc->base_ns) / NS_PER_S) : 0;

	if (passed == 0)
		return;
	if (alarm_between(vrtc, vrtc->secs, vrtc->secs + passed))
		vrtc->cmos[RTC_C] |= C_AF;
	vrtc->cmos[RTC_C] |= C_UF;
	vrtc->secs += passed;
	vrtc->base_ns += (uint64_t)passed * NS_PER_S;
	if (vrtc->secs > SECS_MAX)
		vrtc->secs = 0;
	show_date(vrtc);
}

static void settle_periods(struct vrtc *vrtc, uint64_t now)
{
	uint32_t period = period_ticks(vrtc);
	uint64_t periods;

	if (!period)
		return;
	periods = ns_to_ticks(now - vrtc->periodic_base_ns, OSCILLATOR_HZ) / period;
	if (periods > vrtc->periods)
		vrtc->cmos[RTC_C] |= C_PF;
	vrtc->periods = periods;
}

/* Brings flags and date up to `now`. Caller holds the lock, as for all of these. */
static void settle(struct vrtc *vrtc, uint64_t now)
{
	settle_seconds(vrtc, now);
	settle_periods(vrtc, now);
}

static void update_alarm(struct vrtc *vrtc)
{
	bool rings = vrtc->cmos[RTC_B] & vrtc->cmos[RTC_C] & B_AIE;

	if (rings && !vrtc->rang && vrtc->alarm_fn)
		vrtc->alarm_fn(vrtc->alarm_arg);
	vrtc->rang = rings;
}

static void update_line(struct vrtc *vrtc)
{
	bool line = vrtc->cmos[RTC_B] & vrtc->cmos[RTC_C] & B_INTERRUPTS;

	update_alarm(vrtc);
	vrtc->cmos[RTC_C] = (vrtc->cmos[RTC_C] & ~C_IRQF) | (line ? C_IRQF : 0);
	if (line == vrtc->line)
		return;
	/* The HPET has the line now; what was raised before is still let go. */
	if (line && vhpet_has_legacy_routes(vrtc->vm))
		return;
	vrtc->line = line;
	if (line) {
		vatpic_assert_irq(vrtc->vm, PC_RTC_IRQ);
		vioapic_assert_irq(vrtc->vm, PC_RTC_IRQ);
	} else {
		vatpic_deassert_irq(vrtc->vm, PC_RTC_IRQ);
		vioapic_deassert_irq(vrtc->vm, PC_RTC_IRQ);
	}
}

/*
 * When the next flag comes up that would interrupt. One that is up already waits for register C to
 * be read.  UINT64_MAX: never.
 */
static uint64_t next_flag_ns(const struct vrtc *vrtc)
{
	uint8_t awaited = vrtc->cmos[RTC_B] & ~vrtc->cmos[RTC_C] & B_INTERRUPTS;
	uint64_t ticks = (vrtc->periods + 1) * period_ticks(vrtc);
	uint64_t next = UINT64_MAX, period;

	if (awaited & (B_UIE | B_AIE) && runs(vrtc))
		next = vrtc->base_ns + NS_PER_S;
	if (awaited & B_PIE && ticks) {
		period = vrtc->periodic_base_ns + ticks_to_ns(ticks, OSCILLATOR_HZ);
		if (period < next)
			next = period;
	}
	return next;
}

static void update_timer(struct vrtc *vrtc)
{
	uint64_t next = next_flag_ns(vrtc);

	if (next == UINT64_MAX)
		vmm_timer_stop(&vrtc->timer);
	else
		vmm_timer_set(&vrtc->timer, next);
}

static void update(struct vrtc *vrtc)
{
	update_line(vrtc);
	update_timer(vrtc);
}

/* A stale callback finds nothing to settle. */
static void timer_fired(void *arg)
{
	struct vrtc *vrtc = arg;

	pthread_mutex_lock(&vrtc->lock);
	settle(vrtc, vmm_clock_now(vrtc->clock));
	update(vrtc);
	pthread_mutex_unlock(&vrtc->lock);
}

/* ---- Registers ---- */

/*
 * Leaving the divider's reset, the first update comes half a second later; else one after a whole
 * second.
 */
static void write_a(struct vrtc *vrtc, uint8_t val, uint64_t now)
{
	bool ran = divider_runs(vrtc);
	uint8_t old = vrtc->cmos[RTC_A];

	vrtc->cmos[RTC_A] = val & A_WRITABLE;
	if (!ran && divider_runs(vrtc))
		vrtc->base_ns = now - DIVIDER_RESET_NS;
	if ((old ^ vrtc->cmos[RTC_A]) & (A_RATE | A_DIVIDER)) {
		vrtc->periodic_base_ns = now;
		vrtc->periods = 0;
	}
}

/*
 * SET stops updates and forbids their interrupt; clearing it takes the date that stands in the
 * registers. A change of format while running is a change of presentation.
 */
static void write_b(struct vrtc *vrtc, uint8_t val, uint64_t now)
{
	uint8_t old = vrtc->cmos[RTC_B];

	if (val & B_SET)
		val &= (uint8_t)~B_UIE;
	vrtc->cmos[RTC_B] = val;
	if (old & ~val & B_SET) {
		take_date(vrtc);
		vrtc->base_ns = now;
	}
	if (runs(vrtc))
		show_date(vrtc);
}

/*
 * Without SET a date register is written into the running clock; the fraction of the second stays.
 */
static void write_date(struct vrtc *vrtc, uint8_t index, uint8_t val, uint64_t now)
{
	bool ran = runs(vrtc);

	vrtc->cmos[index] = val;
	if (vrtc->cmos[RTC_B] & B_SET)
		return;
	take_date(vrtc);
	if (!ran)
		vrtc->base_ns = now;
	if (runs(vrtc))
		show_date(vrtc);
}

static bool is_date(int index)
{
	switch (index) {
	case RTC_SEC:
	case RTC_MIN:
	case RTC_HOUR:
	case RTC_WEEKDAY ... RTC_YEAR:
	case VRTC_CENTURY:
		return true;
	default:
		return false;
	}
}

static void write_reg(struct vrtc *vrtc, uint8_t index, uint8_t val, uint64_t now)
{
	if (index == RTC_A)
		write_a(vrtc, val, now);
	else if (index == RTC_B)
		write_b(vrtc, val, now);
	else if (is_date(index))
		write_date(vrtc, index, val, now);
	else if (index != RTC_C && index != RTC_D)
		vrtc->cmos[index] = val;
}

static uint8_t read_reg(struct vrtc *vrtc, uint8_t index, uint64_t now)
{
	uint8_t val = vrtc->cmos[index];

	if (index == RTC_A && runs(vrtc) && now - vrtc->base_ns >= NS_PER_S - UPDATE_NS)
		val |= A_UIP;
	if (index == RTC_C)
		vrtc->cmos[RTC_C] = 0;
	return val;
}

int vrtc_addr_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	struct vrtc *vrtc = vm_rtc(vm);

	(void)vcpuid;
	(void)port;
	if (in || bytes != 1) { /* the index cannot be read */
		*val = port_floating(bytes);
		return 0;
	}
	pthread_mutex_lock(&vrtc->lock);
	vrtc->index =
		*val & (VRTC_NVRAM_SIZE - 1); /* bit 7 masks a PC's NMI sources: we have none */
	pthread_mutex_unlock(&vrtc->lock);
	return 0;
}

int vrtc_data_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	struct vrtc *vrtc = vm_rtc(vm);
	uint64_t now = vmm_clock_now(vrtc->clock);

	(void)vcpuid;
	(void)port;
	if (bytes != 1) {
		*val = port_floating(bytes);
		return 0;
	}
	pthread_mutex_lock(&vrtc->lock);
	settle(vrtc, now);
	update_line(vrtc);
	if (in)
		*val = read_reg(vrtc, vrtc->index, now);
	else
		write_reg(vrtc, vrtc->index, (uint8_t)*val, now);
	update(vrtc);
	pthread_mutex_unlock(&vrtc->lock);
	return 0;
}

/* ---- For the core and the machine ---- */

static void set_time(struct vrtc *vrtc, int64_t secs)
{
	vrtc->secs = secs;
	vrtc->base_ns = vmm_clock_now(vrtc->clock);
	vrtc->valid = true;
	show_date(vrtc);
}

int64_t vrtc_get_time(struct vm *vm)
{
	struct vrtc *vrtc = vm_rtc(vm);
	int64_t secs;

	pthread_mutex_lock(&vrtc->lock);
	settle(vrtc, vmm_clock_now(vrtc->clock));
	update(vrtc);
	secs = vrtc->valid ? vrtc->secs : -1;
	pthread_mutex_unlock(&vrtc->lock);
	return secs;
}

int vrtc_set_time(struct vm *vm, int64_t secs)
{
	struct vrtc *vrtc = vm_rtc(vm);

	if (secs < 0 || secs > SECS_MAX)
		return EINVAL;
	pthread_mutex_lock(&vrtc->lock);
	settle(vrtc, vmm_clock_now(vrtc->clock));
	set_time(vrtc, secs);
	update(vrtc);
	pthread_mutex_unlock(&vrtc->lock);
	return 0;
}

void vrtc_set_host_time(struct vm *vm, bool localtime)
{
	time_t secs = (time_t)vmm_clock_wall(vm_clock(vm));
	struct tm tm;

	if (localtime && localtime_r(&secs, &tm))
		secs += tm.tm_gmtoff;
	vrtc_set_time(vm, secs);
}

void vrtc_set_alarm_notify(struct vm *vm, void (*fn)(void *arg), void *arg)
{
	struct vrtc *vrtc = vm_rtc(vm);

	pthread_mutex_lock(&vrtc->lock);
	vrtc->alarm_fn = fn;
	vrtc->alarm_arg = arg;
	pthread_mutex_unlock(&vrtc->lock);
}

static bool is_nvram(int offset)
{
	return offset >= RTC_NVRAM && offset < VRTC_NVRAM_SIZE && offset != VRTC_CENTURY;
}

int vrtc_nvram_read(struct vm *vm, int offset, uint8_t *value)
{
	struct vrtc *vrtc = vm_rtc(vm);

	if (!is_nvram(offset))
		return EINVAL;
	pthread_mutex_lock(&vrtc->lock);
	*value = vrtc->cmos[offset];
	pthread_mutex_unlock(&vrtc->lock);
	return 0;
}

int vrtc_nvram_write(struct vm *vm, int offset, uint8_t value)
{
	struct vrtc *vrtc = vm_rtc(vm);

	if (!is_nvram(offset))
		return EINVAL;
	pthread_mutex_lock(&vrtc->lock);
	vrtc->cmos[offset] = value;
	pthread_mutex_unlock(&vrtc->lock);
	return 0;
}

/* `units` as a little-endian number of so many bytes, cut off at the largest one. */
static void put_size(struct vrtc *vrtc, int offset, int bytes, uint64_t units)
{
	uint64_t max = (1ull << 8 * bytes) - 1;

	if (units > max)
		units = max;
	for (int i = 0; i < bytes; i++)
		vrtc->cmos[offset + i] = (uint8_t)(units >> 8 * i);
}

static uint64_t above(uint64_t size, uint64_t start)
{
	return size > start ? size - start : 0;
}

void vrtc_set_memory(struct vm *vm, uint64_t below_4g, uint64_t above_4g)
{
	struct vrtc *vrtc = vm_rtc(vm);
	unsigned sum = 0;

	pthread_mutex_lock(&vrtc->lock);
	put_size(vrtc, CMOS_BASE_MEM, 2, 640);
	put_size(vrtc, CMOS_EXT_MEM, 2, above(below_4g, 1 << 20) >> 10);
	put_size(vrtc, CMOS_EXT_MEM2, 2, above(below_4g, 1 << 20) >> 10);
	put_size(vrtc, CMOS_MEM_16M, 2, above(below_4g, 16 << 20) >> 16);
	put_size(vrtc, CMOS_MEM_4G, 3, above_4g >> 16);
	for (int i = CMOS_SUM_FIRST; i <= CMOS_SUM_LAST; i++)
		sum += vrtc->cmos[i];
	vrtc->cmos[CMOS_SUM] = (uint8_t)(sum >> 8);
	vrtc->cmos[CMOS_SUM + 1] = (uint8_t)sum;
	pthread_mutex_unlock(&vrtc->lock);
}

void vrtc_reset(struct vrtc *vrtc)
{
	pthread_mutex_lock(&vrtc->lock);
	settle(vrtc, vmm_clock_now(vrtc->clock));
	vrtc->cmos[RTC_B] &= (uint8_t) ~(B_INTERRUPTS | B_SQWE);
	vrtc->cmos[RTC_C] = 0;
	vrtc->index = 0;
	update(vrtc);
	pthread_mutex_unlock(&vrtc->lock);
}

void vrtc_save(struct vrtc *vrtc, struct vrtc_state *state)
{
	pthread_mutex_lock(&vrtc->lock);
	settle(vrtc, vmm_clock_now(vrtc->clock));
	*state = (struct vrtc_state){
		.secs = vrtc->secs,
		.base_ns = vrtc->base_ns,
		.valid = vrtc->valid,
		.alarm_fn = vrtc->alarm_fn,
		.alarm_arg = vrtc->alarm_arg,
	};
	memcpy(state->cmos, vrtc->cmos, sizeof(state->cmos));
	pthread_mutex_unlock(&vrtc->lock);
}

void vrtc_restore(struct vrtc *vrtc, const struct vrtc_state *state)
{
	pthread_mutex_lock(&vrtc->lock);
	memcpy(vrtc->cmos, state->cmos, sizeof(vrtc->cmos));
	vrtc->secs = state->secs;
	vrtc->base_ns = state->base_ns;
	vrtc->valid = state->valid;
	vrtc->alarm_fn = state->alarm_fn;
	vrtc->alarm_arg = state->alarm_arg;
	pthread_mutex_unlock(&vrtc->lock);
	vrtc_reset(vrtc);
}

struct vrtc *vrtc_init(struct vm *vm)
{
	struct vrtc *vrtc = calloc(1, sizeof(*vrtc));

	if (!vrtc)
		return NULL;
	vrtc->vm = vm;
	vrtc->clock = vm_clock(vm);
	pthread_mutex_init(&vrtc->lock, NULL);
	vmm_timer_init(&vrtc->timer, vrtc->clock, timer_fired, vrtc);
	vrtc->cmos[RTC_A] = A_DV_RUN | 6; /* 1024 Hz, what every BIOS sets */
	vrtc->cmos[RTC_B] = B_24H;
	vrtc->cmos[RTC_D] = D_VRT;
	vrtc->periodic_base_ns = vmm_clock_now(vrtc->clock);
	set_time(vrtc, vmm_clock_wall(vrtc->clock));
	return vrtc;
}

void vrtc_cleanup(struct vrtc *vrtc)
{
	if (!vrtc)
		return;
	vmm_timer_drain(&vrtc->timer);
	pthread_mutex_destroy(&vrtc->lock);
	free(vrtc);
}
