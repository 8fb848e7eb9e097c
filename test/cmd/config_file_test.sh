# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Files of settings: what config.dump prints is one, and mistakes are named with file and line.
BUILD=${BUILD:-build}
HYVE=${HYVE:-$BUILD/hyve}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
hello=$BUILD/examples/guest/hello
n=0
failed=0

# result NAME WHY: no WHY is a pass.
result() {
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		failed=1
		echo "not ok $n - $1"
		echo "# $2"
	fi
}
# file LINE...: makes $dir/conf.
file() {
	printf '%s\n' "$@" >"$dir/conf"
}
run() {
	timeout -s KILL 20 "$HYVE" "$@" </dev/null >"$dir/out" 2>"$dir/err"
	status=$?
}

# What was dumped is read again, and says the same: variables are expanded, percent signs stay.
dumps() {
	why=
	run "$@" -o config.dump=true
	[ $status = 0 ] || why="dump: exit status $status, $(cat "$dir/err")"
	mv "$dir/out" "$dir/first"
	grep -q config.dump "$dir/first" && why="the dump wants to be dumped"
	run -k "$dir/first" -o config.dump=true
	[ $status = 0 ] || why="reading it: exit status $status, $(cat "$dir/err")"
	cmp -s "$dir/first" "$dir/out" || why=$(diff "$dir/first" "$dir/out" | tr '\n' ' ')
	result "dump of $*" "$why"
}
dumps -c cpus=4,cores=2 -m 1G -x -u -s 3,virtio-rnd -l com2,pty --kernel "$hello" vm
dumps --kernel "$hello" --append 'a=b #c = %%d %%%% %%(name) %(name)  x' vm
dumps -s "3,virtio-console,org.one=/tmp/%(name).1,two=/tmp/2,console=pty" --kernel "$hello" vm
why=
grep -qx 'pci.0.3.0.port.0.path=/tmp/vm.1' "$dir/first" || why=$(cat "$dir/first")
result "variables are expanded in it" "$why"

run --kernel "$hello" -m 16M -l com1,stdio -o config.dump=true vm
mv "$dir/out" "$dir/first"
run -k "$dir/first"
why=
[ $status = 1 ] && grep -q 'Hello from a guest' "$dir/out" || why="exit status $status, $(cat "$dir/err")"
result "a dump boots" "$why"
run --append 'two
lines' --kernel "$hello" -o config.dump=true vm
[ $status = 4 ] && why= || why="exit status $status"
result "what no file can hold" "$why"

# bad LINE WORD: the file's third line is wrong.
bad() {
	file '# settings' 'name=vm' "$1" "kernel.path=$hello"
	run -k "$dir/conf"
	why=
	[ $status = 4 ] || why="exit status $status"
	[ "$(wc -l <"$dir/err")" = 1 ] || why="not one line: $(cat "$dir/err")"
	grep -qF "hyve: $dir/conf:3: " "$dir/err" && grep -qF -- "$2" "$dir/err" || why="it says $(cat "$dir/err")"
	result "$1" "$why"
}
bad 'nonsense' 'nonsense'
bad 'cpus = 2' 'blanks'
bad '=2' '=2'
bad 'a/b=2' 'a/b'
bad '.x=2' '.x'
bad 'cpus=many' 'cpus=many'
bad 'cpus=99' 'from 1 to 16'
bad 'memory.size=12 apples' '512M'
bad 'memory.size=1000T' 'this host has'
bad 'x86.x2apic=perhaps' 'true or false'
bad 'lpc.ps2=never' 'true or false'
bad 'kernel.cmdline=root=%(disk)' '%(disk)'
bad 'kernel.cmdline=%(kernel.cmdline)' 'leads back'
bad 'kernel.cmdline=%(open' 'without )'
bad 'pci.0.3.0.path=disk' 'pci.0.3.0.device'
bad 'pci.1.3.0.device=virtio-rnd' 'PCI bus'
bad 'pci.x=1' 'pci.BUS.SLOT'
bad 'log.all=loud' 'debug'
bad "$(printf 'cpus=2\0013')" 'no text'

# Later settings win, and then it is their place that counts.
file 'cpus=many' 'cpus=1' 'name=vm' "kernel.path=$hello" 'memory.size=16M' 'vga.unknown=bhyve has it'
run -k "$dir/conf"
[ $status = 1 ] && why= || why="exit status $status, $(cat "$dir/err")"
result "the last one counts" "$why"
file 'cpus=1' 'name=vm'
run -k "$dir/conf" -c many --kernel "$hello"
why=
grep -q '^hyve: cpus=many (-c): ' "$dir/err" || why=$(cat "$dir/err")
result "an option after the file" "$why"
run -k "$dir" vm
why=
[ $status = 4 ] && grep -q "$dir" "$dir/err" || why=$(cat "$dir/err")
result "a folder" "$why"
echo "1..$n"
exit $failed
