# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Linux's driver at the console device: hvc0 on stdio, and a port on a socket.
. test/boot/lib.sh
plan 1
name=virtio-console
modules=
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_console; do
	modules="$modules $module.ko"
done
# shellcheck disable=SC2086
if ! vmlinuz=$(kernel cloud-amd64) || ! archive $name cloud-amd64 $modules; then
	skip $name "linux-image-cloud-amd64 cannot be downloaded here"
	finish
fi
port=$(mktemp -d)/port
"$BUILD/test/boot/porter" "$port" 2>"$logs/porter.err" &
porter=$!
echo "typed by the host" |
	timeout -s KILL 60 "$HYVE" -m 512M --kernel "$vmlinuz" --initrd "$image" -l com1,file="$logs/$name.com1" \
		-s 3,virtio-console,console=stdio,org.hyve.test="$port" \
		--append "console=ttyS0 hyve.batch" $name >"$logs/$name.out" 2>"$logs/$name.err"
status=$?
wait $porter
talked=$?
numbers=$(seq 1 150000 | md5sum)
broken=
for line in 'console: 229:0' 'console: typed by the host, too' 'port: ready' "port: $numbers"; do
	tr -d '\r' <"$logs/$name.out" | grep -qxF "$line" || broken="hvc0 has no line '$line'"
done
[ "$(stat -c %a "$port")" = 600 ] || broken="the socket's mode is $(stat -c %a "$port")"
[ $status = 1 ] || broken="exit status $status, not 1"
[ $talked = 0 ] || broken="the port: $(cat "$logs/porter.err")"
rm -rf "${port%/*}"
if [ -n "$broken" ]; then
	fail $name "$broken"
else
	pass $name
fi
finish
