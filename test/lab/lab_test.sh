# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The lab: Debian's kernel in QEMU, which emulates a processor with SVM, and its KVM in there. What needs a true
# KVM runs there and counts here: the contract suite on the backend kvm, line by line, and a boot of the same kernel
# by hyve, a guest within the guest. A VMRUN costs QEMU some 200 us, so exits are dear in it and nothing else is.
# SMAP is off: QEMU takes the stack accesses of an IRET at CPL 3 for the supervisor's, and x86/ has such an IRET.
#
# The suite's results for tools that read them are left in $BUILD/lab/results, consoles in $BUILD/lab/*.console.
# LAB_LIMIT is how many seconds either machine may take, LAB_BACKEND another backend, LAB_ONLY=pattern picks
# behaviours.
BUILD=${BUILD:-build}
lab=$BUILD/lab
limit=${LAB_LIMIT:-270}
backend=${LAB_BACKEND:-kvm}
cases=0
failed=0
mkdir -p "$lab"
rm -rf "$lab/suite" "$lab"/suite.* "$lab/boot" "$lab"/boot.* "$lab/results"

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
# What the guest printed last.
tail_of() {
	tail -n "${2:-20}" "$lab/$1.console" 2>/dev/null | sed 's/^/#   /'
}

# machine NAME FILE...: becomes the machine NAME with these files and the jobs of $lab/NAME.list.
machine() {
	name=$1
	shift
	mkdir -p "$lab/$name"
	mv "$lab/$name.list" "$lab/$name/list"
	test/lab/mkroot "$lab/$name.gz" "$lab/$name/list" $ko "$@" || return 1
	timeout -k 5 "$limit" qemu-system-x86_64 -accel tcg -cpu max,+svm,-smap -smp 2 -m 1G -nodefaults -display none \
		-no-reboot -serial "file:$lab/$name.raw" -kernel "$vmlinuz" -initrd "$lab/$name.gz" -append \
		"console=ttyS0 panic=-1 mitigations=off audit=0 nokaslr no_timer_check tsc=reliable tsc_early_khz=$tsc_khz random.trust_cpu=on \
cryptomgr.notests=1 quiet" </dev/null >"$lab/$name.qemu" 2>&1
	echo $? >"$lab/$name.status"
	tr -d '\r' <"$lab/$name.raw" >"$lab/$name.console"
}
# job NAME JOB: what that job printed; fails when it did not come to its end.
job() {
	awk -v job="$2" '
		$1 == "@begin" && $2 == job { inside = 1; next }
		$1 == "@end" && $2 == job { ended = 1; exit }
		inside { print }
		END { exit !ended }' "$lab/$1.console"
}
# ended NAME JOB: its status and the seconds it took.
ended() {
	awk -v job="$2" '$1 == "@end" && $2 == job { print $3, $4; exit }' "$lab/$1.console"
}
# tap NAME JOB: each test case of a job as one here; and one more that fails if it did not end as it should.
tap() {
	job "$1" "$2" >"$lab/$1.job"
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
			echo "$line" | sed "s/ok [0-9]* *-* */ok $cases - $2: /"
			;;
		"#"*) echo "$line" ;;
		esac
	done <"$lab/$1.job"
	# shellcheck disable=SC2046
	set -- "$1" "$2" $(ended "$1" "$2")
	if [ $# != 4 ]; then
		fail "$2" "did not end"
		tail_of "$1"
	elif [ $seen != $planned ] || [ $seen = 0 ] || { [ "$3" != 0 ] && [ $bad = 0 ]; }; then
		fail "$2" "exit status $3 after $seen results of $planned"
		tail -n 10 "$lab/$1.job" | sed 's/^/#   /'
	fi
	echo "# $2: ${4:-?} s"
}
# modules NAME: whether that machine has come up with KVM; a test case of its own.
modules() {
	read -r status seconds <<-END
		$(ended "$1" modules)
	END
	if [ "$status" = 0 ]; then
		pass "$1: KVM's modules are loaded"
		return
	fi
	fail "$1: KVM's modules are loaded" "qemu: exit status $(cat "$lab/$1.status"): $(head -n 1 "$lab/$1.qemu")"
	tail_of "$1"
	return 1
}

command -v qemu-system-x86_64 >/dev/null || skip_all "no qemu-system-x86_64 here"
vmlinuz=$(tools/get-kernel cloud-amd64 build/kernel 2>/dev/null) &&
	modules=$(tools/get-kernel --modules cloud-amd64 build/kernel 2>/dev/null) ||
	skip_all "linux-image-cloud-amd64 and its modules cannot be downloaded here"
ko=$(find "$modules" -name '*.ko' ! -name kvm-intel.ko)
[ -n "$(echo "$ko" | grep 'kvm-amd.ko')" ] || skip_all "$modules has no kvm-amd.ko"

tsc_khz=$("$BUILD/test/lab/tsc_khz")

# The suite in one machine and the boot in another, so that two processors have something to do.
sections=$(cd test/contract && ls -- c[0-9]*_test.c | sed 's/_test\.c$//')
"$BUILD/hyve" --preflight | grep -q "^$backend " || sections=
suite="CONTRACT_BACKEND=$backend CONTRACT_RESULTS=/tmp/results ${LAB_ONLY:+CONTRACT_ONLY='$LAB_ONLY'}"
programs=
{
	echo "smoke_kvm 20 ./smoke_kvm"
	for section in $sections; do
		echo "$section 120 $suite ./${section}_test"
	done
} >"$lab/suite.list"
for section in $sections; do
	programs="$programs $BUILD/lab/contract/${section}_test"
done
{
	echo "preflight 20 ./hyve --preflight"
	echo "nested 200 ./hyve --backend $backend -c 1 -m 256M --kernel vmlinuz --initrd initramfs.gz" \
		"--append 'console=ttyS0 quiet hyve.batch' nested"
} >"$lab/boot.list"
cp "$vmlinuz" "$lab/vmlinuz"

if [ -n "$sections" ]; then
	machine boot "$BUILD/hyve" "$lab/vmlinuz" "$BUILD/initramfs.gz" &
fi
# shellcheck disable=SC2086
machine suite "$BUILD/test/lab/smoke_kvm" $programs
wait

if modules suite; then
	tap suite smoke_kvm
	for section in $sections; do
		tap suite "$section"
	done
	if job suite results >"$lab/suite.results"; then
		mv "$lab/suite.results" "$lab/results"
	else
		fail "results" "the machine did not end"
	fi
fi
if [ -z "$sections" ]; then
	cases=$((cases + 1))
	echo "ok $cases - boot # SKIP this hyve has no backend $backend"
elif modules boot; then
	read -r status seconds <<-END
		$(ended boot nested)
	END
	if [ "$status" = 1 ] && job boot nested | grep -q "hyve: /init reached"; then
		pass "a kernel boots to /init on the backend $backend"
		echo "# $seconds s"
	else
		fail "a kernel boots to /init on the backend $backend" "exit status ${status:-none}"
		job boot preflight | sed 's/^/#   /'
		tail_of boot
	fi
fi
echo "1..$cases"
exit $failed
