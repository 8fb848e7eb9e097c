/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#ifndef TEST_MACHINE_DOORBELL_H
#define TEST_MACHINE_DOORBELL_H

/*
 * Words of the guest's RAM: what it does right now (1, 2: rings the doorbell of the first, the
 * second device in a port; 3, 4: in memory; 0: something else), then whether it found all four.
 */
#define DOORBELL_PHASE 0x700000

#endif
