/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The fixed addresses of the PC: every port, page and interrupt line that chips, device models, ACPI
 * tables and e820 share stands here once.  Values as in bhyve where bhyve has them.
 */
#ifndef VMM_PC_H
#define VMM_PC_H

/* Guest-physical pages. */
#define PC_LOWMEM_LIMIT	  0xc0000000ull /* RAM below 4 GiB ends here; the rest starts at 4 GiB */
#define PC_HIGHMEM_BASE	  0x100000000ull
#define PC_PCI_HOLE_BASE  0xc0000000ull /* 32-bit BARs */
#define PC_PCI_HOLE_LIMIT 0xe0000000ull
#define PC_ECAM_BASE	  0xe0000000ull
#define PC_ECAM_SIZE	  0x10000000ull
#define PC_IOAPIC_BASE	  0xfec00000ull
#define PC_IOAPIC_SIZE	  0x1000u
#define PC_HPET_BASE	  0xfed00000ull
#define PC_HPET_SIZE	  0x400u
#define PC_LAPIC_BASE	  0xfee00000ull
#define PC_LAPIC_SIZE	  0x1000u

/* I/O ports. */
#define PC_PIC1_PORT	 0x20
#define PC_PIT_PORT	 0x40
#define PC_I8042_DATA	 0x60
#define PC_NMISC_PORT	 0x61
#define PC_I8042_STATUS	 0x64
#define PC_RTC_INDEX	 0x70
#define PC_RTC_DATA	 0x71
#define PC_POST_PORT	 0x80
#define PC_PORT92	 0x92
#define PC_PIC2_PORT	 0xa0
#define PC_SMI_CMD	 0xb2
#define PC_COM1_PORT	 0x3f8
#define PC_COM2_PORT	 0x2f8
#define PC_COM3_PORT	 0x3e8
#define PC_COM4_PORT	 0x2e8
#define PC_PM1A_EVT	 0x400
#define PC_PM1A_CNT	 0x404
#define PC_PM_TIMER	 0x408
#define PC_ELCR_PORT	 0x4d0
#define PC_PVPANIC_PORT	 0x505
#define PC_FWCFG_PORT	 0x510
#define PC_PCI_CONF_ADDR 0xcf8
#define PC_RESET_PORT	 0xcf9
#define PC_PCI_CONF_DATA 0xcfc

/* Interrupt lines (ISA numbers; the PIT reaches the I/O APIC on pin 2). */
#define PC_PIT_IRQ	  0
#define PC_KEYBOARD_IRQ	  1
#define PC_PIT_IOAPIC_PIN 2
#define PC_COM2_IRQ	  3
#define PC_COM1_IRQ	  4
#define PC_RTC_IRQ	  8
#define PC_SCI_IRQ	  9
#define PC_MOUSE_IRQ	  12
#define PC_PCI_PIN_FIRST  16 /* PCI INTx on I/O APIC pins 16..23 */
#define PC_PCI_PIN_LAST	  23

/*
 * Pin (0: INTA) of a PCI slot shares one of eight links: an I/O APIC pin from PC_PCI_PIN_FIRST, and
 * for guests that know the PIC alone the ISA line to which firmware has routed the link.
 */
#define PC_PCI_LINK(slot, pin) (((slot) + (pin)) % 8u)
#define PC_PIRQ_LINES	       {10, 11, 5, 15, 10, 11, 5, 15}

#define PC_IOAPIC_PINS 24

/* Values written to PM1A_CNT: SLP_TYP of \_S3 and \_S5 as our DSDT declares it, and SLP_EN. */
#define PC_SLP_TYP_S3 1
#define PC_SLP_TYP_S5 5
#define PC_SLP_EN     (1u << 13)

/* Values written to PC_SMI_CMD: hand the power-management hardware to the guest, and back. */
#define PC_ACPI_ENABLE	0xa0
#define PC_ACPI_DISABLE 0xa1

#endif
