# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Linux on disks of virtio-blk: a file system that the host finds whole afterwards, and records that the guest
# was told are safe, when hyve is killed at any moment.  KILL_N: how often.
. test/boot/lib.sh
plan 5
KILL_N=${KILL_N:-4}
modules='virtio.ko virtio_ring.ko virtio_pci_legacy_dev.ko virtio_pci_modern_dev.ko virtio_pci.ko virtio_blk.ko'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip_all() {
	for name in disk-qcow2 disk-backing disk-raw disk-locked disk-killed; do
		skip $name "$1"
	done
	finish
}
command -v mke2fs >/dev/null && command -v qemu-img >/dev/null || skip_all "no mke2fs or qemu-img here"
# shellcheck disable=SC2086
vmlinuz=$(kernel cloud-amd64) && archive disk cloud-amd64 $modules && archive records cloud-amd64 $modules ||
	skip_all "linux-image-cloud-amd64 cannot be downloaded here"

# ext4 with a file in it, as $work/flat.
mkdir "$work/tree"
echo "disk: a line from the host" >"$work/tree/from-host"
mke2fs -q -t ext4 -d "$work/tree" "$work/flat" 200M >/dev/null 2>&1

# disk NAME IMAGE OPTIONS: the guest mounts it; then fsck and qemu-img find nothing, and its sum is right.
disk() {
	name=$1
	image=$2
	timeout -k 5 40 "$HYVE" -c 2 -m 256M --kernel "$vmlinuz" --initrd "$logs/disk.img" \
		--append "console=ttyS0 quiet hyve.batch" -s "3,virtio-blk,$image,ser=$name$3" "$name" \
		</dev/null >"$logs/$name.out" 2>"$logs/$name.err"
	status=$?
	for line in "disk: 409600 sectors, serial $name, write back" "disk: a line from the host" "disk: unmounted"; do
		if ! tr -d '\r' <"$logs/$name.out" | grep -qxF "$line"; then
			fail "$name" "no line '$line' (exit status $status)"
			return
		fi
	done
	[ "${image##*.}" = qcow2 ] && ! qemu-img check -q "$image" && fail "$name" "qemu-img check" && return
	qemu-img convert -O raw "$image" "$work/result"
	if ! e2fsck -fn "$work/result" >"$logs/$name.err" 2>&1; then
		fail "$name" "e2fsck complains"
	elif [ "$(debugfs -R 'cat /sum' "$work/result" 2>/dev/null)" != "$sum" ]; then
		fail "$name" "the files have another sum"
	else
		pass "$name"
	fi
}
i=0
mkdir "$work/many"
while [ $i -lt 30 ]; do
	seq $((i * 1000)) $((i * 1000 + 5000)) >"$work/many/$i"
	i=$((i + 1))
done
sum=$(cat "$work"/many/* | md5sum)
qemu-img convert -O qcow2 "$work/flat" "$work/a.qcow2"
disk disk-qcow2 "$work/a.qcow2" ""
qemu-img create -q -f qcow2 -b flat -F raw "$work/b.qcow2"
disk disk-backing "$work/b.qcow2" ",engine=threads"
cp "$work/flat" "$work/c.raw"
disk disk-raw "$work/c.raw" ",nocache,format=raw,queues=2"

# An image is one machine's.
"$HYVE" -c 1 -m 128M -s "3,virtio-blk,$work/b.qcow2" -s "4,virtio-blk,$work/b.qcow2" \
	--kernel "$vmlinuz" locked </dev/null >"$logs/disk-locked.out" 2>"$logs/disk-locked.err"
status=$?
if [ $status = 4 ] && grep -q 'b.qcow2: is in use by another virtual machine' "$logs/disk-locked.err"; then
	pass disk-locked
else
	fail disk-locked "exit status $status"
fi

# killed N: true if all is there that the guest was told is.
killed() {
	image=$work/k.qcow2
	qemu-img create -q -f qcow2 -o "$2" "$image" 64M
	: >"$logs/disk-killed.out"
	"$HYVE" -c 1 -m 128M --kernel "$vmlinuz" --initrd "$logs/records.img" \
		--append "console=ttyS0 quiet hyve.batch" -s "3,virtio-blk,$image" records \
		</dev/null >"$logs/disk-killed.out" 2>"$logs/disk-killed.err" &
	pid=$!
	tries=0
	until grep -q 'safe: 3' "$logs/disk-killed.out"; do
		tries=$((tries + 1))
		[ $tries -gt 300 ] && { kill -9 $pid; why="no records within 30 s"; return 1; }
		sleep 0.1
	done
	sleep "$(awk -v seed="$1$$" 'BEGIN { srand(seed); print rand() * 1.5 }')"
	kill -9 $pid
	wait $pid 2>/dev/null
	safe=$(tr -d '\r' <"$logs/disk-killed.out" | sed -n '$!s/^safe: //p' | tail -n 1)
	if ! qemu-img check "$image" >"$logs/disk-killed.err" 2>&1; then
		# Leaks are 3, and allowed; with each flush they are gone all the same.
		[ $? = 3 ] || grep -q 'leaked clusters' "$logs/disk-killed.err" || { why="qemu-img check"; return 1; }
		grep -q '[1-9][0-9]* errors' "$logs/disk-killed.err" && { why="qemu-img check: errors"; return 1; }
	fi
	qemu-img convert -O raw "$image" "$work/k.raw"
	n=0
	while [ $n -lt "$safe" ]; do
		n=$((n + 1))
		got=$(dd if="$work/k.raw" bs=4096 skip=$((n * 7919 % 16384)) count=1 2>/dev/null | head -n 1)
		[ "$got" = "$(printf 'record %08d' $n)" ] || { why="record $n of $safe is lost: '$got'"; return 1; }
	done
	records=$((records + safe))
}
round=0
records=0
why=
while [ -z "$why" ] && [ $round -lt "$KILL_N" ]; do
	round=$((round + 1))
	case $((round % 3)) in
	0) options=cluster_size=512 ;;
	1) options=cluster_size=64k ;;
	2) options=cluster_size=4k ;;
	esac
	killed $round $options || break
done
if [ -n "$why" ]; then
	fail disk-killed "$why (round $round)"
else
	pass disk-killed
	echo "# $records records in $round rounds"
fi
finish
