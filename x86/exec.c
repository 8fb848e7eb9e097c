/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The scratch area where single guest instructions run on the host CPU.
 *
 * One memfd, mapped twice: writable, and executable; never both.  It is a direct-mapped cache of
 * slots, each one instruction and a RET; the slot's own bytes are its tag.  A slot whose bytes
 * differ is overwritten.  Exceptions of the host inside the area come back as vectors (trap.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "x86/exec.h"

#define SLOT_SIZE  32u
#define SLOT_COUNT 2048u
#define AREA_SIZE  (SLOT_SIZE * SLOT_COUNT)
#define OPCODE_RET 0xC3

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

struct x86_exec {
	uint8_t *rw;
	uint8_t *rx;
	struct x86_trap trap;
	int vector; /* of the last exception, left by the signal handler */
};

/*
 * #PF is not ours: the operand was mapped before, so it is either a bug or the host failing to back
 * guest memory, and must not pass for an exception of the guest.
 */
static bool exec_trap(struct x86_trap *trap, int sig, void *siginfo, void *context)
{
	struct x86_exec *exec = trap->arg;
	ucontext_t *uc = context;
	int vector = (int)uc->uc_mcontext.gregs[REG_TRAPNO];

	(void)sig;
	(void)siginfo;
	if (vector != X86_DE && vector != X86_UD && vector != X86_GP && vector != X86_MF &&
		vector != X86_XM)
		return false;
	exec->vector = vector;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)x86_exec_faulted;
	return true;
}

static int exec_memfd(void)
{
	int fd = memfd_create("hyve-exec", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create("hyve-exec", MFD_CLOEXEC);
	return fd;
}

static int exec_map(struct x86_exec *exec, int fd)
{
	if (ftruncate(fd, AREA_SIZE) != 0)
		return errno;
	exec->rw = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (exec->rw == MAP_FAILED)
		return errno;
	exec->rx = mmap(NULL, AREA_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (exec->rx == MAP_FAILED) {
		int error = errno;

		munmap(exec->rw, AREA_SIZE);
		return error;
	}
	return 0;
}

struct x86_exec *x86_exec_create(void)
{
	struct x86_exec *exec = calloc(1, sizeof(*exec));
	int fd, error;

	if (exec == NULL)
		return NULL;
	fd = exec_memfd();
	error = fd < 0 ? errno : exec_map(exec, fd);
	if (fd >= 0)
		close(fd);
	if (error != 0) {
		free(exec);
		errno = error;
		return NULL;
	}
	exec->trap = (struct x86_trap){
		.lo = (uintptr_t)exec->rx,
		.hi = (uintptr_t)exec->rx + AREA_SIZE,
		.fn = exec_trap,
		.arg = exec,
	};
	return exec;
}

void x86_exec_destroy(struct x86_exec *exec)
{
	if (exec == NULL)
		return;
	munmap(exec->rx, AREA_SIZE);
	munmap(exec->rw, AREA_SIZE);
	free(exec);
}

/* FNV-1a: the bytes differ mostly in one or two places. */
static unsigned slot_of(const uint8_t *bytes, unsigned len)
{
	uint32_t hash = 2166136261u;

	for (unsigned i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	return (hash ^ hash >> 15) % SLOT_COUNT;
}

/* libc's memcmp() would use the guest's vector registers. */
static bool is_in_slot(const uint8_t *slot, const uint8_t *bytes, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		if (slot[i] != bytes[i])
			return false;
	return slot[len] == OPCODE_RET;
}

static const void *exec_code(struct x86_exec *exec, const uint8_t *bytes, unsigned len)
{
	size_t offset = (size_t)slot_of(bytes, len) * SLOT_SIZE;
	uint8_t *slot = exec->rw + offset;

	if (!is_in_slot(slot, bytes, len)) {
		x86_bytes_copy(slot, bytes, len);
		slot[len] = OPCODE_RET;
		x86_exec_serialize();
	}
	return exec->rx + offset;
}

int x86_exec_run(
	struct x86_exec *exec, const uint8_t *bytes, unsigned len, struct x86_exec_frame *frame)
{
	bool faulted;

	frame->code = exec_code(exec, bytes, len);
	if (x86_trap_push(&exec->trap) != 0)
		return X86_UD;
	faulted = x86_exec_enter(frame);
	x86_trap_pop(&exec->trap);
	return faulted ? exec->vector : X86_EXEC_NO_FAULT;
}

void x86_fpu_load(struct x86_cpu *cpu)
{
	x86_vectors_load(cpu->fpu);
}

void x86_fpu_save(struct x86_cpu *cpu)
{
	x86_vectors_save(cpu->fpu);
}
