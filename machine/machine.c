/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The PC, assembled: VM, memory, kernel, firmware tables, devices; run; and taken apart in reverse.
 */
#include "machine/assembly.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/vhpet.h>
#include <vmm/vrtc.h>

#include "backend/backend.h"
#include "host/host.h"

/* ---- how it ends ---- */

void machine_fail(struct machine *m, int code, const char *format, ...)
{
	pthread_mutex_lock(&m->lock);
	if (!m->failure) {
		va_list args;

		m->failure = code;
		va_start(args, format);
		vsnprintf(m->why.text, sizeof(m->why.text), format, args);
		va_end(args);
	}
	pthread_mutex_unlock(&m->lock);
	machine_stop(m, VM_SUSPEND_HALT);
}

void machine_abort(struct machine *m, const char *why)
{
	machine_fail(m, ECONNABORTED, "%s", why);
}

void machine_stop(struct machine *m, enum vm_suspend_how how)
{
	int error = machine_end_asleep(m, how) ? 0 : vmmdev_suspend(m->vm, how);

	/* EALREADY: the first end counts. */
	if (error && error != EALREADY)
		log_err(m->guest.log, "machine", "cannot stop: %s", strerror(error));
	pause_end(m);
}

void machine_power_button(struct machine *m)
{
	for (unsigned i = 0; i < m->ndevices; i++)
		if (m->devices[i].model->event)
			m->devices[i].model->event(m->devices[i].dev, DEVICE_POWER_BUTTON);
}

void machine_key(struct machine *m, unsigned key, bool down)
{
	const struct guest_input input = {
		.kind = GUEST_INPUT_KEY, .key = (uint16_t)key, .down = down};

	guest_input(&m->guest, &input);
}

void machine_mouse(struct machine *m, int dx, int dy, int wheel, unsigned buttons)
{
	const struct guest_input input = {
		.kind = GUEST_INPUT_MOTION,
		.dx = dx,
		.dy = dy,
		.wheel = wheel,
		.buttons = (uint8_t)buttons,
	};

	guest_input(&m->guest, &input);
}

/* ---- VM and memory ---- */

static int choose_backend(
	const struct settings *s, const struct vmm_ops **ops, struct machine_error *error)
{
	char why[160] = "";

	if (!s->backend || strcmp(s->backend, "auto") == 0) {
		*ops = backend_auto();
		return *ops ? 0
			    : machine_error(
				      error, ENXIO, "no backend works here; see hyve --preflight");
	}
	*ops = backend_find(s->backend);
	if (!*ops)
		return machine_error(error, EINVAL,
			"unknown backend \"%.40s\"; see hyve --preflight", s->backend);
	int code = (*ops)->probe(why, sizeof(why));

	if (code)
		machine_error(error, code, "backend %s does not work here: %s", s->backend, why);
	return code;
}

/* soft.cache and the like are for the backend with that name. */
static int set_backend_options(struct machine *m, struct machine_error *error)
{
	const char *name = vm_ops(m->vm)->name, *key, *value;
	size_t len = strlen(name);
	char why[160];

	for (size_t i = 0; config_at(m->config, i, &key, &value); i++) {
		if (strncmp(key, name, len) != 0 || key[len] != '.')
			continue;
		int code = backend_set_option(m->vm, key + len + 1, value, why, sizeof(why));

		if (code) {
			config_bad(m->config, key, error, "%s", why);
			return code;
		}
		if (*why)
			log_warn(m->guest.log, "machine", "%s: %s", key, why);
	}
	int code = backend_check_options(m->vm, m->settings.ncpus, why, sizeof(why));

	return code ? machine_error(error, code, "%s", why) : 0;
}

int machine_set_up_vcpus(struct machine *m)
{
	enum x2apic_state state = m->settings.x2apic ? X2APIC_ENABLED : X2APIC_DISABLED;
	int code = 0;

	for (unsigned i = 0; i < m->settings.ncpus && !code; i++)
		code = vmmdev_set_x2apic_state(m->vm, (int)i, state);
	return code;
}

static int create_vm(struct machine *m, struct machine_error *error)
{
	const struct settings *s = &m->settings;
	const struct vmm_ops *ops;
	int code = choose_backend(s, &ops, error);

	if (code)
		return code;
	code = vmmdev_create(ops, s->name, &m->vm);
	if (!code)
		code = vmmdev_set_topology(m->vm, (uint16_t)s->sockets, (uint16_t)s->cores,
			(uint16_t)s->threads, 0);
	if (!code)
		code = exit_serve_inside(m);
	if (!code)
		code = machine_set_up_vcpus(m);
	if (code)
		return machine_error(
			error, code, "cannot create the virtual machine: %s", strerror(code));
	return set_backend_options(m, error);
}

static int create_memory(struct machine *m, struct machine_error *error)
{
	uint64_t size = m->settings.memory;
	struct ram *ram = &m->ram;

	ram->low_size = size < PC_LOWMEM_LIMIT ? size : PC_LOWMEM_LIMIT;
	ram->high_size = size - ram->low_size;
	int code = vmmdev_map_memory(m->vm, 0, ram->low_size);

	if (!code && ram->high_size > 0)
		code = vmmdev_map_memory(m->vm, PC_HIGHMEM_BASE, ram->high_size);
	if (code)
		return machine_error(error, code,
			"cannot get %llu MiB of memory: %s; ask for less with -m",
			(unsigned long long)(size >> 20), strerror(code));
	ram->low = vmmdev_map_gpa(m->vm, 0, ram->low_size);
	if (ram->high_size > 0)
		ram->high = vmmdev_map_gpa(m->vm, PC_HIGHMEM_BASE, ram->high_size);
	/* Guest memory stays out of core files unless wanted; a kernel that cannot is no reason to
	 * stop. */
	int advice = m->settings.guest_in_core ? MADV_DODUMP : MADV_DONTDUMP;

	madvise(ram->low, ram->low_size, advice);
	if (ram->high)
		madvise(ram->high, ram->high_size, advice);
	vrtc_set_memory(m->vm, ram->low_size, ram->high_size);
	vrtc_set_host_time(m->vm, m->settings.localtime);
	return 0;
}

/* ---- devices ---- */

static int unit_is_wanted(const struct config *config, const struct device_unit *unit, bool *wanted,
	struct machine_error *error)
{
	char key[128];

	*wanted = true;
	if (unit->required) {
		snprintf(key, sizeof(key), "%s.%s", unit->config, unit->required);
		*wanted = config_get(config, key) != NULL;
	}
	if (!unit->optional)
		return 0;
	snprintf(key, sizeof(key), "%s.%s", unit->config, unit->optional);
	return config_bool(config, key, true, wanted, error);
}

static int plan_unit(struct machine *m, const struct device_model *model,
	const struct device_unit *unit, struct machine_error *error)
{
	bool wanted;
	int code = unit_is_wanted(m->config, unit, &wanted, error);

	if (!code && wanted && m->ndevices < MACHINE_DEVICES_MAX)
		m->devices[m->ndevices++] = (struct machine_device){.model = model, .unit = unit};
	return code;
}

static int plan_devices(struct machine *m, struct machine_error *error)
{
	int code = 0;

	for (size_t i = 0; i < device_nmodels; i++)
		for (size_t j = 0; j < device_models[i]->nunits && !code; j++)
			code = plan_unit(m, device_models[i], &device_models[i]->units[j], error);
	return code;
}

/* What a model asks for: a key below its unit's. */
struct option_source {
	const struct config *config;
	const char *prefix;
};

static const char *device_option(const void *arg, const char *key)
{
	const struct option_source *source = arg;
	char path[256];

	snprintf(path, sizeof(path), "%s%s%s", source->prefix, *source->prefix ? "." : "", key);
	return config_get(source->config, path);
}

static bool resource_range(const struct machine_device *d, const struct device_resource *res,
	struct guest_range *range)
{
	*range = (struct guest_range){
		.space = res->kind == DEVICE_RES_MEMORY ? GUEST_MEMORY : GUEST_PORTS,
		.base = res->base,
		.size = res->size,
		.io = res->io,
		.arg = d->dev,
	};
	return res->kind == DEVICE_RES_PORTS || res->kind == DEVICE_RES_MEMORY;
}

static int claim_resources(struct machine *m, struct machine_device *d)
{
	struct guest_range range;
	int code = 0;

	while (d->nclaimed < DEVICE_MAX_RESOURCES && !code) {
		if (resource_range(d, &d->unit->res[d->nclaimed], &range))
			code = bus_claim(m->bus, &range);
		d->nclaimed += !code;
	}
	return code;
}

static int create_device(struct machine *m, struct machine_device *d, struct machine_error *error)
{
	struct option_source source = {.config = m->config, .prefix = d->unit->config};
	char why[200] = "";
	const struct device_args args = {
		.guest = &m->guest,
		.unit = d->unit,
		.option = device_option,
		.config = &source,
		.why = why,
		.why_size = sizeof(why),
	};
	int code = d->model->create(&args, &d->dev);

	if (code) {
		d->dev = NULL;
		return machine_error(error, code, "%s: %s", d->unit->name, why);
	}
	code = claim_resources(m, d);
	if (code)
		machine_error(error, code, "%s: %s", d->unit->name, strerror(code));
	return code;
}

static void gather_facts(struct machine *m)
{
	m->guest.facts = (struct guest_facts){
		.name = m->settings.name,
		.ncpus = m->settings.ncpus,
		.memory = m->settings.memory,
		.e820 = m->e820,
		.e820_size = e820_fill(&m->ram, m->e820) * sizeof(m->e820[0]),
	};
}

static int create_devices(struct machine *m, struct machine_error *error)
{
	int code = 0;

	for (unsigned i = 0; i < m->ndevices && !code; i++)
		code = create_device(m, &m->devices[i], error);
	return code;
}

/* No vcpu runs any more; a device's own callbacks end in its destroy. */
static void destroy_devices(struct machine *m)
{
	for (unsigned i = m->ndevices; i-- > 0;) {
		struct machine_device *d = &m->devices[i];
		struct guest_range range;

		for (unsigned j = 0; j < d->nclaimed; j++)
			if (resource_range(d, &d->unit->res[j], &range))
				bus_unclaim(m->bus, &range);
		if (d->dev)
			d->model->destroy(d->dev);
	}
	m->ndevices = 0;
}

/* ---- firmware and kernel ---- */

static void *map_rom(void *arg, uint64_t gpa, size_t len)
{
	struct machine *m = arg;

	return vmmdev_map_rom(m->vm, gpa, len) == 0 ? vmmdev_map_gpa(m->vm, gpa, len) : NULL;
}

static int load_kernel(struct machine *m, struct machine_error *error)
{
	const struct settings *s = &m->settings;
	const struct boot_request request = {
		.ram = &m->ram,
		.kernel = s->kernel,
		.initrd = s->initrd,
		.cmdline = s->cmdline,
		.rom = s->rom,
		.image = s->image,
		.rsdp = s->acpi ? FW_ACPI_BASE : 0,
		.map_rom = map_rom,
		.arg = m,
	};

	return boot_load(&request, &m->entry, error);
}

/* After the kernel: a ROM brings tables of its own, and lies where ours would. */
static int write_firmware(struct machine *m, struct machine_error *error)
{
	const struct device_unit *units[MACHINE_DEVICES_MAX];
	struct firmware_facts facts = {.ncpus = m->settings.ncpus, .units = units};
	uint64_t rsdp;
	int code = vmmdev_hpet_capabilities(m->vm, &facts.hpet_capabilities);

	if (m->entry.mode == BOOT_RESET)
		return 0;
	for (unsigned i = 0; i < m->ndevices; i++)
		units[facts.nunits++] = m->devices[i].unit;
	bda_write(&m->ram, &facts);
	if (!code && m->entry.wants_bios) {
		ivt_write(&m->ram);
		code = bios_set_up_chips(m->vm);
	}
	if (!code && m->settings.mptable)
		code = mptable_write(&m->ram, &facts);
	if (!code && m->settings.acpi) {
		code = acpi_write(&m->ram, &facts, &rsdp);
		if (!code && rsdp != FW_ACPI_BASE)
			code = ENOSPC; /* the loader told the kernel otherwise */
	}
	if (code)
		machine_error(error, code, "firmware tables: %s", strerror(code));
	return code;
}

/* ---- the whole ---- */

static int set_log_levels(struct machine *m, struct machine_error *error)
{
	const char *key, *value;
	enum log_level level;

	for (size_t i = 0; config_at(m->config, i, &key, &value); i++) {
		if (strncmp(key, "log.", 4) != 0)
			continue;
		if (!log_level_parse(value, &level) ||
			log_set_level(m->guest.log, key + 4, level) != 0)
			return config_bad(m->config, key, error, "use err, warn, info or debug");
	}
	return 0;
}

static int create_base(struct machine *m, struct machine_error *error)
{
	int code = log_create(STDERR_FILENO, &m->guest.log);

	if (!code)
		code = bus_create(&m->bus);
	if (!code)
		code = event_loop_create(&m->guest.loop);
	if (code)
		return machine_error(error, code, "cannot start: %s", strerror(code));
	return set_log_levels(m, error);
}

/*
 * In an order that finds the user's mistakes before anything is touched: the terminal goes into raw
 * mode when the devices are made, last.
 */
static int assemble(struct machine *m, struct machine_error *error)
{
	int code = create_base(m, error);

	if (!code)
		code = create_vm(m, error);
	if (!code)
		code = create_memory(m, error);
	if (!code)
		code = load_kernel(m, error);
	if (!code)
		code = plan_devices(m, error);
	if (code)
		return code;
	gather_facts(m);
	code = write_firmware(m, error);
	if (!code)
		code = create_devices(m, error);
	if (!code && (code = sleep_create(m)))
		machine_error(error, code, "%s", strerror(code));
	return code;
}

int machine_create(const struct config *config, struct machine **out, struct machine_error *error)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m)
		return machine_error(error, ENOMEM, "%s", strerror(ENOMEM));
	m->guest.ops = &machine_guest_ops;
	m->status = -1;
	m->config = config;
	pause_init(m);
	pthread_mutex_init(&m->lines.lock, NULL);
	for (int i = 0; i < VM_MAXCPU; i++)
		m->vcpus[i] = (struct machine_vcpu){.machine = m, .id = i};
	int code = settings_read(config, &m->settings, error);

	if (!code)
		code = assemble(m, error);
	if (code) {
		machine_destroy(m);
		return code;
	}
	*out = m;
	return 0;
}

static void join_vcpus(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	while (m->running > 0)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
	for (int i = 0; i < VM_MAXCPU; i++)
		if (m->vcpus[i].started) {
			pthread_join(m->vcpus[i].thread, NULL);
			m->vcpus[i].started = false;
		}
}

int machine_run(struct machine *m, enum vm_suspend_how *how, struct machine_error *error)
{
	int code = vcpu_start_boot(m);

	if (code)
		return machine_error(error, code, "cannot start vcpu 0: %s", strerror(code));
	join_vcpus(m);
	while (sleep_until_woken(m)) {
		code = sleep_wake(m);
		if (code)
			return machine_error(error, code, "cannot wake: %s", strerror(code));
		join_vcpus(m);
	}
	if (m->failure) {
		*error = m->why;
		return m->failure;
	}
	*how = m->how;
	return 0;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	sleep_destroy(m);
	destroy_devices(m);
	event_loop_destroy(m->guest.loop);
	if (m->vm)
		vmmdev_destroy(m->vm);
	bus_destroy(m->bus);
	log_destroy(m->guest.log);
	pthread_mutex_destroy(&m->lines.lock);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

bool machine_exit_status(struct machine *m, int *status)
{
	*status = m->status;
	return m->status >= 0;
}

struct vm *machine_vm(struct machine *m)
{
	return m->vm;
}

struct event_loop *machine_loop(struct machine *m)
{
	return m->guest.loop;
}

bool machine_backend(unsigned index, struct machine_backend *b)
{
	const struct vmm_ops *ops = backend_at(index);

	if (!ops)
		return false;
	*b = (struct machine_backend){.name = ops->name};
	b->works = ops->probe(b->why, sizeof(b->why)) == 0;
	b->automatic = b->works && backend_judge(index, b->why, sizeof(b->why)) == 0;
	return true;
}
