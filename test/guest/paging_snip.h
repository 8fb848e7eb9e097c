/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Snippets that read the same in 32-bit and in 64-bit code. For paging.c and paging_access.c. */
#ifndef GUEST_PAGING_SNIP_H
#define GUEST_PAGING_SNIP_H

#ifdef __x86_64__
#define SNIP(name, ...) CODE(64, name, __VA_ARGS__)
#define BX "%rbx"
#define CX "%rcx"
#define SP "%rsp"
#define PUSH "pushq"
#define STACK_SLOT 8
#else
#define SNIP(name, ...) CODE(32, name, __VA_ARGS__)
#define BX "%ebx"
#define CX "%ecx"
#define SP "%esp"
#define PUSH "pushl"
#define STACK_SLOT 4
#endif

#endif
