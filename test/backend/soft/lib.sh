# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# shellcheck shell=sh
#
# For the scripts in this folder: other test programs, run in the ways of hooks.h, as one test case each.
BUILD=${BUILD:-build}
logs=$BUILD/test/backend/soft
cases=0
failed=0
unset CMOCKA_MESSAGE_OUTPUT

# way NAME PROGRAM ARGUMENT...: what is in the environment says which way.
way() {
	name=$1
	program=$BUILD/test/$2
	shift 2
	cases=$((cases + 1))
	log=$logs/$(echo "$name" | tr ' ' '-').log
	if timeout -k 5 100 "$program" "$@" >"$log" 2>&1 </dev/null; then
		echo "ok $cases - $name"
		return
	fi
	failed=1
	echo "not ok $cases - $name"
	echo "# SOFT_LOCKSTEP=${SOFT_LOCKSTEP-} SOFT_TORTURE=${SOFT_TORTURE-} SOFT_CACHE=${SOFT_CACHE-}, $log:"
	tail -n 40 "$log" | sed 's/^/#   /'
}
