/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The PCI root, ACPI's fixed registers, the reset ports and POST, each alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include <vmm/pc.h>

#include "test/device/fake_guest.h"

#define ENABLE 0x80000000u

static uint32_t config(struct fake_guest *g, uint32_t address, unsigned offset, unsigned size)
{
	fake_out(g, PC_PCI_CONF_ADDR, 4, address);
	return (uint32_t)fake_in(g, PC_PCI_CONF_DATA + offset, size);
}

static void pci_host_bridge_answers(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_pci_root, "pci0", 0);
	assert_int_equal(config(&g, ENABLE, 0, 4), 0x12751275);
	assert_int_equal(config(&g, ENABLE, 2, 2), 0x1275);
	assert_int_equal(config(&g, ENABLE | 8, 3, 1), 0x06);
	assert_int_equal(config(&g, ENABLE | 8, 2, 2), 0x0600);
	assert_int_equal(config(&g, 0, 0, 4), 0xffffffff); /* not enabled */
	assert_int_equal(fake_in(&g, PC_ECAM_BASE, 4), 0x12751275);
	assert_int_equal(fake_in(&g, PC_ECAM_BASE + 2, 2), 0x1275);
	fake_destroy(&g);
}

static void pci_bus_is_otherwise_empty(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_pci_root, "pci0", 0);
	for (uint32_t bdf = 1; bdf < 0x10000; bdf++) {
		if (bdf == 31 << 3) /* the ISA bridge */
			continue;
		assert_int_equal(config(&g, ENABLE | bdf << 8, 0, 4), 0xffffffff);
		assert_int_equal(fake_in(&g, PC_ECAM_BASE + ((uint64_t)bdf << 12), 4), 0xffffffff);
	}
	assert_int_equal(
		fake_in(&g, PC_ECAM_BASE + 0x100, 4), 0xffffffff); /* no extended registers */
	assert_int_equal(fake_in(&g, PC_ECAM_BASE + 0xfe, 4), 0xffffffff);
	fake_destroy(&g);
}

static void pci_writes_reach_only_writable_bits(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_pci_root, "pci0", 0);
	for (uint32_t reg = 0; reg < 256; reg += 4) {
		fake_out(&g, PC_PCI_CONF_ADDR, 4, ENABLE | reg);
		fake_out(&g, PC_PCI_CONF_DATA, 4, 0xffffffff);
	}
	assert_int_equal(config(&g, ENABLE, 0, 4), 0x12751275);
	assert_int_equal(config(&g, ENABLE | 0x10, 0, 4), 0); /* no BAR */
	assert_int_equal(config(&g, ENABLE | 0x3c, 0, 4), 0xff);
	fake_destroy(&g);
}

static void pci_address_is_for_dwords(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_pci_root, "pci0", 0);
	fake_out(&g, PC_PCI_CONF_ADDR, 4, 0xffffffff);
	assert_int_equal(fake_in(&g, PC_PCI_CONF_ADDR, 4), 0x80fffffc);
	fake_out(&g, PC_PCI_CONF_ADDR, 1, 0);
	fake_out(&g, PC_PCI_CONF_ADDR + 2, 2, 0);
	assert_int_equal(fake_in(&g, PC_PCI_CONF_ADDR, 4), 0x80fffffc);
	assert_int_equal(fake_in(&g, PC_PCI_CONF_ADDR, 2), 0xffff);
	fake_destroy(&g);
}

static void pci_ids_come_from_the_configuration(void **state)
{
	struct fake_guest g = {.options = {{"pci.0.0.0.pcireg.vendor", "0x8086"},
					   {"pci.0.0.0.pcireg.device", "4663"}}};
	struct fake_guest bad = {.options = {{"pci.0.0.0.pcireg.vendor", "0x12345"}}};

	(void)state;
	fake_create(&g, &device_pci_root, "pci0", 0);
	assert_int_equal(config(&g, ENABLE, 0, 4), 0x12378086);
	fake_destroy(&g);
	fake_create(&bad, &device_pci_root, "pci0", EINVAL);
	assert_non_null(strstr(bad.why, "0x12345"));
}

/* ---- ACPI ---- */

enum { PWRBTN = 1 << 8, SCI_EN = 1 };

static void soft_off_powers_off(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_acpi_pm, "acpi", 0);
	fake_out(&g, PC_PM1A_CNT, 2, 3 << 10 | PC_SLP_EN); /* another sleep state */
	assert_int_equal(g.ended, -1);
	fake_out(&g, PC_PM1A_CNT, 2, PC_SLP_TYP_S5 << 10); /* type without enable */
	assert_int_equal(g.ended, -1);
	fake_out(&g, PC_PM1A_CNT, 2, PC_SLP_TYP_S5 << 10 | PC_SLP_EN);
	assert_int_equal(g.ended, GUEST_POWEROFF);
	assert_int_equal(fake_in(&g, PC_PM1A_CNT, 2), PC_SLP_TYP_S5 << 10);
	fake_destroy(&g);
}

static void soft_off_by_bytes(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_acpi_pm, "acpi", 0);
	fake_out(&g, PC_PM1A_CNT + 1, 1, (PC_SLP_TYP_S5 << 10 | PC_SLP_EN) >> 8);
	assert_int_equal(g.ended, GUEST_POWEROFF);
	fake_destroy(&g);
}

static void power_button_raises_sci(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_acpi_pm, "acpi", 0);
	assert_true(g.level[PC_SCI_IRQ]);
	fake_out(&g, PC_SMI_CMD, 1, PC_ACPI_ENABLE);
	assert_int_equal(fake_in(&g, PC_PM1A_CNT, 2), SCI_EN);
	fake_out(&g, PC_PM1A_EVT + 2, 2, PWRBTN);
	assert_false(g.line[PC_SCI_IRQ]);
	device_acpi_pm.event(g.dev, DEVICE_POWER_BUTTON);
	assert_true(g.line[PC_SCI_IRQ]);
	assert_int_equal(fake_in(&g, PC_PM1A_EVT, 2), PWRBTN);
	fake_out(&g, PC_PM1A_EVT, 2, 0xffff & ~PWRBTN); /* other bits do not clear it */
	assert_true(g.line[PC_SCI_IRQ]);
	fake_out(&g, PC_PM1A_EVT + 1, 1, PWRBTN >> 8);
	assert_false(g.line[PC_SCI_IRQ]);
	assert_int_equal(fake_in(&g, PC_PM1A_EVT, 2), 0);
	assert_int_equal(fake_in(&g, PC_PM1A_EVT + 2, 2), PWRBTN);
	fake_destroy(&g);
}

static void sci_needs_acpi_mode(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_acpi_pm, "acpi", 0);
	fake_out(&g, PC_PM1A_EVT + 2, 2, PWRBTN);
	device_acpi_pm.event(g.dev, DEVICE_POWER_BUTTON);
	assert_false(g.line[PC_SCI_IRQ]);
	fake_out(&g, PC_SMI_CMD, 1, PC_ACPI_ENABLE);
	assert_true(g.line[PC_SCI_IRQ]);
	fake_out(&g, PC_SMI_CMD, 1, PC_ACPI_DISABLE);
	assert_false(g.line[PC_SCI_IRQ]);
	fake_out(&g, PC_SMI_CMD, 1, 0x77);
	assert_false(g.line[PC_SCI_IRQ]);
	fake_destroy(&g);
}

/* ---- suspend to RAM ---- */

#define RTC_EVENT (1u << 10)
#define WAKE	  (1u << 15)

static void sleep_ends_with_an_enabled_event(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_acpi_pm, "acpi", 0);
	fake_out(&g, PC_SMI_CMD, 1, PC_ACPI_ENABLE);
	fake_out(&g, PC_PM1A_EVT + 2, 2, RTC_EVENT);
	fake_out(&g, PC_PM1A_CNT, 2, SCI_EN | PC_SLP_TYP_S3 << 10); /* no SLP_EN */
	assert_int_equal(g.ended, -1);
	fake_out(&g, PC_PM1A_CNT, 2, SCI_EN | PC_SLP_TYP_S3 << 10 | PC_SLP_EN);
	assert_int_equal(g.ended, GUEST_SLEEP);
	assert_int_equal(g.woken, 0);
	device_acpi_pm.event(g.dev, DEVICE_RTC_ALARM);
	device_acpi_pm.event(g.dev, DEVICE_RTC_ALARM);
	assert_int_equal(g.woken, 1);
	assert_true(g.line[PC_SCI_IRQ]);
	assert_int_equal(fake_in(&g, PC_PM1A_EVT, 2), WAKE | RTC_EVENT);
	fake_out(&g, PC_PM1A_EVT, 2, WAKE | RTC_EVENT);
	assert_int_equal(fake_in(&g, PC_PM1A_EVT, 2), 0);
	assert_false(g.line[PC_SCI_IRQ]);
	fake_destroy(&g);
}

/* The button wakes without being enabled, the clock does not. */
static void power_button_always_wakes(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_acpi_pm, "acpi", 0);
	device_acpi_pm.event(g.dev, DEVICE_POWER_BUTTON); /* before the sleep: no reason to wake */
	fake_out(&g, PC_PM1A_CNT, 2, PC_SLP_TYP_S3 << 10 | PC_SLP_EN);
	device_acpi_pm.event(g.dev, DEVICE_RTC_ALARM);
	assert_int_equal(g.woken, 0);
	device_acpi_pm.event(g.dev, DEVICE_POWER_BUTTON);
	assert_int_equal(g.woken, 1);
	assert_int_equal(fake_in(&g, PC_PM1A_EVT, 2), WAKE | RTC_EVENT | PWRBTN);
	fake_destroy(&g);
}

/* Awake, an event is an interrupt; one that is up when sleep begins ends it. */
static void no_sleep_with_an_event(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_acpi_pm, "acpi", 0);
	fake_out(&g, PC_PM1A_EVT + 2, 2, RTC_EVENT);
	device_acpi_pm.event(g.dev, DEVICE_RTC_ALARM);
	assert_int_equal(g.woken, 0);
	assert_int_equal(fake_in(&g, PC_PM1A_EVT, 2), RTC_EVENT);
	fake_out(&g, PC_PM1A_CNT, 2, PC_SLP_TYP_S3 << 10 | PC_SLP_EN);
	assert_int_equal(g.ended, GUEST_SLEEP);
	assert_int_equal(g.woken, 1);
	fake_destroy(&g);
}

/* ---- resets ---- */

static void cf9_resets_on_the_rising_edge(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_reset, "reset", 0);
	fake_out(&g, PC_RESET_PORT, 1, 2);
	assert_int_equal(g.ended, -1);
	assert_int_equal(fake_in(&g, PC_RESET_PORT, 1), 2);
	fake_out(&g, PC_RESET_PORT, 1, 6);
	assert_int_equal(g.ended, GUEST_RESET);
	g.ended = -1;
	fake_out(&g, PC_RESET_PORT, 1, 6);
	assert_int_equal(g.ended, -1);
	fake_destroy(&g);
}

static void port92_resets_and_keeps_a20(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_reset, "reset", 0);
	assert_int_equal(fake_in(&g, PC_PORT92, 1), 2);
	fake_out(&g, PC_PORT92, 1, 0);
	assert_int_equal(fake_in(&g, PC_PORT92, 1), 0);
	assert_int_equal(g.ended, -1);
	fake_out(&g, PC_PORT92, 1, 3);
	assert_int_equal(g.ended, GUEST_RESET);
	fake_destroy(&g);
}

/* ---- the panic device ---- */

static void panic_ends_as_configured(void **state)
{
	static const struct {
		const char *action;
		int ended, status;
	} rows[] = {{NULL, -1, -1}, {"none", -1, -1}, {"poweroff", GUEST_POWEROFF, -1},
		{"reset", GUEST_RESET, -1}, {"error", -1, 4}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fake_guest g = {.options = {{"action", rows[i].action}}};

		fake_create(&g, &device_pvpanic, "pevt", 0);
		assert_int_equal(fake_in(&g, PC_PVPANIC_PORT, 1), 3);
		fake_out(&g, PC_PVPANIC_PORT, 1, 0);
		fake_out(&g, PC_PVPANIC_PORT, 1, 2); /* a crash kernel goes on */
		fake_out(&g, PC_PVPANIC_PORT, 1, 0xf8);
		assert_int_equal(g.ended, -1);
		fake_out(&g, PC_PVPANIC_PORT, 1, 1);
		assert_int_equal(g.ended, rows[i].ended);
		assert_int_equal(g.status, rows[i].status);
		fake_destroy(&g);
	}
}

static void panic_action_is_checked(void **state)
{
	struct fake_guest g = {.options = {{"action", "explode"}}};

	(void)state;
	fake_create(&g, &device_pvpanic, "pevt", EINVAL);
	assert_non_null(strstr(g.why, "explode"));
	assert_non_null(strstr(g.why, "poweroff"));
}

static void post_keeps_the_code(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_post, "post", 0);
	fake_out(&g, PC_POST_PORT, 1, 0x42);
	assert_int_equal(fake_in(&g, PC_POST_PORT, 1), 0x42);
	fake_destroy(&g);
}

/* The data that the machine, ACPI and fuzzers rely on. */
static void resources_are_complete_and_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < device_nmodels; i++) {
		const struct device_model *m = device_models[i];

		for (size_t j = 0; j < m->nunits; j++) {
			const struct device_unit *u = &m->units[j];

			assert_non_null(u->config);
			assert_true(u->res[0].kind != DEVICE_RES_NONE);
			assert_true(!u->acpi_hid || strlen(u->acpi_hid) == 7 ||
				    strlen(u->acpi_hid) == 8);
			assert_true(!u->beside.name || strlen(u->beside.acpi_hid) == 7);
			assert_true(u->beside.irq < 16);
			for (const struct device_resource *r = u->res; r->kind != DEVICE_RES_NONE;
				r++) {
				assert_true(r->size > 0);
				assert_true(r->kind != DEVICE_RES_IRQ || (!r->io && r->base < 16));
				assert_true(r->kind != DEVICE_RES_PORTS ||
					    r->base + r->size <= 0x10000);
				assert_true(
					r->kind == DEVICE_RES_IRQ || (r->io->read && r->io->write));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pci_host_bridge_answers),
		cmocka_unit_test(pci_bus_is_otherwise_empty),
		cmocka_unit_test(pci_writes_reach_only_writable_bits),
		cmocka_unit_test(pci_address_is_for_dwords),
		cmocka_unit_test(pci_ids_come_from_the_configuration),
		cmocka_unit_test(soft_off_powers_off),
		cmocka_unit_test(soft_off_by_bytes),
		cmocka_unit_test(power_button_raises_sci),
		cmocka_unit_test(sci_needs_acpi_mode),
		cmocka_unit_test(sleep_ends_with_an_enabled_event),
		cmocka_unit_test(power_button_always_wakes),
		cmocka_unit_test(no_sleep_with_an_event),
		cmocka_unit_test(cf9_resets_on_the_rising_edge),
		cmocka_unit_test(port92_resets_and_keeps_a20),
		cmocka_unit_test(panic_ends_as_configured),
		cmocka_unit_test(panic_action_is_checked),
		cmocka_unit_test(post_keeps_the_code),
		cmocka_unit_test(resources_are_complete_and_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
