# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# shellcheck shell=sh disable=SC2154
#
# Parts of bench/run, which reads this file: a Debian machine (tools/mkdebian) with disks and a network.
# The same image, kernel, command line and devices for both, each time on a new overlay.
debian=build/debian-bench
debian_idle_s=30
debian_limit_s=400
disk_s=4
disk_mib=1024

# debian_image: makes it if need be; without Debian's archive there is none.
debian_image() {
	tools/mkdebian --include fio,iperf3 --files bench/debian/files $debian
}

# debian_run WHO APPEND [TARGET]: becomes a machine with one vcpu and 1 GiB on an overlay, and with another disk.
debian_run() {
	overlay=$work/overlay.$1.qcow2
	rm -f "$overlay"
	qemu-img create -q -f qcow2 -F raw -b "$(realpath $debian/debian.img)" "$overlay" || return
	who=$1
	append="root=/dev/vda console=ttyS0 $2"
	target=${3-}
	if [ "$who" = hyve ]; then
		set -- "$build/hyve" --backend soft -u -c 1 -m 1G -s 3,virtio-blk,"$overlay" -s 4,virtio-net,slirp \
			-s 5,virtio-rnd ${target:+-s 6,virtio-blk,"$target"}
	else
		set -- qemu-system-x86_64 -accel tcg -cpu max -smp 1 -m 1G -nodefaults -display none -serial stdio -no-reboot \
			-drive if=none,id=root,file="$overlay",format=qcow2 -device virtio-blk-pci,drive=root,disable-legacy=on \
			-netdev user,id=net -device virtio-net-pci,netdev=net,disable-legacy=on \
			-device virtio-rng-pci,disable-legacy=on
		[ -z "$target" ] || set -- "$@" -drive if=none,id=target,file="$target",format="${target##*.}" \
			-device virtio-blk-pci,drive=target,disable-legacy=on
	fi
	set -- "$@" --kernel $debian/vmlinuz --initrd $debian/initrd.img --append "$append"
	[ "$who" != hyve ] || set -- "$@" bench-$$
	exec "$@"
}

# disk_target: what is measured, of random data, so that no file system or cache has it easier with zeros.
disk_target() {
	[ -e "$work/target.raw" ] || head -c "${disk_mib}M" /dev/urandom >"$work/target.raw"
	[ -e "$work/target.qcow2" ] || qemu-img convert -O qcow2 "$work/target.raw" "$work/target.qcow2"
}

# disk WHO: lines "disk WHO FORMAT NAME FIGURE".
disk() {
	disk_target
	for format in raw qcow2; do
		(debian_run "$1" "quiet init=/usr/local/sbin/bench-disk -- $disk_s" "$work/target.$format") \
			</dev/null >"$work/disk.log" 2>&1 &
		pid=$!
		debian_wait $pid debian_gone $pid
		kill -KILL $pid 2>/dev/null
		wait $pid 2>/dev/null
		tr -d '\r' <"$work/disk.log" | sed -n "s/^bench: disk /disk $1 $format /p"
		grep -q '^bench: end' "$work/disk.log" || {
			echo "bench: $1 did not get to the end of fio:" >&2
			tail -n 3 "$work/disk.log" >&2
		}
	done
}

# debian_wait PID COMMAND...: until it succeeds or the program ends.
debian_wait() {
	waited=$1
	shift
	tries=$((debian_limit_s * 10))
	while ! "$@" 2>/dev/null; do
		debian_gone "$waited" 2>/dev/null && return 1
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
	return 0
}

debian_gone() {
	! kill -0 "$1"
}

# debian WHO: "debian WHO prompt|guest|cpu|idle|off FIGURE": seconds to the login prompt by our clock and to its last
# unit by the guest's; processor seconds until then; percent of a core at the prompt; seconds to power off.
debian() {
	mkfifo "$work/in"
	start=$(date +%s%N)
	(debian_run "$1" "") <"$work/in" >"$work/log" 2>&1 &
	pid=$!
	exec 3>"$work/in"
	if debian_wait $pid grep -q '^debian login:' "$work/log"; then
		since "$start" | sed "s/^/debian $1 prompt /"
		echo "$(ticks $pid) $(getconf CLK_TCK)" | awk -v who="$1" '{ printf "debian %s cpu %.2f\n", who, $1 / $2 }'
		echo root >&3
		debian_wait $pid grep -q 'root@debian:' "$work/log"
		echo 'systemctl is-system-running --wait; systemd-analyze time' >&3
		debian_wait $pid grep -q 'Startup finished in .*' "$work/log"
		tr -d '\r' <"$work/log" | sed -n "s/^Startup finished in .* = //p" | debian_seconds |
			sed "s/^/debian $1 guest /"
		sleep 20
		before=$(ticks $pid)
		sleep $debian_idle_s
		echo "$before $(ticks $pid) $(getconf CLK_TCK)" |
			awk -v who="$1" -v s=$debian_idle_s '{ printf "debian %s idle %.1f\n", who, ($2 - $1) * 100 / $3 / s }'
		start=$(date +%s%N)
		echo poweroff >&3
		debian_wait $pid debian_gone $pid && since "$start" | sed "s/^/debian $1 off /"
	else
		echo "bench: $1 did not get to Debian's prompt:" >&2
		tail -n 3 "$work/log" >&2
	fi
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	exec 3>&-
	rm "$work/in"
}
since() {
	echo "$1 $(date +%s%N)" | awk '{ printf "%.2f\n", ($2 - $1) / 1e9 }'
}
# "1min 2.345s" in seconds.
debian_seconds() {
	awk '{
		for (i = 1; i <= NF; i++)
			s += $i ~ /min$/ ? 60 * $i : $i ~ /ms$/ ? $i / 1000 : $i
		printf "%.2f\n", s
	}'
}
