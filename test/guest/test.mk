# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# The guest images: flat 64 KiB ROMs, one for each file of tests, and what runs them.

# The guests are data for the test, and use what clang's assembler lacks: always by gcc.
GUEST_CC := gcc
GUEST32 := excp seg real paging32 pae intr task debug smc triple
GUEST64 := paging64 pcid patch window string long sysreg fpu mmio timer triple64
GUEST := $(GUEST32) $(GUEST64)
GUEST_BIN := $(patsubst %,$(BUILD)/test/guest/%.bin,$(GUEST))
GUEST_CFLAGS := -std=gnu17 -Os -Wall -Wextra -Wno-array-bounds -Werror -ffreestanding -fno-pic -fno-pie \
	-fno-stack-protector -fno-asynchronous-unwind-tables -fno-strict-aliasing \
	-fno-delete-null-pointer-checks -mgeneral-regs-only \
	-mno-red-zone -fcf-protection=none -fno-tree-loop-distribute-patterns -Itest/guest -MMD -MP

$(BUILD)/test/guest/m32/%.o: test/guest/%.c
	$(Q)mkdir -p $(@D)
	$(Q)$(GUEST_CC) -m32 $(GUEST_CFLAGS) -c -o $@ $<
$(BUILD)/test/guest/m32/%.o: test/guest/%.S
	$(Q)mkdir -p $(@D)
	$(Q)$(GUEST_CC) -m32 $(GUEST_CFLAGS) -c -o $@ $<
$(BUILD)/test/guest/m64/%.o: test/guest/%.c
	$(Q)mkdir -p $(@D)
	$(Q)$(GUEST_CC) -m64 $(GUEST_CFLAGS) -c -o $@ $<
$(BUILD)/test/guest/m64/%.o: test/guest/%.S
	$(Q)mkdir -p $(@D)
	$(Q)$(GUEST_CC) -m64 $(GUEST_CFLAGS) -c -o $@ $<

# The tests that all paging modes share.
$(BUILD)/test/guest/paging32.elf $(BUILD)/test/guest/pae.elf: \
	$(BUILD)/test/guest/m32/paging.o $(BUILD)/test/guest/m32/paging_access.o
$(BUILD)/test/guest/paging64.elf $(BUILD)/test/guest/pcid.elf \
	$(BUILD)/test/guest/window.elf $(BUILD)/test/guest/string.elf: \
	$(BUILD)/test/guest/m64/paging.o $(BUILD)/test/guest/m64/paging_access.o
$(BUILD)/test/guest/window.elf $(BUILD)/test/guest/string.elf: $(BUILD)/test/guest/m64/range.o

GUEST_LD = ld -m $(1) -T test/guest/rom.ld -z noexecstack --no-warn-rwx-segments -o $@ $(filter %.o,$^)
$(patsubst %,$(BUILD)/test/guest/%.elf,$(GUEST32)): $(BUILD)/test/guest/%.elf: \
		$(BUILD)/test/guest/m32/%.o test/guest/rom.ld \
		$(patsubst %,$(BUILD)/test/guest/m32/%.o,boot kit run32)
	$(Q)$(call GUEST_LD,elf_i386)
$(patsubst %,$(BUILD)/test/guest/%.elf,$(GUEST64)): $(BUILD)/test/guest/%.elf: \
		$(BUILD)/test/guest/m64/%.o test/guest/rom.ld \
		$(patsubst %,$(BUILD)/test/guest/m64/%.o,boot kit run64)
	$(Q)$(call GUEST_LD,elf_x86_64)
$(BUILD)/test/guest/%.bin: $(BUILD)/test/guest/%.elf
	$(Q)objcopy -O binary --gap-fill 0 --pad-to 0x10000 $< $@

GUEST_COMMA := ,
$(BUILD)/test/guest/guest_test.o: EXTRA = -DGUEST_DIR='"$(abspath $(BUILD))/test/guest"' \
	-DGUEST_LIST='$(patsubst %,"%"$(GUEST_COMMA),$(GUEST))'
$(BUILD)/test/guest/guest_test: $(BUILD)/test/backend/soft/hooks.o | $(GUEST_BIN)
$(BUILD)/test/guest/guest_test.o: test/guest/test.mk

.PHONY: guest-images guest-qemu guest-bochs
guest-images: $(GUEST_BIN)
# Second opinions; not part of `make test`.
guest-qemu: guest-images
	$(Q)sh test/guest/second.sh tcg $(GUEST_BIN)
guest-bochs: guest-images
	$(Q)sh test/guest/second.sh bochs $(GUEST_BIN)

-include $(wildcard $(BUILD)/test/guest/m32/*.d $(BUILD)/test/guest/m64/*.d)
