# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Linux's driver at the real-time clock, with the HPET standing in for its interrupts and without.
. test/boot/lib.sh
plan 2

# has LINE: the guest has printed it.
has() {
	tr -d '\r' <"$logs/$name.out" | grep -qxE -- "$1" || broken="the guest did not print '$1'"
}
# rtc NAME APPEND
rtc() {
	name=$1
	broken=
	if ! vmlinuz=$(kernel cloud-amd64) || ! archive rtc cloud-amd64 "$BUILD/test/boot/rtc"; then
		skip "$name" "linux-image-cloud-amd64 cannot be downloaded here"
		return
	fi
	start=$(date +%s)
	timeout -s KILL 60 "$HYVE" -u -m 512M --kernel "$vmlinuz" --initrd "$image" \
		--append "console=ttyS0 quiet hyve.batch $2" "$name" </dev/null >"$logs/$name.out" 2>"$logs/$name.err"
	status=$?
	boot=$(tr -d '\r' <"$logs/$name.out" | sed -n 's/^boot: //p')
	has 'century: 2100-03-01'
	has 'alarm: rang after (1\.[0-9]|2\.0) s'
	has 'update: rang after (2\.[1-9]|3\.0) s'
	has 'periodic: rang after (0\.9|1\.0) s'
	has 'nvram: 640 KiB, 65535 KiB, 7936 \* 64 KiB'
	has 'interrupts: [1-9].*'
	[ "${boot:-0}" -ge "$start" ] && [ "$boot" -le $((start + 20)) ] || broken="the clock began at ${boot:-?}, not $start"
	[ $status = 1 ] || broken="exit status $status, not 1"
	if [ -n "$broken" ]; then
		fail "$name" "$broken"
	else
		pass "$name"
	fi
}
rtc rtc-hpet ""
rtc rtc-alone hpet=disable
finish
