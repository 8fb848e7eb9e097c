# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: python3 python3-tests
#
# Of Python's own tests those that depend least on the machine; all their results, without the times.
few="math float struct complex int strtod format cmath dict list heapq bisect zlib binascii array memoryview
	generators contextlib functools re mmap string coroutines fractions pow audioop index bool enum"
more="set sort thread hash json deque long unicode bytes hashlib random itertools exceptions ast buffer statistics
	pickle compile gc weakref lzma bz2 fork1 threading queue io select poll datetime subprocess signal faulthandler"
# verdicts TEST...
verdicts() {
	python3 -S -m unittest -v "$@" 2>&1 | sed -nE \
		's/^(Ran [0-9]+ tests?) in .*/\1/p; /\.\.\. (ok|FAIL|ERROR|skipped.*)$/p; /^(OK|FAILED|FAIL:|ERROR:)/p; /Error/p'
}
# shellcheck disable=SC2046
verdicts $(printf 'test.test_%s ' $few)
verdicts ctypes.test.test_callbacks ctypes.test.test_cfuncs ctypes.test.test_bitfields \
	ctypes.test.test_as_parameter ctypes.test.test_structures
[ "$n" = 1 ] || for t in $more; do
	echo "test_$t"
	verdicts "test.test_$t"
done
