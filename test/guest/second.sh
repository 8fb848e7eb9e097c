#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# usage: second.sh tcg|bochs IMAGE.bin...
# A second opinion on the guest images: runs each in QEMU (tcg) or Bochs and prints what fails, less what
# known.txt says of that emulator.  Bochs checks the most: it knows segment limits, which QEMU does not.
emulator=$1
shift
known=$(dirname "$0")/known.txt

run_tcg() {
	timeout "${LIMIT:-60}" qemu-system-x86_64 -accel tcg -cpu max -m 128 -display none -net none \
		-bios "$1" -debugcon stdio -device isa-debug-exit,iobase=0xf4,iosize=4 -no-reboot \
		</dev/null 2>&1
}

run_bochs() {
	dir=$(mktemp -d)
	cp "$1" "$dir/rom.bin"
	echo c >"$dir/debugger"
	cat >"$dir/rc" <<-EOF
	plugin_ctrl: unmapped=1, biosdev=0, speaker=0, extfpuirq=1, parallel=0, serial=0, e1000=0
	config_interface: textconfig
	display_library: rfb, options="timeout=0"
	memory: guest=128, host=128
	romimage: file=$dir/rom.bin, address=0xffff0000
	vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
	cpu: model=${CPU:-corei7_icelake_u}, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
	clock: sync=none, time0=local, rtc_sync=0
	boot: disk
	log: $dir/log
	panic: action=fatal
	error: action=ignore
	info: action=ignore
	debug: action=ignore
	sound: waveoutdrv=dummy
	pci: enabled=1, chipset=i440fx
	port_e9_hack: enabled=1
	EOF
	timeout "${LIMIT:-60}" bochs -q -f "$dir/rc" -rc "$dir/debugger" </dev/null 2>&1 |
		grep -a '^ok \|^FAIL \|^skip \|^done '
	rm -r "$dir"
}

bad=0
for image in "$@"; do
	name=$(basename "$image" .bin)
	out=$(run_"$emulator" "$image")
	fails=$(printf '%s\n' "$out" | awk -v emulator="$emulator" -v name="$name" '
		FNR == NR { if ($1 == emulator && name ~ "^" $2 "$") known[$3]; next }
		/^FAIL/ { for (k in known) if ($2 ~ "^" k "$") next; print "FAIL " name ":", substr($0, 6) }
		' "$known" -)
	last=$(printf '%s\n' "$out" | tail -n 1)
	echo "$emulator $name: $last"
	[ -z "$fails" ] || { printf '%s\n' "$fails"; bad=1; }
	case $last in
	"done "*) ;;
	*) bad=1 ;;
	esac
done
exit $bad
