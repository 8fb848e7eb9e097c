# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
SOFT_SEQUENCE := $(addprefix $(BUILD)/test/,backend/soft/world.o backend/soft/sequence.o x86/encodings.o)
$(BUILD)/test/backend/soft/sequence_test: $(SOFT_SEQUENCE)
$(BUILD)/test/backend/soft/cache_test: $(addprefix $(BUILD)/test/,backend/soft/world.o x86/encodings.o)
-include $(SOFT_SEQUENCE:.o=.d)
