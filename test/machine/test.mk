# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# A bare 64-bit ELF guest.  The assembler has no C integers: pc.h's addresses without their suffix come as -D.
EVERYWHERE := $(BUILD)/test/machine/everywhere
$(EVERYWHERE): test/machine/everywhere.S include/vmm/pc.h
	$(Q)mkdir -p $(@D)
	$(Q)gcc -Iinclude -DRAM_END=0x1000000 -DPC_ECAM=0xe0000000 -DPC_IOAPIC=0xfec00000 \
		-DPC_HPET=0xfed00000 -DPC_LAPIC=0xfee00000 -c -o $@.o $<
	$(Q)ld -N -Ttext=0x100000 -e start --build-id=none --no-warn-rwx-segments -o $@ $@.o
TEST_GUESTS += $(EVERYWHERE)
# A bare 64-bit guest in C, and its test, which counts calls of the C library.
DOORBELL := $(BUILD)/test/machine/doorbell
$(DOORBELL): test/machine/doorbell.c test/machine/doorbell.h include/vmm/pc.h
	$(Q)mkdir -p $(@D)
	$(Q)gcc -std=gnu17 -O2 $(WARN) -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
		-fno-asynchronous-unwind-tables -mgeneral-regs-only -mno-red-zone -I. -Iinclude -c -o $@.guest.o $<
	$(Q)ld -N -Ttext=0x100000 -e start --build-id=none --no-warn-rwx-segments -o $@ $@.guest.o
TEST_GUESTS += $(DOORBELL)
$(BUILD)/test/machine/doorbell_test: TEST_LIBS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap \
	-Wl,--wrap=pthread_mutex_lock,--wrap=pthread_mutex_trylock \
	-Wl,--wrap=pthread_rwlock_rdlock,--wrap=pthread_rwlock_wrlock
