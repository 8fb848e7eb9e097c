# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The manual pages: mandoc has nothing against them, and they name every option there is.
BUILD=${BUILD:-build}
HYVE=${HYVE:-$BUILD/hyve}
HYVECTL=${HYVECTL:-$BUILD/hyvectl}
n=0
failed=0
# verdict NAME COMPLAINTS
verdict() {
	n=$((n + 1))
	[ -z "$2" ] && echo "ok $n - $1" && return
	echo "not ok $n - $1"
	echo "$2" | sed 's/^/# /'
	failed=1
}

echo "1..5"
for page in doc/hyve.8 doc/hyvectl.8; do
	if command -v mandoc >/dev/null; then
		verdict "mandoc and $page" "$(mandoc -Tlint -Wwarning "$page")"
	else
		n=$((n + 1))
		echo "ok $n - mandoc and $page # SKIP no mandoc"
	fi
done
# Registers stand in a list of their own there.
verdict "hyvectl.8 has every option" "$("$HYVECTL" --help | sed -n 's/^ *\[--\([a-z0-9-]*\).*/\1/p' |
	grep -vE '^[gs]et-(desc-)?(efer|cr.|dr7|r[a-z0-9]*|[a-z]s|tr|ldtr|[gi]dtr)$' |
	while read -r option; do
		grep -qE -- "Fl -$option( |\$)" doc/hyvectl.8 || echo "$option"
	done)"

# What bash would offer.
complete() {
	bash -c '. "tools/completion/$1"; compopt() { :; }; COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2))
		eval "last=\${$#}" && eval "before=\${$(($# - 1))}"
		"_$1" "$2" "$last" "$before" && printf "%s\n" "${COMPREPLY[@]}"' bash "$@" | tr '\n' ' '
}
got=$(complete hyvectl "$HYVECTL" --get-desc-g)
[ "$got" = "--get-desc-gs --get-desc-gdtr " ] && got=
verdict "completion of hyvectl" "$got"
got=$(complete hyve "$HYVE" --ker)
[ "$got" = "--kernel " ] && got=
verdict "completion of hyve" "$got"
exit $failed
