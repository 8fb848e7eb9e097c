# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
SOFT_SEQUENCE := $(addprefix $(BUILD)/test/,backend/soft/world.o backend/soft/sequence.o x86/encodings.o)
$(BUILD)/test/backend/soft/sequence_test: $(SOFT_SEQUENCE)
$(BUILD)/test/backend/soft/cache_test: $(addprefix $(BUILD)/test/,backend/soft/world.o x86/encodings.o)
$(BUILD)/test/backend/soft/instrument_test: $(addprefix $(BUILD)/test/,backend/soft/world.o x86/encodings.o)
SOFT_SOUP := $(addprefix $(BUILD)/test/,backend/soft/soup.o backend/soft/world.o x86/encodings.o)
$(BUILD)/test/backend/soft/soup_test: $(SOFT_SOUP)
$(BUILD)/fuzz/guest_fuzz $(BUILD)/test/fuzz/guest_test: $(SOFT_SOUP)
-include $(SOFT_SEQUENCE:.o=.d) $(SOFT_SOUP:.o=.d)
