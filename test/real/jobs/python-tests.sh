# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: python3 python3-tests
#
# Of Python's own tests those that depend least on the machine; all their results, without the times.
few="float format cmath bisect zlib memoryview generators fractions index"
more="struct dict list binascii contextlib mmap string audioop bool math complex int strtod heapq array
	functools re coroutines pow enum set sort thread hash json deque long unicode bytes hashlib random
	itertools exceptions ast buffer statistics pickle compile gc weakref lzma bz2 fork1 threading"
# verdicts TEST...
verdicts() {
	python3 -S -m unittest -v "$@" 2>&1 | sed -nE \
		's/^(Ran [0-9]+ tests?) in .*/\1/p; /\.\.\. (ok|FAIL|ERROR|skipped.*)$/p; /^(OK|FAILED|FAIL:|ERROR:)/p; /Error/p'
}
# shellcheck disable=SC2046
verdicts $(printf 'test.test_%s ' $few)
verdicts ctypes.test.test_callbacks.Callbacks ctypes.test.test_cfuncs
[ "$n" = 1 ] || for t in $more; do
	echo "test_$t"
	verdicts "test.test_$t"
done
