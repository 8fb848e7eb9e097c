# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# test/contract/table makes of result lines what it says it makes.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
n=0
failed=0
check() {
	n=$((n + 1))
	if [ "$2" = "$3" ]; then
		echo "ok $n - $1"
	else
		failed=1
		echo "not ok $n - $1"
		echo "# got \"$2\", expected \"$3\""
	fi
}
line() {
	grep -F "$1" "$dir/table"
}

echo "1..9"
cat >"$dir/here" <<-END
	BEHAVIOUR c10_2_second soft pass
	BEHAVIOUR c4_1_first soft fail test.c:5: 1 != 2
	BEHAVIOUR c10_10_third soft skip no such thing
	BEHAVIOUR c10_2_second kvm skip no such thing
	noise
	BEHAVIOUR c4_1_first kvm pass
END
echo "BEHAVIOUR c10_10_third kvm pass" >"$dir/lab"
test/contract/table "$dir/here" "In the lab=$dir/lab" >"$dir/table"
check "a failure is the exit status" $? 1
check "columns are backends and titles" "$(line '| behaviour |' | head -n 1)" "| behaviour | soft | kvm | In the lab |"
check "a failure has its reason" "$(line '| c4_1_first')" "| c4_1_first | ✗ 1 | ✓ | - |"
check "so has a skip, and equal reasons are one" "$(line '| c10_2_second')" "| c10_2_second | ✓ | 2 | - |"
check "a file with a title is one column" "$(line '| c10_10_third')" "| c10_10_third | 2 | - | ✓ |"
check "the reasons" "$(line '1. test' | tail -n 1)$(line '2. no')" "1. test.c:5: 1 != 22. no such thing"
check "the order is by number" "$(grep -o '^| c[0-9_]*' "$dir/table" | tr -d '\n')" "| c4_1_| c10_2_| c10_10_"
check "the sums" "$(line '| all |')" \
	"| all | 3 | 1 passed, **1 failed**, 1 not asked for | 1 passed, 1 not asked for, 1 not run | 1 passed, 2 not run |"
grep -v fail "$dir/here" >"$dir/good"
test/contract/table "$dir/good" >"$dir/table"
check "no failure is exit status 0" $? 0
exit $failed
