# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Each block against its instructions executed one by one: the guest images, but for the one that waits for
# the clock, and random code.
. test/backend/soft/lib.sh
echo "1..6"
export SOFT_LOCKSTEP=1
way "images in lock-step" guest/guest_test excp seg real paging32 pae intr task debug smc triple paging64 pcid patch \
	long sysreg fpu mmio triple64
way "windows in lock-step" guest/guest_test window string
way "snippets in lock-step" backend/soft/soft_test
SEQUENCE_N=${SEQUENCE_N:-5000} way "sequences in lock-step" backend/soft/sequence_test
SOUP_N=${SOUP_N:-1500} way "soup in lock-step" backend/soft/soup_test
# Blocks end early for every reason there is.
SOFT_TORTURE=${SOFT_TORTURE:-11}
export SOFT_TORTURE
way "images in lock-step under torture" guest/guest_test smc paging64 pcid patch long mmio
grep -h compared "$logs"/*lock-step*.log | sed 's/^/# /'
exit $failed
