# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Linux with several vcpus: what it finds of their arrangement, and boots with more of them than the host has cores,
# in which neither kernel may have anything to complain about.  SMP_BOOTS=N repeats those.
. test/boot/lib.sh
plan 6

# cpus NAME OPTION PATTERN...: what /init prints of the CPUs has a line with each of the patterns.
cpus() {
	name=$1
	option=$2
	shift 2
	if ! vmlinuz=$(kernel cloud-amd64); then
		skip "$name" "linux-image-cloud-amd64 cannot be downloaded here"
		return
	fi
	timeout -k 5 90 "$HYVE" -c "$option" -m 512M --kernel "$vmlinuz" --initrd "$BUILD/initramfs.gz" \
		--append "console=ttyS0 quiet hyve.batch hyve.cpus" "$name" \
		</dev/null >"$logs/$name.out" 2>"$logs/$name.err"
	status=$?
	tr -d '\r' <"$logs/$name.out" >"$logs/$name.text"
	why=
	for pattern; do
		grep -qx -- "$pattern" "$logs/$name.text" || why="no line '$pattern'"
	done
	[ $status = 1 ] || why="exit status $status"
	if [ -z "$why" ]; then
		pass "$name"
	else
		fail "$name" "$why"
	fi
}

# What a kernel says when a vcpu was away too long, or when their clocks disagree.
complaints='rcu.*stall|soft lockup|hard LOCKUP|hung task|[Uu]nstable|clocksource.*skew|TSC warp|TSC ADJUST|Call Trace|WARNING:|BUG: |not responding'

# crowd NAME FLAVOUR VCPUS OPTION...
crowd() {
	if ! vmlinuz=$(kernel "$2"); then
		skip "$1" "linux-image-$2 cannot be downloaded here"
		return
	fi
	name=$1
	vcpus=$3
	shift 3
	round=0
	while [ $round -lt "${SMP_BOOTS:-1}" ]; do
		round=$((round + 1))
		timeout -k 5 90 "$HYVE" -c "$vcpus" -m 512M "$@" --kernel "$vmlinuz" --initrd "$BUILD/initramfs.gz" \
			--append "console=ttyS0 hyve.batch hyve.cpus" "$name" \
			</dev/null >"$logs/$name.out" 2>"$logs/$name.err"
		status=$?
		if [ $status != 1 ]; then
			fail "$name" "exit status $status in round $round"
			return
		elif [ "$(grep -ac '^cpu: ' "$logs/$name.out")" != "$vcpus" ]; then
			fail "$name" "not $vcpus CPUs in round $round"
			return
		elif ! grep -aq '^clock: tsc' "$logs/$name.out"; then
			fail "$name" "the clock is not the TSC in round $round"
			return
		elif grep -aE "$complaints" "$logs/$name.out" >"$logs/$name.complaints"; then
			fail "$name" "round $round: $(head -n 1 "$logs/$name.complaints" | tr -d '\r')"
			return
		fi
	done
	pass "$name"
}

cpus sockets 4 \
	'cpu: 0 socket 0 core 0 threads 0 cores 0 caches 0 0 0 0' \
	'cpu: 3 socket 3 core [0-9]* threads 3 cores 3 caches 3 3 3 3'
cpus cores cpus=4,cores=4 \
	'cpu: 0 socket 0 core 0 threads 0 cores 0-3 caches 0 0 0 0-3' \
	'cpu: 3 socket 0 core 3 threads 3 cores 0-3 caches 3 3 3 0-3'
cpus threads sockets=2,cores=2,threads=2 \
	'cpu: 0 socket 0 core 0 threads 0-1 cores 0-3 caches 0-1 0-1 0-1 0-3' \
	'cpu: 3 socket 0 core 1 threads 2-3 cores 0-3 caches 2-3 2-3 2-3 0-3' \
	'cpu: 7 socket 1 core [0-9]* threads 6-7 cores 4-7 caches 6-7 6-7 6-7 4-7'
crowd crowd-cloud cloud-amd64 16
crowd crowd-stock amd64 16
crowd crowd-cores cloud-amd64 16 -x -o sockets=1 -o cores=8 -o threads=2
finish
