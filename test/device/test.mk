# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(patsubst %.c,$(BUILD)/%,$(wildcard test/device/*_test.c)): $(BUILD)/test/device/fake_guest.o
$(patsubst %.c,$(BUILD)/%,$(wildcard test/device/virtio*_test.c)): $(BUILD)/test/device/virtio_driver.o
