# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# The machine with descriptor tables that the tests of system instructions share.
X86_SYSTEM_TEST := $(addprefix $(BUILD)/test/x86/,event_test far_test far_return_test segment_test selector_test \
	task_test control_test msr_test cpuid_test allow_test fast_syscall_test port_test bcd_test \
	bits_test xstate_test x87_test masked_test soft_event_test memory_test precise_test)
$(X86_SYSTEM_TEST): $(BUILD)/test/x86/step_guest.o $(BUILD)/test/x86/system_guest.o
-include $(BUILD)/test/x86/system_guest.d
