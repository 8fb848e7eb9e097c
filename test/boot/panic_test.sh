# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# A Linux that panics: hyve says so, and ends as pvpanic.action wants, or as the guest's own panic= does.
. test/boot/lib.sh
plan 4

# panic NAME STATUS APPEND OPTION...
panic() {
	name=$1
	want=$2
	append=$3
	shift 3
	if ! vmlinuz=$(kernel cloud-amd64) || ! archive panic cloud-amd64 pvpanic.ko pvpanic-mmio.ko; then
		skip "$name" "linux-image-cloud-amd64 cannot be downloaded here"
		return
	fi
	timeout -s KILL 60 "$HYVE" -m 512M --kernel "$vmlinuz" --initrd "$image" "$@" \
		--append "console=ttyS0 hyve.batch $append" "$name" </dev/null >"$logs/$name.out" 2>"$logs/$name.err"
	status=$?
	if [ $status != "$want" ]; then
		fail "$name" "exit status $status, not $want"
	elif ! grep -q "pvpanic: the guest's kernel has panicked" "$logs/$name.err"; then
		fail "$name" "hyve does not tell of the panic"
	elif ! grep -q 'Kernel panic - not syncing' "$logs/$name.out"; then
		fail "$name" "the guest did not panic"
	else
		pass "$name"
	fi
}
panic panic-none 0 panic=1
panic panic-poweroff 1 panic=0 -o pvpanic.action=poweroff
panic panic-reset 0 panic=0 -o pvpanic.action=reset
panic panic-error 4 panic=0 -o pvpanic.action=error
finish
