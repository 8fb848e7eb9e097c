/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Whole machines with guests of a few bytes: each way to end, each kind of exit, several at once,
 * and nothing left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/vmm_dev.h>

#include "machine/machine.h"

struct fixture {
	struct config *config;
	struct machine_error error;
	char image[32], output[32];
	uint8_t bytes[0x10000];
};

static void set(struct fixture *f, const char *key, const char *value)
{
	assert_int_equal(config_set(f->config, key, value), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[48];

	strcpy(f->image, "/tmp/hyve-image-XXXXXX");
	strcpy(f->output, "/tmp/hyve-output-XXXXXX");
	close(mkstemp(f->image));
	close(mkstemp(f->output));
	assert_int_equal(config_create(&f->config), 0);
	snprintf(path, sizeof(path), "file=%s", f->output);
	set(f, "name", "test");
	set(f, "memory.size", "16M");
	set(f, "backend", "soft");
	set(f, "image.path", f->image);
	set(f, "lpc.com1.path", path);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	config_destroy(f->config);
	unlink(f->image);
	unlink(f->output);
	free(f);
	return 0;
}

static void write_image(struct fixture *f, size_t size)
{
	FILE *file = fopen(f->image, "w");

	assert_int_equal(fwrite(f->bytes, 1, size, file), size);
	fclose(file);
}

/* The boot sector that starts with `code`, and at offset 0x80 has `data`. */
static void boot_sector(struct fixture *f, const char *code, size_t size, const char *data)
{
	memset(f->bytes, 0, 512);
	memcpy(f->bytes, code, size);
	strcpy((char *)f->bytes + 0x80, data);
	f->bytes[510] = 0x55;
	f->bytes[511] = 0xaa;
	write_image(f, 512);
}

#define SECTOR(f, code) boot_sector(f, code, sizeof(code) - 1, "")

/* mov dx, 404h; mov ax, 3400h; out dx, ax; jmp $ */
#define POWEROFF "\xba\x04\x04\xb8\x00\x34\xef\xeb\xfe"
/* mov al, 0feh; out 64h, al; jmp $ */
#define RESET "\xb0\xfe\xe6\x64\xeb\xfe"

/* Builds and runs; the result of machine_run. */
static int run(struct fixture *f, enum vm_suspend_how *how)
{
	struct machine *m;

	*how = VM_SUSPEND_NONE;
	assert_int_equal(machine_create(f->config, &m, &f->error), 0);
	int code = machine_run(m, how, &f->error);

	machine_destroy(m);
	return code;
}

static void assert_ends(struct fixture *f, enum vm_suspend_how expected)
{
	enum vm_suspend_how how;
	int code = run(f, &how);

	if (code)
		fail_msg("%s", f->error.text);
	assert_int_equal(how, expected);
}

static void acpi_powers_off(void **state)
{
	SECTOR(*state, POWEROFF);
	assert_ends(*state, VM_SUSPEND_POWEROFF);
}

static void keyboard_controller_resets(void **state)
{
	SECTOR(*state, RESET);
	assert_ends(*state, VM_SUSPEND_RESET);
}

/*
 * As a BIOS would have left it: sti; hlt; hlt; int 70h; cli; cmp dword [46ch], 0; je reset; in al,
 * 21h; cmp al, 0fah; je poweroff; reset
 */
static void real_mode_has_a_timer(void **state)
{
	SECTOR(*state, "\xfb\xf4\xf4\xcd\x70\xfa\x66\x83\x3e\x6c\x04\x00\x74\x06"
		       "\xe4\x21\x3c\xfa\x74\x06" RESET POWEROFF);
	assert_ends(*state, VM_SUSPEND_POWEROFF);
}

static void cf9_resets(void **state)
{
	SECTOR(*state, "\xba\xf9\x0c\xb0\x02\xee\xb0\x06\xee\xeb\xfe");
	assert_ends(*state, VM_SUSPEND_RESET);
}

static void halt_with_interrupts_off(void **state)
{
	SECTOR(*state, "\xfa\xf4");
	assert_ends(*state, VM_SUSPEND_HALT);
}

static void triple_fault(void **state)
{
	/* lidt [7c10h]: limit 0; int3 */
	SECTOR(*state, "\x0f\x01\x1e\x10\x7c\xcc\xeb\xfe");
	assert_ends(*state, VM_SUSPEND_TRIPLEFAULT);
}

static void assert_output(struct fixture *f, const char *expected)
{
	char buf[4096] = "";
	FILE *file = fopen(f->output, "r");

	buf[fread(buf, 1, sizeof(buf) - 1, file)] = '\0';
	fclose(file);
	assert_string_equal(buf, expected);
}

static void string_output_reaches_the_file(void **state)
{
	static const char text[] = "Forty bytes are more than sixteen a time";
	struct fixture *f = *state;

	/* mov si, 7c80h; mov cx, 40; mov dx, 3f8h; rep outsb */
	boot_sector(f, "\xbe\x80\x7c\xb9\x28\x00\xba\xf8\x03\xf3\x6e" POWEROFF, 20, text);
	assert_ends(f, VM_SUSPEND_POWEROFF);
	assert_output(f, text);
}

static void string_input_of_nothing_is_ones(void **state)
{
	/*
	 * mov di, 7e00h; mov cx, 40; mov dx, 10h; rep insw; then all 40 words must be ones:
	 * mov di, 7e00h; mov cx, 40; mov ax, 0ffffh; repe scasw; je poweroff; reset
	 */
	SECTOR(*state, "\xbf\x00\x7e\xb9\x28\x00\xba\x10\x00\xf3\x6d"
		       "\xbf\x00\x7e\xb9\x28\x00\xb8\xff\xff\xf3\xaf\x74\x06" RESET POWEROFF);
	assert_ends(*state, VM_SUSPEND_POWEROFF);
}

/*
 * IVT 13 := 7c30h; mov ecx, 12345678h; rdmsr; or edx, eax; jnz reset; power off. At 7c30h: reset.
 */
static void rdmsr_sector(struct fixture *f)
{
	static const char code[] = "\xc7\x06\x34\x00\x30\x7c\xc7\x06\x36\x00\x00\x00"
				   "\x66\xb9\x78\x56\x34\x12\x0f\x32\x66\x09\xc2\x75\x17" POWEROFF;
	char whole[0x36] = {0};

	memcpy(whole, code, sizeof(code));
	memcpy(whole + 0x30, RESET, 6);
	boot_sector(f, whole, sizeof(whole), "");
}

static void unknown_msr_is_gp(void **state)
{
	rdmsr_sector(*state);
	assert_ends(*state, VM_SUSPEND_RESET);
}

static void unknown_msr_is_zero_when_told_so(void **state)
{
	set(*state, "x86.strictmsr", "false");
	rdmsr_sector(*state);
	assert_ends(*state, VM_SUSPEND_POWEROFF);
}

/* mov al, 26h; out 0f4h, al; jmp $ */
#define DEBUG_EXIT "\xb0\x26\xe6\xf4\xeb\xfe"

static void the_debug_exit_port_gives_a_status(void **state)
{
	struct fixture *f = *state;
	enum vm_suspend_how how;
	struct machine *m;
	int status;

	SECTOR(f, DEBUG_EXIT);
	set(f, "lpc.pc-testdev", "true");
	assert_int_equal(machine_create(f->config, &m, &f->error), 0);
	assert_int_equal(machine_run(m, &how, &f->error), 0);
	assert_int_equal(how, VM_SUSPEND_POWEROFF);
	assert_true(machine_exit_status(m, &status));
	assert_int_equal(status, 77);
	machine_destroy(m);
	SECTOR(f, POWEROFF);
	assert_int_equal(machine_create(f->config, &m, &f->error), 0);
	assert_int_equal(machine_run(m, &how, &f->error), 0);
	assert_false(machine_exit_status(m, &status));
	machine_destroy(m);
}

/*
 * Code of another page, called, unmapped, and called again: mov word [8000h], 0c340h (inc ax; ret); xor eax, eax; call 8000h; mov ebx, eax; mov
 * eax, 8000h; out 0e4h, eax; xor ax, ax; call 8000h; add ax, bx; cmp ax, 2; je poweroff; reset
 */
static void unmapped_pages_keep_their_content(void **state)
{
	struct fixture *f = *state;

	SECTOR(f, "\xc7\x06\x00\x80\x40\xc3\x31\xc0\xe8\xf5\x03\x89\xc3\x66\xb8\x00\x80\x00\x00"
		  "\x66\xe7\xe4\x31\xc0\xe8\xe5\x03\x01\xd8\x3d\x02\x00\x74\x06" RESET POWEROFF);
	set(f, "lpc.pc-testdev", "true");
	assert_ends(f, VM_SUSPEND_POWEROFF);
}

/* mov ax, 5; mov dx, 510h; out dx, ax; inc dx; in al, dx; cmp al, 2; je poweroff; reset */
static void fwcfg_counts_the_cpus(void **state)
{
	struct fixture *f = *state;

	SECTOR(f, "\xb8\x05\x00\xba\x10\x05\xef\x42\xec\x3c\x02\x74\x06" RESET POWEROFF);
	set(f, "cpus", "2");
	assert_ends(f, VM_SUSPEND_POWEROFF);
	set(f, "cpus", "1");
	assert_ends(f, VM_SUSPEND_RESET);
}

static void unclaimed_ports_are_ignored(void **state)
{
	SECTOR(*state,
		"\xe6\x10\xe4\x10\x3c\xff\x74\x06" RESET POWEROFF); /* out; in; cmp al, 0ffh */
	assert_ends(*state, VM_SUSPEND_POWEROFF);
}

static void strict_io_stops(void **state)
{
	struct fixture *f = *state;
	enum vm_suspend_how how;

	set(f, "x86.strictio", "true");
	SECTOR(f, "\xe6\x10" POWEROFF);
	assert_int_equal(run(f, &how), EIO);
	assert_non_null(strstr(f->error.text, "port 0x10"));
}

/* A 64 KiB ROM: the reset vector, then code at F000:0000. */
static void rom_starts_at_its_end(void **state)
{
	struct fixture *f = *state;

	memset(f->bytes, 0xf4, sizeof(f->bytes));
	memcpy(f->bytes, POWEROFF, 9);
	memcpy(f->bytes + 0xfff0, "\xea\x00\x00\x00\xf0", 5); /* jmp f000:0000 */
	write_image(f, sizeof(f->bytes));
	assert_ends(f, VM_SUSPEND_POWEROFF);
	memcpy(f->bytes + 0xfff0, "\xe9\x0d\x00",
		3); /* jmp near, still at the top of 4 GiB: wraps to 0 */
	write_image(f, sizeof(f->bytes));
	assert_ends(f, VM_SUSPEND_POWEROFF);
}

/* A ROM that writes to itself, plainly, by reading and writing, locked and by string, sees no
 * change. */
static void roms_cannot_be_written(void **state)
{
	static const char code[] =
		"\xb8\x00\xf0\x8e\xd8"	   /* mov ax, 0f000h; mov ds, ax */
		"\xb9\xe8\x03"		   /* mov cx, 1000 */
		"\xc6\x06\x00\x80\x55"	   /* again: mov byte [8000h], 55h */
		"\xfe\x06\x01\x80"	   /* inc byte [8001h] */
		"\xf0\x83\x0e\x02\x80\x01" /* lock or word [8002h], 1 */
		"\xe2\xef"		   /* loop again */
		"\x31\xf6\x8e\xc0\xbf\x00\x90\xb9\x40\x00\xf3\xa4" /* rep movsb to 9000h */
		"\xa1\x00\x80\x3d\xf4\xf4\x75\x1d" /* mov ax, [8000h]; cmp ax, 0f4f4h; jne */
		"\xa1\x02\x80\x3d\xf4\xf4\x75\x15"
		"\xa1\x00\x90\x3d\xf4\xf4\x75\x0d"
		"\xa1\x3e\x90\x3d\xf4\xf4\x75\x05";
	struct fixture *f = *state;
	size_t n = sizeof(code) - 1;

	memset(f->bytes, 0xf4, sizeof(f->bytes));
	memcpy(f->bytes, code, n);
	memcpy(f->bytes + n, "\xe9\x1d\x00", 3); /* jmp good */
	memcpy(f->bytes + n + 5, RESET, 6);
	memcpy(f->bytes + n + 32, POWEROFF, 9);
	memcpy(f->bytes + 0xfff0, "\xea\x00\x00\x00\xf0", 5);
	write_image(f, sizeof(f->bytes));
	set(f, "image.path", f->image);
	assert_ends(f, VM_SUSPEND_POWEROFF);
	set(f, "soft.lockstep", "true");
	assert_ends(f, VM_SUSPEND_POWEROFF);
}

struct stopper {
	struct machine *machine;
	unsigned delay_us;
};

static void *stop_later(void *arg)
{
	struct stopper *s = arg;

	usleep(s->delay_us);
	machine_stop(s->machine, VM_SUSPEND_POWEROFF);
	return NULL;
}

static void a_guest_that_never_exits_can_be_stopped(void **state)
{
	static const char *const loops[] = {
		"\xeb\xfe", "\xfb\xf4\xeb\xfc"}; /* jmp $; sti, hlt, again */
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		enum vm_suspend_how how;
		struct stopper s = {.delay_us = 30000};
		pthread_t thread;

		boot_sector(f, loops[i], strlen(loops[i]), "");
		assert_int_equal(machine_create(f->config, &s.machine, &f->error), 0);
		pthread_create(&thread, NULL, stop_later, &s);
		assert_int_equal(machine_run(s.machine, &how, &f->error), 0);
		assert_int_equal(how, VM_SUSPEND_POWEROFF);
		pthread_join(thread, NULL);
		machine_destroy(s.machine);
	}
}

static void *patch_later(void *arg)
{
	struct stopper *s = arg;
	volatile uint8_t *ram = vmmdev_map_gpa(machine_vm(s->machine), 0, 0x8000);

	usleep(s->delay_us);
	ram[0x7c00] = 0x48; /* dec ax: behind the library's back, so the translation stays */
	return NULL;
}

static void lock_step_tells_what_differs(void **state)
{
	struct fixture *f = *state;
	struct stopper s = {.delay_us = 30000};
	enum vm_suspend_how how;
	pthread_t thread;

	set(f, "soft.lockstep", "true");
	SECTOR(f, "\x40\xeb\xfd"); /* inc ax, again */
	assert_int_equal(machine_create(f->config, &s.machine, &f->error), 0);
	pthread_create(&thread, NULL, patch_later, &s);
	assert_int_equal(machine_run(s.machine, &how, &f->error), EPROTO);
	pthread_join(thread, NULL);
	machine_destroy(s.machine);
	assert_non_null(strstr(f->error.text, "vcpu 0: lock-step: register 0 is 0x"));
	assert_non_null(strstr(f->error.text, "translated 0x"));
	assert_non_null(strstr(f->error.text, "0x7c00"));
	assert_null(strchr(f->error.text, '\n'));
}

static void stop_before_run(void **state)
{
	struct fixture *f = *state;
	enum vm_suspend_how how;
	struct machine *m;

	SECTOR(f, "\xeb\xfe");
	assert_int_equal(machine_create(f->config, &m, &f->error), 0);
	machine_stop(m, VM_SUSPEND_RESET);
	machine_stop(m, VM_SUSPEND_POWEROFF); /* the first counts */
	assert_int_equal(machine_run(m, &how, &f->error), 0);
	assert_int_equal(how, VM_SUSPEND_RESET);
	machine_destroy(m);
}

/* The second processor powers off: INIT, STARTUP by the first, at 8000h. */
static void an_ap_starts(void **state)
{
	/*
	 * The local APIC lies above what real mode reaches: so in "unreal" mode.
	 *	cli; lgdt [7c80h]; mov eax, cr0; or al, 1; mov cr0, eax; mov bx, 8; mov ds, bx; dec
	 *al (and al, 0feh); mov cr0, eax mov dword [0fee00310h], 01000000h; mov dword [0fee00300h],
	 *4500h mov dword [0fee00300h], 4608h; hlt
	 */
	static const char code[] =
		"\xfa\x0f\x01\x16\x80\x7c\x0f\x20\xc0\x0c\x01\x0f\x22\xc0\xbb\x08\x00\x8e\xdb"
		"\x24\xfe\x0f\x22\xc0"
		"\x67\x66\xc7\x05\x10\x03\xe0\xfe\x00\x00\x00\x01"
		"\x67\x66\xc7\x05\x00\x03\xe0\xfe\x00\x45\x00\x00"
		"\x67\x66\xc7\x05\x00\x03\xe0\xfe\x08\x46\x00\x00\xf4\xeb\xfd";
	static const uint8_t gdt[] = {15, 0, 0x88, 0x7c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff,
		0xff, 0, 0, 0, 0x93, 0xcf, 0};
	struct fixture *f = *state;

	set(f, "cpus", "2");
	memset(f->bytes, 0, sizeof(f->bytes));
	memcpy(f->bytes, code, sizeof(code));
	memcpy(f->bytes + 0x80, gdt, sizeof(gdt));
	f->bytes[510] = 0x55;
	f->bytes[511] = 0xaa;
	memcpy(f->bytes + 0x8000 - 0x7c00, POWEROFF, 9); /* STARTUP 08: at 8000h */
	write_image(f, 0x800);
	assert_ends(f, VM_SUSPEND_POWEROFF);
}

static void *run_one(void *arg)
{
	struct fixture *f = arg;
	enum vm_suspend_how how;

	return run(f, &how) == 0 && how == VM_SUSPEND_POWEROFF ? f : NULL;
}

static void several_at_once(void **state)
{
	enum { MACHINES = 4 };
	pthread_t threads[MACHINES];
	void *states[MACHINES], *result;

	(void)state;
	for (int i = 0; i < MACHINES; i++) {
		setup(&states[i]);
		boot_sector(states[i], "\xbe\x80\x7c\xb9\x05\x00\xba\xf8\x03\xf3\x6e" POWEROFF, 20,
			"hello");
	}
	for (int i = 0; i < MACHINES; i++)
		pthread_create(&threads[i], NULL, run_one, states[i]);
	for (int i = 0; i < MACHINES; i++) {
		pthread_join(threads[i], &result);
		assert_ptr_equal(result, states[i]);
		assert_output(states[i], "hello");
		teardown(&states[i]);
	}
}

static unsigned entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* A thread that was joined may be seen for a moment longer. */
static void assert_threads(unsigned expected)
{
	for (int i = 0; i < 1000 && entries("/proc/self/task") != expected; i++)
		usleep(1000);
	assert_int_equal(entries("/proc/self/task"), expected);
}

static void failure_leaves_nothing(void **state)
{
	static const char *const wrong[][2] = {
		{"image.path", "/nonexistent"},
		{"lpc.com1.path", "nowhere"},
		{"lpc.com2.path", "/dev/null"},
		{"cpus", "0"},
		{"cpus", "17"},
		{"memory.size", "0"},
		{"memory.size", "1000T"},
		{"backend", "magic"},
		{"name", ""},
		{"log.uart", "loud"},
		{"name", "0123456789012345678901234567890123456789"},
		{"pci.0.0.0.pcireg.vendor", "x"},
		{"kernel.path", "/nonexistent"},
		{"kernel.cmdline", "x"},
		{"threads", "17"},
		{"acpi_tables", "maybe"},
	};
	struct fixture *f = *state;
	struct machine *m;

	SECTOR(f, POWEROFF);
	assert_ends(f, VM_SUSPEND_POWEROFF); /* whatever is kept for good is there from now on */
	unsigned fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char *old = config_get(f->config, wrong[i][0])
				    ? strdup(config_get(f->config, wrong[i][0]))
				    : NULL;

		set(f, wrong[i][0], wrong[i][1]);
		f->error.text[0] = '\0';
		assert_int_not_equal(machine_create(f->config, &m, &f->error), 0);
		assert_true(strlen(f->error.text) > 10 && !strchr(f->error.text, '\n'));
		assert_int_equal(entries("/proc/self/fd"), fds);
		assert_threads(threads);
		if (old) {
			set(f, wrong[i][0], old);
			free(old);
		} else {
			teardown(state);
			setup(state);
			f = *state;
			SECTOR(f, POWEROFF);
		}
	}
	assert_ends(f, VM_SUSPEND_POWEROFF);
	assert_int_equal(entries("/proc/self/fd"), fds);
	assert_threads(threads);
}

static void backends_are_listed(void **state)
{
	struct machine_backend b;
	unsigned n = 0, soft = 0;

	(void)state;
	for (; machine_backend(n, &b); n++) {
		assert_true(b.automatic || strlen(b.why) > 5);
		assert_true(b.works || !b.automatic);
		soft += strcmp(b.name, "soft") == 0 && b.automatic;
	}
	assert_true(n >= 3);
	assert_int_equal(soft, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(acpi_powers_off),
		T(keyboard_controller_resets),
		T(real_mode_has_a_timer),
		T(cf9_resets),
		T(halt_with_interrupts_off),
		T(triple_fault),
		T(string_output_reaches_the_file),
		T(string_input_of_nothing_is_ones),
		T(unknown_msr_is_gp),
		T(unknown_msr_is_zero_when_told_so),
		T(the_debug_exit_port_gives_a_status),
		T(unmapped_pages_keep_their_content),
		T(fwcfg_counts_the_cpus),
		T(unclaimed_ports_are_ignored),
		T(strict_io_stops),
		T(rom_starts_at_its_end),
		T(roms_cannot_be_written),
		T(a_guest_that_never_exits_can_be_stopped),
		T(lock_step_tells_what_differs),
		T(stop_before_run),
		T(an_ap_starts),
		cmocka_unit_test(several_at_once),
		T(failure_leaves_nothing),
		T(backends_are_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
