# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: xz
for i in $(seq "$n"); do
	{ echo "$i" && head -c 100000 "$real/data" && tail -c 300000 "$real/data"; } >data
	for p in "-1" "-6e --check=sha256" "--x86 --lzma2=preset=6,dict=64KiB --check=crc32"; do
		xz -T1 $p -c data >packed
		sha256sum <packed
		xz -dc packed | cmp - data && echo "xz $p: the same"
	done
done
