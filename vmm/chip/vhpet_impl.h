/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What the HPET tells the chips that it takes the place of. For vmm/chip/. */
#ifndef VMM_CHIP_VHPET_IMPL_H
#define VMM_CHIP_VHPET_IMPL_H

#include <stdbool.h>

struct vm;

/*
 * With legacy routing, the lines of PIT and RTC are the HPET's (IA-PC HPET 2.3.5). Any thread,
 * lock-free.
 */
bool vhpet_has_legacy_routes(struct vm *vm);

#endif
