# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(patsubst %.c,$(BUILD)/%,$(wildcard test/host/block*_test.c)): $(BUILD)/test/host/disk.o
# Its writes may be made slow.
$(BUILD)/test/host/block_door_test: TEST_LIBS += -Wl,--wrap=pwritev
