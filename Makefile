# SPDX-License-Identifier: BSD-2-Clause
# hyve: make, make run, make test, make check, make bench, make install PREFIX=, make clean.
# Variables: CC=gcc|clang, SAN=address,undefined, BUILD=dir, PREFIX=dir, V=1.

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
BUILD ?= build$(if $(SAN),-san)$(if $(findstring clang,$(CC)),-clang)
VERSION := 0.1.0

WARN := -Wall -Wextra -Wshadow -Wvla -Werror
OPT ?= -O2 -g
CFLAGS_ALL := -std=gnu17 $(OPT) $(WARN) -fPIC -fvisibility=hidden -D_GNU_SOURCE -pthread \
	-I. -Iinclude -MMD -MP $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -DHYVE_SAN=1) $(CFLAGS)
LDFLAGS_ALL := -pthread $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
# Rooms whose code runs while the guest's vector registers are in the host's (x86/cpu.h).
GENERAL := -mgeneral-regs-only $(if $(findstring clang,$(CC)),,-minline-all-stringops)

LIB_ROOMS := x86 vmm vmm/chip backend backend/soft backend/intel backend/amd
CMD_ROOMS := host device device/pci device/uart machine machine/firmware machine/boot
LIB_SRC := $(foreach r,$(LIB_ROOMS),$(wildcard $(r)/*.c $(r)/*.S))
CMD_SRC := $(foreach r,$(CMD_ROOMS),$(wildcard $(r)/*.c))
LIB_OBJ := $(patsubst %,$(BUILD)/%.o,$(basename $(LIB_SRC)))
CMD_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(CMD_SRC))
CMD_LIBS := -lz -llzma -lzstd -llz4

Q := $(if $(V),,@)

.PHONY: all
all: $(BUILD)/libvmm.a $(BUILD)/libvmm.so $(if $(wildcard cmd/hyve.c),$(BUILD)/hyve)

$(BUILD)/x86/%.o: EXTRA := $(GENERAL) -Wconversion -Wno-sign-conversion
$(BUILD)/backend/soft/%.o: EXTRA := $(GENERAL)

$(BUILD)/%.o: %.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(EXTRA) -c -o $@ $<
$(BUILD)/%.o: %.S
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(BUILD)/libvmm.a: $(LIB_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
$(BUILD)/libvmm.so: $(LIB_OBJ)
	$(Q)$(CC) -shared -o $@ $^ $(LDFLAGS_ALL) -Wl,-soname,libvmm.so.0
$(BUILD)/hyve: $(BUILD)/cmd/hyve.o $(CMD_OBJ) $(BUILD)/libvmm.a
	$(Q)$(CC) -o $@ $^ $(LDFLAGS_ALL) $(CMD_LIBS)

# Every test/**/x_test.c is one cmocka program build/test/**/x_test, linked with everything but cmd/.
# A test that brings fakes in place of a room lists its own objects in test/<dir>/test.mk.
TEST_SRC := $(shell find test -name '*_test.c' 2>/dev/null)
TEST_BIN := $(patsubst %.c,$(BUILD)/%,$(TEST_SRC))
-include $(shell find test fuzz bench -name '*.mk' 2>/dev/null)

$(BUILD)/%_test: $(BUILD)/%_test.o $(BUILD)/libvmm.a $(CMD_OBJ)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS_ALL) $(TEST_LIBS) -lcmocka $(CMD_LIBS)

.PHONY: tests
tests: $(TEST_BIN)

.PHONY: clean
clean:
	rm -rf build build-san build-clang build-san-clang

.SECONDARY:
-include $(patsubst %.o,%.d,$(LIB_OBJ) $(CMD_OBJ)) $(patsubst %,%.d,$(TEST_BIN)) $(BUILD)/cmd/hyve.d
