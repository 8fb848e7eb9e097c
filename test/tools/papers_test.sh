# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The manual pages against the code's own tables (test/tools/tables): what the commands understand stands there, and
# nothing stands there that they do not.  What a page names is what it marks up (test/tools/marks).
BUILD=${BUILD:-build}
HYVE=$(realpath "${HYVE:-$BUILD/hyve}")
HYVECTL=${HYVECTL:-$BUILD/hyvectl}
LIBVMM=${LIBVMM:-$BUILD/libvmm}
TABLES=${TABLES:-$BUILD/test/tools/tables}
# Another folder of pages, to see this test fail.
DOC=${DOC:-doc}
LC_ALL=C
export LC_ALL
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0
failed=0

if ! command -v mandoc >/dev/null; then
	echo "1..1"
	echo "ok 1 - manual pages # SKIP no mandoc"
	exit 0
fi

# verdict NAME COMPLAINTS
verdict() {
	n=$((n + 1))
	[ -z "$2" ] && echo "ok $n - $1" && return
	echo "not ok $n - $1"
	echo "$2" | sed 's/^/# /'
	failed=1
}
# rows KIND: the table's lines of that kind, without the word.
rows() {
	sed -n "s/^$1 //p" "$dir/tables"
}
# Lines in order, each once.
words() {
	sort -u
}
# same WANTED FOUND: what one of these files has and the other has not.
same() {
	[ -s "$1" ] || echo "the code has no such things at all"
	comm -23 "$1" "$2" | sed 's/^/not in the page: /'
	comm -13 "$1" "$2" | sed 's/^/not in the code: /'
}
# known PATTERNS FOUND: what matches no pattern of the code.  covered: patterns of which the page has no word.
known() {
	while IFS= read -r word; do
		hit=
		while IFS= read -r pattern; do
			# shellcheck disable=SC2254
			case $word in $pattern) hit=1 ;; esac
		done <"$1"
		[ -n "$hit" ] || echo "not in the code: $word"
	done <"$2"
}
covered() {
	[ -s "$1" ] || echo "the code has no such things at all"
	while IFS= read -r pattern; do
		hit=
		while IFS= read -r word; do
			# shellcheck disable=SC2254
			case $word in $pattern) hit=1 ;; esac
		done <"$2"
		[ -n "$hit" ] || echo "not in the page: $pattern"
	done <"$1"
}
# subset KNOWN FOUND
subset() {
	comm -13 "$1" "$2" | sed 's/^/not in the code: /'
}
# marks PAGE PROGRAM: awk on the page's marks, with names for the columns.
marks() {
	awk -F'\t' "{ section = \$1; sub2 = \$2; tag = \$3; macro = \$4; text = \$5 } $2" "$dir/$1" | words
}

"$TABLES" >"$dir/tables" || exit 1
for page in hyve.8 hyvectl.8 hyve_config.5 libvmm.3; do
	verdict "mandoc and $page" "$(mandoc -Tlint -W warning "$DOC/$page" 2>&1 | grep -v '^mandoc: outdated mandoc.db')"
	test/tools/marks "$DOC/$page" >"$dir/$page"
	verdict "$page leads to pages that are there" "$(
		marks $page 'macro == "Xr" && text ~ /^(hyve|libvmm)/ { print text }' | tr '()' '. ' | while read -r other; do
			[ -e "$DOC/$other" ] || echo "$other"
		done)"
done

# ---- hyve.8: options ----
rows option | awk '{ print $1 }' | words >"$dir/options"
marks hyve.8 'macro == "Fl" && tag ~ /^=/ { print text }' >"$dir/found"
verdict "hyve.8 has an entry for each option" "$(same "$dir/options" "$dir/found")"
# -AaC are three.
marks hyve.8 'section == "SYNOPSIS" && macro == "Fl" { print text }' | awk '
	/^-[A-Za-z]+$/ { for (i = 2; i <= length($0); i++) print "-" substr($0, i, 1); next }
	{ print }' | words >"$dir/found"
verdict "hyve.8's synopsis has each option" "$(same "$dir/options" "$dir/found")"
marks hyve.8 'macro == "Fl" && section != "SYNOPSIS" { print text }' >"$dir/found"
verdict "hyve.8 names no other options" "$(subset "$dir/options" "$dir/found")"
rows option | words >"$dir/wanted"
awk -F'\t' '$3 ~ /^=/ && $1 == "DESCRIPTION" {
		if ($4 == "Fl") { n++; option[n] = $5; of[n] = $3 }
		else argument[$3] = 1
	}
	END { for (i = 1; i <= n; i++) print option[i], of[i] in argument ? "=" : "-" }' "$dir/hyve.8" | words >"$dir/found"
verdict "hyve.8 says which options have an argument" "$(same "$dir/wanted" "$dir/found")"

# ---- hyve.8: devices ----
"$HYVE" -l help | words >"$dir/wanted"
marks hyve.8 'section == "DEVICES BESIDE PCI" && tag ~ /^=/ && macro == "Cm" { print text }' >"$dir/found"
verdict "hyve.8 has each device of -l" "$(same "$dir/wanted" "$dir/found")"
verdict "hyve takes each device of -l help" "$(while read -r name; do
	"$HYVE" -l "$name" -o config.dump=true vm >/dev/null 2>&1 ||
		"$HYVE" -l "$name,/dev/null" -o config.dump=true vm >/dev/null 2>&1 || echo "$name"
	done <"$dir/wanted")"
rows device | words >"$dir/devices"
marks hyve.8 'section == "PCI DEVICES" && sub2 != "" { gsub(/, */, "\n", sub2); print sub2 }' >"$dir/found"
# A subsection without any mark has a heading all the same.
sed -n '/^\.Sh PCI DEVICES/,/^\.Sh TEST/s/^\.Ss //p' "$DOC/hyve.8" | tr ',' '\n' | tr -d ' ' | sort -u - "$dir/found" -o "$dir/found"
verdict "hyve.8 has each PCI device" "$(same "$dir/devices" "$dir/found")"
# Of a list that is NAME=PATH behind -s its keys are not written.
awk '
	$1 == "first" { first[$2 " " $3] = 1 }
	$1 == "list" { list[$2] = $3 }
	$1 == "key" { n++; device[n] = $2; key[n] = $3 }
	END {
		for (i = 1; i <= n; i++)
			if (!(device[i] in list) || index(key[i], list[device[i]] ".") != 1)
				print device[i], (device[i] " " key[i]) in first ? "=" key[i] : key[i]
		for (d in list)
			print d, "=name=path"
	}' "$dir/tables" | words >"$dir/wanted"
marks hyve.8 'section == "PCI DEVICES" && tag ~ /^=/ {
		many = split(sub2, of, /, */)
		for (i = 1; i <= many; i++) {
			if (macro == "Cm") print of[i], text
			if (macro == "Ar" && (tag == "=" text || tag == "=name=path")) print of[i], tag
		}
	}' >"$dir/found"
verdict "hyve.8 has each device's options" "$(same "$dir/wanted" "$dir/found")"

# ---- hyve_config.5 ----
rows setting | words >"$dir/settings"
marks hyve_config.5 'macro == "Va" && tag ~ /^=/ && !(section == "PCI DEVICES" && sub2 != "") && text != "device" {
		print text
	}' >"$dir/found"
verdict "hyve_config.5 has each setting" "$(covered "$dir/settings" "$dir/found")"
verdict "hyve_config.5 has no other settings" "$(known "$dir/settings" "$dir/found")"
sed -n '/^\.Sh PCI DEVICES/,/^\.Sh FILES/s/^\.Ss //p' "$DOC/hyve_config.5" | tr ',' '\n' | tr -d ' ' | words >"$dir/found"
verdict "hyve_config.5 has each PCI device" "$(same "$dir/devices" "$dir/found")"
marks hyve_config.5 'section == "PCI DEVICES" && sub2 != "" && macro == "Va" && tag ~ /^=/ {
		many = split(sub2, of, /, */)
		for (i = 1; i <= many; i++) print of[i], text
	}' >"$dir/found"
rows key | words >"$dir/keys"
verdict "hyve_config.5 has each device's settings" "$(covered "$dir/keys" "$dir/found")"
verdict "hyve_config.5 has no other settings of devices" "$(known "$dir/keys" "$dir/found")"
{
	cat "$dir/settings"
	sed 's/^[^ ]* //' "$dir/keys"
	echo device
} >"$dir/patterns"
for page in hyve.8 hyve_config.5; do
	marks $page 'macro == "Va" { print text }' >"$dir/found"
	verdict "$page speaks of no other settings" "$(known "$dir/patterns" "$dir/found")"
done
# Who logs names the room in the same line; the serial ports are rooms by their own names.
logs=$(grep -rnE 'log_(err|warn|info|debug)\(' --include='*.c' cmd machine host device)
{
	echo all
	echo "$logs" | sed -n 's/.*log_[a-z]*([^"]*, "\([a-z]*\)".*/\1/p'
	"$HYVE" -l help | grep '^com'
} | words >"$dir/wanted"
marks hyve_config.5 'macro == "Va" && tag ~ /^=/ && text ~ /^log\./ { print substr(text, 5) }' >"$dir/found"
verdict "hyve_config.5 has who logs" "$(
	same "$dir/wanted" "$dir/found"
	echo "$logs" | grep -vE 'log_[a-z]+\([^"]*, "[a-z]+"|^device/uart/uart_model.c:[0-9]+:.*m->name')"

# ---- hyvectl.8 ----
"$HYVECTL" --help | sed '/^options, in/q' | grep -oE -- '--[a-z-]+' | words >"$dir/own"
for kind in register selector; do
	rows $kind | sed 's/.*/--get-&\n--set-&/'
done | words >"$dir/forms"
rows descriptor | sed 's/.*/--get-desc-&\n--set-desc-&/' | sort -u - "$dir/forms" -o "$dir/forms"
rows verb | sed 's/\([^ ]*\).*/--\1/' | words >"$dir/verbs"
{
	comm -23 "$dir/verbs" "$dir/forms"
	cat "$dir/own"
	printf -- '--%s\n' get- set- get-desc- set-desc-
} | words >"$dir/wanted"
rows refused | sed 's/\([^ ]*\).*/--\1/' | words >"$dir/refused"
marks hyvectl.8 'macro == "Fl" { print text }' >"$dir/all"
comm -23 "$dir/all" "$dir/refused" >"$dir/found"
verdict "hyvectl.8 has each option" "$(same "$dir/wanted" "$dir/found")"
# --set-rtc-time=secs in a tag, --pause without.
rows verb | words >"$dir/wanted"
awk -F'\t' '$3 ~ /^=/ && $4 == "Fl" { print substr($5, 3), index($3, $5 "=") ? "=" : "-" }' "$dir/hyvectl.8" |
	words >"$dir/found"
awk '{ print $1 }' "$dir/found" | while read -r name; do grep "^$name " "$dir/wanted"; done | words >"$dir/named"
grep -vE '^([gs]et-(desc-)?|vm|cpu|rundir|once|help|version) ' "$dir/found" >"$dir/verbs_found"
verdict "hyvectl.8 says which options have an argument" "$(same "$dir/named" "$dir/verbs_found")"
# lists TAG KIND...: what stands below that tag.
lists() {
	tag=$1
	shift
	for kind; do
		rows "$kind"
	done | words >"$dir/wanted"
	awk -F'\t' -v t="$tag" 'index($3, t) == 1 && $4 == "Cm" { print $5 }' "$dir/hyvectl.8" | words >"$dir/found"
	same "$dir/wanted" "$dir/found"
}
verdict "hyvectl.8 has each register" "$(lists --get-register register selector)"
verdict "hyvectl.8 has each descriptor" "$(lists --get-desc-segment descriptor)"
verdict "hyvectl.8 has each capability" "$(lists --getcap capability)"
rows command | words >"$dir/wanted"
marks hyvectl.8 'section == "PROTOCOL" && macro == "Cm" { print text }' >"$dir/found"
verdict "hyvectl.8 has each command of the protocol" "$(same "$dir/wanted" "$dir/found")"

# ---- libvmm.3 ----
nm -D --defined-only "$LIBVMM.so" | awk '$2 == "T" { print $3 }' | words >"$dir/functions"
marks libvmm.3 'section == "FUNCTIONS" && macro == "Fn" { print text }' >"$dir/found"
verdict "libvmm.3 has each function" "$(same "$dir/functions" "$dir/found")"
marks libvmm.3 'macro == "Fn" && text != "vmmdev_*" { print text }' >"$dir/found"
verdict "libvmm.3 names no others" "$(subset "$dir/functions" "$dir/found")"
# The subsection is the header; below "The chips", the tag.
marks libvmm.3 'section == "FUNCTIONS" && macro == "Fn" {
		header = sub2 ~ /^vmm\// ? sub2 : tag
		gsub(/[<>]/, "", header)
		print header, text
	}' | while read -r header name; do
	grep -qE "[ *]$name\(" "include/$header" || echo "$name is not in $header"
done >"$dir/misplaced"
verdict "libvmm.3 has functions in their headers" "$(cat "$dir/misplaced")"
for header in include/vmm/*.h include/vmm/*.def; do
	# What the library does not install, and what the others include.
	case $header in */backend.h | */types.h) ;; *) echo "<${header#include/}>" ;; esac
done | words >"$dir/wanted"
{
	marks libvmm.3 'sub2 ~ /^vmm\// { print "<" sub2 ">" }'
	grep -oE '^\.(It )?In [a-z_/.]+' "$DOC/libvmm.3" | sed 's/.* \(.*\)/<\1>/'
} | words >"$dir/found"
verdict "libvmm.3 has each header" "$(same "$dir/wanted" "$dir/found")"
sed -n 's/^\t\(VM_EXITCODE_[A-Z0-9_]*\).*/\1/p' include/vmm/vmm.h | grep -vE 'DEPRECATED|MAX' | words >"$dir/wanted"
marks libvmm.3 'macro == "Dv" && text ~ /^VM_EXITCODE/ { print text }' >"$dir/found"
verdict "libvmm.3 has each exit" "$(same "$dir/wanted" "$dir/found")"
verdict "libvmm.3 names no constants that are not there" "$(
	marks libvmm.3 'macro == "Dv" { print text }' | while read -r name; do
		grep -qw "$name" include/vmm/*.h || echo "$name"
	done)"

# ---- examples ----
# literal PAGE PATTERN: the first literal display that has a line with it, as the reader sees it.
literal() {
	awk -v pattern="$2" '
		/^\.Bd -literal/ { on = 1; text = ""; next }
		/^\.Ed/ { if (on && index(text, pattern)) { printf "%s", text; exit } on = 0 }
		on { gsub(/\\e/, "\\"); text = text $0 "\n" }' "$DOC/$1"
}
literal libvmm.3 'int main(' >"$dir/example.c"
cc -std=c17 -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE -Iinclude -o "$dir/example" "$dir/example.c" "$LIBVMM.a" -pthread \
	>"$dir/log" 2>&1 && timeout -s KILL 20 "$dir/example" >"$dir/log" 2>&1
verdict "the program in libvmm.3" "$([ "$(cat "$dir/log")" = Hi ] || cat "$dir/log" || echo "it does not say Hi")"
cp examples/debian.conf "$dir"
literal hyve_config.5 name=web >"$dir/web.conf"
# Each command line of hyve that a page shows, on one line, from hyve on to the end of the command.
commands() {
	{
		sed -n 's/^\.Dl //p' "$DOC/$1"
		literal "$1" 'hyve -' | grep -v '^#'
	} | sed -e ':a' -e '/\\$/N; s/\\\n//; ta' | grep -oE '(^|[ ])hyve -[^;&]*' | sed 's/^ //'
}
for page in hyve.8 hyve_config.5; do
	verdict "$page: hyve takes the examples" "$(
		commands $page >"$dir/commands"
		[ -s "$dir/commands" ] || echo "there are none"
		while IFS= read -r line; do
			(cd "$dir" && eval "\"$HYVE\" -o config.dump=true ${line#hyve }") >"$dir/log" 2>&1 </dev/null &&
				grep -q . "$dir/log" || echo "$line: $(cat "$dir/log")"
		done <"$dir/commands")"
done
# The file of hyve_config.5 and that of examples/: each key but their own variables is known.
for file in web debian; do
	"$HYVE" -k "$dir/$file.conf" -o config.dump=true 2>&1 | sed -n 's/=.*//p' | grep -vxE 'dir|debian\.dir' >"$dir/found"
	sed 's/^[^ ]* /pci.0.*.0./; $s/$/\npci.0.*.0.device/' "$dir/keys" | cat "$dir/settings" - | grep -vxF 'pci.*' >"$dir/patterns"
	verdict "the settings of $file.conf" "$([ -s "$dir/found" ] || echo "there are none"
		known "$dir/patterns" "$dir/found")"
done
verdict "hyvectl has the options of the examples" "$(
	cat "$DOC/hyve.8" "$DOC/hyvectl.8" | sed -n 's/^\.Dl hyvectl //p' | grep -oE -- '--[a-z0-9-]+' | sort -u | while read -r name; do
		cat "$dir/verbs" "$dir/own" | grep -qxF -- "$name" || echo "$name"
	done)"
echo "1..$n"
exit $failed
