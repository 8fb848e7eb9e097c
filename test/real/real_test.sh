# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Programs of this machine, run on it and in a guest: each job of test/real/jobs has to print the same, byte
# for byte, in both.  One boot of Debian's cloud kernel for all of them.
#
# REAL_N=N makes the jobs N times as long; REAL_JOBS="NAME..." picks some; REAL_OPTIONS are more options for
# hyve; REAL_LIMIT the seconds that one job may take in the guest.
. test/boot/lib.sh
export LC_ALL=C
logs=$BUILD/test/real
n=${REAL_N:-1}
limit=${REAL_LIMIT:-$((60 * n))}
jobs=${REAL_JOBS:-$(cd test/real/jobs && ls -- *.sh | sed 's/\.sh$//')}
rm -rf "$logs"
mkdir -p "$logs/real"
work=$(realpath "$logs")
# The programs of the distribution, also where somebody has others in front of them.
PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH

# needs JOB: the words of its line "# needs".
needs() {
	sed -n 's/^# needs: //p' "test/real/jobs/$1.sh"
}
# guest_output JOB: from what the guest printed into its .out and .status; fails where there is no end.
guest_output() {
	awk -v job="$1" -v out="$logs/guest/$1" '
		$1 == "@begin" && $2 == job { inside = 1; next }
		$1 == "@end" && $2 == job { print $3, $4 >(out ".status"); ended = 1; exit }
		inside { print >(out ".base64") }
		END { exit !ended }' "$logs/console" &&
		base64 -di "$logs/guest/$1.base64" 2>/dev/null | gzip -dcq >"$logs/guest/$1.out"
}
# compare JOB
compare() {
	if ! guest_output "$1"; then
		fail "$1" "did not end in the guest (hyve: exit status $hyve)"
		return
	fi
	read -r status seconds <"$logs/guest/$1.status"
	read -r native_status native <"$logs/host/$1.status"
	if [ "$native_status" != 0 ]; then
		fail "$1" "exit status $native_status on the host"
		tail -n 5 "$logs/host/$1.out" | sed 's/^/#   /'
		return
	elif [ "$status" != 0 ]; then
		fail "$1" "exit status $status after $seconds s in the guest"
	elif ! cmp -s "$logs/host/$1.out" "$logs/guest/$1.out"; then
		fail "$1" "prints something else in the guest"
	else
		pass "$1"
		echo "# $seconds s, on the host $native s"
		return
	fi
	diff -a "$logs/host/$1.out" "$logs/guest/$1.out" | head -n 20 | sed 's/^/#   /'
}

# shellcheck disable=SC2086
set -- $jobs
plan $#
vmlinuz=$(kernel cloud-amd64) || vmlinuz=
words=
list=
for job; do
	missing=$(test/real/mkroot --missing $(needs "$job"))
	if [ -z "$vmlinuz" ]; then
		skip "$job" "linux-image-cloud-amd64 cannot be downloaded here"
	elif [ -n "$missing" ]; then
		skip "$job" "not on this machine: $missing"
	else
		list="$list $job"
		words="$words $(needs "$job")"
	fi
done
[ -n "$list" ] || finish

cp -R test/real/jobs test/real/runjob "$logs/real"
echo "$n" >"$logs/real/n"
echo "$limit" >"$logs/real/limit"
printf '%s\n' $list >"$logs/real/list"
# Something to compress, hash and sort: half text, half machine code.
{ seq 1 150000 && cat /lib64/ld-linux-x86-64.so.2 "$(command -v sh)" "$(command -v gzip)"; } |
	head -c 1500000 >"$logs/real/data"
mkdir -p "$logs/guest"
for job in $list; do
	(cd "$logs/real" && sh ./runjob "$job" "$work/host")
done &
test/real/mkroot "$logs/root.cpio" "$logs/real" $words
# shellcheck disable=SC2086
timeout -k 5 $((200 * n)) "$HYVE" -c 1 -m "${REAL_MEMORY:-1200M}" --kernel "$vmlinuz" --initrd "$logs/root.cpio" \
	--append "console=ttyS0 quiet loglevel=3" $REAL_OPTIONS real </dev/null >"$logs/raw" 2>"$logs/err"
hyve=$?
wait
tr -d '\r' <"$logs/raw" >"$logs/console"
for job in $list; do
	compare "$job"
done
[ $failed = 1 ] || rm -f "$logs/root.cpio"
finish
