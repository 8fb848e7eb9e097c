# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The same as net_test.sh through a tap, which hyve makes, in a network namespace of its own.
. test/boot/lib.sh
if [ -z "${HYVE_NET_NAMESPACE-}" ]; then
	if [ "$(id -u)" = 0 ] && [ -c /dev/net/tun ] && unshare -n true 2>/dev/null; then
		HYVE_NET_NAMESPACE=1 exec unshare -n sh "$0"
	fi
	plan 2
	skip net-tap "needs root, unshare and /dev/net/tun"
	skip net-tap-back "the same"
	finish
fi
plan 2
. test/boot/net.sh
name=net-tap
prepare $name
"$busybox" ip link set lo up
start $name "tap0" "hyve.address=10.9.0.2/24 hyve.fetch=10.9.0.1:8080/file"
tries=0
until "$busybox" ip addr add 10.9.0.1/24 dev tap0 2>/dev/null || [ $tries -gt 50 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
serve 10.9.0.1 8080
exchange $name "http://10.9.0.2/back"
finish
