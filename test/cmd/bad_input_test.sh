# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# What the user got wrong: exit status 4 and one line on standard error that names it; nothing on standard
# output, nothing left behind.
BUILD=${BUILD:-build}
HYVE=${HYVE:-$BUILD/hyve}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
hello=$BUILD/examples/guest/hello
n=0
failed=0

# bad NAME WORD OPTION...: WORD has to be in the line.
bad() {
	name=$1
	word=$2
	shift 2
	n=$((n + 1))
	timeout -k 5 20 "$HYVE" "$@" </dev/null >"$dir/out" 2>"$dir/err"
	status=$?
	lines=$(wc -l <"$dir/err")
	if [ $status != 4 ]; then
		why="exit status $status"
	elif [ "$lines" != 1 ]; then
		why="$lines lines of error"
	elif ! grep -qF -- "$word" "$dir/err"; then
		why="the line does not say '$word'"
	elif [ -s "$dir/out" ]; then
		why="something on standard output"
	else
		echo "ok $n - $name"
		return
	fi
	failed=1
	echo "not ok $n - $name"
	echo "# $why"
	sed 's/^/# /' "$dir/err"
}

echo "just text, but long enough to have a header read from it" >"$dir/text"
: >"$dir/empty"
head -c 40000000 /dev/zero >"$dir/huge"
printf 'cpus=1\nmemory.size=zero\n' >"$dir/config"
printf 'cpus\n' >"$dir/noconfig"
printf '\177ELF\002\001\001' >"$dir/cut"

echo "1..39"
bad "no kernel file" "$dir/none" --kernel "$dir/none" vm
bad "a folder for a kernel" "$dir" --kernel "$dir" vm
bad "a text for a kernel" "$dir/text" --kernel "$dir/text" vm
bad "an empty kernel" "$dir/empty" --kernel "$dir/empty" vm
bad "an ELF file cut short" "$dir/cut" --kernel "$dir/cut" vm
bad "no initrd file" "$dir/none" --kernel "$hello" --initrd "$dir/none" vm
bad "an initrd that does not fit" "$dir/huge" -m 16M --kernel "$hello" --initrd "$dir/huge" vm
bad "no memory" "-m" -m 0 --kernel "$hello" vm
bad "odd memory" "-m" -m 1048577 --kernel "$hello" vm
bad "memory that is no size" "-m" -m lots --kernel "$hello" vm
bad "negative memory" "-m" -m -5 --kernel "$hello" vm
bad "more memory than there is" "-m" -m 1000T --kernel "$hello" vm
bad "no cpus" "-c" -c 0 --kernel "$hello" vm
bad "too many cpus" "-c" -c 17 --kernel "$hello" vm
bad "cpus that are no such cores" "3 cores" -c cpus=4,cores=3 --kernel "$hello" vm
bad "too many threads" "18 cpus" -c sockets=3,cores=3,threads=2 --kernel "$hello" vm
bad "cpus that are no number" "-c" -c many --kernel "$hello" vm
bad "an unknown option" "-j" -j --kernel "$hello" vm
bad "an unknown long option" "--kernal" --kernal "$hello" vm
bad "an unknown key" "no.such.key" -o no.such.key=1 --kernel "$hello" vm
bad "a key without a value" "cpus" -o cpus --kernel "$hello" vm
bad "a name of 32 bytes" "name" --kernel "$hello" 12345678901234567890123456789012
bad "no name" "name" --kernel "$hello"
bad "two names" "two" --kernel "$hello" one two
bad "no kernel" "--kernel" vm
bad "an unknown device" "com9" -l com9,stdio --kernel "$hello" vm
bad "a terminal that is not there" "$dir/none" -l "com1,$dir/none" --kernel "$hello" vm
bad "an unknown backend" "magic" --backend magic --kernel "$hello" vm
bad "a setting that is wrong in a file" "memory.size" -k "$dir/config" --kernel "$hello" vm
bad "a file that is no configuration" "$dir/noconfig" -k "$dir/noconfig" --kernel "$hello" vm
bad "a code cache too small" "soft.cache" --backend soft -o soft.cache=1K --kernel "$hello" vm
bad "a code cache that is no size" "soft.cache" --backend soft -o soft.cache=big --kernel "$hello" vm
bad "an unknown key of the backend" "soft.cash" --backend soft -o soft.cash=4M --kernel "$hello" vm
bad "a trace that cannot be written" "soft.trace" --backend soft -o "soft.trace=$dir/none/x" --kernel "$hello" vm
bad "lock-step, or not" "soft.lockstep" --backend soft -o soft.lockstep=maybe --kernel "$hello" vm
bad "lock-step of two vcpus" "soft.lockstep" -c 2 --backend soft -o soft.lockstep=true --kernel "$hello" vm
bad "torture without a number" "soft.torture" --backend soft -o soft.torture=hard --kernel "$hello" vm
bad "blocks of no instruction" "soft.max_insns" --backend soft -o soft.max_insns=0 --kernel "$hello" vm
bad "counters, or not" "stats" -o stats=perhaps --kernel "$hello" vm
exit $failed
