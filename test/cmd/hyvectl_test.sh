# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# hyvectl against running machines: each verb, what it prints, what it says to mistakes, and two machines.
BUILD=${BUILD:-build}
HYVE=${HYVE:-$BUILD/hyve}
HYVECTL=${HYVECTL:-$BUILD/hyvectl}
dir=$(mktemp -d)
HYVE_RUNDIR=$dir/run
export HYVE_RUNDIR
counter=$BUILD/test/cmd/counter
n=0
failed=0
pids=
# Ends what is left, by its id.
finish() {
	for pid in $pids; do
		kill -KILL "$pid" 2>/dev/null
	done
	rm -rf "$dir"
}
trap finish EXIT

# start NAME OPTION...: in the background, until its guest counts; its process is $pid.
start() {
	name=$1
	shift
	"$HYVE" --backend soft -m 16M --kernel "$counter" "$@" "$name" </dev/null >"$dir/$name.out" \
		2>"$dir/$name.err" &
	pid=$!
	pids="$pids $pid"
	for _ in $(seq 200); do
		grep -q counting "$dir/$name.out" && return
		sleep 0.05
	done
}
# ended PID: its exit status in $status.
ended() {
	wait "$1"
	status=$?
}
ctl() {
	timeout -k 5 30 "$HYVECTL" "$@" >"$dir/out" 2>"$dir/err"
	status=$?
}
# verdict NAME STATUS
verdict() {
	n=$((n + 1))
	[ "$2" = 0 ] && echo "ok $n - $1" && return
	failed=1
	echo "not ok $n - $1"
	echo "# exit status $status"
	sed 's/^/# /' "$dir/out" "$dir/err"
}
# good NAME PATTERN: the last call worked, silently, and printed a line that is all PATTERN.
good() {
	[ $status = 0 ] && [ ! -s "$dir/err" ] && grep -qxE "$2" "$dir/out"
	verdict "$1" $?
}
silent() {
	[ $status = 0 ] && [ ! -s "$dir/err" ] && [ ! -s "$dir/out" ]
	verdict "$1" $?
}
# bad NAME WORDS: exit status 1 and one line with WORDS.
bad() {
	[ $status = 1 ] && [ "$(wc -l <"$dir/err")" = 1 ] && grep -qF -- "$2" "$dir/err"
	verdict "$1" $?
}
# value OPTION: what --get-rbx and the like say.
value() {
	"$HYVECTL" --vm=one "$1" | awk '{ print $2 }'
}
H="0x[0-9a-f]"
T=$(printf '\t')

echo "1..80"

ctl list
[ $status = 0 ] && [ "$(wc -l <"$dir/out")" = 1 ]
verdict "no machine, an empty list" $?
ctl --vm=one --get-all
bad "no such machine" 'no virtual machine "one" runs here'

start one -c 2,sockets=1,cores=2,threads=1
one=$pid
start two
two=$pid

ctl list
good "one in the list" "one +$one soft +2 +16M running +0:00:[0-9]+"
good "two in the list" "two +$two soft +1 +16M running +0:00:[0-9]+"
ctl --vm=one --get-vm-pid
good "get-vm-pid" "$one"

"$HYVE" --backend soft --kernel "$counter" one </dev/null >"$dir/out" 2>"$dir/err"
status=$?
[ $status = 4 ] && grep -qx "hyve: one is running already (pid $one)" "$dir/err"
verdict "a second of the same name" $?

# ---- registers ----
for r in efer cr0 cr2 cr3 cr4 dr7 rsp rip rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15 rflags; do
	ctl --vm=one --get-$r
	[ $status = 0 ] && grep -qxE "$r\[0\]$T$T$H{16}" "$dir/out" || break
done
[ $r = rflags ]
verdict "each register by its name" $?
for r in ds es fs gs ss cs tr ldtr; do
	ctl --vm=one --get-desc-$r
	[ $status = 0 ] && grep -qxE "$r desc\[0\]$T$H{16}/$H{8}/$H{8}" "$dir/out" || break
done
[ $r = ldtr ]
verdict "each descriptor" $?
ctl --vm=one --get-desc-gdtr --get-desc-idtr
good "gdtr" "gdtr\[0\]$T$T$H{16}/0x00000017"
good "idtr" "idtr\[0\]$T$T$H{16}/0x00000017"
ctl --vm=one --get-cs
good "cs" "cs\[0\]$T${T}0x0008"
ctl --vm=one --cpu=1 --get-ldtr
good "another cpu" "ldtr\[1\]$T${T}0x0000"

ctl --vm=one --set-rsi=0x123456789abcdef0 --set-r15=42
silent "setting registers"
ctl --vm=one --get-rsi --get-r15
good "... rsi" "rsi\[0\]$T${T}0x123456789abcdef0"
good "... r15" "r15\[0\]$T${T}0x000000000000002a"
ctl --vm=one --set-desc-gs --desc-base=0x1000 --desc-limit=0xfff --desc-access=0x93 --set-gs=0x10
silent "setting a descriptor"
ctl --vm=one --get-desc-gs --get-gs
good "... its hidden part" "gs desc\[0\]${T}0x0000000000001000/0x00000fff/0x00000093"
good "... its selector" "gs\[0\]$T${T}0x0010"

ctl --vm=one --get-all
all() {
	[ $status = 0 ] && [ ! -s "$dir/err" ] && grep -q '^rip\[0\]' "$dir/out" &&
		grep -q '^idtr\[0\]' "$dir/out" && grep -q '^active cpus:' "$dir/out" &&
		grep -q '^cpu_topology:' "$dir/out" && grep -q '^vcpu0 stats:' "$dir/out" &&
		[ "$(grep -c '^rax\[0\]' "$dir/out")" = 1 ]
}
all
verdict "get-all" $?

# ---- pause, resume, NMI ----
before=$(value --get-rbx)
sleep 0.1
after=$(value --get-rbx)
[ "$before" != "$after" ]
verdict "the guest counts" $?
ctl --vm=one --pause
silent "pause"
before=$(value --get-rbx)
sleep 0.2
after=$(value --get-rbx)
[ "$before" = "$after" ]
verdict "... stops it" $?
ctl --vm=one --pause
bad "... once only" "it is paused already"
ctl list
good "... is in the list" "one +$one soft +2 +16M paused .*"
ctl --vm=one --inject-nmi
silent "an NMI"
[ "$(value --get-rbp)" = 0x0000000000000000 ]
verdict "... does not come to a paused guest" $?
ctl --vm=one --resume
silent "resume"
for _ in $(seq 100); do
	[ "$(value --get-rbp)" = 0x0000000000000001 ] && break
	sleep 0.05
done
[ "$(value --get-rbp)" = 0x0000000000000001 ]
verdict "... and then it does" $?
[ "$(value --get-rbx)" != "$after" ]
verdict "... and the guest counts on" $?
ctl --vm=one --resume
bad "resume without pause" "it is not paused"
ctl --vm=one --pause --get-rip --resume
good "all in one line" "rip\[0\].*"

# ---- the rest ----
ctl --vm=one --get-stats
good "get-stats of the core" "total number of vm exits +$T[1-9][0-9]*"
good "... of the backend" "blocks translated +$T[1-9][0-9]*"
good "... of a device" "bytes sent +${T}10"
ctl --vm=one --get-lowmem
good "get-lowmem" "lowmem$T${T}0x0000000000000000/16777216"
ctl --vm=one --get-highmem
good "get-highmem" "highmem$T${T}0x0000000100000000/0"
ctl --vm=one --get-memseg
good "get-memseg" "0   16384KB     sysmem"
ctl --vm=one --get-memmap
good "get-memmap" "0           16384KB     sysmem      0           RWX   "
ctl --vm=one --get-active-cpus
good "get-active-cpus" "active cpus:$T 0"
ctl --vm=one --get-suspended-cpus
good "get-suspended-cpus" "suspended cpus:$T \(none\)"
ctl --vm=one --get-cpu-topology
good "get-cpu-topology" "cpu_topology:${T}sockets=1, cores=2, threads=1, maxcpus=16"
ctl --vm=one --get-x2apic-state
good "get-x2apic-state" "x2apic_state\[0\]${T}0"
ctl --vm=one --set-x2apic-state=1
bad "set-x2apic-state, too late" "has run already"
ctl --vm=one --cpu=1 --set-x2apic-state=1 --get-x2apic-state
good "... in time" "x2apic_state\[1\]${T}1"
ctl --vm=one --getcap --capname=hlt_exit
good "getcap" 'Capability "hlt_exit" is set on vcpu 0'
[ "$(wc -l <"$dir/out")" = 1 ]
verdict "... that one alone" $?
ctl --vm=one --setcap=1 --capname=pause_exit --getcap
good "setcap" 'Capability "pause_exit" is set on vcpu 0'
ctl --vm=one --setcap=1
bad "setcap of nothing" "--capname is needed"
ctl --vm=one --set-rtc-time=1000000000 --get-rtc-time
good "rtc time" "rtc time 0x3b9aca0[0-9a-f]: Sun Sep 09 01:46:4[0-9] 2001"
ctl --vm=one --set-rtc-nvram=0xab --get-rtc-nvram --rtc-nvram-offset=100
good "rtc nvram" "rtc nvram\[100\]: 0xab"
ctl --vm=one --get-intinfo
good "get-intinfo" "pending:${T}n/a"
ctl --vm=one --get-gpa-pmap=0x2000
good "get-gpa-pmap" "gpa 0x2000: sysmem 0\+0x2000"
ctl --vm=one --get-gpa-pmap=0xfee00000
good "... of a chip" "gpa 0xfee00000:"
ctl --vm=one --assert-lapic-lvt=3
silent "assert-lapic-lvt"
ctl --vm=two --get-rbp
good "the other machine saw nothing of it" "rbp\[0\]$T${T}0x0000000000000000"

# ---- mistakes ----
ctl --vm=one --frobnicate
bad "an unknown option" "--frobnicate"
ctl --vm=one --set-rax
bad "a missing argument" "--set-rax"
ctl --vm=one --set-rax=many
bad "no number" '--set-rax: "many" is no number'
ctl --vm=one --set-cs=0x10000
bad "a number that is too large" "--set-cs: one: value"
ctl --vm=one --cpu=16 --get-rax
bad "no such cpu" "use a number from 0 to 15"
ctl --vm=one --assert-lapic-lvt=99
bad "no such LVT" "--assert-lapic-lvt"
ctl --vm=one
bad "nothing to do" "nothing to do"
ctl --get-all
bad "no machine" "name a machine with --vm"
ctl fly
bad "an unknown command" 'unknown command "fly"'
ctl --vm=one --suspend=file
bad "what hyve has not" "--suspend is not offered: hyve has no snapshots"
ctl --vm=one --get-dr0
bad "nor this" "--get-dr0 is not offered"
ctl --vm=../run/one --get-rax
bad "a name that is a path" "no virtual machine"
ctl --help
good "help has them all" " +\[--set-desc-gs\]"

# ---- top ----
ctl --vm=one top --once
good "top" "one: running, backend soft, pid $one, up .*"
good "... a line for a cpu" " +0 +[0-9]+\.[0-9]( +[0-9]+k?){6}"
good "... for a thread" "hyve-events +0\.[0-9]"
good "... for a device" "com1 +bytes sent +10 +0"

# ---- ends ----
ctl --vm=two --destroy
silent "destroy"
ctl --vm=two --get-rax
bad "... is over when it returns" "no virtual machine"
ended "$two"
[ $status = 4 ] && grep -q "hyve: destroyed by hyvectl" "$dir/two.err"
verdict "... is an error to hyve" $?

kill -TERM "$one"
ended "$one"
[ $status = 1 ] && [ ! -s "$dir/one.err" ]
verdict "SIGTERM is the power button" $?

start three
ctl --vm=three --power-button
ended "$pid"
[ $status = 1 ]
verdict "power-button" $?
start three
ctl --vm=three --force-reset
ended "$pid"
[ $status = 0 ]
verdict "force-reset" $?
start three
ctl --vm=three --pause --force-poweroff
ended "$pid"
[ $status = 1 ]
verdict "force-poweroff, of a paused one" $?

[ -z "$(ls "$HYVE_RUNDIR")" ]
verdict "no socket is left" $?
exit $failed
