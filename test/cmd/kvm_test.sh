# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# hyve and KVM: what --preflight says, that auto keeps to it, that --backend kvm runs a guest where it works, and
# the line that names what is wrong where it does not.
BUILD=${BUILD:-build}
HYVE=${HYVE:-$BUILD/hyve}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
hello=$BUILD/examples/guest/hello
n=0
failed=0

verdict() {
	n=$((n + 1))
	if [ "$2" = 0 ]; then
		echo "ok $n - $1"
		return
	fi
	failed=1
	echo "not ok $n - $1"
	sed 's/^/# /' "$dir/out" "$dir/err"
}

skipped() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}

hyve() {
	timeout -k 5 30 "$HYVE" "$@" </dev/null >"$dir/out" 2>"$dir/err"
	status=$?
}

# refused NAME WORDS OPTION...
refused() {
	name=$1
	words=$2
	shift 2
	if [ -n "$no_kvm" ]; then
		skipped "$name" "$no_kvm"
		return
	fi
	hyve --backend kvm "$@" --kernel "$hello" vm
	[ $status = 4 ] && [ "$(wc -l <"$dir/err")" = 1 ] && grep -qF -- "$words" "$dir/err"
	verdict "$name" $?
}

echo "1..8"
hyve --preflight
[ $status = 0 ] && [ "$(grep -c 'auto takes it' "$dir/out")" = 1 ] && ! [ -s "$dir/err" ]
verdict "auto takes one backend" $?
no_kvm=$(sed -n 's/^kvm *no: //p' "$dir/out")
grep -Eq '^kvm +(no: .{10}|works, and auto takes it$|works, but auto does not take it: .{10})' "$dir/out"
verdict "a line about KVM" $?
chosen=$(sed -n 's/^\([a-z]*\) *works, and auto takes it$/\1/p' "$dir/out")

hyve --stats --kernel "$hello" vm
[ $status = 1 ] && if [ "$chosen" = kvm ]; then grep -q KVM_RUN "$dir/err"; else ! grep -q KVM_RUN "$dir/err"; fi
verdict "auto keeps to what it said" $?

if [ -n "$no_kvm" ]; then
	skipped "a guest on KVM" "$no_kvm"
else
	hyve --backend kvm --stats --kernel "$hello" vm
	[ $status = 1 ] && grep -q KVM_RUN "$dir/err" && [ -s "$dir/out" ]
	verdict "a guest on KVM" $?
fi
refused "a device that is none" "/dev/null is not KVM" -o kvm.device=/dev/null
refused "a device that is not there" "$dir/kvm does not exist" -o "kvm.device=$dir/kvm"
refused "an unknown setting" "kvm.devise" -o kvm.devise=/dev/kvm

if [ -n "$no_kvm" ] || [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null; then
	skipped "a device that is not for everybody" "needs root, setpriv and KVM"
elif setpriv --reuid 65534 --regid 65534 --clear-groups test -w /dev/kvm; then
	skipped "a device that is not for everybody" "it is, here"
else
	: >"$dir/kvm" && chmod 0 "$dir/kvm" && chmod 755 "$dir"
	cp "$HYVE" "$hello" "$dir"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$dir/hyve" --backend kvm --kernel "$dir/hello" vm \
		</dev/null >"$dir/out" 2>"$dir/err"
	[ $? = 4 ] && grep -qF "/dev/kvm may not be opened by this user" "$dir/err"
	verdict "a device that is not for everybody" $?
fi
exit $failed
