/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Requests: the line is parsed, its command looked up, and the command's function reads its
 * arguments, which anybody may have written, and fills the result.
 */
#include "cmd/control/answer.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/pc.h>
#include <vmm/vmm_dev.h>
#include <vmm/vrtc.h>

#include "cmd/control/protocol.h"
#include "machine/machine.h"

enum { FREEZE_MS = 5000, STATS_MAX = 4096 };

struct request {
	struct machine *machine;
	struct vm *vm;
	const json_t *args;
	int cpu;
	json_t *result;
	char why[160];
};

static int refuse(struct request *r, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct request *r, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->why, sizeof(r->why), format, args);
	va_end(args);
	return code;
}

/* ---- arguments ---- */

static int take_string(struct request *r, const char *key, const char **value)
{
	*value = json_string_value(json_object_get(r->args, key));
	return *value ? 0 : refuse(r, EINVAL, "%s: a string is needed", key);
}

/* A JSON number or a string as of control_number(). */
static int take_number(
	struct request *r, const char *key, uint64_t low, uint64_t high, uint64_t *value)
{
	const json_t *v = json_object_get(r->args, key);
	bool good = false;

	if (json_is_integer(v)) {
		good = json_integer_value(v) >= 0;
		*value = (uint64_t)json_integer_value(v);
	} else if (json_is_string(v)) {
		good = control_number(json_string_value(v), value);
	}
	if (good && *value >= low && *value <= high)
		return 0;
	return refuse(r, EINVAL, "%s: no number from %" PRIu64 " to %" PRIu64, key, low, high);
}

/* ---- results ---- */

static json_t *hex(uint64_t value)
{
	return json_sprintf("0x%" PRIx64, value);
}

static void put_hex(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, hex(value));
}

static void put_number(json_t *object, const char *key, uint64_t value)
{
	json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void put_counter(json_t *array, const char *name, uint64_t value)
{
	json_t *pair = json_array();

	json_array_append_new(pair, json_string(name));
	json_array_append_new(pair, json_integer((json_int_t)value));
	json_array_append_new(array, pair);
}

/* ---- commands: looking ---- */

static int do_info(struct request *r)
{
	static const char *const states[] = {
		[MACHINE_RUNNING] = "running",
		[MACHINE_PAUSED] = "paused",
		[MACHINE_STOPPING] = "stopping",
	};
	struct machine_facts facts;

	machine_facts(r->machine, &facts);
	json_object_set_new(r->result, "name", json_string(facts.name));
	json_object_set_new(r->result, "backend", json_string(facts.backend));
	json_object_set_new(r->result, "state", json_string(states[facts.state]));
	put_number(r->result, "pid", (uint64_t)getpid());
	put_number(r->result, "cpus", facts.ncpus);
	put_number(r->result, "memory", facts.memory);
	put_number(r->result, "uptime", facts.uptime_ns / 1000000);
	return 0;
}

static int get_register_set(
	struct request *r, const struct control_register *table, size_t count, json_t *to)
{
	uint64_t value;

	for (size_t i = 0; i < count; i++) {
		int error = vmmdev_get_register(r->vm, r->cpu, table[i].reg, &value);

		if (error)
			return refuse(r, error, "%s: %s", table[i].name, strerror(error));
		put_hex(to, table[i].name, value);
	}
	return 0;
}

static int get_descriptor_set(struct request *r, json_t *to)
{
	for (size_t i = 0; i < control_ndescriptors; i++) {
		const struct control_register *d = &control_descriptors[i];
		struct seg_desc desc = {0};
		int error = vmmdev_get_seg_desc(r->vm, r->cpu, d->reg, &desc);

		if (error)
			return refuse(r, error, "%s: %s", d->name, strerror(error));
		json_t *one = json_object();

		put_hex(one, "base", desc.base);
		put_hex(one, "limit", desc.limit);
		put_hex(one, "access", d->digits ? desc.access : 0);
		json_object_set_new(to, d->name, one);
	}
	return 0;
}

/* All of one instant. */
static int do_registers(struct request *r)
{
	json_t *registers = json_object(), *descriptors = json_object();

	json_object_set_new(r->result, "registers", registers);
	json_object_set_new(r->result, "descriptors", descriptors);
	int error = get_register_set(r, control_registers, control_nregisters, registers);

	if (!error)
		error = get_register_set(r, control_selectors, control_nselectors, registers);
	return error ? error : get_descriptor_set(r, descriptors);
}

static int do_stats(struct request *r)
{
	json_t *counters = json_array();
	char name[VMM_STAT_NAME_LEN];
	uint64_t value;

	for (unsigned i = 0; i < STATS_MAX && vmmdev_stat(r->vm, r->cpu, i, name, &value) == 0; i++)
		put_counter(counters, name, value);
	json_object_set_new(r->result, "counters", counters);
	return 0;
}

static void emit_device(void *arg, const char *device, const char *name, uint64_t value)
{
	json_t *devices = arg, *counters = json_object_get(devices, device);

	if (!counters) {
		counters = json_array();
		json_object_set_new(devices, device, counters);
	}
	put_counter(counters, name, value);
}

static int do_devices(struct request *r)
{
	json_t *devices = json_object();

	json_object_set_new(r->result, "devices", devices);
	machine_device_counters(r->machine, emit_device, devices);
	return 0;
}

static void put_segment(
	struct request *r, json_t *to, uint64_t gpa, const char *name, bool writable)
{
	struct vm_memory_segment seg;

	if (vmmdev_get_memory_seg(r->vm, gpa, &seg) != 0 || seg.len == 0)
		return;
	json_t *one = json_object();

	json_object_set_new(one, "name", json_string(name));
	put_hex(one, "gpa", seg.gpa);
	put_hex(one, "length", seg.len);
	json_object_set_new(one, "writable", json_boolean(writable));
	json_array_append_new(to, one);
}

static int do_memory(struct request *r)
{
	enum { ROM_MAX = 16 << 20, PAGE = 4096 };
	json_t *segments = json_array();

	put_segment(r, segments, 0, "sysmem", true);
	/* Firmware ends at 4 GiB. */
	for (uint64_t gpa = PC_HIGHMEM_BASE - ROM_MAX; gpa < PC_HIGHMEM_BASE; gpa += PAGE)
		put_segment(r, segments, gpa, "bootrom", false);
	put_segment(r, segments, PC_HIGHMEM_BASE, "sysmem", true);
	json_object_set_new(r->result, "segments", segments);
	return 0;
}

/* What a guest-physical address is: RAM of which segment, or none. */
static int do_gpa(struct request *r)
{
	struct machine_facts facts;
	uint64_t gpa;
	int error = take_number(r, "gpa", 0, UINT64_MAX, &gpa);

	if (error)
		return error;
	machine_facts(r->machine, &facts);
	bool high = gpa >= PC_HIGHMEM_BASE;
	uint64_t base = high ? PC_HIGHMEM_BASE : 0;
	bool ram = gpa - base < (high ? facts.high : facts.low);

	json_object_set_new(r->result, "ram", json_boolean(ram));
	put_hex(r->result, "segment", base);
	put_hex(r->result, "offset", gpa - base);
	return 0;
}

static json_t *cpu_list(cpuset_t set)
{
	json_t *list = json_array();

	for (int i = 0; i < VM_MAXCPU; i++)
		if (CPU_ISSET(i, &set))
			json_array_append_new(list, json_integer(i));
	return list;
}

static int do_cpus(struct request *r)
{
	uint16_t sockets, cores, threads, maxcpus;

	vm_get_topology(r->vm, &sockets, &cores, &threads, &maxcpus);
	json_object_set_new(r->result, "active", cpu_list(vm_active_cpus(r->vm)));
	json_object_set_new(r->result, "suspended", cpu_list(vm_suspended_cpus(r->vm)));
	put_number(r->result, "sockets", sockets);
	put_number(r->result, "cores", cores);
	put_number(r->result, "threads", threads);
	put_number(r->result, "maxcpus", maxcpus);
	return 0;
}

static int do_x2apic(struct request *r)
{
	enum x2apic_state state = X2APIC_DISABLED;
	int error = vmmdev_get_x2apic_state(r->vm, r->cpu, &state);

	put_number(r->result, "state", state);
	return error;
}

static int do_capabilities(struct request *r)
{
	json_t *all = json_object();

	json_object_set_new(r->result, "capabilities", all);
	for (size_t i = 0; i < control_ncapabilities; i++) {
		int value, error = vmmdev_get_capability(r->vm, r->cpu, (int)i, &value);

		if (error && error != ENOENT)
			return error;
		json_object_set_new(
			all, control_capabilities[i], error ? json_null() : json_integer(value));
	}
	return 0;
}

static int do_rtc_time(struct request *r)
{
	int64_t secs = vrtc_get_time(r->vm);

	if (secs < 0)
		return refuse(r, ERANGE, "the guest has set an impossible date");
	json_object_set_new(r->result, "secs", json_integer(secs));
	return 0;
}

static int do_rtc_nvram(struct request *r)
{
	uint8_t value = 0;
	uint64_t offset;
	int error = take_number(r, "offset", 0, VRTC_NVRAM_SIZE - 1, &offset);

	if (!error)
		error = vrtc_nvram_read(r->vm, (int)offset, &value);
	put_number(r->result, "value", value);
	return error;
}

static int do_intinfo(struct request *r)
{
	uint64_t pending, current;
	int error = vmmdev_get_intinfo(r->vm, r->cpu, &pending, &current);

	if (error)
		return error;
	put_hex(r->result, "pending", pending);
	put_hex(r->result, "current", current);
	return 0;
}

/* ---- commands: changing ---- */

static int do_set_register(struct request *r)
{
	const struct control_register *reg;
	const char *name;
	uint64_t value;
	int error = take_string(r, "name", &name);

	if (error)
		return error;
	reg = control_register_find(name);
	if (!reg)
		return refuse(r, EINVAL, "name: no register");
	error = take_number(r, "value", 0, reg->digits == 4 ? UINT16_MAX : UINT64_MAX, &value);
	if (error)
		return error;
	if (reg->reg == VM_REG_GUEST_RIP)
		return machine_set_rip(r->machine, r->cpu, value);
	return vmmdev_set_register(r->vm, r->cpu, reg->reg, value);
}

static int do_set_descriptor(struct request *r)
{
	const struct control_register *d;
	uint64_t base, limit, access;
	const char *name;
	int error = take_string(r, "name", &name);

	if (!error)
		error = take_number(r, "base", 0, UINT64_MAX, &base);
	if (!error)
		error = take_number(r, "limit", 0, UINT32_MAX, &limit);
	if (!error)
		error = take_number(r, "access", 0, UINT32_MAX, &access);
	if (error)
		return error;
	d = control_descriptor_find(name);
	if (!d)
		return refuse(r, EINVAL, "name: no descriptor");
	struct seg_desc desc = {base, (uint32_t)limit, d->digits ? (uint32_t)access : 0};

	return vmmdev_set_seg_desc(r->vm, r->cpu, d->reg, &desc);
}

static int do_set_x2apic(struct request *r)
{
	uint64_t state;
	int error = take_number(r, "state", 0, X2APIC_STATE_LAST - 1, &state);

	if (!error)
		error = vmmdev_set_x2apic_state(r->vm, r->cpu, (enum x2apic_state)state);
	return error == EBUSY ? refuse(r, error, "the cpu has run already; use hyve -x") : error;
}

static int do_set_capability(struct request *r)
{
	const char *name;
	uint64_t value;
	int error = take_string(r, "name", &name);

	if (!error)
		error = take_number(r, "value", 0, 1, &value);
	if (error)
		return error;
	for (size_t i = 0; i < control_ncapabilities; i++) {
		if (strcmp(control_capabilities[i], name) != 0)
			continue;
		error = vmmdev_set_capability(r->vm, r->cpu, (int)i, (int)value);
		return error == ENOENT
			       ? refuse(r, error, "Capability \"%s\" is not available", name)
			       : error;
	}
	return refuse(r, EINVAL, "name: no capability");
}

static int do_set_rtc_time(struct request *r)
{
	uint64_t secs;
	int error = take_number(r, "secs", 0, INT64_MAX, &secs);

	return error ? error : vrtc_set_time(r->vm, (int64_t)secs);
}

static int do_set_rtc_nvram(struct request *r)
{
	uint64_t offset, value;
	int error = take_number(r, "offset", 0, VRTC_NVRAM_SIZE - 1, &offset);

	if (!error)
		error = take_number(r, "value", 0, UINT8_MAX, &value);
	return error ? error : vrtc_nvram_write(r->vm, (int)offset, (uint8_t)value);
}

static int do_lapic_lvt(struct request *r)
{
	uint64_t lvt;
	int error = take_number(r, "lvt", 0, 255, &lvt);

	return error ? error : vmmdev_lapic_local_irq(r->vm, r->cpu, (int)lvt);
}

static int do_nmi(struct request *r)
{
	return vmmdev_inject_nmi(r->vm, r->cpu);
}

static int do_pause(struct request *r)
{
	int error = machine_pause(r->machine, FREEZE_MS);

	return error == EALREADY ? refuse(r, error, "it is paused already") : error;
}

static int do_resume(struct request *r)
{
	int error = machine_resume(r->machine);

	return error == EALREADY ? refuse(r, error, "it is not paused") : error;
}

static int do_reset(struct request *r)
{
	machine_stop(r->machine, VM_SUSPEND_RESET);
	return 0;
}

static int do_poweroff(struct request *r)
{
	machine_stop(r->machine, VM_SUSPEND_POWEROFF);
	return 0;
}

static int do_destroy(struct request *r)
{
	machine_abort(r->machine, "destroyed by hyvectl");
	return 0;
}

static int do_power_button(struct request *r)
{
	machine_power_button(r->machine);
	return 0;
}

/* ---- from a line to a reply ---- */

static const struct command {
	const char *name;
	int (*run)(struct request *r);
	bool on_cpu; /* has a `cpu` */
	bool frozen; /* while the guest stands still */
} commands[] = {
	{"info", do_info, false, false},
	{"registers", do_registers, true, true},
	{"stats", do_stats, true, false},
	{"devices", do_devices, false, false},
	{"memory", do_memory, false, false},
	{"gpa", do_gpa, false, false},
	{"cpus", do_cpus, false, false},
	{"x2apic", do_x2apic, true, false},
	{"capabilities", do_capabilities, true, true},
	{"rtc-time", do_rtc_time, false, false},
	{"rtc-nvram", do_rtc_nvram, false, false},
	{"intinfo", do_intinfo, true, true},
	{"set-register", do_set_register, true, true},
	{"set-descriptor", do_set_descriptor, true, true},
	{"set-x2apic", do_set_x2apic, true, true},
	{"set-capability", do_set_capability, true, true},
	{"set-rtc-time", do_set_rtc_time, false, false},
	{"set-rtc-nvram", do_set_rtc_nvram, false, false},
	{"lapic-lvt", do_lapic_lvt, true, false},
	{"nmi", do_nmi, true, false},
	{"pause", do_pause, false, false},
	{"resume", do_resume, false, false},
	{"reset", do_reset, false, false},
	{"poweroff", do_poweroff, false, false},
	{"power-button", do_power_button, false, false},
	{"destroy", do_destroy, false, false},
};

static int run_frozen(struct request *r, const struct command *command)
{
	int error = machine_freeze(r->machine, FREEZE_MS);

	if (error)
		return refuse(r, error,
			error == ETIMEDOUT ? "the guest cannot be stopped"
					   : "the machine is ending");
	error = command->run(r);
	machine_thaw(r->machine);
	return error;
}

static int run(struct request *r, const struct command *command)
{
	uint64_t cpu = 0;
	int error = command->on_cpu ? take_number(r, "cpu", 0, VM_MAXCPU - 1, &cpu) : 0;

	if (error)
		return error;
	r->cpu = (int)cpu;
	return command->frozen ? run_frozen(r, command) : command->run(r);
}

static int dispatch(struct request *r)
{
	const char *name;
	uint64_t version;
	int error = json_is_object(r->args) ? 0 : refuse(r, EINVAL, "the request is no object");

	if (!error)
		error = take_number(r, "version", 0, INT64_MAX, &version);
	if (!error && version != CONTROL_VERSION)
		error = refuse(r, EPROTO, "version %" PRIu64 " is not spoken here, but %d", version,
			CONTROL_VERSION);
	if (!error)
		error = take_string(r, "command", &name);
	if (error)
		return error;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return run(r, &commands[i]);
	return refuse(r, ENOSYS, "unknown command");
}

/* Takes the reference of `reply`. */
static char *as_line(json_t *reply)
{
	char *text = json_dumps(reply, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;
	char *line = text ? realloc(text, len + 2) : NULL;

	json_decref(reply);
	if (!line) {
		free(text);
		return NULL;
	}
	memcpy(line + len, "\n", 2);
	return line;
}

const char *control_command(size_t index)
{
	return index < sizeof(commands) / sizeof(commands[0]) ? commands[index].name : NULL;
}

char *control_refusal(int code, const char *why)
{
	json_t *reply = json_object();

	put_number(reply, "version", CONTROL_VERSION);
	json_object_set_new(reply, "ok", json_false());
	put_number(reply, "errno", (uint64_t)code);
	json_object_set_new(reply, "error", json_string(why));
	return as_line(reply);
}

static char *success(json_t *result)
{
	json_t *reply = json_object();

	put_number(reply, "version", CONTROL_VERSION);
	json_object_set_new(reply, "ok", json_true());
	json_object_set_new(reply, "result", result);
	char *line = as_line(reply);

	if (!line || strlen(line) < CONTROL_REPLY_MAX)
		return line;
	free(line);
	return control_refusal(EMSGSIZE, "the reply is too long");
}

char *control_answer(struct machine *machine, const char *line, size_t len)
{
	json_t *args = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	struct request r = {
		.machine = machine,
		.vm = machine_vm(machine),
		.args = args,
		.result = json_object(),
	};
	int error = args ? dispatch(&r) : refuse(&r, EINVAL, "the request is no JSON");

	json_decref(args);
	if (!error)
		return success(r.result);
	json_decref(r.result);
	return control_refusal(error, *r.why ? r.why : strerror(error));
}
