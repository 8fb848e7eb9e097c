# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Suites that others wrote, where tools/outside has built them: each configuration of kvm-unit-tests that
# passed once (passes.txt) has to pass, and test386.asm has to come to its end without a difference.
BUILD=${BUILD:-build}
export BUILD
out=$BUILD/outside
list=test/outside/passes.txt
cases=0
failed=0

report() { # STATUS NAME
	cases=$((cases + 1))
	[ "$1" = 0 ] || { failed=1; printf 'not '; }
	echo "ok $cases - $2"
}

skip() {
	cases=$((cases + 1))
	echo "ok $cases - $1 # SKIP not built; see tools/outside"
}

# A run of its own, so that the results that were kept stay.
passes() { # ARCH NAME
	kernels=$out/kut-$1
	[ -f "$kernels/built" ] || return 2
	ARCH=$1 LIMIT=${LIMIT:-60} MAX_LIMIT=300 tools/outside one "$2" >"$out/test.log" 2>&1
	[ "$(tail -n 1 "$out/test.log")" = 'exit status 1' ]
}

echo "1..$(($(grep -c '^[^#]' $list) + 1))"
while read -r arch name; do
	case $arch in '#'*) continue ;; esac
	passes "$arch" "$name"
	case $? in
	2) skip "$name ($arch)" ;;
	0) report 0 "$name ($arch)" ;;
	*)
		report 1 "$name ($arch)"
		tail -n 5 "$out/test.log" | tr -d '\r\0' | sed 's/^/# /'
		;;
	esac
done <$list
if [ -f "$out/test386/test386.bin" ]; then
	text=$(tools/outside test386)
	report $? "test386: $text"
else
	skip test386
fi
exit $failed
