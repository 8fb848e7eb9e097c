# SPDX-License-Identifier: BSD-2-Clause
$(patsubst %.c,$(BUILD)/%,$(wildcard test/vmm/*_test.c)): \
	$(BUILD)/test/vmm/fake_backend.o $(BUILD)/test/vmm/harness.o
