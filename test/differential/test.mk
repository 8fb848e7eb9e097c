# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
DIFFERENTIAL := $(addprefix $(BUILD)/test/differential/,host.o host_run.o value.o form.o case.o execute.o \
	vm.o guest_code.o) \
	$(BUILD)/test/backend/soft/hooks.o
$(BUILD)/test/differential/differential_test: $(DIFFERENTIAL)
-include $(DIFFERENTIAL:.o=.d)
