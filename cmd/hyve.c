/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* hyve: runs one virtual machine, in the manner of bhyve(8). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd/control/control.h"
#include "cmd/options.h"
#include "cmd/sandbox.h"
#include "cmd/stats.h"
#include "device/device.h"
#include "host/host.h"
#include "machine/machine.h"

enum { EXIT_REBOOT = 0, EXIT_POWEROFF = 1, EXIT_HALT = 2, EXIT_TRIPLEFAULT = 3, EXIT_ERROR = 4 };

static const char usage[] =
	"usage: hyve [-aACehHIPSuwWxY] [-c N] [-m size] [-s slot,device] [-l comN,dev] [-k file]\n"
	"            [-o key=value] [-U uuid]\n"
	"            [--kernel file [--initrd file] [--append text]] [--backend auto|kvm|soft] "
	"[--stats] "
	"name\n"
	"       hyve --preflight | --version | --help\n"
	"\n"
	"  -c N           virtual cpus (1); also cpus=N,sockets=N,cores=N,threads=N\n"
	"  -m size        memory (256M); K, M, G, T\n"
	"  -s slot,device[,options]  a PCI device, as in 3,virtio-blk,disk.img; -s help lists them\n"
	"  -l comN,dev    serial line 1 to 4 on stdio, pty, file=PATH or /dev/... (com1,stdio)\n"
	"  -l bootrom,file run firmware from the reset vector\n"
	"  -l pc-testdev  devices for kernels that test hypervisors\n"
	"  --kernel file  Linux bzImage, multiboot, or an ELF kernel (vmlinux, PVH)\n"
	"  --initrd file  initial RAM disk; multiboot modules: file[ args][,file...]\n"
	"  --append text  kernel command line\n"
	"  --backend name auto, kvm, soft, ...; --preflight lists which work here\n"
	"  --stats        print the vcpus' counters at the end\n"
	"  -k file        settings from a file, hyve_config(5)\n"
	"  -o key=value   one setting; -o help lists their names\n"
	"  -x -a          x2APIC; xAPIC (default)\n"
	"  -e             end on access to a port that nothing answers\n"
	"  -w             ignore unknown MSRs instead of #GP\n"
	"  -u             clock in UTC\n"
	"  -W             virtio devices with MSI instead of MSI-X\n"
	"  -C             guest memory in core files\n"
	"  -Y             no MP table\n"
	"  -U uuid        identity of the machine\n"
	"  -P             exit on PAUSE\n"
	"  -A -H -I -S    bhyve's: ACPI tables, exit on HLT, I/O APIC (always), wired memory (never)\n"
	"\n"
	"Ctrl-A x ends the machine, Ctrl-A Ctrl-A is one Ctrl-A. SIGTERM presses the power "
	"button.\n"
	"Exit status: 0 reboot, 1 power-off, 2 halt, 3 triple fault, 4 error.\n";

static int fail(const struct machine_error *error)
{
	fprintf(stderr, "hyve: %s\n", error->text);
	return EXIT_ERROR;
}

/* A closed 0, 1 or 2 would become some file's number, and the guest's console write into it. */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int preflight(void)
{
	struct machine_backend b;
	bool chosen = false;

	for (unsigned i = 0; machine_backend(i, &b); i++) {
		bool chooses = b.automatic && !chosen;

		printf("%-6s %s%s%s\n", b.name, b.works ? "works" : "no: ",
			chooses			   ? ", and auto takes it"
			: b.works && !b.automatic ? ", but auto does not take it: "
						   : "",
			b.automatic ? "" : b.why);
		chosen |= chooses;
	}
	return chosen ? 0 : EXIT_ERROR;
}

/* The devices of -s, with their options. */
static void print_pci_models(void)
{
	struct device_pci_facts facts;

	for (size_t i = 0; device_pci_describe(i, &facts); i++) {
		printf("%-16s %s\n", facts.name, facts.about);
		if (facts.first || (facts.keys && facts.keys[0]))
			printf("%16s", "");
		if (facts.first)
			printf(" %s", facts.first);
		for (const char *const *key = facts.keys; key && *key; key++)
			if (!facts.first || strcmp(*key, facts.first) != 0)
				printf(" [%s=]", *key);
		if (facts.first || (facts.keys && facts.keys[0]))
			putchar('\n');
	}
}

/* The keys of settings. An asterisk and ranges in brackets stand for several. */
static void print_settings(void)
{
	char pattern[128];

	for (size_t i = 0; config_known(i, pattern, sizeof(pattern)); i++)
		puts(pattern);
}

/*
 * The settings as a file that -k reads: their values are expanded, so what looks like a variable is
 * none.  The wish for this is not among them.
 */
static int dump(const struct config *config)
{
	const char *key, *value;

	for (size_t i = 0; config_at(config, i, &key, &value); i++) {
		if (strcmp(key, "config.dump") == 0)
			continue;
		if (strchr(value, '\n')) {
			fprintf(stderr, "hyve: %s has several lines, which no file can have\n", key);
			return EXIT_ERROR;
		}
		printf("%s=", key);
		for (; *value; value++)
			printf("%s%c", *value == '%' ? "%" : "", *value);
		putchar('\n');
	}
	return 0;
}

/* ---- signals ---- */

struct watch {
	struct machine *machine;
	bool pressed;	   /* SIGTERM has pressed the power button once */
	atomic_int signal; /* what ended us; 0: nothing did */
};

static const int watched[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, 0};
/* A terminal asks for this one itself (host/tty.h). */
static const int for_terminal = SIGWINCH;

/* Before the first thread: they all inherit it, and the event loop gets the signals. */
static void block_signals(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;

	sigemptyset(&set);
	for (const int *s = watched; *s; s++)
		sigaddset(&set, *s);
	sigaddset(&set, for_terminal);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &ignore, NULL); /* a console that nobody reads is no reason to die */
}

static void on_signal(void *arg, int signo)
{
	struct watch *watch = arg;

	if (signo == SIGTERM && !watch->pressed) {
		watch->pressed = true;
		machine_power_button(watch->machine);
		return;
	}
	watch->signal = signo;
	machine_stop(watch->machine, VM_SUSPEND_POWEROFF);
}

/* Ends as the signal would have, now that all is tidied up; the caller sees it in our status. */
static void die_of(int signo)
{
	struct sigaction normal = {.sa_handler = SIG_DFL};
	sigset_t set;

	sigaction(signo, &normal, NULL);
	sigemptyset(&set);
	sigaddset(&set, signo);
	raise(signo);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- running ---- */

/* What can be gone without is only told. */
static void warn(const char *text)
{
	if (text && *text)
		fprintf(stderr, "hyve: %s\n", text);
}

/* All that has to stand when the first instruction of the guest runs. */
static int run_machine(const struct config *config, struct watch *watch, struct control *control,
	enum vm_suspend_how *how, struct machine_error *error)
{
	struct event_source *signals = NULL;
	const char *no_sandbox = NULL;
	struct machine_facts facts;
	int code = event_signals_add(
		machine_loop(watch->machine), watched, on_signal, watch, &signals);

	if (code)
		return machine_error(error, code, "signals: %s", strerror(code));
	machine_facts(watch->machine, &facts);
	code = control_serve(control, watch->machine);
	if (code)
		machine_error(error, code, "control socket: %s", strerror(code));
	else
		code = sandbox_enter(config, facts.backend, &no_sandbox, error);
	warn(no_sandbox);
	if (!code)
		code = machine_run(watch->machine, how, error);
	control_stop(control);
	event_source_remove(signals);
	return code;
}

static int run(const struct config *config)
{
	static const int statuses[] = {
		[VM_SUSPEND_NONE] = EXIT_ERROR,
		[VM_SUSPEND_RESET] = EXIT_REBOOT,
		[VM_SUSPEND_POWEROFF] = EXIT_POWEROFF,
		[VM_SUSPEND_HALT] = EXIT_HALT,
		[VM_SUSPEND_TRIPLEFAULT] = EXIT_TRIPLEFAULT,
	};
	enum vm_suspend_how how = VM_SUSPEND_NONE;
	struct watch watch = {0};
	struct control *control;
	struct machine_error error;
	char *counters = NULL, warning[256];
	bool stats, has_status;
	int status;

	if (config_bool(config, "stats", false, &stats, &error))
		return fail(&error);
	block_signals();
	if (control_open(config, &control, &error, warning, sizeof(warning)))
		return fail(&error);
	if (machine_create(config, &watch.machine, &error)) {
		control_close(control);
		return fail(&error);
	}
	warn(warning);
	int code = run_machine(config, &watch, control, &how, &error);

	if (stats)
		counters = stats_text(machine_vm(watch.machine));
	has_status = machine_exit_status(watch.machine, &status);
	machine_destroy(watch.machine);
	control_close(control);
	/* Now that the terminal is itself again. */
	if (counters)
		fputs(counters, stderr);
	free(counters);
	if (code)
		return fail(&error);
	if (watch.signal)
		die_of(watch.signal);
	return has_status ? status : statuses[how];
}

static int act(
	enum options_wish wish, const struct config *config, const struct machine_error *error)
{
	const char *dump_wanted = config_get(config, "config.dump");

	switch (wish) {
	case OPTIONS_HELP:
		fputs(usage, stdout);
		return 0;
	case OPTIONS_LPC_HELP:
		puts("bootrom\ncom1\ncom2\ncom3\ncom4\npc-testdev");
		return 0;
	case OPTIONS_SLOT_HELP:
		print_pci_models();
		return 0;
	case OPTIONS_SETTING_HELP:
		print_settings();
		return 0;
	case OPTIONS_VERSION:
		puts("hyve " HYVE_VERSION);
		return 0;
	case OPTIONS_PREFLIGHT:
		return preflight();
	case OPTIONS_BAD:
		return fail(error);
	case OPTIONS_RUN:
		break;
	}
	return dump_wanted && strcmp(dump_wanted, "true") == 0 ? dump(config) : run(config);
}

int main(int argc, char *argv[])
{
	struct machine_error error;
	struct config *config;

	fill_standard_fds();
	if (config_create(&config)) {
		machine_error(&error, ENOMEM, "%s", strerror(ENOMEM));
		return fail(&error);
	}
	int status = act(options_read(argc, argv, config, &error), config, &error);

	config_destroy(config);
	return status;
}
