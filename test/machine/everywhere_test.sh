# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# A guest that goes where nothing is reads all ones and does no harm; under -e it is stopped, and told.
BUILD=${BUILD:-build}
HYVE=${HYVE:-$BUILD/hyve}
guest=$BUILD/test/machine/everywhere
out=$BUILD/test/machine/everywhere.out
err=$BUILD/test/machine/everywhere.err
failed=0

check() {
	if [ "$2" = 0 ]; then
		echo "ok $1 - $3"
		return
	fi
	failed=1
	echo "not ok $1 - $3"
	tail -n 5 "$out" "$err" | tr -d '\0\r' | sed 's/^/# /'
}

echo "1..2"
timeout -k 5 120 "$HYVE" -m 16M --kernel "$guest" everywhere </dev/null >"$out" 2>"$err"
status=$?
[ $status = 1 ] && grep -aq 'nothing but ones' "$out"
check 1 $? "all ports and addresses (exit status $status)"

timeout -k 5 120 "$HYVE" -e -m 16M --kernel "$guest" everywhere </dev/null >"$out" 2>"$err"
status=$?
[ $status = 4 ] && [ "$(wc -l <"$err")" = 1 ] && grep -q 'port 0,\|port 0x0,' "$err"
check 2 $? "-e ends on the first port (exit status $status)"
exit $failed
