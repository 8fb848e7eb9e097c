# SPDX-License-Identifier: BSD-2-Clause
$(patsubst %.c,$(BUILD)/%,$(wildcard test/contract/*_test.c)): $(BUILD)/test/contract/contract.o
