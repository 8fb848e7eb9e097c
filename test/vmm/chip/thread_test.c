/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The chips on the real clock, with devices, vcpus and timers on threads of their own.  Meant for
 * the thread and address sanitizers; without them it still counts that no interrupt is lost.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "test/vmm/chip/fake_vm.h"

#define VCPUS  4
#define ROUNDS 2000

struct actor {
	struct vm *vm;
	int id;
	_Atomic bool *stop;
	unsigned long taken[256];
};

/* A level-triggered device: holds its line until the handler has run, and counts the handshakes. */
struct device {
	struct vm *vm;
	int pin;
	_Atomic bool line;
	_Atomic unsigned served;
};

struct world {
	struct vm *vm;
	_Atomic bool stop;
	struct actor actors[VCPUS];
	struct device devices[2];
};

static void *device_thread(void *arg)
{
	struct device *dev = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		dev->line = true;
		vioapic_assert_irq(dev->vm, dev->pin);
		while (dev->served == i)
			sched_yield();
	}
	return NULL;
}

/* Fixed IPIs, MSIs, pulses: whatever comes from elsewhere. */
static void *noise_thread(void *arg)
{
	struct world *world = arg;
	unsigned seed = 7;

	while (!world->stop) {
		int vcpu = rand_r(&seed) % VCPUS;

		lapic_intr_msi(world->vm, 0xfee00000 | (unsigned)vcpu << 12, 0x60);
		lapic_set_intr(world->vm, vcpu, 0x61, false);
		vioapic_pulse_irq(world->vm, 5);
		vatpic_pulse_irq(world->vm, 4);
		lapic_set_local_intr(world->vm, -1, VLAPIC_LVT_PERF);
		sched_yield();
	}
	return NULL;
}

static void serve(struct world *world, int vector)
{
	struct device *dev = &world->devices[vector - 0x80];

	dev->line = false;
	vioapic_deassert_irq(world->vm, dev->pin);
	dev->served++;
}

/* A vcpu: takes what is pending, and touches the chips as a guest does. */
static void *vcpu_thread(void *arg)
{
	struct actor *a = arg;
	struct world *world =
		(struct world *)((char *)(a - a->id) - offsetof(struct world, actors));
	struct vm *vm = a->vm;
	unsigned n = 0;

	while (!*a->stop) {
		int vector = lapic_take(vm, a->id);

		if (vector < 0)
			sched_yield();
		else if (a->taken[vector]++, vector == 0x80 || vector == 0x81)
			serve(world, vector);
		if (vector >= 0)
			lapic_end(vm, a->id);
		switch (n++ % 64) {
		case 0:
			lapic_write(vm, a->id, 0x310, (n >> 6) % VCPUS << 24);
			lapic_write(vm, a->id, 0x300, 0x4062);
			break;
		case 16:
			lapic_write(vm, a->id, 0x380, 10000);
			break;
		case 32:
			lapic_read(vm, a->id, 0x390);
			vrtc_get_time(vm);
			break;
		case 48:
			ioapic_set_pin(vm, 5, 0x63 | (uint64_t)(n % VCPUS) << 56);
			port_out(vm, vatpit_handler, 0x43, 0x34);
			port_out(vm, vatpit_handler, 0x40, 0x00);
			port_out(vm, vatpit_handler, 0x40, 0x01);
			break;
		default:
			break;
		}
	}
	return NULL;
}

static void program_chips(struct world *world)
{
	struct vm *vm = world->vm;

	vm->active = (1u << VCPUS) - 1;
	for (int i = 0; i < VCPUS; i++) {
		lapic_enable(vm, i);
		lapic_write(vm, i, 0x3e0, 0xb);
		lapic_write(vm, i, 0x340, 0x64);
		lapic_write(vm, i, 0x320, 0x65);
	}
	pic_init(vm);
	ioapic_set_pin(vm, 2, 0x66);
	ioapic_set_pin(vm, 8, 0x67);
	for (int i = 0; i < 2; i++) {
		world->devices[i] = (struct device){.vm = vm, .pin = 16 + i};
		ioapic_set_pin(vm, 16 + i, (0x8080u + (unsigned)i) | (uint64_t)i << 56);
	}
	/* A periodic HPET timer of 100 us on pin 20 of vcpu 2. */
	ioapic_set_pin(vm, 20, 0x70 | 2ull << 56);
	vhpet_mmio_write(vm, 0, PC_HPET_BASE + 0x100, 0x4 | 0x8 | 0x40 | 20 << 9, 8, NULL);
	vhpet_mmio_write(vm, 0, PC_HPET_BASE + 0x108, 1000, 8, NULL);
	vhpet_mmio_write(vm, 0, PC_HPET_BASE + 0x10, 1, 8, NULL);
	/* RTC interrupts of 8 kHz; nobody acknowledges them. */
	port_out(vm, vrtc_addr_handler, 0x70, 0x0a);
	port_out(vm, vrtc_data_handler, 0x71, 0x23);
	port_out(vm, vrtc_addr_handler, 0x70, 0x0b);
	port_out(vm, vrtc_data_handler, 0x71, 0x42);
}

static void together(void **state)
{
	struct world world = {.vm = fake_vm_create(vmm_clock_create())};
	pthread_t vcpus[VCPUS], devices[2], noise;

	(void)state;
	program_chips(&world);
	for (int i = 0; i < VCPUS; i++) {
		world.actors[i] = (struct actor){.vm = world.vm, .id = i, .stop = &world.stop};
		pthread_create(&vcpus[i], NULL, vcpu_thread, &world.actors[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_create(&devices[i], NULL, device_thread, &world.devices[i]);
	pthread_create(&noise, NULL, noise_thread, &world);
	for (int i = 0; i < 2; i++)
		pthread_join(devices[i], NULL);
	world.stop = true;
	pthread_join(noise, NULL);
	for (int i = 0; i < VCPUS; i++)
		pthread_join(vcpus[i], NULL);

	/* Every handshake of a level line went through, and each source got somewhere. */
	assert_int_equal(world.devices[0].served, ROUNDS);
	assert_int_equal(world.devices[1].served, ROUNDS);
	assert_true(world.actors[0].taken[0x66] > 0);
	assert_true(world.actors[2].taken[0x70] > 0);
	for (int i = 0; i < VCPUS; i++) {
		static const int vectors[] = {0x60, 0x61, 0x62, 0x64, 0x65};

		for (size_t k = 0; k < sizeof(vectors) / sizeof(vectors[0]); k++)
			assert_true(world.actors[i].taken[vectors[k]] > 0);
	}
	fake_vm_destroy(world.vm); /* while timers run */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
