/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Runs inside the guest, linked statically: waits for interrupts of /dev/rtc0, and looks into the
 * chip's memory.  "rtc alarm SECONDS", "rtc update COUNT", "rtc periodic HZ": prints what came and
 * how long that took.  "rtc nvram": prints the sizes of memory that a BIOS leaves there.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/rtc.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reads `count` interrupts. False: none came. */
static int await(int fd, const char *what, unsigned count)
{
	double start = now();
	unsigned long data = 0;
	unsigned n = 0;

	for (; n < count && read(fd, &data, sizeof(data)) == sizeof(data); n += data >> 8)
		;
	printf("%s: %s after %.1f s\n", what, n >= count ? "rang" : "silent", now() - start);
	return n >= count;
}

static int alarm_in(int fd, unsigned seconds)
{
	struct rtc_time t;

	if (ioctl(fd, RTC_RD_TIME, &t) < 0)
		return 0;
	struct tm tm = {.tm_sec = t.tm_sec + (int)seconds,
		.tm_min = t.tm_min,
		.tm_hour = t.tm_hour,
		.tm_mday = t.tm_mday,
		.tm_mon = t.tm_mon,
		.tm_year = t.tm_year};

	timegm(&tm);
	t.tm_sec = tm.tm_sec;
	t.tm_min = tm.tm_min;
	t.tm_hour = tm.tm_hour;
	return ioctl(fd, RTC_ALM_SET, &t) == 0 && ioctl(fd, RTC_AIE_ON, 0) == 0 &&
	       await(fd, "alarm", 1);
}

static int update(int fd, unsigned count)
{
	return ioctl(fd, RTC_UIE_ON, 0) == 0 && await(fd, "update", count) &&
	       ioctl(fd, RTC_UIE_OFF, 0) == 0;
}

static int periodic(int fd, unsigned hz)
{
	return ioctl(fd, RTC_IRQP_SET, (unsigned long)hz) == 0 && ioctl(fd, RTC_PIE_ON, 0) == 0 &&
	       await(fd, "periodic", hz) && ioctl(fd, RTC_PIE_OFF, 0) == 0;
}

static unsigned cmos(unsigned index)
{
	outb((unsigned char)index, 0x70);
	return inb(0x71);
}

static int nvram(void)
{
	if (iopl(3) < 0)
		return 0;
	printf("nvram: %u KiB, %u KiB, %u * 64 KiB\n", cmos(0x15) | cmos(0x16) << 8,
		cmos(0x17) | cmos(0x18) << 8, cmos(0x34) | cmos(0x35) << 8);
	return 1;
}

int main(int argc, char **argv)
{
	int fd = open("/dev/rtc0", O_RDONLY);
	unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	const char *what = argc > 1 ? argv[1] : "";

	if (fd < 0)
		return 1;
	if (strcmp(what, "alarm") == 0)
		return !alarm_in(fd, n);
	if (strcmp(what, "update") == 0)
		return !update(fd, n);
	if (strcmp(what, "periodic") == 0)
		return !periodic(fd, n);
	return !nvram();
}
