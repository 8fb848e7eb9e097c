# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
CONTRACT_OBJ := $(addprefix $(BUILD)/test/,contract/suite.o contract/skips.o contract/contract.o \
	contract/guest.o contract/script.o backend/soft/hooks.o)
CONTRACT := $(patsubst test/contract/%.c,%,$(sort $(wildcard test/contract/c[0-9]*_test.c)))
$(addprefix $(BUILD)/test/contract/,$(CONTRACT)): $(CONTRACT_OBJ)

# The same programs for inside a virtual machine: they need nothing but /dev/kvm.  disasm_none: there is no
# static library for soft.trace's text.
.PHONY: contract-static
contract-static: $(addprefix $(BUILD)/lab/contract/,$(CONTRACT))
$(BUILD)/lab/contract/%: $(BUILD)/test/contract/%.o $(CONTRACT_OBJ) $(BUILD)/backend/soft/disasm_none.o \
		$(BUILD)/libvmm.a
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -static -o $@ $^ $(LDFLAGS_ALL) -s

# Every behaviour on every backend, and the table of it; what a lab has left in $(BUILD)/lab/results is
# its column.
.PHONY: conformance
conformance: $(addprefix $(BUILD)/test/contract/,$(CONTRACT))
	@test/contract/run $(BUILD) doc/CONFORMANCE.md

-include $(CONTRACT_OBJ:.o=.d)

$(BUILD)/test/contract/suite_test: $(CONTRACT_OBJ)
