# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(patsubst %.c,$(BUILD)/%,$(wildcard test/vmm/*_test.c)): \
	$(BUILD)/test/vmm/fake_backend.o $(BUILD)/test/vmm/harness.o
$(BUILD)/test/vmm/storm_test: $(BUILD)/test/vmm/storm.o
-include $(BUILD)/test/vmm/storm.d
-include $(BUILD)/test/vmm/fake_backend.d $(BUILD)/test/vmm/harness.d
