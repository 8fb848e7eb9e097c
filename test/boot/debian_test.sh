# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The machine of "make debian", on an overlay of its own: to a login prompt with a network and nothing that failed,
# rebooted with what it wrote still there, and shut down by its power button; then what e2fsck and qemu-img say of its
# disk.  DEBIAN_REBOOTS=N (1) reboots more often: no start of hyve may need more than the first did or leave something
# behind.  DEBIAN_LIMIT is the seconds that a boot, an answer or an end may take.
. test/boot/lib.sh
logs=$BUILD/test/debian
reboots=${DEBIAN_REBOOTS:-1}
limit=${DEBIAN_LIMIT:-100}
dir=${DEBIAN_DIR:-build/debian}
port=$((20000 + $$ % 10000))
rm -rf "$logs"
mkdir -p "$logs/tmp"
# What a start leaves behind it would leave here.
TMPDIR=$(realpath "$logs/tmp")
XDG_RUNTIME_DIR=$TMPDIR
export TMPDIR XDG_RUNTIME_DIR

names="debian-conf debian-login debian-ssh debian-units debian-network debian-packages debian-reboot debian-kept
	debian-starts debian-power-button debian-left-behind debian-image debian-files"
PATH=$PATH:/usr/sbin:/sbin
# shellcheck disable=SC2086
set -- $names
plan $#
why=
"$HYVE" -s help 2>&1 | grep -q '^virtio-net' || why="this hyve has no virtio-net"
[ -n "$why" ] || tools/mkdebian "$dir" 2>"$logs/mkdebian" || why=$(tail -n 1 "$logs/mkdebian")
if [ -n "$why" ]; then
	for name; do
		skip "$name" "$why"
	done
	finish
fi

# start NUMBER: the machine, to its login prompt.
start() {
	console=$logs/console.$1
	DEBIAN_DISK=$logs/disk.qcow2 DEBIAN_PORT=$port DEBIAN_DIR=$dir \
		tools/debian "$BUILD" --once </dev/null >"$console" 2>"$logs/errors.$1" &
	pid=$!
	within has_prompt
}
pid=
trap '[ -z "$pid" ] || kill -KILL $pid' EXIT
has_prompt() {
	grep -q '^debian login:' "$console"
}
# within COMMAND...: that it succeeds before the limit, and before hyve ends.
within() {
	end=$(($(date +%s) + limit))
	until "$@"; do
		kill -0 $pid 2>/dev/null && [ "$(date +%s)" -lt $end ] || return 1
		sleep 0.2
	done
}
ended() {
	! kill -0 $pid 2>/dev/null
}
# stop: waits for hyve's end; its status.
stop() {
	within ended || kill -KILL $pid 2>/dev/null
	wait $pid
	status=$?
	pid=
	return $status
}
guest() {
	timeout -k 5 "$limit" ssh -F "$dir/ssh_config" -p $port -o ConnectTimeout=60 debian "$@" \
		</dev/null 2>>"$logs/ssh"
}
# check NAME WHY COMMAND...
check() {
	name=$1
	reason=$2
	shift 2
	if "$@"; then
		pass "$name"
	else
		fail "$name" "$reason"
		tail -n 15 "$console" | tr -d '\r' | sed 's/^/#   /'
		cat "$logs"/errors.* | sed 's/^/# hyve: /'
	fi
}
# says NAME WANTED COMMAND: that the guest does, over ssh.
says() {
	said=$(guest "$3")
	check "$1" "'$3' prints '$said', not '$2'" [ "$said" = "$2" ]
}
# What a start of hyve needs: threads, descriptors, KiB besides the guest's RAM and translated code.
needs() {
	echo "$(ls /proc/$pid/task | wc -l) $(ls /proc/$pid/fd | wc -l) $(awk '
		/^[0-9a-f]+-[0-9a-f]+ / { own = !/memfd:hyve-/ }
		/^Rss:/ { if (own) sum += $2 }
		END { print sum + 0 }' /proc/$pid/smaps)"
}


# The file of settings and the command line of tools/debian are the same machine.
settings() {
	"$@" -o config.dump=true 2>&1 | sed "/^debian.dir=/d;s,$logs/disk,build/debian/disk,"
}
DEBIAN_DISK=$logs/disk.qcow2 settings tools/debian "$BUILD" --once >"$logs/options"
settings "$HYVE" -k examples/debian.conf >"$logs/conf"
console=$logs/options
check debian-conf "examples/debian.conf is another machine than that of tools/debian" cmp -s "$logs/options" "$logs/conf"
image_before=$(stat -c '%Y %Z %b' "$dir/debian.img")

start 0
check debian-login "no login prompt" has_prompt
guest true # the first one waits for sshd
says debian-ssh "Linux debian 0" "uname -sn | tr '\n' ' '; id -u"
says debian-units "running" "systemctl is-system-running --wait"
says debian-network "10.0.2.15/24 10.0.2.2" \
	"ip -br -4 address show up scope global | tr -s ' ' | cut -d' ' -f3 | tr '\n' ' '; ip route | sed -n 's/^default via \([^ ]*\).*/\1/p'"
says debian-packages "ok ii" "apt-get check -qq && printf 'ok '; dpkg-query -f '\${db:Status-Abbrev}\n' -W | sort -u | tr -d ' '"
first=$(needs)
echo "0: $first" >"$logs/needs"
sum=$(guest 'head -c 20000000 /dev/urandom >/root/kept; md5sum /root/kept; systemctl reboot')
stop
check debian-reboot "hyve's exit status is $status, not 0" [ $status = 0 ]

n=1
start $n
says debian-kept "$sum" "md5sum /root/kept"
needed=$(needs)
echo "$n: $needed" >>"$logs/needs"
while [ $n -lt "$reboots" ]; do
	guest systemctl reboot
	stop || break
	n=$((n + 1))
	start $n && needed=$(needs)
	echo "$n: $needed" >>"$logs/needs"
done
# Threads come and go with what a guest has in flight; what grows with each start would be far off.
few_more() {
	echo "$first $needed" | awk '{ exit !(NF == 6 && $4 <= $1 + 8 && $5 <= $2 + 8 && $6 <= $3 * 1.3 + 8192) }'
}
check debian-starts "the first start needed $first threads, descriptors and KiB, start $n needs $needed" few_more

[ -n "$pid" ] && kill -TERM $pid && stop
check debian-power-button "hyve's exit status is $status after SIGTERM, not 1" [ $status = 1 ]
left=$(find "$TMPDIR" ! -type d)
check debian-left-behind "left in TMPDIR: $left" [ -z "$left" ]
image_now=$(stat -c '%Y %Z %b' "$dir/debian.img")
qemu-img check "$logs/disk.qcow2" >"$logs/qemu-img" 2>&1 && [ "$image_now" = "$image_before" ]
check debian-image "$(tail -n 3 "$logs/qemu-img" | tr '\n' ' '); the image below: $image_before, $image_now" [ $? = 0 ]
qemu-img convert -O raw "$logs/disk.qcow2" "$logs/disk.raw" && e2fsck -fn "$logs/disk.raw" >"$logs/e2fsck" 2>&1
check debian-files "$(tail -n 3 "$logs/e2fsck" | tr '\n' ' ')" [ $? = 0 ]
[ "$failed" = 1 ] || rm -f "$logs"/disk.*
finish
