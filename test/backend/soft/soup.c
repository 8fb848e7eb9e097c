/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <string.h>
#include <unistd.h>

#include <vmm/vmm_dev.h>

#include "backend/backend.h"
#include "test/backend/soft/hooks.h"
#include "test/backend/soft/soup.h"
#include "vmm/vm.h"

#define HEADER	  12u
#define MAX_CODE  0x1e00u
#define MAX_EXITS 64u
#define MAX_TICKS 3u
#define REAL_MODE WORLD_MODES

static void *watchdog(void *arg)
{
	struct soup *s = arg;

	while (!atomic_load(&s->stop)) {
		usleep(1000);
		pthread_mutex_lock(&s->lock);
		if (s->vm)
			vm_vcpu_yield(s->vm, 0);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static bool reopen(struct soup *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->vm)
		vm_destroy(s->vm);
	s->vm = world_vm(&vmm_ops_soft, &s->ram);
	pthread_mutex_unlock(&s->lock);
	if (!s->vm)
		return false;
	s->constants = *s->vm->ops->cpu_get(s->vm->vmi, 0);
	s->vm->ops->cpu_put(s->vm->vmi, 0);
	s->reopened++;
	return true;
}

bool soup_open(struct soup *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	return reopen(s) && pthread_create(&s->watchdog, NULL, watchdog, s) == 0;
}

void soup_close(struct soup *s)
{
	atomic_store(&s->stop, true);
	pthread_join(s->watchdog, NULL);
	vm_destroy(s->vm);
	pthread_mutex_destroy(&s->lock);
}

/* 16-bit code at 0x1000:0 behind an interrupt table that leads into more of it. */
static void make_real(struct world *w, const struct x86_cpu *constants, struct rng *rng)
{
	w->cpu = *constants;
	for (unsigned i = 0; i < WORLD_USED; i += 4) {
		uint32_t any = rng_next(rng);

		memcpy(w->ram + i, &any, 4);
	}
	w->cpu.seg[X86_CS] = (struct x86_seg){ .base = WORLD_CODE_PA, .limit = 0xffff, .access = 0x9b,
		.sel = WORLD_CODE_PA >> 4 };
	for (unsigned i = 0; i < 6; i++)
		if (i != X86_CS) {
			uint16_t sel = (uint16_t)(rng_next(rng) & 0x1fff);

			w->cpu.seg[i] = (struct x86_seg){ .base = (uint32_t)sel << 4, .limit = 0xffff,
				.access = 0x93, .sel = sel };
		}
	w->cpu.rip = 0;
	w->cpu.rflags = 2;
	for (unsigned i = 0; i < 8; i++)
		w->cpu.gpr[i] = rng_next(rng) & (rng_below(rng, 4) ? 0xffff : 0xffffffff);
}

/* Switches that the translator looks at. */
static void stir_control(struct x86_cpu *cpu, uint8_t bits)
{
	static const struct {
		uint32_t cr0, cr4;
	} stir[8] = { { X86_CR0_TS, 0 }, { X86_CR0_EM, 0 }, { X86_CR0_AM, 0 }, { X86_CR0_WP, 0 },
		{ 0, X86_CR4_SMAP }, { 0, X86_CR4_SMEP }, { 0, X86_CR4_UMIP }, { 0, X86_CR4_OSFXSR } };

	for (unsigned i = 0; i < 8; i++)
		if (bits >> i & 1) {
			cpu->cr0 ^= stir[i].cr0;
			cpu->cr4 ^= stir[i].cr4;
		}
}

static void make(struct soup *s, const uint8_t *data, size_t size)
{
	struct rng rng = { 0 };
	unsigned mode = data[8] % (WORLD_MODES + 1);

	memcpy(&rng.state, data, 8);
	if (mode == REAL_MODE) {
		make_real(&s->world, &s->constants, &rng);
	} else {
		world_make(&s->world, mode, &s->constants, &rng);
		stir_control(&s->world.cpu, data[9]);
	}
	if (data[10] & 1)
		s->world.cpu.rflags |= X86_RF_AC;
	if (data[10] & 2)
		s->world.cpu.rflags |= X86_RF_IF;
	if (data[10] >> 2 == 3)
		s->world.cpu.rflags |= X86_RF_TF;
	size -= HEADER;
	memcpy(s->world.ram + WORLD_CODE_PA, data + HEADER, size < MAX_CODE ? size : MAX_CODE);
}

static void load(struct soup *s)
{
	struct x86_cpu *cpu = s->vm->ops->cpu_get(s->vm->vmi, 0);
	struct x86_exec *exec = cpu->exec;

	memcpy(s->ram, s->world.ram, WORLD_USED);
	vm_mem_written(s->vm, 0, WORLD_USED);
	*cpu = s->world.cpu;
	cpu->exec = exec;
	s->vm->ops->cpu_put(s->vm->vmi, 0);
}

/* Exits are ignored: the instruction is skipped. */
bool soup_run(struct soup *s, const uint8_t *data, size_t size)
{
	struct vm_run run = { .cpuid = 0 };
	unsigned ticks = 0;

	if (size <= HEADER)
		return true;
	make(s, data, size);
	load(s);
	if (vm_set_register(s->vm, 0, VM_REG_GUEST_CR3, s->world.cpu.cr3) != 0)
		return false;
	run.rip = s->world.cpu.rip;
	s->runs++;
	for (unsigned i = 0; i < MAX_EXITS && ticks < MAX_TICKS; i++) {
		if (vm_run(s->vm, &run) != 0)
			return !soft_hooks_mismatch(s->vm, "soup") && reopen(s);
		s->exits++;
		run.rip = run.vm_exit.rip + (uint64_t)run.vm_exit.inst_length;
		ticks += run.vm_exit.exitcode == VM_EXITCODE_BOGUS;
		if (run.vm_exit.exitcode == VM_EXITCODE_SUSPENDED)
			return reopen(s);
		if (run.vm_exit.exitcode != VM_EXITCODE_BOGUS && run.vm_exit.inst_length == 0)
			break;
	}
	return true;
}

size_t soup_input(uint8_t *data, size_t size, uint64_t seed)
{
	static const unsigned code_size[] = { 64, 64, 32, 32, 16 };
	struct rng rng = { seed };
	size_t n = HEADER;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)rng_next(&rng);
	while (rng_below(&rng, 40) && n + ENCODING_BYTES < size) {
		struct x86_insn insn;
		unsigned bits = code_size[data[8] % 5];

		encoding_any(&rng, bits, data + n);
		n += x86_decode(&insn, data + n, X86_INSN_MAX, bits) == X86_DECODE_OK ? insn.len : 1;
	}
	return n + rng_below(&rng, 64) < size ? n + 1 : size;
}
