# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Makes bench/run's tables of its figures, one a line:
#	list NAME CLASS			the order of the kernels
#	native|hyve|qemu NAME NS SUM	one round of a kernel
#	micro WHO NAME NS		one round of a micro-cost
#	smp WHO NAME NS SUM		one round of the work of smp-1 (one thread) or smp-2 (each of two)
#	latency WHO NAME P50 P99 MAX	one round of a distribution
#	boot WHO MS
#	idle WHO PERCENT KIB
# Ratios are of medians over the rounds; with partial=1, no bars.  guests="hyve ..." names those that should have
# figures.  Ends with 1 when one is missing or a checksum is wrong.

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

# a / b as a table shows it, or "-".
function ratio(a, b, format) {
	return a > 0 && b > 0 ? sprintf(format ? format : "%.2f", a / b) : "-"
}

# The geometric mean of over's to under's times, over the kernels of a class or all ("").
function geomean(over, under, only_class,  i, k, sum, n) {
	for (i = 1; i <= kernels; i++) {
		k = name[i]
		if ((only_class == "" || class[k] == only_class) && ns[over, k] > 0 && ns[under, k] > 0) {
			sum += log(ns[over, k] / ns[under, k])
			n++
		}
	}
	return n ? exp(sum / n) : 0
}

# The largest (sign 1) or smallest (sign -1) ratio of the kernels whose "class/name" matches; extreme_name is its
# kernel.
function extreme(over, under, pattern, sign,  i, k, r, best) {
	extreme_name = ""
	for (i = 1; i <= kernels; i++) {
		k = name[i]
		if (class[k] "/" k !~ pattern || !(ns[over, k] > 0 && ns[under, k] > 0))
			continue
		r = ns[over, k] / ns[under, k]
		if (extreme_name == "" || (r - best) * sign > 0) {
			best = r
			extreme_name = k
		}
	}
	return best + 0
}

# A figure, and whether it is at most (sign 1) or at least (sign -1) what it should be.
function bar(what, value, sign, limit) {
	if (value > 0)
		printf("%-58s %9.2f   %s %-5s %s\n", what, value, sign > 0 ? "at most " : "at least", limit,
			(limit - value) * sign >= 0 ? "pass" : "SHORT")
}

$1 == "list" {
	name[++kernels] = $2
	class[$2] = $3
	next
}
$1 == "micro" {
	if (!($3 in is_micro)) {
		is_micro[$3] = 1
		micro[++micros] = $3
	}
	has_micro[$2] = 1
	times[$2, "micro " $3] = times[$2, "micro " $3] " " $4
	if ($5 != "")
		wrong[++wrongs] = $2 ": micro " $3
	next
}
$1 == "smp" {
	times[$2, $3] = times[$2, $3] " " $4
	if ($3 == "smp-1")
		alone[$2] = $4
	else if (alone[$2] > 0 && $4 > 0)
		worth[$2] = worth[$2] " " 2 * alone[$2] / $4
	if ($6 != "")
		wrong[++wrongs] = $2 ": " $3 ", checksum " $5
	next
}
$1 == "latency" {
	if (!(($2, $3) in is_latency)) {
		is_latency[$2, $3] = 1
		if (!($3 in latency_of)) {
			latency_of[$3] = 1
			latency[++latencies] = $3
		}
	}
	for (i = 1; i <= 3; i++)
		times[$2, "latency " $3 " " i] = times[$2, "latency " $3 " " i] " " $(3 + i)
	next
}
$1 == "boot" {
	boots[$2] = boots[$2] " " $3
	next
}
$1 == "idle" {
	idle[$2] = $3
	memory[$2] = $4
	next
}
$2 in class && $3 + 0 > 0 {
	times[$1, $2] = times[$1, $2] " " $3
	if ($5 != "")
		wrong[++wrongs] = $1 ": " $2 ", checksum " $4
	next
}
$2 in class && $3 == "-" {
	skipped[$1, $2] = 1
	next
}
{ wrong[++wrongs] = $0 }

function kernel_table(  i, k) {
	row = "%-14s %-8s %14s %14s %14s %12s %11s %9s\n"
	printf row, "kernel", "class", "native ns", "hyve ns", "TCG ns", "hyve/native", "TCG/native", "TCG/hyve"
	for (i = 1; i <= kernels; i++) {
		k = name[i]
		printf row, k, class[k], cell(ns["native", k]), cell(ns["hyve", k]), cell(ns["qemu", k]),
			ratio(ns["hyve", k], ns["native", k]), ratio(ns["qemu", k], ns["native", k]),
			ratio(ns["qemu", k], ns["hyve", k])
		if (!(class[k] in seen)) {
			seen[class[k]] = 1
			order[++classes] = class[k]
		}
	}
	print ""
	for (i = 1; i <= classes; i++)
		mean_row("geomean", order[i], order[i])
	mean_row("geomean", "all", "")
	print ""
}
function cell(value) {
	return value > 0 ? sprintf("%.0f", value) : "-"
}
function mean_row(what, label, c) {
	printf row, what, label, "", "", "", ratio(geomean("hyve", "native", c), 1),
		ratio(geomean("qemu", "native", c), 1), ratio(geomean("qemu", "hyve", c), 1)
}

function of(over, under, k) {
	return ns[under, k] > 0 ? ns[over, k] / ns[under, k] : 0
}

function bars() {
	COLD_TERMS = 2400 # bench/kernels/jit.c
	bar("integer kernels, geomean of hyve/native", geomean("hyve", "native", "integer"), 1, 1.8)
	bar("floating-point kernels, geomean of hyve/native", geomean("hyve", "native", "fp"), 1, 1.6)
	bar("floating-point kernels, geomean of TCG/hyve", geomean("qemu", "hyve", "fp"), -1, 15)
	bar("all kernels, geomean of TCG/hyve", geomean("qemu", "hyve", ""), -1, 5)
	low = extreme("qemu", "hyve", ".", -1)
	bar("all kernels, lowest TCG/hyve: " extreme_name, low, -1, 1)
	high = extreme("hyve", "native", "^(integer|layout|rep|fp)/|^jit/jit(-patch|-beside)?$", 1)
	bar("user kernels, highest hyve/native: " extreme_name, high, 1, 4)
	high = extreme("hyve", "native", "^(integer|layout|rep|fp)/", 1)
	bar("  ... of those that write no code: " extreme_name, high, 1, 4)
	high = extreme("hyve", "native", "^rep/movsb", 1)
	bar("rep movsb, highest hyve/native: " extreme_name, high, 1, 1.2)
	bar("null syscall, hyve/native", of("hyve", "native", "syscall"), 1, 1.5)
	bar("pipe ping-pong, TCG/hyve", of("qemu", "hyve", "pipe"), -1, 4)
	bar("fork+exec, TCG/hyve", of("qemu", "hyve", "exec"), -1, 3)
	bar("page faults, TCG/hyve", of("qemu", "hyve", "fault"), -1, 3)
	bar("translation, ns an instruction (upper bound: jit-cold)",
		(ns["hyve", "jit-cold"] - ns["native", "jit-cold"]) / COLD_TERMS, 1, 300)
	bar("two busy vcpus, work of two for that of one", median(worth["hyve"]), -1, 1.8)
	bar("port of a chip, ns", ns["hyve", "micro port-of-chip"], 1, 150)
	bar("memory of a chip, ns", ns["hyve", "micro mmio-of-chip"], 1, 150)
	bar("port of a device model, ns", ns["hyve", "micro port-of-device"], 1, 400)
	bar("memory of a device model, ns", ns["hyve", "micro mmio-of-device"], 1, 400)
	bar("timer interrupt in a guest that halts, p99, us", ns["hyve", "latency timer-halted 2"] / 1000, 1, 100)
	bar("timer interrupt in a guest that runs, p99, us", ns["hyve", "latency timer-busy 2"] / 1000, 1, 100)
	bar("boot to /init, TCG/hyve", ms["hyve"] > 0 ? ms["qemu"] / ms["hyve"] : 0, -1, 3)
}

function micro_table(  i, k) {
	row = "%-34s %10s %10s %10s %12s\n"
	printf row, "micro-costs, ns", "hyve", "on KVM", "TCG", "TCG/hyve"
	for (i = 1; i <= micros; i++) {
		k = "micro " micro[i]
		printf row, micro[i], cell(ns["hyve", k]), cell(ns["kvm", k]), cell(ns["qemu", k]),
			ratio(ns["qemu", k], ns["hyve", k])
	}
	print ""
}

function smp_table(  who) {
	row = "%-44s %10s %10s %12s\n"
	printf row, "two busy vcpus", "native", "hyve", "TCG"
	printf row, "smp-1, ns", cell(ns["native", "smp-1"]), cell(ns["hyve", "smp-1"]), cell(ns["qemu", "smp-1"])
	printf row, "smp-2, ns", cell(ns["native", "smp-2"]), cell(ns["hyve", "smp-2"]), cell(ns["qemu", "smp-2"])
	printf row, "work of two for that of one", factor(median(worth["native"])), factor(median(worth["hyve"])),
		factor(median(worth["qemu"]))
	print ""
}
function factor(value) {
	return value > 0 ? sprintf("%.2f", value) : "-"
}

function latency_table(  i, j, n, who, title) {
	n = split("host hyve kvm qemu", who, " ")
	title["host"] = "the host itself"
	title["hyve"] = "hyve"
	title["kvm"] = "hyve on KVM"
	title["qemu"] = "TCG"
	row = "%-22s %-22s %10s %10s %10s\n"
	printf row, "latencies, us", "", "p50", "p99", "max"
	for (i = 1; i <= latencies; i++)
		for (j = 1; j <= n; j++)
			if ((who[j], latency[i]) in is_latency)
				printf row, latency[i], title[who[j]], late(who[j], latency[i], 1),
					late(who[j], latency[i], 2), late(who[j], latency[i], 3)
	print ""
}
function late(who, name, which) {
	return sprintf("%.1f", ns[who, "latency " name " " which] / 1000)
}

function boot_table() {
	row = "%-34s %10s %10s %10s %12s\n"
	printf row, "boot to /init, ms", cell(ms["hyve"]), cell(ms["kvm"]), cell(ms["qemu"]),
		ratio(ms["qemu"], ms["hyve"])
	print "  rounds: hyve" boots["hyve"] (ms["kvm"] > 0 ? ", on KVM" boots["kvm"] : "") \
		(ms["qemu"] > 0 ? ", TCG" boots["qemu"] : "")
	print ""
}

function idle_table() {
	row = "%-44s %10s %10s\n"
	printf row, "idle at a shell prompt, % of one core", idle["hyve"], idle["qemu"]
	printf row, "own memory, KiB", memory["hyve"], memory["qemu"]
	print ""
}

# A guest that crashed leaves gaps.
function gaps(  n, who, i, j) {
	n = split(guests, who, " ")
	for (j = 1; j <= n; j++) {
		for (i = 1; i <= kernels; i++)
			if (!((who[j], name[i]) in ns) && !((who[j], name[i]) in skipped))
				wrong[++wrongs] = who[j] ": " name[i] ", no figure"
		if (micros > 0 && !(who[j] in has_micro))
			wrong[++wrongs] = who[j] ": micro-costs, no figures"
	}
}

END {
	for (key in times) {
		split(key, part, SUBSEP)
		ns[part[1], part[2]] = median(times[key])
	}
	for (who in boots)
		ms[who] = median(boots[who])
	gaps()
	if (kernels > 0)
		kernel_table()
	if (micros > 0)
		micro_table()
	if ("hyve" in worth)
		smp_table()
	if (latencies > 0)
		latency_table()
	if (ms["hyve"] > 0)
		boot_table()
	if ("hyve" in idle)
		idle_table()
	if (!partial)
		bars()
	for (i = 1; i <= wrongs; i++)
		print "bench: wrong: " wrong[i]
	exit wrongs > 0
}
