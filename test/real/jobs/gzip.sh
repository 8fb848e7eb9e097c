# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: gzip bzip2
for i in $(seq "$n"); do
	{ echo "$i" && head -c 500000 "$real/data" && tail -c 300000 "$real/data"; } >data
	for p in "gzip -n -1" "gzip -n -9" "bzip2 -1"; do
		$p -c data >packed
		sha256sum <packed
		${p%% *} -dc packed | cmp - data && echo "$p: the same"
	done
done
