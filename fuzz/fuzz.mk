# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# Fuzzers need clang's libFuzzer: make fuzz-decode FUZZ_TIME=600.
FUZZ_TIME ?= 60
FUZZ_CC ?= clang
FUZZ_CFLAGS := -std=gnu17 -O1 -g $(WARN) -D_GNU_SOURCE -I. -Iinclude -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=all

FUZZ_DECODE_SRC := fuzz/decode.c test/x86/oracle.c x86/insn_table.c x86/decode.c x86/encode.c
$(BUILD)/fuzz/decode: $(FUZZ_DECODE_SRC) $(wildcard x86/*.def x86/insn*.h test/x86/oracle.h)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_CFLAGS) -o $@ $(FUZZ_DECODE_SRC) -lZydis

.PHONY: fuzz-decode
fuzz-decode: $(BUILD)/fuzz/decode
	$(Q)mkdir -p $(BUILD)/fuzz/corpus/decode
	$(Q)$< -max_total_time=$(FUZZ_TIME) -max_len=17 -artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/corpus/decode
