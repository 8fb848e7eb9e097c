# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The lab: Debian's kernel in QEMU, which emulates a processor with SVM, and its KVM in there. What needs a true
# KVM runs there and counts here: the contract suite on the backend kvm, line by line, and a boot of the same kernel
# by hyve, a guest within the guest. A VMRUN costs QEMU some 200 us, so exits are dear in it and nothing else is.
# What QEMU does not survive stands in test/lab/skips.  SMAP is off: QEMU takes the stack accesses of an IRET at CPL 3 for the supervisor's, and x86/ has such an IRET.
#
# The suite's results for tools that read them are left in $BUILD/lab/results, the console in $BUILD/lab/console.
# LAB_LIMIT is how many seconds the machine may take, LAB_BACKEND another backend, LAB_ONLY=pattern picks
# behaviours.
BUILD=${BUILD:-build}
lab=$BUILD/lab
limit=${LAB_LIMIT:-300}
backend=${LAB_BACKEND:-kvm}
cases=0
failed=0
mkdir -p "$lab"
rm -f "$lab"/list "$lab"/root.gz "$lab"/qemu* "$lab"/raw "$lab"/console "$lab"/job "$lab"/results*

pass() {
	cases=$((cases + 1))
	echo "ok $cases - $1"
}
# fail NAME WHY
fail() {
	cases=$((cases + 1))
	failed=1
	echo "not ok $cases - $1"
	echo "# $2"
}
# skip_all WHY: in place of everything.
skip_all() {
	echo "1..1"
	echo "ok 1 - lab # SKIP $1"
	exit 0
}
# The end of what the machine printed.
tail_of_console() {
	tail -n 20 "$lab/console" 2>/dev/null | sed 's/^/#   /'
}

# machine FILE...: one with these files that runs the jobs of $lab/list to its end.
machine() {
	# shellcheck disable=SC2086
	test/lab/mkroot "$lab/root.gz" "$lab/list" $ko "$@" || return 1
	timeout -k 5 "$limit" qemu-system-x86_64 -accel tcg -cpu max,+svm,-smap -smp 2 -m 1G -nodefaults -display none \
		-no-reboot -serial "file:$lab/raw" -kernel "$vmlinuz" -initrd "$lab/root.gz" -append \
		"console=ttyS0 panic=-1 mitigations=off audit=0 nokaslr no_timer_check tsc=reliable tsc_early_khz=$tsc_khz \
random.trust_cpu=on cryptomgr.notests=1 rcupdate.rcu_expedited=1 quiet" </dev/null >"$lab/qemu" 2>&1
	echo "exit status $?: $(head -n 1 "$lab/qemu")" >"$lab/qemu.status"
	tr -d '\r' <"$lab/raw" >"$lab/console"
}
# job NAME: what that job printed, into $lab/job; fails when it did not come to its end.
job() {
	awk -v job="$1" '
		$1 == "@begin" && $2 == job { inside = 1; next }
		$1 == "@end" && $2 == job { ended = 1; exit }
		inside { print }
		END { exit !ended }' "$lab/console" >"$lab/job"
}
# ended NAME: its status and the seconds it took.
ended() {
	awk -v job="$1" '$1 == "@end" && $2 == job { print $3, $4; exit }' "$lab/console"
}
# tap NAME: each test case of a job as one here; and one more that fails if it did not end as it should.
tap() {
	job "$1"
	seen=0
	bad=0
	planned=0
	while IFS= read -r line; do
		case $line in
		1..[0-9]*) planned=$((planned + ${line#1..})) ;;
		"ok "* | "not ok "*)
			seen=$((seen + 1))
			cases=$((cases + 1))
			case $line in
			*"# SKIP"*) ;;
			"not "*) bad=1 failed=1 ;;
			esac
			echo "$line" | sed "s/ok [0-9]* *-* */ok $cases - $1: /"
			;;
		"#"*) echo "$line" ;;
		esac
	done <"$lab/job"
	# shellcheck disable=SC2046
	set -- "$1" $(ended "$1")
	if [ $# != 3 ]; then
		fail "$1" "did not end"
		tail_of_console
	elif [ $seen != $planned ] || { [ $seen = 0 ] && [ -z "${LAB_ONLY-}" ]; } || { [ "$2" != 0 ] && [ $bad = 0 ]; }; then
		fail "$1" "exit status $2 after $seen results of $planned"
		tail -n 10 "$lab/job" | sed 's/^/#   /'
	fi
	echo "# $1: ${3:-?} s"
}

command -v qemu-system-x86_64 >/dev/null || skip_all "no qemu-system-x86_64 here"
vmlinuz=$(tools/get-kernel cloud-amd64 build/kernel 2>/dev/null) &&
	modules=$(tools/get-kernel --modules cloud-amd64 build/kernel 2>/dev/null) ||
	skip_all "linux-image-cloud-amd64 and its modules cannot be downloaded here"
ko=$(find "$modules" -name '*.ko' ! -name kvm-intel.ko)
[ -n "$(echo "$ko" | grep 'kvm-amd.ko')" ] || skip_all "$modules has no kvm-amd.ko"

tsc_khz=$("$BUILD/test/lab/tsc_khz")

sections=$(cd test/contract && ls -- c[0-9]*_test.c | sed 's/_test\.c$//')
"$BUILD/hyve" --preflight | grep -q "^$backend " || sections=
suite="CONTRACT_BACKEND=$backend CONTRACT_RESULTS=/tmp/results CONTRACT_SKIP=skips CONTRACT_RETRY=1 ${LAB_ONLY:+CONTRACT_ONLY='$LAB_ONLY'}"
{
	echo "smoke_kvm 20 ./smoke_kvm"
	[ -z "$sections" ] || echo "nested 200 ./hyve --backend $backend -c 1 -m 256M --kernel vmlinuz" \
		"--initrd initramfs.gz --append 'console=ttyS0 quiet hyve.batch' nested"
	for section in $sections; do
		echo "$section 300 $suite ./${section}_test"
	done
	echo "preflight 20 ./hyve --preflight"
} >"$lab/list"
set -- "$BUILD/test/lab/smoke_kvm" "$BUILD/hyve" "$BUILD/initramfs.gz" "$lab/vmlinuz" test/lab/skips
for section in $sections; do
	set -- "$@" "$BUILD/lab/contract/${section}_test"
done
cp "$vmlinuz" "$lab/vmlinuz"
machine "$@"

# shellcheck disable=SC2046
set -- $(ended modules)
if [ "${1-}" != 0 ]; then
	fail "KVM's modules are loaded" "qemu: $(cat "$lab/qemu.status")"
	tail_of_console
	echo "1..$cases"
	exit 1
fi
pass "KVM's modules are loaded"
tap smoke_kvm
if [ -z "$sections" ]; then
	cases=$((cases + 1))
	echo "ok $cases - suite # SKIP this hyve has no backend $backend"
	echo "1..$cases"
	exit $failed
fi
for section in $sections; do
	tap "$section"
done
# shellcheck disable=SC2046
set -- $(ended nested)
if job nested && [ "$1" = 1 ] && grep -q "hyve: /init reached" "$lab/job"; then
	pass "a kernel boots to /init on the backend $backend"
	echo "# $2 s"
else
	fail "a kernel boots to /init on the backend $backend" "exit status ${1:-none}"
	tail -n 20 "$lab/job" | sed 's/^/#   /'
	! job preflight || sed 's/^/#   /' "$lab/job"
fi
if job results; then
	mv "$lab/job" "$lab/results"
else
	fail "results" "the machine did not end: qemu: $(cat "$lab/qemu.status")"
	tail_of_console
fi
echo "1..$cases"
exit $failed
