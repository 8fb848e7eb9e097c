# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: md5sum sha1sum sha256sum sha512sum b2sum cksum
for i in $(seq "$n"); do
	for p in md5sum sha1sum sha256sum sha512sum b2sum cksum; do
		{ echo "$i" && cat "$real/data" "$real/data"; } | $p
	done
done
