# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Debian's stock kernel, the one for real machines: many more drivers look for their hardware here.
. test/boot/lib.sh
plan 1
linux stock-poweroff 1 amd64 ""
finish
