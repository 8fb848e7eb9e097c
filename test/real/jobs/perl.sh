# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: perl
perl - "$n" <<'END'
use strict; use warnings; use integer;
my $n = shift;
my $x = 12345;
sub rnd { $x = ($x * 1103515245 + 12345) & 0x7fffffff; return $x % $_[0] }

my (%h, @order);
for (1 .. 30000 * $n) {
	my $k = "k" . rnd(5000);
	push @order, $k unless $h{$k}++;
	delete $h{"k" . rnd(5000)} if $_ % 3 == 0;
}
print join(" ", map { "$_=" . ($h{$_} // "-") } @order[0 .. 40]), "\n";
print join(",", (sort { ($h{$b} // 0) <=> ($h{$a} // 0) || $a cmp $b } @order)[0 .. 30]), "\n";

my $text = join " ", map { chr(97 + rnd(26)) x (1 + rnd(3)) . rnd(1000) } 1 .. 20000 * $n;
my $doubles = () = $text =~ /(\w)\1/g;
my %count; $count{$1}++ while $text =~ /\b([a-f])[a-z]*(?=\d*7\b)/g;
(my $swapped = $text) =~ s/(\d+) ([a-z]+)/$2 . sprintf("%x", $1)/ge;
print "$doubles ", join(",", map { "$_$count{$_}" } sort keys %count), " ", unpack("%32C*", $swapped), "\n";
print unpack("H*", pack("NnCvVq>d<Z5w", 1, 2, 3, 4, 5, -6, 7.25, "abc", 300)), "\n";
{
	no integer;
	my $s = 0;
	$s += $_ / 3 - int($_ * 1.37) % 11 for 1 .. 100000 * $n;
	printf "%.15g %.3f %e %s %s\n", $s, $s / 7, 1 / 3, 1e21 + 1, 2 ** 53 - 1;
	print join(" ", map { sqrt($_) } 1 .. 60), "\n";
}
sub fib { my $i = shift; return $i < 2 ? $i : fib($i - 1) + fib($i - 2) }
print fib(18), "\n";
my @closures = map { my $i = $_; sub { $i += shift; $i } } 1 .. 10;
print join(" ", map { $closures[$_ % 10]->($_) } 1 .. 40), "\n";
print eval { die { code => 42 } } // "caught $@->{code}", "\n";
my $fork = open(my $child, "-|") // die;
if (!$fork) { print "from the child $_\n" for 1 .. 5; exit 0 }
print while <$child>;
close $child or die;
END
