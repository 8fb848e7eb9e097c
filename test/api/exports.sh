#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# exports.sh <libvmm.so>: what the public headers declare is what the library exports, no less, no more.
# The compiler lists the declarations (gcc -aux-info); backend.h is not installed.
set -eu
lib=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for h in include/vmm/*.h; do
	[ "$h" = include/vmm/backend.h ] || echo "#include \"$h\""
done >"$tmp/all.c"
gcc -std=gnu17 -D_GNU_SOURCE -I. -Iinclude -fsyntax-only -aux-info "$tmp/aux" "$tmp/all.c"
{
	sed -n 's|^/\* [./]*include/vmm/[^ ]*:NC \*/ extern [^(]*[ *]\([a-z0-9_]*\) (.*|\1|p' "$tmp/aux"
	sed -n 's/^extern .* \([a-z0-9_]*\);.*$/\1/p' include/vmm/*.h
} | sort -u >"$tmp/declared"
nm -D --defined-only "$lib" | awk '{ print $3 }' | sort -u >"$tmp/exported"

missing=$(comm -23 "$tmp/declared" "$tmp/exported")
extra=$(comm -13 "$tmp/declared" "$tmp/exported")
[ -z "$missing" ] || echo "declared, not exported:" $missing
[ -z "$extra" ] || echo "exported, not declared:" $extra
echo "$(wc -l <"$tmp/declared") declarations"
[ -z "$missing$extra" ] && [ "$(wc -l <"$tmp/declared")" -gt 100 ]
