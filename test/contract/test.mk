# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(patsubst %.c,$(BUILD)/%,$(wildcard test/contract/*_test.c)): \
	$(BUILD)/test/contract/contract.o $(BUILD)/test/backend/soft/hooks.o
