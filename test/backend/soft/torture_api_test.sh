# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The contract and the rows of the instruction table under torture, with the seed of SOFT_TORTURE (3), and in
# the smallest code cache; the rows in lock-step, too.
. test/backend/soft/lib.sh
export CONTRACT_BACKEND=soft
contracts=$(cd test/contract && ls ./c[0-9]*_test.c)
# shellcheck disable=SC2086
set -- $contracts
echo "1..$((2 * ($# + 1) + 1))"

all() {
	for source in $contracts; do
		program=$(basename "$source" .c)
		way "contract ${program%_test} $1" "contract/$program"
	done
	way "rows $1" differential/differential_test all 0
}
SOFT_TORTURE=${SOFT_TORTURE:-3}
export SOFT_TORTURE
all "under torture $SOFT_TORTURE"
unset SOFT_TORTURE
export SOFT_CACHE=40960
all "in a small cache"
unset SOFT_CACHE
SOFT_LOCKSTEP=1 way "rows in lock-step" differential/differential_test all 0
exit $failed
