# SPDX-License-Identifier: BSD-2-Clause
$(patsubst %.c,$(BUILD)/%,$(wildcard test/device/*_test.c)): $(BUILD)/test/device/fake_guest.o
