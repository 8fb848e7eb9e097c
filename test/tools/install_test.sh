# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# What "make install" puts into an empty folder is enough to build a program against, shared and static, and to find the
# manual pages and completion.
BUILD=${BUILD:-build}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
hello="Sixteen bits say hello."
n=0
failed=0

# verdict NAME STATUS
verdict() {
	n=$((n + 1))
	[ "$2" = 0 ] && echo "ok $n - $1" && return
	echo "not ok $n - $1"
	sed 's/^/# /' "$root/log"
	failed=1
}
# The fields of vmm.pc, as pkg-config would read them; that itself need not be installed.
pc() {
	sed -n -e "s|\${prefix}|$root/usr|g" -e "s|\${libdir}|$root/usr/lib|g" \
		-e "s|\${includedir}|$root/usr/include|g" -e "s/^$1: //p" "$root/usr/lib/pkgconfig/vmm.pc"
}

echo "1..7"
make --no-print-directory install BUILD="$BUILD" PREFIX=/usr DESTDIR="$root" >"$root/log" 2>&1
verdict "make install" $?
(cd "$root/usr" && ls bin/hyve bin/hyvectl lib/libvmm.a lib/libvmm.so lib/libvmm.so.0 lib/pkgconfig/vmm.pc \
	include/vmm/vmm.h share/doc/vmm/vmm-api.md share/doc/vmm/LICENSE) >"$root/log" 2>&1 &&
	[ ! -e "$root/usr/include/vmm/backend.h" ]
verdict "every public file is there" $?
# Each page of the tree in its section, readable as man(1) would find it; and no link leads nowhere.
for page in doc/*.[1-9]; do
	name=${page##*/}
	cmp "$page" "$root/usr/share/man/man${name##*.}/$name" || echo "$page: missing"
done >"$root/log" 2>&1
ls "$root"/usr/share/man/man*/* | sed 's|.*/|doc/|' | while read -r page; do
	[ -e "$page" ] || echo "$page: what is that?"
done >>"$root/log"
find "$root" -xtype l >>"$root/log"
[ ! -s "$root/log" ]
verdict "every manual page is there" $?
for name in hyve hyvectl; do
	bash -c '. "$1/usr/share/bash-completion/completions/$2" && complete -p "$2"' bash "$root" $name
done >"$root/log" 2>&1
[ "$(cat "$root/log")" = "complete -F _hyve hyve
complete -F _hyvectl hyvectl" ]
verdict "completion is there for both commands" $?
# shellcheck disable=SC2046
cc $(pc Cflags) -o "$root/shared" examples/ports.c $(pc Libs) >"$root/log" 2>&1 &&
	LD_LIBRARY_PATH=$root/usr/lib "$root/shared" >"$root/log" 2>&1 && grep -qxF "$hello" "$root/log"
verdict "a program with the shared library" $?
# shellcheck disable=SC2046
cc $(pc Cflags) -o "$root/static" examples/ports.c "$root/usr/lib/libvmm.a" $(pc Libs.private) \
	>"$root/log" 2>&1 && "$root/static" >"$root/log" 2>&1 && grep -qxF "$hello" "$root/log"
verdict "a program with the static library" $?
# Each public header by itself.
for h in "$root"/usr/include/vmm/*.h; do
	# shellcheck disable=SC2046
	echo "#include <vmm/${h##*/}>" | cc -std=c17 -Wall -Wextra -Werror $(pc Cflags) -fsyntax-only -x c - \
		>>"$root/headers" 2>&1
done
mv "$root/headers" "$root/log"
[ ! -s "$root/log" ]
verdict "each public header compiles alone" $?
exit $failed
