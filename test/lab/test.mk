# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# What the lab's machine runs besides the contract suite.

LAB_PROGRAMS := $(BUILD)/test/lab/smoke_kvm $(BUILD)/test/lab/tsc_khz
$(LAB_PROGRAMS): $(BUILD)/%: %.c
	$(Q)mkdir -p $(@D)
	$(Q)gcc -std=gnu17 -O2 $(WARN) -static -o $@ $<

.PHONY: lab lab-programs
lab-programs: all $(LAB_PROGRAMS) contract-static $(BUILD)/initramfs.gz
lab:
	@tools/setup build run test
	@-tools/setup lab
	+@$(SUBMAKE) lab-programs
	@test/run $(BUILD)/lab-logs $(call scripts,,test/lab/lab_test.sh)
