/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The command line: which settings the options become. Mistakes are bad_input_test.sh's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "cmd/options.h"
#include "machine/machine.h"

static struct config *config;
static struct machine_error error;

static int setup(void **state)
{
	(void)state;
	error.text[0] = '\0';
	return config_create(&config);
}

static int teardown(void **state)
{
	(void)state;
	config_destroy(config);
	return 0;
}

/* Reads "hyve" and the words of `line`. */
static enum options_wish read_line(const char *line)
{
	char copy[512], *rest = copy, *argv[32] = {"hyve"};
	int argc = 1;

	strcpy(copy, line);
	while ((argv[argc] = strsep(&rest, " ")) != NULL)
		argc++;
	return options_read(argc, argv, config, &error);
}

static void assert_setting(const char *key, const char *value)
{
	const char *got = config_get(config, key);

	if (!got)
		fail_msg("%s is not set", key);
	assert_string_equal(got, value);
}

static void a_whole_line(void **state)
{
	(void)state;
	assert_int_equal(read_line("-c 2 -m 512M --kernel vmlinuz --initrd initrd.gz --append "
				   "console=ttyS0 demo"),
		OPTIONS_RUN);
	assert_setting("cpus", "2");
	assert_setting("memory.size", "512M");
	assert_setting("kernel.path", "vmlinuz");
	assert_setting("kernel.initrd", "initrd.gz");
	assert_setting("kernel.cmdline", "console=ttyS0");
	assert_setting("name", "demo");
	assert_setting("lpc.com1.path", "stdio");
}

static void flags(void **state)
{
	static const struct {
		const char *line, *key, *value;
	} cases[] = {
		{"-H vm", "x86.vmexit_on_hlt", "true"},
		{"-P vm", "x86.vmexit_on_pause", "true"},
		{"-e vm", "x86.strictio", "true"},
		{"-w vm", "x86.strictmsr", "false"},
		{"-u vm", "rtc.use_localtime", "false"},
		{"-x vm", "x86.x2apic", "true"},
		{"-a vm", "x86.x2apic", "false"},
		{"-Y vm", "x86.mptable", "false"},
		{"-A vm", "acpi_tables", "true"},
		{"-C vm", "memory.guest_in_core", "true"},
		{"--backend soft vm", "backend", "soft"},
		{"--stats vm", "stats", "true"},
		{"-o soft.cache=4M vm", "soft.cache", "4M"},
		{"-o soft.lockstep=true vm", "soft.lockstep", "true"},
		{"-o soft.torture=random vm", "soft.torture", "random"},
		{"-HPew vm", "x86.strictio", "true"},
		{"-U 01234567-89ab-cdef-0123-456789ABCDEF vm", "uuid",
			"01234567-89ab-cdef-0123-456789ABCDEF"},
		{"-o x86.x2apic=true vm", "x86.x2apic", "true"},
		{"-x -o x86.x2apic=no vm", "x86.x2apic", "no"},
		{"-AI vm", "acpi_tables", "true"},
		{"-l pc-testdev vm", "lpc.pc-testdev", "true"},
		{"-l bootrom,a,b.fd vm", "lpc.bootrom", "a,b.fd"},
		{"-o bootrom=x vm", "bootrom", "x"},
		{"-o lpc.fwcfg=qemu vm", "lpc.fwcfg", "qemu"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_line(cases[i].line), OPTIONS_RUN);
		assert_setting(cases[i].key, cases[i].value);
	}
}

static void topologies(void **state)
{
	(void)state;
	assert_int_equal(read_line("-c cpus=8,sockets=2,cores=2,threads=2 vm"), OPTIONS_RUN);
	assert_setting("cpus", "8");
	assert_setting("sockets", "2");
	assert_setting("cores", "2");
	assert_setting("threads", "2");
	assert_int_equal(read_line("-c 4,cores=4 vm"), OPTIONS_RUN);
	assert_setting("cpus", "4");
	assert_setting("cores", "4");
	assert_int_equal(read_line("-c 4,5 vm"), OPTIONS_BAD);
	assert_int_equal(read_line("-c 4,dies=5 vm"), OPTIONS_BAD);
}

static void serial_lines(void **state)
{
	(void)state;
	assert_int_equal(read_line("-l com2,file=/tmp/log -l com4,pty vm"), OPTIONS_RUN);
	assert_null(config_get(config, "lpc.com1.path")); /* somebody chose: no default */
	assert_setting("lpc.com2.path", "file=/tmp/log");
	assert_setting("lpc.com4.path", "pty");
	assert_int_equal(read_line("-l com1,stdio -l com3,stdio vm"), OPTIONS_BAD);
	assert_int_equal(read_line("-l help"), OPTIONS_LPC_HELP);
	assert_int_equal(read_line("-s help"), OPTIONS_SLOT_HELP);
	assert_int_equal(read_line("-o help"), OPTIONS_SETTING_HELP);
	assert_int_equal(read_line("-l com1 vm"), OPTIONS_BAD);
	assert_int_equal(read_line("-l com12,stdio vm"), OPTIONS_BAD);
	assert_int_equal(read_line("-l com1, vm"), OPTIONS_BAD);
}

static void ports_of_a_console(void **state)
{
	(void)state;
	assert_int_equal(
		read_line("-s 3,virtio-console,org.one=/tmp/1,console=pty,two=/tmp/2 vm"), OPTIONS_RUN);
	assert_setting("pci.0.3.0.device", "virtio-console");
	assert_setting("pci.0.3.0.port.0.name", "org.one");
	assert_setting("pci.0.3.0.port.0.path", "/tmp/1");
	assert_setting("pci.0.3.0.port.1.name", "two");
	assert_setting("pci.0.3.0.port.1.path", "/tmp/2");
	assert_setting("pci.0.3.0.console", "pty");
	assert_setting("lpc.com1.path", "stdio");
	assert_int_equal(read_line("-s 4,virtio-console,port.7.path=/tmp/7 vm"), OPTIONS_RUN);
	assert_setting("pci.0.4.0.port.7.path", "/tmp/7");
	assert_int_equal(read_line("-s 5,virtio-console,nothing vm"), OPTIONS_BAD);
	assert_int_equal(read_line("-s 6,virtio-rnd,one=/tmp/1 vm"), OPTIONS_BAD);
}

static void a_console_takes_the_terminal(void **state)
{
	(void)state;
	assert_int_equal(read_line("-s 3,virtio-console,console=stdio vm"), OPTIONS_RUN);
	assert_null(config_get(config, "lpc.com1.path"));
	assert_int_equal(read_line("-l com1,stdio vm"), OPTIONS_BAD); /* both cannot have it */
	assert_non_null(strstr(error.text, "stdio"));
}

static void other_wishes(void **state)
{
	(void)state;
	assert_int_equal(read_line("-h"), OPTIONS_HELP);
	assert_int_equal(read_line("--help"), OPTIONS_HELP);
	assert_int_equal(read_line("--version"), OPTIONS_VERSION);
	assert_int_equal(read_line("--preflight"), OPTIONS_PREFLIGHT);
}

static void variables_expand_after_all_options(void **state)
{
	(void)state;
	assert_int_equal(
		read_line("-l com1,file=/tmp/%(name).log --append %%(x) box"), OPTIONS_RUN);
	assert_setting("lpc.com1.path", "file=/tmp/box.log");
	assert_setting("kernel.cmdline", "%(x)");
	assert_int_equal(read_line("--append %(typo) box"), OPTIONS_BAD);
	assert_non_null(strstr(error.text, "typo"));
}

static void mistakes_name_their_option(void **state)
{
	static const struct {
		const char *line, *word;
	} cases[] = {
		{"-c", "-c"},
		{"--kernel", "--kernel"},
		{"-Z vm", "-Z"},
		{"--nope vm", "--nope"},
		{"-o cpu=2 vm", "cpu"},
		{"-U 123 vm", "-U"},
		{"one two", "two"},
		{"-k /nonexistent vm", "/nonexistent"},
		{"-o a/b=1 vm", "a/b"},
		{"--kern=x -z vm", "-z"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_line(cases[i].line), OPTIONS_BAD);
		if (!strstr(error.text, cases[i].word))
			fail_msg("\"%s\": \"%s\" does not say %s", cases[i].line, error.text,
				cases[i].word);
		assert_null(strchr(error.text, '\n'));
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_whole_line),
		T(flags),
		T(topologies),
		T(serial_lines),
		T(ports_of_a_console),
		T(a_console_takes_the_terminal),
		T(other_wishes),
		T(variables_expand_after_all_options),
		T(mistakes_name_their_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
