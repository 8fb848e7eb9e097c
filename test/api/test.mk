# SPDX-License-Identifier: BSD-2-Clause
$(BUILD)/test/api/exports_test: $(BUILD)/libvmm.so
