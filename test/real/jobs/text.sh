# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: tee join sort sed awk grep uniq comm diff expr fold factor
seq 1 $((20000 * n)) | awk '{ x = (x * 69069 + $1) % 1048576; print x, $1, $1 * x / 7, sqrt(x) }' >numbers
sha256sum <numbers
sort -k1,1n -k2,2nr numbers | tee by-value | sha256sum
sort -R --random-source="$real/data" numbers | sha256sum
cut -d' ' -f1 numbers | sort | uniq -c | sort -rn | head -n 20
sort numbers >left
sort -k2,2 by-value >right
join -2 2 left right | head -n 50
comm -12 left right | wc -l
sed -E 's/([0-9])([0-9])/\2\1/g; y/0123/abcd/; /a{2}/d' numbers | sha256sum
grep -cE '(7|13)[0-9]*7 ' numbers
grep -oE '([0-9])\1\1' numbers | sort | uniq -c
head -n 300 left >a
head -n 320 left | sed '30,40d; s/77/78/' >b
diff a b
fold -w 13 numbers | tail -n +100 | tr 0-9 a-j | sha256sum
factor 1234567890123456789 18446744073709551557 170141183460469231731687303715884105727 $((n + 1000000007))
awk 'BEGIN { for (i = 1; i < 400; i++) printf "%.17g %g %e %d\n", i / 7, i * i * 1.1, 1 / i, i * 12345.678 }'
