# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: python3
python3 -S "$real/jobs/python.py" "$n"
