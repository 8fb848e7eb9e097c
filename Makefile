# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
#   make              the library, the commands and the examples, into $(BUILD)
#   make run          boots Debian's cloud kernel on this terminal (installs what is missing)
#   make debian       installs Debian 12 on a disk image and boots it here, with a network; the first time takes two minutes
#   make test         everything that must pass; make check: the part of it that takes under a minute
#   make lab          the KVM backend on a true KVM, inside an emulated machine
#   make bench        hyve beside QEMU, as a table; make fuzz: libFuzzer for FUZZ_S seconds a target
#   make install      PREFIX=dir DESTDIR=dir
#   make clean
#
# Variables: CC=gcc|clang, SAN=address,undefined, BUILD=dir, OPT=flags, V=1.

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
BUILD ?= build$(if $(SAN),-san)$(if $(findstring clang,$(CC)),-clang)
VERSION := 0.1.0
SOVERSION := 0
FUZZ_S ?= 60

WARN := -Wall -Wextra -Wshadow -Wvla -Werror
OPT ?= -O2 -g
CFLAGS_ALL := -std=gnu17 $(OPT) $(WARN) -fPIC -fvisibility=hidden -D_GNU_SOURCE -pthread \
	-I. -Iinclude -MMD -MP $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -DHYVE_SAN=1) $(CFLAGS)
LDFLAGS_ALL := -pthread $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
# Rooms whose code runs while the guest's vector registers are in the host's (x86/cpu.h).
GENERAL := -mgeneral-regs-only $(if $(findstring clang,$(CC)),,-minline-all-stringops) \
	$(if $(findstring address,$(SAN)),$(if $(findstring clang,$(CC)),-mllvm -asan-stack=0,--param asan-stack=0))
# Nor may what the compiler calls by itself there: see x86/plain_mem.c.
plain_mem = objcopy $(foreach f,memcpy memmove memset memcmp,--redefine-sym $(1)$(f)=x86_plain_$(f)) $(2)

LIB_ROOMS := x86 vmm vmm/chip backend backend/soft backend/kvm backend/intel backend/amd
CMD_ROOMS := $(patsubst %/,%,$(sort host/ device/ machine/ $(wildcard host/*/ device/*/ machine/*/)))
# What the software CPU's traces get their text from.
DISASM := $(shell echo '\#include <Zydis/Zydis.h>' | $(CC) -E -x c - >/dev/null 2>&1 && echo zydis || echo none)
LIB_SRC := $(filter-out backend/soft/disasm_%,$(foreach r,$(LIB_ROOMS),$(wildcard $(r)/*.c $(r)/*.S))) \
	backend/soft/disasm_$(DISASM).c
CMD_SRC := $(foreach r,$(CMD_ROOMS),$(wildcard $(r)/*.c))
LIB_OBJ := $(patsubst %,$(BUILD)/%.o,$(basename $(LIB_SRC)))
CMD_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(CMD_SRC))
HYVE_SRC := $(wildcard cmd/*.c cmd/control/*.c)
# hyvectl knows the API's numbers and what it says to hyve, and nothing else.
HYVECTL_SRC := $(wildcard cmd/hyvectl/*.c) cmd/control/protocol.c
CMD_LIBS := -lz -llzma -lzstd -llz4 -luring -lslirp -ljansson -lseccomp
EXAMPLES := $(patsubst %.c,$(BUILD)/%,$(wildcard examples/*.c)) \
	$(patsubst %.S,$(BUILD)/%,$(wildcard examples/guest/*.S))

Q := $(if $(V),,@)
# Below a make without -j, one job for each core.
SUBMAKE = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all
all: $(BUILD)/libvmm.a $(BUILD)/libvmm.so $(BUILD)/hyve $(BUILD)/hyvectl \
	$(BUILD)/vmm.pc $(EXAMPLES)

# x86/ reaches guest memory as the guest does, races included, and ThreadSanitizer's functions would not keep the
# vector registers.
NO_TSAN := $(if $(findstring thread,$(SAN)),-fno-sanitize=thread)
$(BUILD)/x86/%.o: EXTRA := $(GENERAL) -Wconversion -Wno-sign-conversion $(NO_TSAN)
$(BUILD)/backend/soft/%.o: EXTRA := $(GENERAL)
# Called while the guest's x87 registers are in the host's: soft_lend().
$(BUILD)/vmm/%.o: EXTRA := -mno-80387
$(BUILD)/x86/%.o $(BUILD)/backend/soft/%.o: POST = $(call plain_mem,,$@) && $(call plain_mem,__asan_,$@)

$(BUILD)/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(EXTRA) -c -o $@ $<
	$(if $(POST),$(Q)$(POST))
$(BUILD)/%.o: %.S
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(BUILD)/libvmm.a: $(LIB_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
$(BUILD)/libvmm.so: $(LIB_OBJ)
	$(Q)$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -Wl,-soname,libvmm.so.$(SOVERSION)
	$(Q)ln -sf libvmm.so $@.$(SOVERSION)
$(BUILD)/cmd/%.o: EXTRA := -DHYVE_VERSION='"$(VERSION)"'
$(BUILD)/hyve: $(HYVE_SRC:%.c=$(BUILD)/%.o) $(CMD_OBJ) $(BUILD)/libvmm.a
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) $(CMD_LIBS)
$(BUILD)/hyvectl: $(HYVECTL_SRC:%.c=$(BUILD)/%.o)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) -ljansson -lncurses -ltinfo

# What an embedder has: the public headers and the library, nothing else.
$(BUILD)/examples/%: examples/%.c $(BUILD)/libvmm.a
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 $(OPT) $(WARN) -D_GNU_SOURCE -Iinclude $(CFLAGS) -o $@ $< \
		$(BUILD)/libvmm.a $(LDFLAGS_ALL)
# Guests of one page, for a PVH loader.
$(BUILD)/examples/guest/%: $(BUILD)/examples/guest/%.o
	$(Q)ld -N -Ttext=0x100000 -e start --build-id=none --no-warn-rwx-segments -o $@ $<
$(BUILD)/initramfs.gz: tools/mkinitramfs $(wildcard tools/initramfs/*)
	$(Q)tools/mkinitramfs $@
# Always: PREFIX may be another one this time.
$(BUILD)/vmm.pc: vmm.pc.in FORCE
	$(Q)mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' $< >$@

# Every test/**/x_test.c is one cmocka program $(BUILD)/test/**/x_test, linked with everything but cmd/;
# every test/**/x_test.sh prints TAP and finds what is built in $BUILD.
# A test that brings fakes in place of a room lists its own objects in test/<dir>/test.mk; what the
# scripts boot is added to TEST_GUESTS there.
TEST_SRC := $(sort $(shell find test -name '*_test.c' 2>/dev/null))
TEST_BIN := $(patsubst %.c,$(BUILD)/%,$(TEST_SRC))
TEST_SH := $(sort $(shell find test -name '*_test.sh' 2>/dev/null))
-include $(shell find test fuzz bench -name '*.mk' 2>/dev/null)

$(BUILD)/%_test: $(BUILD)/%_test.o $(BUILD)/libvmm.a $(CMD_OBJ)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS_ALL) $(TEST_LIBS) -lcmocka $(CMD_LIBS)

.PHONY: tests
tests: $(TEST_BIN) $(TEST_GUESTS)

# The tests of rooms and of the API contract, once more under the sanitizers.  The others execute guest code
# by the hundred million instructions and would take too long; and the sanitizers export symbols of their own.
SAN_BUILD := $(BUILD)-asan
SAN_OUT := test/differential/% test/guest/% test/boot/% test/api/exports_test.c
SAN_TESTS := $(filter-out $(SAN_OUT),$(TEST_SRC))
# Those with threads that matter once more under ThreadSanitizer.  What is translated it does not see.
TSAN_BUILD := $(BUILD)-tsan
TSAN_TESTS := $(wildcard test/vmm/*_test.c) $(patsubst %,test/%_test.c,vmm/chip/thread host/event \
	host/sock host/block_threads device/virtio_blk device/virtio_console \
	machine/bus contract/c5_lifecycle contract/c6_waiting contract/c7_events backend/soft/smp backend/soft/share \
	backend/soft/storm host/net_slirp host/net_tap)
# The longest first, so that two at a time end together.
LONG_TESTS := $(filter test/differential/% test/x86/decode_test.c test/backend/soft/%,$(TEST_SRC))
QUICK_TESTS := $(filter-out test/differential/%,$(TEST_SRC))
QUICK_SH := $(filter-out test/outside/% test/backend/% test/boot/% test/lab/% test/real/% test/tools/install% test/tools/conformance%,$(TEST_SH))
# test/run's LABEL=COMMAND of programs and scripts: (prefix, sources, build folder).
programs = $(foreach t,$(2:test/%_test.c=%),'$(1)$(t)=$(3)/test/$(t)_test')
scripts = $(foreach t,$(2:test/%_test.sh=%),'$(t)=BUILD=$(BUILD) sh test/$(t)_test.sh')

.PHONY: run debian debian-image test check sanitized threaded kernels
run:
	@tools/setup build run
	+@$(SUBMAKE) all $(BUILD)/initramfs.gz
	@tools/run $(BUILD)

debian:
	@tools/setup build debian
	+@$(SUBMAKE) all
	@tools/mkdebian build/debian
	@tools/debian $(BUILD)
debian-image:
	@-tools/mkdebian build/debian

kernels:
	@-tools/get-kernel --modules cloud-amd64 build/kernel >/dev/null
	@-tools/get-kernel amd64 build/kernel >/dev/null

test:
	@tools/setup build run test
	@-tools/setup real debian lab
	+@$(SUBMAKE) all tests kernels debian-image lab-programs
	+@$(SUBMAKE) sanitized BUILD=$(SAN_BUILD) SAN=address,undefined
	+@$(SUBMAKE) threaded BUILD=$(TSAN_BUILD) SAN=thread
	+@$(SUBMAKE) all tests CC=clang BUILD=$(BUILD)-clang
	@test/run $(BUILD)/test-logs $(call programs,,$(LONG_TESTS),$(BUILD)) \
		'layers=tools/check-layers $(BUILD)' $(call scripts,,$(TEST_SH)) \
		$(call programs,,$(filter-out $(LONG_TESTS),$(TEST_SRC)),$(BUILD)) \
		$(call programs,asan/,$(SAN_TESTS),$(SAN_BUILD)) \
		$(call programs,tsan/,$(TSAN_TESTS),TSAN_OPTIONS=suppressions=test/tsan.supp $(TSAN_BUILD))
threaded: $(TSAN_TESTS:%.c=$(BUILD)/%)
sanitized: $(SAN_TESTS:%.c=$(BUILD)/%)

# Fewer random cases.
check: export HYVE_DECODE_N ?= 200000
check: export SEQUENCE_N ?= 5000
check:
	@tools/setup build test
	+@$(SUBMAKE) all $(QUICK_TESTS:%.c=$(BUILD)/%) $(TEST_GUESTS)
	@test/run $(BUILD)/test-logs 'layers=tools/check-layers $(BUILD)' \
		$(call scripts,,$(QUICK_SH)) $(call programs,,$(QUICK_TESTS),$(BUILD))

.PHONY: bench
bench:
	@tools/setup build run bench
	+@$(SUBMAKE) all $(BUILD)/initramfs.gz bench-guests
	@bench/run $(BUILD)

# backend.h is between the core and the backends: the library does not export it.
PUBLIC := $(filter-out %/backend.h,$(wildcard include/vmm/*.h include/vmm/*.def))
.PHONY: install
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include/vmm $(DESTDIR)$(LIBDIR)/pkgconfig \
		$(addprefix $(DESTDIR)$(PREFIX)/share/man/man,3 5 8)
	install -m 755 $(BUILD)/hyve $(BUILD)/hyvectl $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(PUBLIC) $(DESTDIR)$(PREFIX)/include/vmm
	install -m 644 $(BUILD)/libvmm.a $(DESTDIR)$(LIBDIR)
	install -m 755 $(BUILD)/libvmm.so $(DESTDIR)$(LIBDIR)/libvmm.so.$(VERSION)
	ln -sf libvmm.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libvmm.so.$(SOVERSION)
	ln -sf libvmm.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libvmm.so
	install -m 644 $(BUILD)/vmm.pc $(DESTDIR)$(LIBDIR)/pkgconfig
	install -d $(DESTDIR)$(PREFIX)/share/doc/vmm
	install -m 644 doc/vmm-api.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/vmm
	install -m 644 doc/*.3 $(DESTDIR)$(PREFIX)/share/man/man3
	install -m 644 doc/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -m 644 doc/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 644 tools/completion/hyve $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	ln -sf hyve $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hyvectl

.PHONY: clean
clean:
	rm -rf build build-san build-clang build-san-clang build-asan build-tsan build-fuzz

.PHONY: FORCE
FORCE:
.SECONDARY:
# What tests share, too: whatever was compiled before.
-include $(sort $(patsubst %.o,%.d,$(LIB_OBJ) $(CMD_OBJ)) $(patsubst %,%.d,$(TEST_BIN) $(EXAMPLES)) \
	$(patsubst %.c,$(BUILD)/%.d,$(HYVE_SRC) $(HYVECTL_SRC)) \
	$(wildcard $(BUILD)/test/*/*.d $(BUILD)/test/*/*/*.d $(BUILD)/fuzz/*.d))
