# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Guests of a few instructions: every way a machine ends has its exit status.
. test/boot/lib.sh
plan 7
boot hello 1 "Hello from a guest" -m 16M --kernel "$BUILD/examples/guest/hello"
boot acpi-off 1 "ending" -m 16M --kernel "$BUILD/test/boot/acpi_off"
boot reset-cf9 0 "ending" -m 16M --kernel "$BUILD/test/boot/reset_cf9"
boot reset-kbd 0 "ending" -m 16M --kernel "$BUILD/test/boot/reset_kbd"
boot reset-port92 0 "ending" -m 16M --kernel "$BUILD/test/boot/reset_port92"
boot halt 2 "ending" -m 16M --kernel "$BUILD/test/boot/halt"
boot triple-fault 3 "ending" -m 16M --kernel "$BUILD/test/boot/triple_fault"
finish
