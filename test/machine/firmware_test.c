/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The tables as a guest finds them: every checksum, every pointer, and the DSDT as Intel's
 * disassembler reads it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "machine/firmware/aml.h"
#include "machine/firmware/firmware.h"

enum { LOW = 4 << 20 };

struct fixture {
	struct ram ram;
	struct firmware_facts facts;
	const struct device_unit *units[8];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->ram = (struct ram){.low = calloc(1, LOW), .low_size = LOW};
	for (size_t i = 0; i < device_uart.nunits; i++)
		f->units[i] = &device_uart.units[i];
	f->units[4] = &device_pci_root.units[0];
	f->facts = (struct firmware_facts){
		.ncpus = 4, .hpet_capabilities = 0x80868701, .units = f->units, .nunits = 5};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->ram.low);
	free(f);
	return 0;
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | p[bytes];
	return value;
}

/* The table with this signature, by the way a guest takes: RSDP, XSDT. */
static const uint8_t *find_table(struct fixture *f, uint64_t rsdp, const char *signature)
{
	const uint8_t *r = ram_at(&f->ram, rsdp, 36);
	const uint8_t *xsdt = ram_at(&f->ram, get(r + 24, 8), 36);

	for (uint64_t at = 36; at < get(xsdt + 4, 4); at += 8) {
		const uint8_t *t = ram_at(&f->ram, get(xsdt + at, 8), 36);

		if (memcmp(t, signature, 4) == 0)
			return t;
	}
	return NULL;
}

static void assert_checksum(const uint8_t *table, size_t len)
{
	assert_int_equal(firmware_checksum(table, len), 0);
}

static uint64_t write_acpi(struct fixture *f)
{
	uint64_t rsdp;

	assert_int_equal(acpi_write(&f->ram, &f->facts, &rsdp), 0);
	return rsdp;
}

static void rsdp_is_where_guests_look(void **state)
{
	uint64_t rsdp = write_acpi(*state);
	const uint8_t *r = ram_at(&((struct fixture *)*state)->ram, rsdp, 36);

	assert_in_range(rsdp, FW_BIOS_BASE, FW_BIOS_END - 36);
	assert_int_equal(rsdp % 16, 0);
	assert_memory_equal(r, "RSD PTR ", 8);
	assert_checksum(r, 20);
	assert_checksum(r, 36);
}

static void waking_vector_is_the_guests(void **state)
{
	struct fixture *f = *state;
	uint64_t rsdp = write_acpi(f);
	const uint8_t *fadt = find_table(f, rsdp, "FACP");
	uint8_t *facs = ram_at(&f->ram, get(fadt + 36, 4), 64);

	assert_int_equal(acpi_waking_vector(&f->ram), 0);
	memcpy(facs + 12, "\x34\x12\x09\x00", 4);
	assert_int_equal(acpi_waking_vector(&f->ram), 0x91234);
	memset(facs, 0, 4); /* the guest may have done anything */
	assert_int_equal(acpi_waking_vector(&f->ram), 0);
}

static void all_tables_check(void **state)
{
	static const char *const names[] = {"FACP", "APIC", "HPET", "MCFG"};
	struct fixture *f = *state;
	uint64_t rsdp = write_acpi(f);

	for (size_t i = 0; i < 4; i++) {
		const uint8_t *t = find_table(f, rsdp, names[i]);

		assert_non_null(t);
		assert_checksum(t, get(t + 4, 4));
		assert_true(t + get(t + 4, 4) <= f->ram.low + FW_BIOS_END);
	}
	const uint8_t *fadt = find_table(f, rsdp, "FACP");
	const uint8_t *dsdt = ram_at(&f->ram, get(fadt + 140, 8), 36);

	assert_int_equal(get(fadt + 40, 4), get(fadt + 140, 8));
	assert_memory_equal(dsdt, "DSDT", 4);
	assert_checksum(dsdt, get(dsdt + 4, 4));
	assert_int_equal(get(fadt + 36, 4) % 64, 0);
	assert_memory_equal(ram_at(&f->ram, get(fadt + 36, 4), 64), "FACS", 4);
}

static void fadt_names_our_ports(void **state)
{
	struct fixture *f = *state;
	const uint8_t *fadt = find_table(f, write_acpi(f), "FACP");

	assert_int_equal(get(fadt + 46, 2), PC_SCI_IRQ);
	assert_int_equal(get(fadt + 48, 4), PC_SMI_CMD);
	assert_int_equal(get(fadt + 56, 4), PC_PM1A_EVT);
	assert_int_equal(get(fadt + 64, 4), PC_PM1A_CNT);
	assert_int_equal(get(fadt + 76, 4), PC_PM_TIMER);
	assert_int_equal(get(fadt + 88, 1), 4);
	assert_int_equal(get(fadt + 120, 8), PC_RESET_PORT);
	assert_true(get(fadt + 112, 4) & 1u << 19); /* messages to APICs by their ids */
	assert_int_equal(get(fadt + 109, 2) & 2, 0); /* no keyboard controller */
	f->units[f->facts.nunits++] = &device_ps2.units[0];
	fadt = find_table(f, write_acpi(f), "FACP");
	assert_int_equal(get(fadt + 109, 2) & 2, 2);
}

static void madt_lists_the_processors(void **state)
{
	struct fixture *f = *state;
	const uint8_t *madt = find_table(f, write_acpi(f), "APIC");
	unsigned counts[5] = {0};

	assert_int_equal(get(madt + 36, 4), PC_LAPIC_BASE);
	for (uint64_t at = 44; at < get(madt + 4, 4); at += madt[at + 1]) {
		assert_true(madt[at] < 5 && madt[at + 1] >= 6);
		if (madt[at] == 0)
			assert_int_equal(madt[at + 3], counts[0]);
		if (madt[at] == 1)
			assert_int_equal(get(madt + at + 4, 4), PC_IOAPIC_BASE);
		counts[madt[at]]++;
	}
	assert_int_equal(counts[0], 4);
	assert_int_equal(counts[1], 1);
	assert_int_equal(counts[2], 2);
	assert_int_equal(counts[4], 1);
}

static void no_room_is_an_error(void **state)
{
	struct fixture *f = *state;
	uint64_t rsdp;

	f->ram.low_size = FW_ACPI_BASE + 100;
	assert_int_equal(acpi_write(&f->ram, &f->facts, &rsdp), ENOSPC);
	f->ram.low_size = FW_MPTABLE_BASE;
	assert_int_equal(mptable_write(&f->ram, &f->facts), ENOSPC);
}

/* The most that can be: 16 processors. */
static void the_largest_machine_fits(void **state)
{
	struct fixture *f = *state;

	f->facts.ncpus = 16;
	all_tables_check(state);
	assert_int_equal(mptable_write(&f->ram, &f->facts), 0);
}

/* What iasl makes of the DSDT; skipped where there is no iasl. */
static void iasl_reads_the_dsdt(void **state)
{
	static const char *const wanted[] = {"Device (PCI0)", "Device (COM1)", "Device (COM4)",
		"Device (HPET)", "_S3", "_S5", "Device (CP03)", "Method (_PRT", "Name (PRTA", "_PIC",
		"EisaId (\"PNP0A03\")", "0x03F8", "WordBusNumber", "DWordMemory",
		"Memory32Fixed", "Device (KBD)", "EisaId (\"PNP0303\")", "Device (AUX)",
		"EisaId (\"PNP0F03\")", "Device (PEVT)", "\"QEMU0001\""};
	char dir[] = "/tmp/hyve-acpi-XXXXXX", command[200], path[64];
	struct fixture *f = *state;

	f->units[f->facts.nunits++] = &device_ps2.units[0];
	f->units[f->facts.nunits++] = &device_pvpanic.units[0];
	const uint8_t *fadt = find_table(f, write_acpi(f), "FACP");
	const uint8_t *dsdt = ram_at(&f->ram, get(fadt + 140, 8), 36);
	static char text[1 << 20];

	if (system("command -v iasl >/dev/null 2>&1") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/dsdt.aml", dir);
	FILE *out = fopen(path, "w");

	assert_int_equal(fwrite(dsdt, 1, get(dsdt + 4, 4), out), get(dsdt + 4, 4));
	fclose(out);
	/* Disassemble, then compile what came out: both must be content. */
	snprintf(command, sizeof(command),
		"cd %s && iasl -d dsdt.aml >log 2>&1 && iasl dsdt.dsl >>log 2>&1 && "
		"! grep -q 'Error  ' log",
		dir);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof(path), "%s/dsdt.dsl", dir);
	FILE *in = fopen(path, "r");

	assert_non_null(in);
	text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
	fclose(in);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!strstr(text, wanted[i]))
			fail_msg("the DSDT has no %s", wanted[i]);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void aml_lengths(void **state)
{
	static uint8_t bytes[1 << 20];

	(void)state;
	/* One, two and three bytes of length, on both sides of their limits. */
	static const size_t contents[] = {0, 56, 57, 58, 59, 4086, 4087, 4088, 4089, 4090, 70000};

	for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
		struct aml aml = {.bytes = bytes, .size = sizeof(bytes)};

		aml_scope(&aml, "\\_SB");
		for (size_t n = 0; n < contents[i]; n++)
			aml_byte(&aml, 0xa3);
		aml_close(&aml);
		assert_false(aml.overflow);
		unsigned follow = bytes[1] >> 6;
		size_t length =
			follow ? (bytes[1] & 0x0fu) | get(bytes + 2, follow) << 4 : bytes[1];

		assert_int_equal(length, aml.len - 1);
		assert_int_equal(follow, length < 0x40 ? 0 : length < 0x1000 ? 1 : 2);
		assert_memory_equal(bytes + 2 + follow, "\\_SB_", 5);
		assert_int_equal(bytes[aml.len - 1], contents[i] ? 0xa3 : '_');
	}
}

static void aml_runs_out_of_room(void **state)
{
	(void)state;
	for (size_t size = 0; size < 200; size++) {
		uint8_t *bytes = malloc(size ? size : 1);
		struct aml aml = {.bytes = bytes, .size = size};

		aml_device(&aml, "PCI0");
		aml_name(&aml, "_CRS");
		aml_resources(&aml);
		for (int i = 0; i < 30; i++)
			aml_res_io(&aml, 0x3f8, 8);
		aml_resources_end(&aml);
		aml_close(&aml);
		assert_true(aml.overflow);
		assert_true(aml.len <= size);
		free(bytes);
	}
}

static void aml_integers_and_ids(void **state)
{
	static const uint8_t expected[] = {0x00, 0x01, 0x0a, 0x02, 0x0a, 0xff, 0x0b, 0x00, 0x01,
		0x0c, 0x00, 0x00, 0x01, 0x00, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0, 0x0c, 0x41, 0xd0, 0x0a,
		0x03};
	uint8_t bytes[64];
	struct aml aml = {.bytes = bytes, .size = sizeof(bytes)};

	(void)state;
	aml_integer(&aml, 0);
	aml_integer(&aml, 1);
	aml_integer(&aml, 2);
	aml_integer(&aml, 0xff);
	aml_integer(&aml, 0x100);
	aml_integer(&aml, 0x10000);
	aml_integer(&aml, 1ull << 32);
	aml_eisa_id(&aml, "PNP0A03");
	assert_int_equal(aml.len, sizeof(expected));
	assert_memory_equal(bytes, expected, sizeof(expected));
}

static void mptable_checks(void **state)
{
	static const uint8_t sizes[] = {20, 8, 8, 8, 8};
	struct fixture *f = *state;
	unsigned counts[5] = {0}, entries = 0;

	assert_int_equal(mptable_write(&f->ram, &f->facts), 0);
	const uint8_t *p = ram_at(&f->ram, FW_MPTABLE_BASE, FW_MPTABLE_SIZE);

	assert_memory_equal(p, "_MP_", 4);
	assert_checksum(p, 16);
	const uint8_t *t = ram_at(&f->ram, get(p + 4, 4), 44);

	assert_memory_equal(t, "PCMP", 4);
	assert_checksum(t, get(t + 4, 2));
	for (uint64_t at = 44; at < get(t + 4, 2); at += sizes[t[at]], entries++) {
		assert_true(t[at] < 5);
		counts[t[at]]++;
	}
	assert_int_equal(entries, get(t + 34, 2));
	assert_int_equal(counts[0], 4);
	assert_int_equal(counts[1], 2);
	assert_int_equal(counts[2], 1);
	assert_int_equal(counts[3], 16 + 31); /* ISA lines, and INTA of each PCI slot */
	assert_int_equal(counts[4], 2);
}

static void e820_is_sorted_and_apart(void **state)
{
	static const uint64_t lows[] = {2 << 20, LOW, 1ull << 30, PC_LOWMEM_LIMIT};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (int high = 0; high < 2; high++) {
			struct ram ram = {.low_size = lows[i], .high_size = high ? 5ull << 30 : 0};
			struct e820_entry map[E820_MAX];
			unsigned n = e820_fill(&ram, map);
			uint64_t end = 0, usable = 0;

			assert_true(n <= E820_MAX);
			for (unsigned k = 0; k < n; k++) {
				assert_true(map[k].address >= end && map[k].size > 0);
				end = map[k].address + map[k].size;
				if (map[k].type == E820_RAM)
					usable += map[k].size;
			}
			assert_int_equal(usable,
				ram.low_size + ram.high_size - (FW_BIOS_END - FW_EBDA_BASE));
		}
	}
}

static void bda_names_the_serial_ports(void **state)
{
	struct fixture *f = *state;

	bda_write(&f->ram, &f->facts);
	assert_int_equal(get(f->ram.low + 0x400, 2), PC_COM1_PORT);
	assert_int_equal(get(f->ram.low + 0x406, 2), PC_COM4_PORT);
	assert_int_equal(get(f->ram.low + 0x40e, 2) << 4, FW_EBDA_BASE);
	assert_int_equal(get(f->ram.low + 0x413, 2), 639);
}

static void ram_at_keeps_to_ram(void **state)
{
	struct fixture *f = *state;
	uint8_t high[16];
	struct ram ram = {f->ram.low, LOW, high, sizeof(high)};

	assert_ptr_equal(ram_at(&ram, 0, LOW), ram.low);
	assert_null(ram_at(&ram, 0, LOW + 1));
	assert_null(ram_at(&ram, LOW, 1));
	assert_null(ram_at(&ram, LOW - 1, 2));
	assert_null(ram_at(&ram, 1, ~0ull));
	assert_ptr_equal(ram_at(&ram, PC_HIGHMEM_BASE + 15, 1), high + 15);
	assert_null(ram_at(&ram, PC_HIGHMEM_BASE + 15, 2));
	assert_null(ram_at(&ram, ~0ull, 1));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(rsdp_is_where_guests_look),
		T(waking_vector_is_the_guests),
		T(all_tables_check),
		T(fadt_names_our_ports),
		T(madt_lists_the_processors),
		T(no_room_is_an_error),
		T(the_largest_machine_fits),
		T(iasl_reads_the_dsdt),
		T(aml_lengths),
		T(aml_runs_out_of_room),
		T(aml_integers_and_ids),
		T(mptable_checks),
		T(e820_is_sorted_and_apart),
		T(bda_names_the_serial_ports),
		T(ram_at_keeps_to_ram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
