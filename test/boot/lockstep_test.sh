# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Debian's cloud kernel in lock-step, up to LOCKSTEP_N compared instructions (25 million; 50 take about twice
# as long, and beyond 600 million it reaches /init); a whole boot under torture, and one in the smallest code cache
# that soft.cache accepts.
. test/boot/lib.sh
plan 3

# checked NAME INSNS SECONDS
checked() {
	if ! vmlinuz=$(kernel cloud-amd64); then
		skip "$1" "linux-image-cloud-amd64 cannot be downloaded here"
	elif "$BUILD/test/boot/checked" "$vmlinuz" "$BUILD/initramfs.gz" "$2" "$3" \
		</dev/null >"$logs/$1.out" 2>"$logs/$1.err"; then
		pass "$1"
		sed -n 's/^linux:/#/p' "$logs/$1.err"
	else
		fail "$1" "something differed, or it took longer than $3 s"
	fi
}
SOFT_LOCKSTEP=1 checked lockstep "${LOCKSTEP_N:-25000000}" "${LOCKSTEP_S:-200}"
SOFT_CACHE=262144 checked small-cache 0 150
SOFT_TORTURE=${SOFT_TORTURE:-1} checked torture 0 150
finish
