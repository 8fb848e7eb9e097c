# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: gcc
for o in "-O2 -g" "-O3 -mavx2 -ffast-math" "-Os -m32 -S"; do
	case $o in
	*-S*) echo 'int f(int a, long long b) { return b / a % 7; }' | gcc $o -x c -o prog - && cat prog ;;
	*)
		gcc $o -fdebug-prefix-map="$PWD"=. -fdebug-prefix-map="$real"=. -S "$real/jobs/gcc.c" -o prog.s && sha256sum prog.s || exit 1
		gcc prog.s -o prog -lm || exit 1
		sha256sum prog
		./prog "$n" || exit 1
		;;
	esac
done
