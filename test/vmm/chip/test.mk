# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# The chips are tested against a fake VM and the fake clock, so these programs take no more of the library.
CHIP_TEST_BIN := $(patsubst %.c,$(BUILD)/%,$(wildcard test/vmm/chip/*_test.c)) $(BUILD)/test/vmm/clock_test
CHIP_TEST_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard vmm/chip/*.c) vmm/clock.c vmm/clock_fake.c) \
	$(BUILD)/test/vmm/chip/fake_vm.o

$(CHIP_TEST_BIN): $(BUILD)/%: $(BUILD)/%.o $(CHIP_TEST_OBJ)
	$(Q)$(CC) -o $@ $(filter $@.o $(CHIP_TEST_OBJ),$^) $(LDFLAGS_ALL) -lcmocka
