/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What every PCI function does by itself: BARs that move, masked messages, the pin and its routes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include <vmm/pc.h>

#include "test/device/virtio_driver.h"

#define CONFIG (PC_ECAM_BASE + (3 << 15))
#define LPC    (PC_ECAM_BASE + (31 << 15))

enum { DATA = DRIVER_FREE, LINE = PC_PCI_PIN_FIRST + 3 };

static struct driver d;

static uint32_t reg(unsigned at, unsigned size)
{
	return (uint32_t)fake_in(&d.g, CONFIG + at, size);
}

static void put(unsigned at, unsigned size, uint32_t value)
{
	fake_out(&d.g, CONFIG + at, size, value);
}

static unsigned capability(uint8_t id)
{
	unsigned at = reg(PCI_CAPABILITIES, 1);

	while (at && reg(at, 1) != id)
		at = reg(at + 1, 1);
	return at;
}

static int setup(void **state)
{
	(void)state;
	memset(&d, 0, sizeof(d));
	driver_create(&d, "virtio-rnd", NULL, 0);
	return 0;
}

static int setup_msi(void **state)
{
	(void)state;
	memset(&d, 0, sizeof(d));
	d.g.options[15] = (struct fake_option){"virtio_msix", "false"};
	driver_create(&d, "virtio-rnd", NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	driver_destroy(&d);
	return 0;
}

/* One buffer, to cause an interrupt. */
static void cause(void)
{
	const struct driver_piece piece = {DATA, 16, true};
	uint16_t id;
	uint32_t len;

	driver_add(&d, 0, &piece, 1);
	driver_kick(&d, 0);
	assert_true(driver_poll(&d, 0, &id, &len));
}

/* ---- BARs ---- */

static void bars_tell_their_size(void **state)
{
	static const struct {
		unsigned reg;
		uint32_t mask, type;
	} bars[] = {
		{0x10, 0xffffffe0, 1}, {0x14, 0xfffff000, 0}, {0x18, 0, 0}, {0x20, 0xffffc000, 0}};

	(void)state;
	put(PCI_COMMAND, 2, 0);
	for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
		uint32_t before = reg(bars[i].reg, 4);

		put(bars[i].reg, 4, 0xffffffff);
		assert_int_equal(reg(bars[i].reg, 4), bars[i].mask | bars[i].type);
		put(bars[i].reg, 4, before);
		assert_int_equal(reg(bars[i].reg, 4), before);
	}
}

static void bars_move_and_close(void **state)
{
	uint64_t from = d.common;

	(void)state;
	assert_int_equal(driver_get(&d, 0x12, 2), 1);
	put(0x20, 4, 0xd0000000);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, from + 0x12, 2), 0xffff);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, 0xd0000012, 2), 1);
	put(PCI_COMMAND, 2, PCI_COMMAND_IO);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, 0xd0000012, 2), 0xffff);
	put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, 0xd0000012, 2), 1);
	put(0x20, 4, 0); /* nobody answers at 0 */
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, 0x12, 2), 0xffff);
}

/* Two on the same place: one of them answers, and after the other has gone both can. */
static void bars_on_each_other(void **state)
{
	uint32_t table = reg(0x14, 4);

	(void)state;
	put(0x20, 4, table);
	put(0x14, 4, 0xd0000000);
	put(0x20, 4, 0xd4000000);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, 0xd4000012, 2), 1);
	put(0x10, 4, 0x12345670); /* beyond the ports that there are */
	put(0x10, 4, 0xc101);
	assert_int_equal(reg(0x10, 4), 0xc101);
}

/* ---- MSI-X ---- */

static uint64_t entry(unsigned vector)
{
	return (reg(0x14, 4) & ~15u) + 16 * vector;
}

static uint32_t pending(void)
{
	return (uint32_t)fake_load(&d.g, GUEST_MEMORY, entry(0) + 0x800, 4);
}

static void masked_vectors_stay_pending(void **state)
{
	(void)state;
	driver_start(&d, 0);
	fake_store(&d.g, GUEST_MEMORY, entry(1) + 12, 4, 1);
	cause();
	cause();
	assert_int_equal(driver_interrupts(&d, 0), 0);
	assert_int_equal(pending(), 2);
	fake_store(&d.g, GUEST_MEMORY, entry(1) + 12, 4, 0);
	assert_int_equal(driver_interrupts(&d, 0), 1);
	assert_int_equal(pending(), 0);
	cause();
	assert_int_equal(driver_interrupts(&d, 0), 2);
}

static void the_function_can_be_masked(void **state)
{
	unsigned cap = capability(PCI_CAP_MSIX);

	(void)state;
	driver_start(&d, 0);
	put(cap + 2, 2, 0xc000);
	cause();
	assert_int_equal(driver_interrupts(&d, 0), 0);
	assert_int_equal(pending(), 2);
	put(cap + 2, 2, 0x8000);
	assert_int_equal(driver_interrupts(&d, 0), 1);
	assert_int_equal(pending(), 0);
}

static void table_takes_dwords_and_qwords(void **state)
{
	uint64_t at = entry(1);

	(void)state;
	fake_store(&d.g, GUEST_MEMORY, at, 8, 0x00000001fee01007);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, at, 8), 0x00000001fee01004);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, at + 4, 4), 1);
	fake_store(&d.g, GUEST_MEMORY, at, 2, 0xffff);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, at, 4), 0xfee01004);
	fake_store(&d.g, GUEST_MEMORY, entry(2), 4, 0xffffffff); /* there are two */
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, entry(2), 4), 0);
	assert_int_equal(fake_load(&d.g, GUEST_MEMORY, entry(0) + 0xffc, 4), 0);
}

/* ---- MSI ---- */

static void msi_and_its_mask(void **state)
{
	unsigned cap = capability(PCI_CAP_MSI);

	(void)state;
	assert_true(cap);
	assert_int_equal(capability(PCI_CAP_MSIX), 0);
	driver_start(&d, 0);
	put(cap + 4, 4, 0xfee02000);
	put(cap + 12, 2, 0x4141);
	put(cap + 2, 2, 1);
	cause();
	assert_int_equal(d.g.nmsi, 1);
	assert_int_equal(d.g.msi[0].address, 0xfee02000);
	assert_int_equal(d.g.msi[0].data, 0x4141);
	assert_false(d.g.line[LINE]);
	put(cap + 16, 4, 1);
	cause();
	assert_int_equal(d.g.nmsi, 1);
	assert_int_equal(reg(cap + 20, 4), 1);
	put(cap + 16, 4, 0);
	assert_int_equal(d.g.nmsi, 2);
	assert_int_equal(reg(cap + 20, 4), 0);
}

/* ---- the pin ---- */

static void use_pin(void)
{
	driver_start(&d, 0);
	put(capability(PCI_CAP_MSIX) + 2, 2, 0);
}

static void the_pin_can_be_switched_off(void **state)
{
	(void)state;
	use_pin();
	cause();
	assert_true(d.g.line[LINE]);
	assert_int_equal(reg(PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
	put(PCI_COMMAND, 2, 7 | PCI_COMMAND_INTX_DISABLE);
	assert_false(d.g.line[LINE]);
	assert_int_equal(reg(PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
	put(PCI_COMMAND, 2, 7);
	assert_true(d.g.line[LINE]);
	put(capability(PCI_CAP_MSIX) + 2, 2, 0x8000);
	assert_false(d.g.line[LINE]);
	fake_load(&d.g, GUEST_MEMORY, d.isr, 1);
	put(capability(PCI_CAP_MSIX) + 2, 2, 0);
	assert_false(d.g.line[LINE]);
}

static void the_router_moves_a_line_that_is_up(void **state)
{
	(void)state;
	use_pin();
	assert_true(d.g.level[10] && d.g.level[11] && d.g.level[15]);
	assert_int_equal(reg(PCI_INT_LINE, 1), 15);
	assert_int_equal(fake_in(&d.g, LPC + 0x63, 1), 15);
	cause();
	assert_true(d.g.line[15]);
	fake_out(&d.g, LPC + 0x63, 1, 7);
	assert_false(d.g.line[15]);
	assert_true(d.g.line[7]);
	fake_out(&d.g, LPC + 0x63, 1, 0x80);
	assert_false(d.g.line[7]);
	assert_true(d.g.line[LINE]);
	fake_out(&d.g, LPC + 0x60, 4, 0x05000000); /* D to 5; 0 is nobody's */
	assert_true(d.g.line[5]);
	assert_int_equal(fake_in(&d.g, LPC + 0x60, 4), 0x05808080);
	fake_load(&d.g, GUEST_MEMORY, d.isr, 1);
	assert_false(d.g.line[5] || d.g.line[LINE]);
}

/* ---- who stands where ---- */

static void population(void **state)
{
	static const struct {
		struct fake_option options[2];
		const char *why;
	} bad[] = {
		{{{"pci.0.3.0.device", "warp-drive"}}, "warp-drive"},
		{{{"pci.0.3.1.device", "virtio-rnd"}}, "3:0"},
	};
	struct fake_guest g = {.options = {{"pci.0.3.0.device", "virtio-rnd"},
				       {"pci.0.3.5.device", "virtio-rnd"}}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fake_guest b = {0};

		memcpy(b.options, bad[i].options, sizeof(bad[i].options));
		fake_create(&b, &device_pci_root, "pci0", EINVAL);
		assert_non_null(strstr(b.why, bad[i].why));
	}
	fake_create(&g, &device_pci_root, "pci0", 0);
	assert_int_equal(fake_in(&g, CONFIG + PCI_HEADER_TYPE, 1), PCI_MULTIFUNCTION);
	assert_int_equal(fake_in(&g, CONFIG + (5 << 12), 4), 0x10051af4);
	assert_int_equal(fake_in(&g, CONFIG + (4 << 12), 4), 0xffffffff);
	fake_destroy(&g);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(bars_tell_their_size),
		WITH(bars_move_and_close),
		WITH(bars_on_each_other),
		WITH(masked_vectors_stay_pending),
		WITH(the_function_can_be_masked),
		WITH(table_takes_dwords_and_qwords),
		cmocka_unit_test_setup_teardown(msi_and_its_mask, setup_msi, teardown),
		WITH(the_pin_can_be_switched_off),
		WITH(the_router_moves_a_line_that_is_up),
		cmocka_unit_test(population),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
