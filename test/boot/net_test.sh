# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Debian's kernel on the network card, without privilege: an address by DHCP, a file from a server on the host's
# loopback interface, and the same file back through a forwarded port.
. test/boot/lib.sh
plan 3
. test/boot/net.sh
name=net-slirp
prepare $name
# Two ports that hardly anybody has now.
port=$((20000 + $$ % 10000))
back=$((port + 10000))
serve 127.0.0.1 $port
start $name "slirp,hostfwd=tcp:127.0.0.1:$back-:80" "hyve.fetch=10.0.2.2:$port/file"
exchange $name "http://127.0.0.1:$back/back"
if grep -q 'net: dhcp 10.0.2.15/24 router 10.0.2.2 dns 10.0.2.3' "$logs/$name.out"; then
	pass $name-dhcp
else
	fail $name-dhcp "no such address"
fi
finish
