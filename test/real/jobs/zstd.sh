# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: zstd
for i in $(seq "$n"); do
	{ echo "$i" && tail -c 600000 "$real/data"; } >data
	for p in --fast=3 -3 -9 --long=20; do
		zstd -q $p -c data >packed
		sha256sum <packed
		zstd -qdc packed | cmp - data && echo "zstd $p: the same"
	done
	zstd -q -3 -T2 -c data | zstd -qdc | cmp - data && echo "zstd -T2: the same"
done
