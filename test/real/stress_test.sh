# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# stress-ng's cpu, vm, fork, switch and futex stressors, all at once and checking what they compute, in a guest with
# four vcpus, and in one with more vcpus than the host has cores: each has to get somewhere, and the kernel must
# not complain.  STRESS_S seconds each (3).
. test/boot/lib.sh
logs=$BUILD/test/real-stress
seconds=${STRESS_S:-3}
stressors="cpu vm fork switch futex"
mkdir -p "$logs/real"
plan 2

vmlinuz=$(kernel cloud-amd64) || vmlinuz=
missing=$(test/real/mkroot --missing stress-ng)
if [ -z "$vmlinuz" ] || [ -n "$missing" ]; then
	for name in stress-4 stress-16; do
		skip $name "${missing:+not on this machine: $missing}${vmlinuz:-linux-image-cloud-amd64 cannot be downloaded here}"
	done
	finish
fi

# What test/real/init runs for the one job in the list.
echo stress >"$logs/real/list"
cat >"$logs/real/runjob" <<END
#!/bin/sh
mkdir -p "\$2"
cd "\$2" || exit
/real/busybox mkdir -p /sys
/real/busybox mount -t sysfs sysfs /sys
env -i PATH=/usr/bin:/bin HOME=/ stress-ng --verify --metrics-brief --timeout ${seconds}s \\
	--cpu 4 --vm 2 --vm-bytes 4M --fork 2 --switch 2 --futex 2 >stress.out 2>&1
echo \$? >stress.status
END
test/real/mkroot "$logs/root.cpio" "$logs/real" stress-ng

complaints='rcu.*stall|soft lockup|hard LOCKUP|hung task|[Uu]nstable|clocksource.*skew|TSC warp|TSC ADJUST|Call Trace|WARNING:|BUG: |blocked for more|segfault|general protection|Oops'

# stress NAME VCPUS
stress() {
	timeout -k 5 $((90 + 4 * seconds)) "$HYVE" -c "$2" -m 1000M --kernel "$vmlinuz" --initrd "$logs/root.cpio" \
		--append "console=ttyS0 loglevel=5" "$1" </dev/null >"$logs/$1.raw" 2>"$logs/$1.err"
	hyve=$?
	tr -d '\r' <"$logs/$1.raw" >"$logs/$1.console"
	awk -v status="$logs/$1.status" '$1 == "@begin" { inside = 1; next } $1 == "@end" { print $3 >status; exit }
		inside && !/[^A-Za-z0-9+\/=]/' "$logs/$1.console" | base64 -di 2>/dev/null | gzip -dcq >"$logs/$1.out"
	idle=
	for stressor in $stressors; do
		grep -Eq "\] $stressor +[1-9][0-9]* " "$logs/$1.out" || idle="$idle $stressor"
	done
	if grep -aE "$complaints" "$logs/$1.console" >"$logs/$1.complaints"; then
		fail "$1" "the kernel: $(head -n 1 "$logs/$1.complaints")"
	elif [ $hyve != 1 ] || [ "$(cat "$logs/$1.status" 2>/dev/null)" != 0 ]; then
		fail "$1" "hyve: exit status $hyve; stress-ng: '$(cat "$logs/$1.status" 2>/dev/null)'"
	elif [ -n "$idle" ]; then
		fail "$1" "not a single operation of$idle"
	else
		pass "$1"
		sed -nE 's/.*\] ([a-z]+) +([0-9]+) +([0-9.]+) .*/# \1: \2 operations in \3 s/p' "$logs/$1.out"
	fi
}
stress stress-4 4
stress stress-16 16
[ $failed = 1 ] || rm -f "$logs/root.cpio"
finish
