# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# One small guest for each way in which a machine ends.

BOOT_GUESTS := acpi_off reset_cf9 reset_kbd reset_port92 halt triple_fault
$(BOOT_GUESTS:%=$(BUILD)/test/boot/%): $(BUILD)/test/boot/%: test/boot/guest.S include/vmm/pc.h
	$(Q)mkdir -p $(@D)
	$(Q)gcc -Iinclude -DEND_$* -c -o $@.o $<
	$(Q)ld -N -Ttext=0x100000 -e start --build-id=none --no-warn-rwx-segments -o $@ $@.o
TEST_GUESTS += $(BOOT_GUESTS:%=$(BUILD)/test/boot/%)

# Linux in lock-step and under torture.
CHECKED := $(addprefix $(BUILD)/test/,boot/checked.o backend/soft/hooks.o)
$(BUILD)/test/boot/checked: $(CHECKED) $(BUILD)/libvmm.a $(CMD_OBJ)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS_ALL) $(CMD_LIBS)
TEST_GUESTS += $(BUILD)/test/boot/checked

# Somebody at the keyboard and the mouse.
TYPIST := $(BUILD)/test/boot/typist.o
$(BUILD)/test/boot/typist: $(TYPIST) $(BUILD)/libvmm.a $(CMD_OBJ)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS_ALL) $(CMD_LIBS)
TEST_GUESTS += $(BUILD)/test/boot/typist

# Runs inside a guest; and beside one, at a port.
$(BUILD)/test/boot/rtc $(BUILD)/test/boot/porter: $(BUILD)/test/boot/%: test/boot/%.c
	$(Q)mkdir -p $(@D)
	$(Q)gcc -std=gnu17 -O2 $(WARN) -static -o $@ $<
TEST_GUESTS += $(BUILD)/test/boot/rtc $(BUILD)/test/boot/porter
-include $(CHECKED:.o=.d) $(TYPIST:.o=.d)
