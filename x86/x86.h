/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The door of x86/: the architecture, for vmm/, the backends and the tests. */
#ifndef X86_X86_H
#define X86_X86_H

#include "x86/insn.h"
#include "x86/cpu.h"
#include "x86/pte.h"

#endif
