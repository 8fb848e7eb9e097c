# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# doc/CONFORMANCE.md has a row for each behaviour that the contract programs have, and no other.
BUILD=${BUILD:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo "1..1"
for program in "$BUILD"/test/contract/c[0-9]*_test; do
	CONTRACT_LIST=1 "$program"
done | sort >"$dir/names"
sed -n 's/^| \(c[0-9][a-z0-9_]*\) |.*/\1/p' doc/CONFORMANCE.md | sort >"$dir/rows"
if [ -s "$dir/names" ] && cmp -s "$dir/names" "$dir/rows"; then
	echo "ok 1 - doc/CONFORMANCE.md has every behaviour"
	exit 0
fi
echo "not ok 1 - doc/CONFORMANCE.md has every behaviour"
echo "# make conformance writes it; these differ:"
comm -3 "$dir/names" "$dir/rows" | tr -d '\t' | sed 's/^/#   /;20q'
exit 1
