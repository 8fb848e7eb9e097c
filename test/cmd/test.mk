# SPDX-License-Identifier: BSD-2-Clause
$(BUILD)/test/cmd/options_test: $(BUILD)/cmd/options.o
