# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Debian's cloud kernel, to the first line of /init and to each of its ends.
. test/boot/lib.sh
plan 4
linux cloud-poweroff 1 cloud-amd64 ""
linux cloud-reboot 0 cloud-amd64 "quiet hyve.end=reboot"
linux cloud-halt 2 cloud-amd64 "quiet hyve.end=halt"
linux cloud-triple-fault 3 cloud-amd64 "quiet hyve.end=reboot reboot=t"
finish
