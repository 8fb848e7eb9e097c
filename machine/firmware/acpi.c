/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The ACPI tables.  Laid out one behind the other from FW_ACPI_BASE: RSDP, FACS, DSDT, then the
 * tables that the XSDT lists, then the XSDT.
 */
#include "machine/firmware/firmware.h"

#include <errno.h>
#include <string.h>

#include <vmm/pc.h>
#include <vmm/vrtc.h>

#include "device/device.h"
#include "machine/firmware/aml.h"
#include "machine/firmware/dsdt.h"

struct sdt_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

/* Generic address structure. */
struct gas {
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} __attribute__((packed));

enum { GAS_MEMORY = 0, GAS_PORT = 1 };

struct fadt {
	struct sdt_header header;
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved0, pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base,
		cst_cnt;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0,
		x_gpe1;
	struct gas sleep_control, sleep_status;
} __attribute__((packed));

_Static_assert(sizeof(struct sdt_header) == 36, "ACPI 5.2.6");
_Static_assert(sizeof(struct fadt) == 268, "ACPI 5.0, 5.2.9");

enum {
	FADT_WBINVD = 1u << 0,
	FADT_PROC_C1 = 1u << 2,
	FADT_SLP_BUTTON = 1u << 5, /* set: not in the fixed registers */
	FADT_TMR_VAL_EXT = 1u << 8,
	FADT_RESET_REG = 1u << 10,
	/* As in bhyve: a message needs its redirection hint for a logical destination there. */
	FADT_APIC_PHYSICAL = 1u << 19,

	BOOT_ARCH_LEGACY = 1u << 0, /* ISA devices */
	BOOT_ARCH_8042 = 1u << 1,
	BOOT_ARCH_NO_VGA = 1u << 2,

	C_STATE_NONE_2 = 0xfff, /* latencies that mean "not supported" */
	C_STATE_NONE_3 = 0xfff,

	RESET_CF9 = 0x06,
};

struct acpi {
	uint8_t *base; /* host address of FW_ACPI_BASE */
	size_t len;
	bool overflow;
	uint64_t tables[8]; /* for the XSDT */
	unsigned ntables;
};

static uint64_t gpa_of(const struct acpi *acpi, const void *p)
{
	return FW_ACPI_BASE + (uint64_t)((const uint8_t *)p - acpi->base);
}

/* Zeroed room; aligned to 64 bytes, which the FACS needs and nobody minds. */
static void *place(struct acpi *acpi, size_t len)
{
	size_t at = (acpi->len + 63) & ~(size_t)63;

	if (at + len > FW_ACPI_SIZE) {
		acpi->overflow = true;
		return NULL;
	}
	acpi->len = at + len;
	return memset(acpi->base + at, 0, len);
}

static void finish(struct sdt_header *h, const char *signature, uint8_t revision, size_t len)
{
	static const char oem_table[8] = "HYVEPC  ";

	memcpy(h->signature, signature, 4);
	h->length = (uint32_t)len;
	h->revision = revision;
	memcpy(h->oem_id, "HYVE  ", 6);
	memcpy(h->oem_table_id, oem_table, 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "HYVE", 4);
	h->creator_revision = 1;
	h->checksum = 0;
	h->checksum = firmware_checksum(h, len);
}

/* Completes a table and lists it in the XSDT. */
static void publish(
	struct acpi *acpi, void *table, const char *signature, uint8_t revision, size_t len)
{
	finish(table, signature, revision, len);
	acpi->tables[acpi->ntables++] = gpa_of(acpi, table);
}

static struct gas port_gas(uint16_t port, uint8_t bits)
{
	/* Access size: 1 byte, 2 word, 3 dword. */
	return (struct gas){
		.space = GAS_PORT,
		.bit_width = bits,
		.access_size = bits == 8    ? 1
			       : bits == 16 ? 2
					    : 3,
		.address = port,
	};
}

enum { FACS_SIZE = 64, FACS_VECTOR_AT = 12 };

static void *build_facs(struct acpi *acpi)
{
	enum { FACS_VERSION_AT = 32 };
	uint8_t *facs = place(acpi, FACS_SIZE);

	if (facs) {
		memcpy(facs, "FACS", 4);
		facs[4] = FACS_SIZE;
		facs[FACS_VERSION_AT] = 2;
	}
	return facs;
}

static void *build_dsdt(struct acpi *acpi, const struct firmware_facts *facts)
{
	struct sdt_header *h = place(acpi, sizeof(*h));

	if (!h)
		return NULL;
	struct aml aml = {
		.bytes = (uint8_t *)(h + 1),
		.size = FW_ACPI_SIZE - acpi->len,
	};

	dsdt_fill(&aml, facts);
	acpi->overflow |= aml.overflow;
	acpi->len += aml.len;
	finish(h, "DSDT", 2, sizeof(*h) + aml.len);
	return h;
}

static bool has_8042(const struct firmware_facts *facts)
{
	for (size_t i = 0; i < facts->nunits; i++) {
		const char *hid = facts->units[i]->acpi_hid;

		if (hid && strcmp(hid, DEVICE_KEYBOARD_HID) == 0)
			return true;
	}
	return false;
}

static void build_fadt(
	struct acpi *acpi, const struct firmware_facts *facts, uint64_t facs, uint64_t dsdt)
{
	struct fadt *f = place(acpi, sizeof(*f));

	if (!f)
		return;
	*f = (struct fadt){
		.firmware_ctrl = (uint32_t)facs,
		.dsdt = (uint32_t)dsdt,
		.sci_int = PC_SCI_IRQ,
		.smi_cmd = PC_SMI_CMD,
		.acpi_enable = PC_ACPI_ENABLE,
		.acpi_disable = PC_ACPI_DISABLE,
		.pm1a_evt = PC_PM1A_EVT,
		.pm1a_cnt = PC_PM1A_CNT,
		.pm_tmr = PC_PM_TIMER,
		.pm1_evt_len = 4,
		.pm1_cnt_len = 2,
		.pm_tmr_len = 4,
		.c2_latency = C_STATE_NONE_2,
		.c3_latency = C_STATE_NONE_3,
		.century = VRTC_CENTURY,
		.boot_arch = BOOT_ARCH_LEGACY | BOOT_ARCH_NO_VGA |
			     (has_8042(facts) ? BOOT_ARCH_8042 : 0),
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_TMR_VAL_EXT |
			 FADT_RESET_REG | FADT_APIC_PHYSICAL,
		.reset_reg = port_gas(PC_RESET_PORT, 8),
		.reset_value = RESET_CF9,
		.x_dsdt = dsdt,
		.x_pm1a_evt = port_gas(PC_PM1A_EVT, 32),
		.x_pm1a_cnt = port_gas(PC_PM1A_CNT, 16),
		.x_pm_tmr = port_gas(PC_PM_TIMER, 32),
	};
	f->x_pm1a_evt.access_size = 2; /* two registers of 16 bits */
	publish(acpi, f, "FACP", 5, sizeof(*f));
}

/* ---- MADT: interrupt controllers ---- */

struct madt {
	struct sdt_header header;
	uint32_t lapic, flags;
} __attribute__((packed));

struct madt_lapic {
	uint8_t type, length, acpi_uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

struct madt_lapic_nmi {
	uint8_t type, length, acpi_uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,
	MADT_PCAT_COMPAT = 1, /* the two 8259s are there as well */
	MADT_ENABLED = 1,
	MADT_ACTIVE_LOW = 3,
	MADT_LEVEL = 3 << 2,
};

static void build_madt(struct acpi *acpi, const struct firmware_facts *facts)
{
	const struct madt_ioapic ioapic = {
		.type = MADT_IOAPIC,
		.length = sizeof(ioapic),
		.address = PC_IOAPIC_BASE,
	};
	const struct madt_override overrides[] = {
		{MADT_OVERRIDE, sizeof(overrides[0]), 0, PC_PIT_IRQ, PC_PIT_IOAPIC_PIN, 0},
		{MADT_OVERRIDE, sizeof(overrides[0]), 0, PC_SCI_IRQ, PC_SCI_IRQ,
			MADT_ACTIVE_LOW | MADT_LEVEL},
	};
	const struct madt_lapic_nmi nmi = {
		.type = MADT_LAPIC_NMI,
		.length = sizeof(nmi),
		.acpi_uid = 0xff,
		.lint = 1,
	};
	size_t cpus = facts->ncpus * sizeof(struct madt_lapic);
	size_t len = sizeof(struct madt) + cpus + sizeof(ioapic) + sizeof(overrides) + sizeof(nmi);
	struct madt *m = place(acpi, len);

	if (!m)
		return;
	m->lapic = PC_LAPIC_BASE;
	m->flags = MADT_PCAT_COMPAT;
	struct madt_lapic *cpu = (struct madt_lapic *)(m + 1);

	for (unsigned i = 0; i < facts->ncpus; i++)
		*cpu++ = (struct madt_lapic){
			MADT_LAPIC, sizeof(*cpu), (uint8_t)i, (uint8_t)i, MADT_ENABLED};
	uint8_t *p = (uint8_t *)cpu;

	memcpy(p, &ioapic, sizeof(ioapic));
	p += sizeof(ioapic);
	memcpy(p, overrides, sizeof(overrides));
	p += sizeof(overrides);
	memcpy(p, &nmi, sizeof(nmi));
	publish(acpi, m, "APIC", 3, len);
}

/* ---- HPET, MCFG ---- */

struct hpet_table {
	struct sdt_header header;
	uint32_t block_id;
	struct gas base;
	uint8_t number;
	uint16_t min_tick;
	uint8_t page_protection;
} __attribute__((packed));

static void build_hpet(struct acpi *acpi, const struct firmware_facts *facts)
{
	struct hpet_table *h = place(acpi, sizeof(*h));

	if (!h)
		return;
	h->block_id = facts->hpet_capabilities;
	h->base = (struct gas){.space = GAS_MEMORY, .address = PC_HPET_BASE};
	publish(acpi, h, "HPET", 1, sizeof(*h));
}

struct mcfg {
	struct sdt_header header;
	uint64_t reserved0, base;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved1;
} __attribute__((packed));

static void build_mcfg(struct acpi *acpi)
{
	struct mcfg *m = place(acpi, sizeof(*m));

	if (!m)
		return;
	m->base = PC_ECAM_BASE;
	m->last_bus = (PC_ECAM_SIZE >> 20) - 1;
	publish(acpi, m, "MCFG", 1, sizeof(*m));
}

/* ---- the roots ---- */

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes, ACPI 1.0's */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

static uint64_t build_xsdt(struct acpi *acpi)
{
	size_t list = acpi->ntables * sizeof(acpi->tables[0]);
	struct sdt_header *h = place(acpi, sizeof(*h) + list);

	if (!h)
		return 0;
	memcpy(h + 1, acpi->tables, list);
	finish(h, "XSDT", 1, sizeof(*h) + list);
	return gpa_of(acpi, h);
}

static void fill_rsdp(struct rsdp *r, uint64_t xsdt)
{
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem_id, "HYVE  ", 6);
	r->revision = 2;
	r->length = sizeof(*r);
	r->xsdt = xsdt;
	r->checksum = firmware_checksum(r, 20);
	r->extended_checksum = firmware_checksum(r, sizeof(*r));
}

/* ACPI 5.2.10: 64 bytes, aligned so; an OS that sleeps has left its address there. */
uint32_t acpi_waking_vector(const struct ram *ram)
{
	const uint8_t *facs = ram_at(ram, FW_ACPI_BASE, FW_ACPI_SIZE);
	uint32_t vector = 0;

	for (size_t at = 0; facs && at + FACS_SIZE <= FW_ACPI_SIZE; at += FACS_SIZE) {
		if (memcmp(facs + at, "FACS", 4) != 0)
			continue;
		memcpy(&vector, facs + at + FACS_VECTOR_AT, sizeof(vector));
		break;
	}
	return vector;
}

int acpi_write(const struct ram *ram, const struct firmware_facts *facts, uint64_t *rsdp)
{
	struct acpi acpi = {.base = ram_at(ram, FW_ACPI_BASE, FW_ACPI_SIZE)};

	if (!acpi.base)
		return ENOSPC;
	struct rsdp *root = place(&acpi, sizeof(*root));
	void *facs = build_facs(&acpi), *dsdt = build_dsdt(&acpi, facts);

	if (acpi.overflow)
		return ENOSPC;
	build_fadt(&acpi, facts, gpa_of(&acpi, facs), gpa_of(&acpi, dsdt));
	build_madt(&acpi, facts);
	build_hpet(&acpi, facts);
	build_mcfg(&acpi);
	uint64_t xsdt = build_xsdt(&acpi);

	if (acpi.overflow)
		return ENOSPC;
	fill_rsdp(root, xsdt);
	*rsdp = gpa_of(&acpi, root);
	return 0;
}
