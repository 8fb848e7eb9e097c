# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# The little machine that the tests of one-instruction execution share.
$(addprefix $(BUILD)/test/x86/,step_test branch_test stack_test string_test): $(BUILD)/test/x86/step_guest.o
-include $(BUILD)/test/x86/step_guest.d
