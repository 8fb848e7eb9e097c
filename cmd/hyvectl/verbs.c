/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The verbs: bhyvectl's names, order and output.  First come those that set registers, a row of the
 * protocol's tables each, then the table below; in its middle the registers are printed.
 */
#include "cmd/hyvectl/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <vmm/vmm.h>

#include "cmd/control/protocol.h"
#include "cmd/hyvectl/client.h"

enum { END_LIMIT_MS = 15000 };

struct verb {
	const char *name, *argument;
	/* `value` is the option's argument. */
	bool (*run)(struct verb_run *r, const char *value);
	bool in_all;
	const char *refusal;
	int setting; /* plus 1; 0: none */
};

/* ---- requests ---- */

static json_t *request(const struct verb_run *r, const char *command)
{
	return json_pack("{s:s, s:i}", "command", command, "cpu", r->cpu);
}

static json_t *ask(struct verb_run *r, const char *command)
{
	return client_call(r->client, request(r, command));
}

/* One that has no result. */
static bool tell(struct verb_run *r, json_t *req)
{
	json_t *result = client_call(r->client, req);

	json_decref(result);
	return result != NULL;
}

static bool bad_number(struct verb_run *r, const char *text)
{
	snprintf(r->client->why, sizeof(r->client->why), "\"%.40s\" is no number", text);
	return false;
}

/* The command with one number more. */
static bool tell_number(struct verb_run *r, const char *command, const char *key, const char *text)
{
	uint64_t value;
	json_t *req;

	if (!control_number(text, &value))
		return bad_number(r, text);
	req = request(r, command);
	json_object_set_new(req, key, json_sprintf("0x%" PRIx64, value));
	return tell(r, req);
}

/* ---- registers ---- */

static bool set_register(struct verb_run *r, const char *name, const char *text)
{
	uint64_t value;

	if (!control_number(text, &value))
		return bad_number(r, text);
	json_t *req = request(r, "set-register");

	json_object_set_new(req, "name", json_string(name));
	json_object_set_new(req, "value", json_sprintf("0x%" PRIx64, value));
	return tell(r, req);
}

static bool set_descriptor(struct verb_run *r, const char *name)
{
	static const struct {
		const char *key;
		enum verb_setting setting;
	} parts[] = {
		{"base", SETTING_DESC_BASE},
		{"limit", SETTING_DESC_LIMIT},
		{"access", SETTING_DESC_ACCESS},
	};
	json_t *req = request(r, "set-descriptor");

	json_object_set_new(req, "name", json_string(name));
	for (size_t i = 0; i < 3; i++) {
		const char *text = r->settings[parts[i].setting];
		uint64_t value = 0;

		if (text && !control_number(text, &value)) {
			json_decref(req);
			return bad_number(r, text);
		}
		json_object_set_new(req, parts[i].key, json_sprintf("0x%" PRIx64, value));
	}
	return tell(r, req);
}

/* Names up to four letters leave room for two tabs, as bhyvectl has them. */
static void print_register(const struct verb_run *r, const struct control_register *reg, uint64_t v)
{
	printf("%s[%d]\t\t0x%0*" PRIx64 "\n", reg->name, r->cpu, reg->digits, v);
}

static void print_descriptor(
	const struct verb_run *r, const struct control_register *d, const json_t *desc)
{
	uint64_t base = client_number(desc, "base");
	unsigned limit = (unsigned)client_number(desc, "limit");
	unsigned access = (unsigned)client_number(desc, "access");

	if (d->digits)
		printf("%s desc[%d]\t0x%016" PRIx64 "/0x%08x/0x%08x\n", d->name, r->cpu, base,
			limit, access);
	else
		printf("%s[%d]\t\t0x%016" PRIx64 "/0x%08x\n", d->name, r->cpu, base, limit);
}

static bool get_registers(struct verb_run *r, const struct control_register *table, size_t count)
{
	json_t *result = ask(r, "registers");
	const json_t *all = json_object_get(result, "registers");

	for (size_t i = 0; result && i < count; i++)
		print_register(r, &table[i], client_number(all, table[i].name));
	json_decref(result);
	return result != NULL;
}

static bool get_descriptors(struct verb_run *r, const struct control_register *table, size_t count)
{
	json_t *result = ask(r, "registers");
	const json_t *all = json_object_get(result, "descriptors");

	for (size_t i = 0; result && i < count; i++)
		print_descriptor(r, &table[i], json_object_get(all, table[i].name));
	json_decref(result);
	return result != NULL;
}

/* --get-all shows all of one instant. */
static bool get_everything(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "registers");
	const json_t *registers = json_object_get(result, "registers");
	const json_t *descriptors = json_object_get(result, "descriptors");

	(void)value;
	if (!result)
		return false;
	for (size_t i = 0; i < control_nregisters; i++)
		print_register(r, &control_registers[i],
			client_number(registers, control_registers[i].name));
	for (size_t i = 0; i < control_ndescriptors; i++)
		print_descriptor(r, &control_descriptors[i],
			json_object_get(descriptors, control_descriptors[i].name));
	for (size_t i = 0; i < control_nselectors; i++)
		print_register(r, &control_selectors[i],
			client_number(registers, control_selectors[i].name));
	json_decref(result);
	return true;
}

/* ---- looking ---- */

/* As humanize_number(3) in eight bytes: five digits of the largest unit that needs no more. */
static void print_length(uint64_t bytes)
{
	static const char units[] = " KMGTPE";
	unsigned unit = 0;
	char text[32];

	for (; bytes >= 100000; unit++)
		bytes = (bytes + 512) / 1024;
	if (unit)
		snprintf(text, sizeof(text), "%" PRIu64 "%cB", bytes, units[unit]);
	else
		snprintf(text, sizeof(text), "%" PRIu64 "B", bytes);
	printf("%-12s", text);
}

static bool get_memseg(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "memory"), *seg;
	size_t i;

	(void)value;
	if (!result)
		return false;
	printf("ID  Length      Name\n");
	json_array_foreach(json_object_get(result, "segments"), i, seg)
	{
		printf("%-4zu", i);
		print_length(client_number(seg, "length"));
		printf("%s\n", client_string(seg, "name"));
	}
	json_decref(result);
	return true;
}

static bool get_memmap(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "memory"), *seg;
	size_t i;

	(void)value;
	if (!result)
		return false;
	printf("Address     Length      Segment     Offset      Prot  Flags\n");
	json_array_foreach(json_object_get(result, "segments"), i, seg)
	{
		printf("%-12" PRIX64, client_number(seg, "gpa"));
		print_length(client_number(seg, "length"));
		printf("%-12s%-12X%s   \n", client_string(seg, "name"), 0,
			json_is_true(json_object_get(seg, "writable")) ? "RWX" : "R-X");
	}
	json_decref(result);
	return true;
}

static bool get_mem(struct verb_run *r, const char *name, bool high)
{
	json_t *result = ask(r, "memory"), *seg;
	size_t i;

	if (!result)
		return false;
	uint64_t gpa = high ? 0x100000000 : 0, length = 0;

	json_array_foreach(json_object_get(result, "segments"), i,
		seg) if (client_number(seg, "gpa") == gpa) length = client_number(seg, "length");
	printf("%s\t\t0x%016" PRIx64 "/%" PRIu64 "\n", name, gpa, length);
	json_decref(result);
	return true;
}

static bool get_lowmem(struct verb_run *r, const char *value)
{
	(void)value;
	return get_mem(r, "lowmem", false);
}

static bool get_highmem(struct verb_run *r, const char *value)
{
	(void)value;
	return get_mem(r, "highmem", true);
}

static bool get_x2apic(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "x2apic");

	(void)value;
	if (result)
		printf("x2apic_state[%d]\t%d\n", r->cpu, (int)client_number(result, "state"));
	json_decref(result);
	return result != NULL;
}

static bool get_gpa(struct verb_run *r, const char *value)
{
	uint64_t gpa;

	if (!control_number(value, &gpa))
		return bad_number(r, value);
	json_t *req = request(r, "gpa");

	json_object_set_new(req, "gpa", json_sprintf("0x%" PRIx64, gpa));
	json_t *result = client_call(r->client, req);

	if (result && json_is_true(json_object_get(result, "ram")))
		printf("gpa %#" PRIx64 ": sysmem %#" PRIx64 "+%#" PRIx64 "\n", gpa,
			client_number(result, "segment"), client_number(result, "offset"));
	else if (result)
		printf("gpa %#" PRIx64 ":\n", gpa);
	json_decref(result);
	return result != NULL;
}

static bool get_nvram(struct verb_run *r, const char *value)
{
	const char *text = r->settings[SETTING_NVRAM_OFFSET];
	uint64_t offset = 0;

	(void)value;
	if (text && !control_number(text, &offset))
		return bad_number(r, text);
	/* bhyvectl's --get-all reads offset 0, which is the clock's and refused there. */
	if (!text && r->all)
		return true;
	json_t *req = request(r, "rtc-nvram");

	json_object_set_new(req, "offset", json_integer((json_int_t)offset));
	json_t *result = client_call(r->client, req);

	if (result)
		printf("rtc nvram[%03d]: 0x%02x\n", (int)offset,
			(unsigned)client_number(result, "value"));
	json_decref(result);
	return result != NULL;
}

static bool get_rtc_time(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "rtc-time");
	time_t secs = (time_t)client_number(result, "secs");
	struct tm tm;
	char date[64];

	(void)value;
	if (result && gmtime_r(&secs, &tm)) {
		/* The locale is C's: nobody has set another. */
		strftime(date, sizeof(date), "%a %b %d %H:%M:%S %Y", &tm);
		printf("rtc time %#lx: %s\n", (unsigned long)secs, date);
	}
	json_decref(result);
	return result != NULL;
}

static bool getcap(struct verb_run *r, const char *value)
{
	const char *only = r->settings[SETTING_CAPNAME];
	json_t *result = ask(r, "capabilities");
	const json_t *all = json_object_get(result, "capabilities");

	(void)value;
	for (size_t i = 0; result && i < control_ncapabilities; i++) {
		const char *name = control_capabilities[i];
		const json_t *v = json_object_get(all, name);

		if (only && strcmp(only, name) != 0)
			continue;
		if (json_is_integer(v))
			printf("Capability \"%s\" is %s on vcpu %d\n", name,
				json_integer_value(v) ? "set" : "not set", r->cpu);
		else
			printf("Capability \"%s\" is not available\n", name);
	}
	json_decref(result);
	return result != NULL;
}

static bool print_cpus(struct verb_run *r, const char *banner, const char *key)
{
	json_t *result = ask(r, "cpus"), *cpu;
	const json_t *list = json_object_get(result, key);
	size_t i;

	if (!result)
		return false;
	printf("%s:\t", banner);
	json_array_foreach(list, i, cpu)
		printf("%s%d", i ? ", " : " ", (int)json_integer_value(cpu));
	puts(json_array_size(list) ? "" : " (none)");
	json_decref(result);
	return true;
}

static bool get_active(struct verb_run *r, const char *value)
{
	(void)value;
	return print_cpus(r, "active cpus", "active");
}

static bool get_suspended(struct verb_run *r, const char *value)
{
	(void)value;
	return print_cpus(r, "suspended cpus", "suspended");
}

static void print_intinfo(const char *banner, uint64_t info)
{
	static const char *const types[8] = {[0] = "extint", [2] = "nmi", [4] = "swint"};
	const char *type = types[(info & VM_INTINFO_TYPE) >> 8];

	printf("%s:\t", banner);
	if (info & VM_INTINFO_VALID) {
		printf("%s vector %d", type ? type : "exception", (int)VM_INTINFO_VECTOR(info));
		if (info & VM_INTINFO_DEL_ERRCODE)
			printf(" errcode %#x", (unsigned)(info >> 32));
		putchar('\n');
	} else {
		puts("n/a");
	}
}

static bool get_intinfo(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "intinfo");

	(void)value;
	if (result) {
		print_intinfo("pending", client_number(result, "pending"));
		print_intinfo("current", client_number(result, "current"));
	}
	json_decref(result);
	return result != NULL;
}

static void print_counters(const json_t *counters)
{
	json_t *pair;
	size_t i;

	json_array_foreach(counters, i, pair)
	{
		const char *name = json_string_value(json_array_get(pair, 0));

		printf("%-40s\t%" JSON_INTEGER_FORMAT "\n", name ? name : "",
			json_integer_value(json_array_get(pair, 1)));
	}
}

/* bhyvectl's, and behind them what devices count. */
static bool get_stats(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "stats"), *counters;
	const char *device;

	(void)value;
	if (!result)
		return false;
	printf("vcpu%d stats:\n", r->cpu);
	print_counters(json_object_get(result, "counters"));
	json_decref(result);
	result = ask(r, "devices");
	json_object_foreach(json_object_get(result, "devices"), device, counters)
	{
		printf("%s stats:\n", device);
		print_counters(counters);
	}
	json_decref(result);
	return result != NULL;
}

static bool get_topology(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "cpus");

	(void)value;
	if (result)
		printf("cpu_topology:\tsockets=%u, cores=%u, threads=%u, maxcpus=%u\n",
			(unsigned)client_number(result, "sockets"),
			(unsigned)client_number(result, "cores"),
			(unsigned)client_number(result, "threads"),
			(unsigned)client_number(result, "maxcpus"));
	json_decref(result);
	return result != NULL;
}

static bool get_pid(struct verb_run *r, const char *value)
{
	json_t *result = ask(r, "info");

	(void)value;
	if (result)
		printf("%d\n", (int)client_number(result, "pid"));
	json_decref(result);
	return result != NULL;
}

/* ---- changing ---- */

static bool set_x2apic(struct verb_run *r, const char *value)
{
	return tell_number(r, "set-x2apic", "state", value);
}

static bool inject_nmi(struct verb_run *r, const char *value)
{
	(void)value;
	return tell(r, request(r, "nmi"));
}

static bool assert_lvt(struct verb_run *r, const char *value)
{
	return tell_number(r, "lapic-lvt", "lvt", value);
}

static bool setcap(struct verb_run *r, const char *value)
{
	uint64_t on;

	if (!r->settings[SETTING_CAPNAME]) {
		snprintf(r->client->why, sizeof(r->client->why), "--capname is needed, too");
		return false;
	}
	if (!control_number(value, &on))
		return bad_number(r, value);
	json_t *req = request(r, "set-capability");

	json_object_set_new(req, "name", json_string(r->settings[SETTING_CAPNAME]));
	json_object_set_new(req, "value", json_integer((json_int_t)on));
	return tell(r, req);
}

static bool set_nvram(struct verb_run *r, const char *value)
{
	const char *text = r->settings[SETTING_NVRAM_OFFSET];
	uint64_t offset, byte;

	if (!text || !control_number(text, &offset)) {
		snprintf(r->client->why, sizeof(r->client->why),
			"a number as --rtc-nvram-offset is needed, too");
		return false;
	}
	if (!control_number(value, &byte))
		return bad_number(r, value);
	json_t *req = request(r, "set-rtc-nvram");

	json_object_set_new(req, "offset", json_integer((json_int_t)offset));
	json_object_set_new(req, "value", json_integer((json_int_t)byte));
	return tell(r, req);
}

static bool set_rtc_time(struct verb_run *r, const char *value)
{
	return tell_number(r, "set-rtc-time", "secs", value);
}

static bool do_pause(struct verb_run *r, const char *value)
{
	(void)value;
	return tell(r, request(r, "pause"));
}

static bool do_resume(struct verb_run *r, const char *value)
{
	(void)value;
	return tell(r, request(r, "resume"));
}

static bool force_reset(struct verb_run *r, const char *value)
{
	(void)value;
	return tell(r, request(r, "reset"));
}

static bool force_poweroff(struct verb_run *r, const char *value)
{
	(void)value;
	return tell(r, request(r, "poweroff"));
}

static bool power_button(struct verb_run *r, const char *value)
{
	(void)value;
	return tell(r, request(r, "power-button"));
}

/* When it returns the name is free again, as with bhyvectl. */
static bool destroy(struct verb_run *r, const char *value)
{
	(void)value;
	if (!tell(r, request(r, "destroy")))
		return false;
	if (client_await_end(r->client, END_LIMIT_MS))
		return true;
	snprintf(r->client->why, sizeof(r->client->why), "%s does not end", r->client->name);
	return false;
}

/* ---- the table ---- */

#define NO_SNAPSHOT "hyve has no snapshots yet; --pause and --resume hold a guest"
#define NO_REGISTER "the vmm API has no such register"
#define NO_HARDWARE "hyve's backends have no VMCS or VMCB to show"
#define NO_OBJECT   "a virtual machine of hyve lives as long as its process; run hyve(8)"

static const struct verb before[] = {
	{"set-x2apic-state", "state", set_x2apic, false, NULL, 0},
	{"inject-nmi", NULL, inject_nmi, false, NULL, 0},
	{"assert-lapic-lvt", "pin", assert_lvt, false, NULL, 0},
	{"pause", NULL, do_pause, false, NULL, 0},
	{"get-memseg", NULL, get_memseg, true, NULL, 0},
	{"get-memmap", NULL, get_memmap, true, NULL, 0},
	{"get-lowmem", NULL, get_lowmem, true, NULL, 0},
	{"get-highmem", NULL, get_highmem, true, NULL, 0},
	{"get-all", NULL, get_everything, false, NULL, 0},
};

static const struct verb after[] = {
	{"get-x2apic-state", NULL, get_x2apic, true, NULL, 0},
	{"setcap", "0|1", setcap, false, NULL, 0},
	{"get-gpa-pmap", "gpa", get_gpa, false, NULL, 0},
	{"set-rtc-nvram", "val", set_nvram, false, NULL, 0},
	{"get-rtc-nvram", NULL, get_nvram, true, NULL, 0},
	{"set-rtc-time", "secs", set_rtc_time, false, NULL, 0},
	{"get-rtc-time", NULL, get_rtc_time, true, NULL, 0},
	{"getcap", NULL, getcap, true, NULL, 0},
	{"get-active-cpus", NULL, get_active, true, NULL, 0},
	{"get-suspended-cpus", NULL, get_suspended, true, NULL, 0},
	{"get-intinfo", NULL, get_intinfo, true, NULL, 0},
	{"get-stats", NULL, get_stats, true, NULL, 0},
	{"get-cpu-topology", NULL, get_topology, true, NULL, 0},
	{"get-vm-pid", NULL, get_pid, false, NULL, 0},
	{"resume", NULL, do_resume, false, NULL, 0},
	{"power-button", NULL, power_button, false, NULL, 0},
	{"force-reset", NULL, force_reset, false, NULL, 0},
	{"force-poweroff", NULL, force_poweroff, false, NULL, 0},
	{"destroy", NULL, destroy, false, NULL, 0},
	/* for others */
	{"capname", "capname", NULL, false, NULL, SETTING_CAPNAME + 1},
	{"desc-base", "BASE", NULL, false, NULL, SETTING_DESC_BASE + 1},
	{"desc-limit", "LIMIT", NULL, false, NULL, SETTING_DESC_LIMIT + 1},
	{"desc-access", "ACCESS", NULL, false, NULL, SETTING_DESC_ACCESS + 1},
	{"rtc-nvram-offset", "offset", NULL, false, NULL, SETTING_NVRAM_OFFSET + 1},
	/* bhyvectl's that make no sense here, in a word to whoever tries them */
	{"suspend", "filename", NULL, false, NO_SNAPSHOT, 0},
	{"checkpoint", "filename", NULL, false, NO_SNAPSHOT, 0},
	{"create", NULL, NULL, false, NO_OBJECT, 0},
	{"run", NULL, NULL, false, NO_OBJECT, 0},
	{"set-mem", "MB", NULL, false, NO_OBJECT, 0},
	{"unassign-pptdev", "bus/slot/func", NULL, false, "hyve has no PCI passthrough", 0},
	{"get-dr0", NULL, NULL, false, NO_REGISTER, 0},
	{"get-dr1", NULL, NULL, false, NO_REGISTER, 0},
	{"get-dr2", NULL, NULL, false, NO_REGISTER, 0},
	{"get-dr3", NULL, NULL, false, NO_REGISTER, 0},
	{"get-dr6", NULL, NULL, false, NO_REGISTER, 0},
	{"set-dr0", "DR0", NULL, false, NO_REGISTER, 0},
	{"set-dr1", "DR1", NULL, false, NO_REGISTER, 0},
	{"set-dr2", "DR2", NULL, false, NO_REGISTER, 0},
	{"set-dr3", "DR3", NULL, false, NO_REGISTER, 0},
	{"set-dr6", "DR6", NULL, false, NO_REGISTER, 0},
	{"get-eptp", NULL, NULL, false, NO_HARDWARE, 0},
	{"get-exception-bitmap", NULL, NULL, false, NO_HARDWARE, 0},
	{"get-io-bitmap-address", NULL, NULL, false, NO_HARDWARE, 0},
	{"get-tsc-offset", NULL, NULL, false, NO_HARDWARE, 0},
	{"get-msr-bitmap", NULL, NULL, false, NO_HARDWARE, 0},
	{"get-msr-bitmap-address", NULL, NULL, false, NO_HARDWARE, 0},
	{"get-guest-pat", NULL, NULL, false, NO_HARDWARE, 0},
	{"get-guest-sysenter", NULL, NULL, false, NO_HARDWARE, 0},
	{"get-exit-reason", NULL, NULL, false, NO_HARDWARE, 0},
};

/* The sections of the list of options, in order. */
enum section {
	SET_REGISTERS,
	SET_DESCRIPTORS,
	SET_SELECTORS,
	BEFORE,
	GET_REGISTERS,
	GET_DESCRIPTORS,
	GET_SELECTORS,
	AFTER,
	SECTIONS
};

static const struct {
	const struct control_register *registers; /* or... */
	const struct verb *verbs;
	const size_t *nregisters;
	size_t nverbs;
	const char *form; /* of the name */
} sections[] = {
	[SET_REGISTERS] = {control_registers, NULL, &control_nregisters, 0, "set-%s"},
	[SET_DESCRIPTORS] = {control_descriptors, NULL, &control_ndescriptors, 0, "set-desc-%s"},
	[SET_SELECTORS] = {control_selectors, NULL, &control_nselectors, 0, "set-%s"},
	[BEFORE] = {NULL, before, NULL, sizeof(before) / sizeof(before[0]), NULL},
	[GET_REGISTERS] = {control_registers, NULL, &control_nregisters, 0, "get-%s"},
	[GET_DESCRIPTORS] = {control_descriptors, NULL, &control_ndescriptors, 0, "get-desc-%s"},
	[GET_SELECTORS] = {control_selectors, NULL, &control_nselectors, 0, "get-%s"},
	[AFTER] = {NULL, after, NULL, sizeof(after) / sizeof(after[0]), NULL},
};

/* The section that the index falls into, and the index in there. */
static enum section find_section(unsigned *index)
{
	for (unsigned s = 0; s < SECTIONS; s++) {
		size_t count = sections[s].verbs ? sections[s].nverbs : *sections[s].nregisters;

		if (*index < count)
			return (enum section)s;
		*index -= (unsigned)count;
	}
	return SECTIONS;
}

bool verb_option(unsigned index, struct verb_option *option)
{
	enum section s = find_section(&index);

	if (s == SECTIONS)
		return false;
	*option = (struct verb_option){.setting = -1};
	if (sections[s].verbs) {
		const struct verb *v = &sections[s].verbs[index];

		snprintf(option->name, sizeof(option->name), "%s", v->name);
		option->argument = v->argument;
		option->refusal = v->refusal;
		option->setting = v->setting - 1;
	} else {
		const char *name = sections[s].registers[index].name;

		/* As a table of formats of our own, none comes from outside. */
		snprintf(option->name, sizeof(option->name), "%.*s%s",
			(int)(strlen(sections[s].form) - 2), sections[s].form, name);
		option->argument = s == SET_REGISTERS || s == SET_SELECTORS ? "value" : NULL;
	}
	return true;
}

bool verb_carry_out(struct verb_run *r, unsigned index, bool given, const char *value)
{
	struct verb_option option;

	if (!verb_option(index, &option))
		return true;
	snprintf(r->what, sizeof(r->what), "--%s", option.name);
	enum section s = find_section(&index);
	const struct control_register *reg =
		sections[s].registers ? &sections[s].registers[index] : NULL;

	if (sections[s].verbs) {
		const struct verb *v = &sections[s].verbs[index];

		return !v->run || !(given || (r->all && v->in_all)) || v->run(r, value);
	}
	/* --get-all has shown it. */
	if (!given || (r->all && s >= GET_REGISTERS))
		return true;
	switch (s) {
	case SET_DESCRIPTORS:
		return set_descriptor(r, reg->name);
	case GET_DESCRIPTORS:
		return get_descriptors(r, reg, 1);
	case GET_REGISTERS:
	case GET_SELECTORS:
		return get_registers(r, reg, 1);
	default:
		return set_register(r, reg->name, value);
	}
}
