# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The interactive side, on a terminal of script(1): a shell with job control, the ways out of hyve, and the
# terminal as it was before.
. test/boot/lib.sh
plan 4
trap "" PIPE # hyve may be gone when we type

# start NAME: hyve on a new terminal, with the terminal's settings printed before and after.  What is written
# to descriptor 3 is typed there.
start() {
	name=$1
	out=$logs/$name.out
	rm -f "$logs/tty.in" "$out"
	mkfifo "$logs/tty.in"
	command="stty -g; sh -c 'echo pid \$\$; exec \"\$@\"' sh $HYVE -c 1 -m 512M --kernel $vmlinuz --initrd $BUILD/initramfs.gz"
	command="$command --append 'console=ttyS0 quiet' $name; echo status \$?; sleep 1; stty -g"
	timeout -k 5 90 script -qefc "$command" /dev/null <"$logs/tty.in" >"$out" 2>&1 &
	script_pid=$!
	exec 3>"$logs/tty.in"
}
# await PATTERN: until it appears, 60 s at most.
await() {
	tries=0
	until grep -q -- "$1" "$out" 2>/dev/null; do
		tries=$((tries + 1))
		[ $tries -gt 600 ] && return 1
		kill -0 $script_pid 2>/dev/null || { grep -q -- "$1" "$out"; return; }
		sleep 0.1
	done
}
# ended STATUS: hyve has ended with it, and the settings are what they were.
ended() {
	await "status [0-9]" || return 1
	exec 3>&-
	wait $script_pid
	tr -d '\r' <"$out" | awk -v want="$1" '
		/^[0-9a-f]+(:[0-9a-f]+)+$/ { settings[n++] = $0 }
		match($0, /status [0-9]+/) { status = substr($0, RSTART + 7, RLENGTH - 7) }
		END { exit !(status ~ "^" want "$" && n == 2 && settings[0] == settings[1]) }'
}
# end_by SIGNAL: sends it to hyve.
end_by() {
	kill -"$1" "$(tr -d '\r' <"$out" | sed -n 's/^pid //p')"
}
# check WHY COMMAND...: a step of the test case; the first that fails decides. verdict ends the case.
check() {
	why=$1
	shift
	[ -n "$broken" ] || "$@" || broken=$why
}
verdict() {
	if [ -z "$broken" ]; then
		pass "$name"
	else
		fail "$name" "$broken"
	fi
	exec 3>&-
	kill $script_pid 2>/dev/null
	wait $script_pid 2>/dev/null
	broken=
}
broken=

why=
vmlinuz=$(kernel cloud-amd64) || why="linux-image-cloud-amd64 cannot be downloaded here"
script -qec true /dev/null >/dev/null 2>&1 </dev/null || why="no pseudo-terminals here"
if [ -n "$why" ]; then
	for name in shell quit signal killed; do
		skip $name "$why"
	done
	finish
fi

start shell
check "no prompt" await '# '
echo 'echo $((6*7))-$(tty)' >&3
check "no command output" await '^42-/dev/ttyS0'
echo 'echo in-c''at; cat' >&3
check "cat did not start" await '^in-cat'
sleep 0.5
printf '\003' >&3
sleep 0.5 # the interrupt flushes what was typed before
echo 'echo after-$?' >&3
check "Ctrl-C did not interrupt the foreground job" await '^after-130'
echo poweroff >&3
check "no power-off with status 1 and the terminal restored" ended 1
verdict

start quit
check "no prompt" await '# '
printf '\001x' >&3
check "Ctrl-A x did not quit, or the terminal was not restored" ended 1
verdict

start signal
check "no prompt" await '# '
check "no process" end_by HUP
check "SIGHUP did not end it, or the terminal was not restored" ended 129
verdict

start killed
check "no prompt" await '# '
check "no process" end_by KILL
check "the terminal was not restored" ended 137
verdict
finish
