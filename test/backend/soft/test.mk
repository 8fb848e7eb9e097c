# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
SOFT_WORLD := $(addprefix $(BUILD)/test/,backend/soft/world.o backend/soft/hooks.o x86/encodings.o)
SOFT_SEQUENCE := $(SOFT_WORLD) $(BUILD)/test/backend/soft/sequence.o
$(BUILD)/test/backend/soft/sequence_test: $(SOFT_SEQUENCE)
$(BUILD)/test/backend/soft/cache_test $(BUILD)/test/backend/soft/check_test $(BUILD)/test/backend/soft/instrument_test $(BUILD)/test/backend/soft/walk_test: $(SOFT_WORLD)
$(BUILD)/test/backend/soft/soft_test: $(BUILD)/test/backend/soft/hooks.o
SOFT_SMP := $(addprefix $(BUILD)/test/backend/soft/,hooks.o smp.o)
$(BUILD)/test/backend/soft/smp_test $(BUILD)/test/backend/soft/share_test $(BUILD)/test/backend/soft/jump_test $(BUILD)/test/backend/soft/litmus_test $(BUILD)/test/backend/soft/storm_test: $(SOFT_SMP)
$(BUILD)/test/backend/soft/storm_test: $(BUILD)/test/vmm/storm.o
SOFT_SOUP := $(SOFT_WORLD) $(BUILD)/test/backend/soft/soup.o
$(BUILD)/test/backend/soft/soup_test: $(SOFT_SOUP)
$(BUILD)/fuzz/guest_fuzz $(BUILD)/test/fuzz/guest_test: $(SOFT_SOUP)
-include $(SOFT_SMP:.o=.d) $(SOFT_SEQUENCE:.o=.d) $(SOFT_SOUP:.o=.d)
