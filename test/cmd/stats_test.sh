# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# --stats and the settings of the software CPU, through the command.
BUILD=${BUILD:-build}
HYVE=${HYVE:-$BUILD/hyve}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
hello=$BUILD/examples/guest/hello
n=0
failed=0

# hyve OPTION...: runs the guest; its output in out, standard error in err.
hyve() {
	timeout -k 5 20 "$HYVE" "$@" --backend soft --kernel "$hello" vm </dev/null >"$dir/out" 2>"$dir/err"
	status=$?
}
# verdict NAME STATUS
verdict() {
	n=$((n + 1))
	[ "$2" = 0 ] && echo "ok $n - $1" && return
	echo "not ok $n - $1"
	echo "# exit status $status"
	sed 's/^/# /' "$dir/err"
	failed=1
}
# Did the guest say hello and power off?
worked() {
	[ $status = 1 ] && grep -q "^Hello from a guest" "$dir/out"
}

echo "1..9"
hyve
worked && [ ! -s "$dir/err" ]
verdict "no counters unless asked for" $?

hyve --stats
worked && grep -qx "vcpu 0:" "$dir/err" && grep -q "  total number of vm exits$" "$dir/err" &&
	grep -q "^ *[1-9][0-9]*  blocks translated$" "$dir/err"
verdict "counters of the core and the backend" $?

! grep -vqE '^vcpu [0-9]+:$|^ *[1-9][0-9]*  [^ ].*$' "$dir/err" && ! grep -q "^vcpu 1:" "$dir/err"
verdict "one a line, none that is 0, no vcpu that never ran" $?

hyve --stats -o soft.cache=256K -o soft.count=on
worked && grep -q "  blocks entered without a lookup$" "$dir/err"
verdict "the smallest cache, and blocks counted" $?

hyve --stats -o soft.lockstep=true -o soft.torture=7
worked && grep -q "^ *[1-9][0-9]*  instructions compared in lock-step$" "$dir/err"
verdict "lock-step under torture" $?

hyve -o soft.torture=random
worked && [ "$(wc -l <"$dir/err")" = 1 ] && grep -q "soft.torture: the seed is [1-9][0-9]*$" "$dir/err"
verdict "a seed that nobody chose is told" $?

hyve --stats -o soft.max_insns=1 -o soft.torture=0
worked && blocks=$(sed -n "s/^ *\([0-9]*\)  blocks translated$/\1/p" "$dir/err") &&
	grep -q "^ *$blocks  instructions translated$" "$dir/err"
verdict "blocks of one instruction" $?

hyve -o soft.trace="$dir/trace"
if grep -q "built without libzydis-dev\|cannot be loaded" "$dir/err"; then
	n=$((n + 1))
	echo "ok $n - a trace # SKIP no Zydis"
else
	worked && [ ! -s "$dir/err" ] && grep -q "^vcpu 0: block 0x100000," "$dir/trace" &&
		grep -q "^0010001b  ee  *out dx, al  *| " "$dir/trace"
	verdict "a trace" $?
fi

# The map has the process's number in its name.
# shellcheck disable=SC2016
timeout -k 5 20 sh -c 'echo $$ >"$0/pid"; exec "$@"' "$dir" "$HYVE" -o soft.perf=1 --backend soft \
	--kernel "$hello" vm </dev/null >"$dir/out" 2>"$dir/err"
status=$?
map=/tmp/perf-$(cat "$dir/pid").map
worked && grep -q "^[0-9a-f]* [0-9a-f]* guest_0x100000_kernel32$" "$map" &&
	grep -q "^[0-9a-f]* [0-9a-f]* hyve_enter$" "$map"
verdict "a map for perf" $?
rm -f "$map"
exit $failed
