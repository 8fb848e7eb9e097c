# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Linux suspends to RAM, and is woken by the RTC's alarm and by the power button.
. test/boot/lib.sh
plan 2

if ! vmlinuz=$(kernel cloud-amd64) || ! archive suspend cloud-amd64; then
	skip alarm "linux-image-cloud-amd64 cannot be downloaded here"
	skip button "the same"
	finish
fi
image=$logs/suspend.img

# suspended NAME STATUS LINES: what /test printed, whole.
suspended() {
	if [ "$(tr -d '\r' <"$logs/$1.out" | grep '^suspend: ')" != "$3" ]; then
		fail "$1" "not the lines of test/boot/inside/suspend"
	elif [ $status != "$2" ]; then
		fail "$1" "exit status $status"
	else
		pass "$1"
	fi
}

timeout -k 5 60 "$HYVE" -c 2 -m 256M --kernel "$vmlinuz" --initrd "$image" \
	--append "console=ttyS0 quiet hyve.batch" alarm </dev/null >"$logs/alarm.out" 2>"$logs/alarm.err"
status=$?
suspended alarm 1 'suspend: 1 awake, cpus 0-1
suspend: 2 awake, cpus 0-1'

# SIGTERM is the power button: it wakes who sleeps.  A second one ends hyve, also when the guest sleeps again.
rm -f "$logs/button.pid"
# shellcheck disable=SC2016 # of that shell
timeout -s KILL 60 sh -c 'echo $$ >"$0"; exec "$@"' "$logs/button.pid" \
	"$HYVE" -c 2 -m 256M --kernel "$vmlinuz" --initrd "$image" \
	--append "console=ttyS0 no_console_suspend loglevel=7 hyve.batch hyve.alarm=3000" button \
	</dev/null >"$logs/button.out" 2>"$logs/button.err" &
for n in 1 2; do
	tries=0
	until [ "$(grep -c 'CPU 1 is now offline' "$logs/button.out")" -ge $n ] || [ $tries -ge 300 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	sleep 1
	kill -TERM "$(cat "$logs/button.pid")"
done
wait $! 2>/dev/null
status=$?
suspended button 143 'suspend: 1 awake, cpus 0-1'
finish
