# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# What the lab's machine runs besides the contract suite.

$(BUILD)/test/lab/smoke_kvm: test/lab/smoke_kvm.c
	$(Q)mkdir -p $(@D)
	$(Q)gcc -std=gnu17 -O2 $(WARN) -static -o $@ $<
TEST_GUESTS += $(BUILD)/test/lab/smoke_kvm

LAB_CONTRACT := $(patsubst %.c,$(BUILD)/%,$(wildcard test/contract/*_test.c))
.PHONY: lab lab-programs
lab-programs: all $(BUILD)/test/lab/smoke_kvm $(LAB_CONTRACT) $(BUILD)/initramfs.gz
lab:
	@tools/setup build run test
	@-tools/setup lab
	+@$(SUBMAKE) lab-programs
	@test/run $(BUILD)/lab-logs $(call scripts,,test/lab/lab_test.sh)
