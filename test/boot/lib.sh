# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# shellcheck shell=sh
#
# For the scripts in this folder: TAP, and boots of $BUILD/hyve with a time limit.  What a guest printed is
# kept in $BUILD/test/boot/NAME.out (and .err).
BUILD=${BUILD:-build}
HYVE=${HYVE:-$BUILD/hyve}
logs=$BUILD/test/boot
marker='hyve: /init reached'
cases=0
failed=0
mkdir -p "$logs"

plan() {
	echo "1..$1"
}
pass() {
	cases=$((cases + 1))
	echo "ok $cases - $1"
}
# fail NAME WHY: shows the end of what the guest printed.
fail() {
	cases=$((cases + 1))
	failed=1
	echo "not ok $cases - $1"
	echo "# $2"
	for log in "$logs/$1.out" "$logs/$1.err"; do
		[ -s "$log" ] && echo "# the end of $log:" && tail -n 20 "$log" | tr -d '\r' | sed 's/^/#   /'
	done
}
skip() {
	cases=$((cases + 1))
	echo "ok $cases - $1 # SKIP $2"
}
finish() {
	exit $failed
}

# kernel FLAVOUR: path of Debian's kernel, or fails.
kernel() {
	tools/get-kernel "$1" build/kernel 2>/dev/null
}

# boot NAME STATUS PATTERN HYVE-OPTION...: without a terminal; the guest has to print PATTERN and hyve to end
# with STATUS within a minute.
boot() {
	name=$1
	want=$2
	pattern=$3
	shift 3
	timeout -k 5 60 "$HYVE" "$@" "$name" </dev/null >"$logs/$name.out" 2>"$logs/$name.err"
	status=$?
	if [ $status = 124 ]; then
		fail "$name" "no end after 60 s"
	elif ! grep -qF -- "$pattern" "$logs/$name.out"; then
		fail "$name" "the guest did not print '$pattern' (exit status $status)"
	elif [ $status != "$want" ]; then
		fail "$name" "exit status $status, not $want"
	else
		pass "$name"
	fi
}

# archive NAME FLAVOUR FILE...: makes $logs/NAME.img, the initramfs with test/boot/inside/NAME as /test and these
# files in /files: paths, or names of the kernel's modules (x.ko).  Fails where one is missing.
archive() {
	image=$logs/$1.img
	extra=$(mktemp -d)
	cp "test/boot/inside/$1" "$extra/test"
	mkdir "$extra/files"
	folder=$(tools/get-kernel --modules "$2" build/kernel 2>/dev/null) || return
	shift 2
	for file in "$@"; do
		case $file in
		*/*) cp "$file" "$extra/files" ;;
		*) find "$folder" -name "$file" -exec cp {} "$extra/files" \; ;;
		esac
		[ -f "$extra/files/${file##*/}" ] || { rm -r "$extra"; return 1; }
	done
	(cd "$extra" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 -n >"$extra.gz"
	cat "$BUILD/initramfs.gz" "$extra.gz" >"$image"
	rm -r "$extra" "$extra.gz"
}

# linux NAME STATUS FLAVOUR APPEND: boots Debian's kernel to the marker and lets it end.
linux() {
	if ! vmlinuz=$(kernel "$3"); then
		skip "$1" "linux-image-$3 cannot be downloaded here"
		return
	fi
	boot "$1" "$2" "$marker" -c 1 -m 512M --kernel "$vmlinuz" --initrd "$BUILD/initramfs.gz" \
		--append "console=ttyS0 hyve.batch $4"
}
