# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(BUILD)/test/cmd/options_test: $(BUILD)/cmd/options.o
CONTROL := $(addprefix $(BUILD)/cmd/control/,protocol.o answer.o place.o server.o)
$(BUILD)/test/cmd/control_test: $(CONTROL)

# What hyvectl looks at.
COUNTER := $(BUILD)/test/cmd/counter
$(COUNTER): test/cmd/counter.S include/vmm/pc.h
	$(Q)mkdir -p $(@D)
	$(Q)gcc -Iinclude -c -o $@.o $<
	$(Q)ld -N -Ttext=0x100000 -e start --build-id=none --no-warn-rwx-segments -o $@ $@.o
TEST_GUESTS += $(COUNTER)
$(BUILD)/test/cmd/sandbox_test: $(BUILD)/cmd/sandbox.o
# By the commands themselves, on a terminal.
$(BUILD)/test/cmd/top_test: | $(BUILD)/hyve $(BUILD)/hyvectl $(COUNTER)
