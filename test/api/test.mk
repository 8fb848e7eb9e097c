# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(BUILD)/test/api/exports_test: $(BUILD)/libvmm.so
