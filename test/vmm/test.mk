# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(patsubst %.c,$(BUILD)/%,$(wildcard test/vmm/*_test.c)): \
	$(BUILD)/test/vmm/fake_backend.o $(BUILD)/test/vmm/harness.o
