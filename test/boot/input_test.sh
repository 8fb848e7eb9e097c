# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Linux's drivers at the PS/2 controller, with somebody at the keyboard and the mouse.
. test/boot/lib.sh
plan 2

# input NAME FLAVOUR PATTERN FILE...: boots test/boot/inside/NAME; its console has to have the lines PATTERN.
input() {
	name=$1
	flavour=$2
	pattern=$3
	shift 3
	if ! vmlinuz=$(kernel "$flavour") || ! archive "$name" "$flavour" "$@"; then
		skip "$name" "linux-image-$flavour cannot be downloaded here"
		return
	fi
	rm -f "$logs/$name.out"
	timeout -k 5 90 "$BUILD/test/boot/typist" "$vmlinuz" "$logs/$name.img" "$logs/$name.out" 2>"$logs/$name.err"
	status=$?
	if [ $status != 0 ]; then
		fail "$name" "exit status $status"
	elif [ "$(tr -d '\r' <"$logs/$name.out" | grep -xcE -- "$pattern")" != "$lines" ]; then
		fail "$name" "not $lines lines like '$pattern'"
	else
		pass "$name"
	fi
}
lines=1
input keyboard cloud-amd64 'typed: hello, hyve'
# evdev's: a button (1, 110h), right (2, 0), down (2, 1), wheel (2, 8), end (0, 0).
lines=6
input mouse amd64 \
	'mouse: "ImExPS/2 .*"|event: (0001 0110 0001 0000|0002 0000 0005 0000|0002 0001 fffd ffff|0002 0008 0001 0000|0000 0000 0000 0000)' \
	evdev.ko psmouse.ko
finish
