# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors

# What papers_test.sh holds the manuals against.
TABLES := $(BUILD)/test/tools/tables
$(TABLES): $(TABLES).o $(BUILD)/cmd/options.o $(BUILD)/cmd/hyvectl/verbs.o $(BUILD)/cmd/hyvectl/client.o \
		$(BUILD)/cmd/control/answer.o $(BUILD)/cmd/control/protocol.o $(BUILD)/libvmm.a $(CMD_OBJ)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS_ALL) $(CMD_LIBS)
TEST_GUESTS += $(TABLES)
