/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* From the decoder of x86/ to the seed's struct vie.  For vmm/ and its tests. */
#ifndef VMM_VIE_H
#define VMM_VIE_H

#include <vmm/vmm.h>

#include "x86/x86.h"

/* Fills all of `vie` from a decoded instruction. */
void vie_fill(struct vie *vie, const struct x86_insn *insn);
/* Decodes vie->inst[0..num_valid). False: it is no whole instruction; vie->decoded is 0 then. */
bool vie_decode(struct vie *vie, unsigned code_size, struct x86_insn *insn);
enum vm_reg_name vie_gpr_name(unsigned gpr);

#endif
