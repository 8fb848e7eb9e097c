# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
$(patsubst %,$(BUILD)/test/host/net_%_test,slirp tap): $(BUILD)/test/host/net_peer.o
-include $(BUILD)/test/host/net_peer.d
