# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Every fuzz/x_fuzz.c is two programs: $(BUILD)/fuzz/x_fuzz with libFuzzer (clang), and the test
# $(BUILD)/test/fuzz/x_test, which fuzz/smoke.c drives, so that a target cannot rot.
# What `make fuzz` learns stays in build-fuzz/corpus/x, what it finds in build-fuzz/x-*.
FUZZ_SRC := $(sort $(wildcard fuzz/*_fuzz.c))
FUZZ_NAMES := $(FUZZ_SRC:fuzz/%_fuzz.c=%)
FUZZERS := $(FUZZ_NAMES:%=$(BUILD)/fuzz/%_fuzz)
FUZZ_SMOKE := $(FUZZ_NAMES:%=$(BUILD)/test/fuzz/%_test)
TEST_SRC += $(FUZZ_NAMES:%=test/fuzz/%_test.c)
TEST_BIN += $(FUZZ_SMOKE)

# What a target needs besides the library and the rooms of the command.
fuzz_both = $(foreach t,$(1),$(BUILD)/fuzz/$(t)_fuzz $(BUILD)/test/fuzz/$(t)_test)
$(call fuzz_both,config kernel control qcow2 virtio_blk): $(BUILD)/fuzz/file.o
$(call fuzz_both,control): $(BUILD)/cmd/control/answer.o $(BUILD)/cmd/control/protocol.o
$(call fuzz_both,kernel unpack): $(BUILD)/fuzz/packers.o
# Device types behind virtio: a hostile driver.
$(call fuzz_both,$(filter virtio_%,$(FUZZ_NAMES))): $(BUILD)/fuzz/hostile.o
$(call fuzz_both,options): $(BUILD)/cmd/options.o
$(call fuzz_both,execute): $(BUILD)/test/x86/step_guest.o
$(call fuzz_both,chips emul): $(BUILD)/test/vmm/fake_backend.o
$(call fuzz_both,decode): $(BUILD)/test/x86/oracle.o
$(call fuzz_both,decode): FUZZ_LIBS := -lZydis

fuzz_link = $(Q)mkdir -p $(@D) && \
	$(CC) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1) $(LDFLAGS_ALL) $(FUZZ_LIBS) $(CMD_LIBS)
$(FUZZERS): $(BUILD)/fuzz/%_fuzz: $(BUILD)/fuzz/%_fuzz.o $(BUILD)/libvmm.a $(CMD_OBJ)
	$(call fuzz_link,-fsanitize=fuzzer)
$(FUZZ_SMOKE): $(BUILD)/test/fuzz/%_test: $(BUILD)/fuzz/%_fuzz.o $(BUILD)/fuzz/smoke.o \
		$(BUILD)/libvmm.a $(CMD_OBJ)
	$(call fuzz_link)

FUZZ_MAKE = $(SUBMAKE) CC=clang SAN=address,undefined BUILD=build-fuzz CFLAGS=-fsanitize=fuzzer-no-link
.PHONY: fuzz fuzzers
fuzzers: $(FUZZERS) $(FUZZ_SMOKE)
fuzz:
	@tools/setup build test
	@$(FUZZ_MAKE) fuzzers
	@for t in $(FUZZ_NAMES); do \
		echo "== $$t" && mkdir -p build-fuzz/corpus/$$t build-fuzz/seeds/$$t && \
		build-fuzz/test/fuzz/$${t}_test --seeds build-fuzz/seeds/$$t && \
		build-fuzz/fuzz/$${t}_fuzz -max_total_time=$(FUZZ_S) -max_len=4096 -timeout=20 \
			-print_final_stats=0 -verbosity=0 -artifact_prefix=build-fuzz/$$t- \
			build-fuzz/corpus/$$t build-fuzz/seeds/$$t || exit 1; \
	done

-include $(patsubst %,%.d,$(FUZZ_SRC:%.c=$(BUILD)/%)) \
	$(patsubst %,$(BUILD)/fuzz/%.d,smoke file packers hostile)
