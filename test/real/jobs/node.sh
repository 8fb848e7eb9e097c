# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: node
node "$real/jobs/node.js" "$(echo "$n" | awk '{ print $1 / 16 }')"
# Once more with code and data moved about all the time.
node --stress-compaction --gc-interval=2000 "$real/jobs/node.js" 0
# And with every function compiled at once, which takes long.
[ "$n" -gt 1 ] || exit 0
for o in --always-turbofan --always-opt; do
	node $o -e 0 2>/dev/null && break
done
node $o "$real/jobs/node.js" 0
