# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# The tables of bench/debian/parts.sh's figures: medians, ratios, and the largest figure over the smallest.  Ends with 1
# when one of guests="hyve ..." has no figure where another has.
#	disk WHO FORMAT NAME FIGURE
#	debian WHO WHAT FIGURE

function add(table, row, who, value,  key) {
	if (!((table, row) in known)) {
		known[table, row] = 1
		rows[table, ++count[table]] = row
	}
	key = table SUBSEP row SUBSEP who
	values[key] = values[key] " " value
}
function median(list,  v, n, i, j, t) {
	n = split(list, v, " ")
	for (i = 2; i <= n; i++) {
		t = v[i] + 0
		for (j = i - 1; j > 0 && v[j] + 0 > t; j--)
			v[j + 1] = v[j]
		v[j + 1] = t
	}
	if (n == 0)
		return 0
	return n % 2 ? v[(n + 1) / 2] + 0 : (v[n / 2] + v[n / 2 + 1]) / 2
}
# The largest over the smallest figure: how steady they are.
function spread(list,  v, n, i, low, high) {
	n = split(list, v, " ")
	for (i = 1; i <= n; i++) {
		if (i == 1 || v[i] + 0 < low)
			low = v[i] + 0
		if (i == 1 || v[i] + 0 > high)
			high = v[i] + 0
	}
	return low > 0 ? sprintf("%.2f", high / low) : "-"
}
# With sign 1 more is better, with -1 less.
function table_row(table, row, label, format, sign,  h, q, hl, ql, ratio) {
	missing += !has_figure(table, row, "hyve") + !has_figure(table, row, "qemu")
	hl = values[table, row, "hyve"]
	ql = values[table, row, "qemu"]
	h = median(hl)
	q = median(ql)
	ratio = h > 0 && q > 0 ? sprintf("%.2f", sign > 0 ? h / q : q / h) : "-"
	printf("%-30s %12s %12s %10s %8s %8s\n", label, hl == "" ? "-" : sprintf(format, h),
		ql == "" ? "-" : sprintf(format, q), ratio, spread(hl), spread(ql))
}
function has_figure(table, row, who) {
	return ((table SUBSEP row SUBSEP who) in values) || guests !~ who
}
function header(what) {
	printf "%-30s %12s %12s %10s %8s %8s\n", what, "hyve", "TCG", "hyve's", "spread", "spread"
}

$1 == "disk" { add("disk " $3, $4, $2, $5) }
$1 == "debian" { add("debian", $3, $2, $4) }

END {
	for (f = 1; f <= 2; f++) {
		table = "disk " (f == 1 ? "raw" : "qcow2")
		if (!count[table])
			continue
		header("fio, " substr(table, 6) " image")
		for (i = 1; i <= count[table]; i++) {
			row = rows[table, i]
			table_row(table, row, row (row ~ /128k/ ? ", MiB/s" : ", /s"), "%d", 1)
		}
		print ""
	}
	if (count["debian"]) {
		header("Debian 12, 1 vcpu")
		table_row("debian", "prompt", "to the login prompt, s", "%.1f", -1)
		table_row("debian", "guest", "... by its own clock, s", "%.1f", -1)
		table_row("debian", "cpu", "... processor time, s", "%.1f", -1)
		table_row("debian", "off", "poweroff, s", "%.1f", -1)
		table_row("debian", "idle", "idle, % of a core", "%.1f", -1)
		print ""
	}
	exit missing > 0
}
