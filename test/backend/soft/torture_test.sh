# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# What is cached is lost at random, blocks are cut, events looked at anywhere: with two seeds, or that of
# SOFT_TORTURE.  And with the smallest code caches: one piece, which is evicted as a whole, and two.
. test/backend/soft/lib.sh
seeds=${SOFT_TORTURE:-1 20261122}
# shellcheck disable=SC2086
set -- $seeds
echo "1..$(($# * 6 + 15))"

all() {
	way "images $1" guest/guest_test
	way "snippets $1" backend/soft/soft_test
	way "vcpus $1" backend/soft/smp_test
	LITMUS_N=${LITMUS_N:-3000} way "memory order $1" backend/soft/litmus_test
	SEQUENCE_N=${SEQUENCE_N:-5000} way "sequences $1" backend/soft/sequence_test
	SOUP_N=${SOUP_N:-1500} way "soup $1" backend/soft/soup_test
}
for seed; do
	SOFT_TORTURE=$seed
	export SOFT_TORTURE
	all "under torture $seed"
done
export SOFT_CACHE=40960
way "images under torture in a small cache" guest/guest_test
SOFT_CACHE=73728
way "images under torture in two pieces" guest/guest_test
SOUP_N=${SOUP_N:-1500} way "soup under torture in two pieces" backend/soft/soup_test
unset SOFT_TORTURE
all "in two pieces"
SOFT_CACHE=40960
all "in a small cache"
exit $failed
