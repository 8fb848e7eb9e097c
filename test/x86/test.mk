# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# The decoder and the encoder stand alone; their tests hold them against Zydis.
X86_CODEC_OBJ := $(addprefix $(BUILD)/x86/,insn_table.o decode.o decode_cache.o encode.o plain_mem.o)
X86_CODEC_TEST := $(addprefix $(BUILD)/test/x86/,decode_test encode_test hardware_test)
$(X86_CODEC_TEST): %: %.o $(X86_CODEC_OBJ) $(BUILD)/test/x86/oracle.o $(BUILD)/test/x86/encodings.o
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) -lZydis -lcmocka
-include $(BUILD)/test/x86/oracle.d $(BUILD)/test/x86/encodings.d
