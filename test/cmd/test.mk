# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(BUILD)/test/cmd/options_test: $(BUILD)/cmd/options.o
