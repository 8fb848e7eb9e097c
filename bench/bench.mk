# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# What bench/run times.  Always by gcc, so that figures of two builds compare.

BENCH_CC := gcc
BENCH_KERNELS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard bench/kernels/*.c))

$(BUILD)/bench/kernels/%.o: bench/kernels/%.c
	$(Q)mkdir -p $(@D)
	$(Q)$(BENCH_CC) -std=gnu17 -O2 $(WARN) -D_GNU_SOURCE -I. -MMD -MP -c -o $@ $<
$(BUILD)/bench/bench-kernels: $(BENCH_KERNELS)
	$(Q)$(BENCH_CC) -static -o $@ $^

# The kernel unpacks one archive after the other: ours, with /bench added.
$(BUILD)/bench/initramfs.gz: $(BUILD)/initramfs.gz $(BUILD)/bench/bench-kernels bench/init
	$(Q)rm -rf $(@D)/root && mkdir -p $(@D)/root/bench
	$(Q)cp $(BUILD)/bench/bench-kernels bench/init $(@D)/root/bench
	$(Q)(cd $(@D)/root && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet) | \
		gzip -1 -n | cat $< - >$@.new && mv $@.new $@

# A flat guest for a PVH loader.
BENCH_MICRO_CFLAGS := -std=gnu17 -O2 $(WARN) -ffreestanding -fno-pic -fno-pie -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fcf-protection=none -mgeneral-regs-only -mno-red-zone \
	-I. -Iinclude -MMD -MP

$(BUILD)/bench/micro/%.o: bench/micro/%.c
	$(Q)mkdir -p $(@D)
	$(Q)$(BENCH_CC) $(BENCH_MICRO_CFLAGS) -c -o $@ $<
$(BUILD)/bench/micro/%.o: bench/micro/%.S
	$(Q)mkdir -p $(@D)
	$(Q)$(BENCH_CC) $(BENCH_MICRO_CFLAGS) -c -o $@ $<
$(BUILD)/bench/micro/guest: $(BUILD)/bench/micro/start.o $(BUILD)/bench/micro/micro.o
	$(Q)ld -N -Ttext=0x100000 -e start --build-id=none --no-warn-rwx-segments -o $@ $^

# An embedder's program, on the library.
$(BUILD)/bench/bench-exits: $(BUILD)/bench/exits/exits.o $(BUILD)/libvmm.a
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL)

.PHONY: bench-guests
bench-guests: $(BUILD)/bench/initramfs.gz $(BUILD)/bench/micro/guest $(BUILD)/bench/bench-exits

-include $(BENCH_KERNELS:.o=.d) $(BUILD)/bench/exits/exits.d $(wildcard $(BUILD)/bench/micro/*.d)
