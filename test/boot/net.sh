# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# shellcheck shell=sh
#
# For net_test.sh and net_tap_test.sh: a guest that fetches a file and then serves it.  The caller has sourced lib.sh.
modules="virtio_ring.ko virtio.ko virtio_pci_legacy_dev.ko virtio_pci_modern_dev.ko virtio_pci.ko failover.ko
	net_failover.ko virtio_net.ko"
work=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null; rm -rf "$work"' EXIT

# cannot NAME WHY: both of its cases are skipped.
cannot() {
	skip "$1" "$2"
	skip "$1-back" "$2"
	finish
}
# prepare NAME: kernel, archive and file, or cannot.
prepare() {
	busybox=$(command -v busybox) || cannot "$1" "no busybox"
	"$busybox" --list | grep -qx httpd || cannot "$1" "no httpd in busybox"
	vmlinuz=$(kernel cloud-amd64) || cannot "$1" "linux-image-cloud-amd64 cannot be downloaded here"
	# shellcheck disable=SC2086
	archive net cloud-amd64 $modules || cannot "$1" "the kernel has no modules of virtio"
	mkdir "$work/www"
	head -c 20000000 /dev/urandom >"$work/www/file"
	sum=$(md5sum <"$work/www/file")
}
# start NAME DEVICE APPEND: the guest.
start() {
	timeout -k 5 100 "$HYVE" -c 1 -m 512M -s "4,virtio-net,$2" --kernel "$vmlinuz" --initrd "$logs/net.img" \
		--append "console=ttyS0 quiet hyve.batch $3" "$1" </dev/null >"$logs/$1.out" 2>"$logs/$1.err" &
	guest=$!
	pids="$pids $guest"
}
# serve ADDRESS PORT: the file.
serve() {
	"$busybox" httpd -f -p "$1:$2" -h "$work/www" &
	pids="$pids $!"
}
# exchange NAME URL: waits for what the guest has fetched, and fetches it from there; two cases.
exchange() {
	tries=0
	until grep -q "net: serving" "$logs/$1.out" 2>/dev/null || [ $tries -gt 200 ] || ! kill -0 $guest 2>/dev/null; do
		tries=$((tries + 1))
		sleep 0.2
	done
	if grep -qF "net: fetched $sum" "$logs/$1.out"; then
		pass "$1"
	else
		fail "$1" "the guest did not get the file"
	fi
	back=$("$busybox" timeout 30 "$busybox" wget -q -O - "$2" | md5sum)
	: >"$work/www/done"
	wait $guest
	if [ "$back" = "$sum" ]; then
		pass "$1-back"
	else
		fail "$1-back" "the host did not get the file back"
	fi
}
