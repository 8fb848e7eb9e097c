/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The host CPU as the reference: the instruction in its original encoding, at its own address, with
 * the registers, memory and vector state of the case.  Faults come back through x86_trap_push().
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "test/differential/world.h"
#include "x86/exec.h"

#define PAGE   4096u
#define HLT    0xf4
#define OFFSET (DIFF_RIP - DIFF_CODE)

#define USER_END 0x7ffffffff000ull /* with 48 address bits */

void host_enter(struct diff_state *state);
void host_exit(void);

_Static_assert(offsetof(struct diff_state, rflags) == 128, "host_run.S");
_Static_assert(offsetof(struct diff_state, fpu) == 192, "host_run.S");

static uint8_t *code; /* writable view of the code page */
static unsigned code_len;
static struct diff_state *current; /* NULL: not in guest code */

static bool on_fault(struct x86_trap *trap, int sig, void *siginfo, void *context)
{
	greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)trap;
	(void)sig;
	(void)siginfo;
	if (current == NULL)
		return false;
	current->rip = (uint64_t)gregs[REG_RIP];
	current->vector = (int)gregs[REG_TRAPNO];
	current->error = (uint32_t)gregs[REG_ERR];
	current->cr2 = (uint64_t)gregs[REG_CR2];
	gregs[REG_RIP] = (greg_t)(uintptr_t)host_exit;
	return true;
}

/* Branches may lead anywhere. */
static struct x86_trap everywhere = {.lo = 0, .hi = UINTPTR_MAX, .fn = on_fault};

static int map_code(void)
{
	int fd = memfd_create("differential", MFD_CLOEXEC);
	void *rx = MAP_FAILED;

	if (fd < 0)
		return errno;
	if (ftruncate(fd, PAGE) == 0) {
		code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		rx = mmap((void *)(uintptr_t)DIFF_CODE, PAGE, PROT_READ | PROT_EXEC,
			MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	}
	close(fd);
	return code == MAP_FAILED || rx == MAP_FAILED ? errno : 0;
}

/* A read-only page has to be there before it is written to, or the error code says "not present".
 */
static int map_data(void)
{
	uint8_t *all = mmap((uint8_t *)(uintptr_t)DIFF_DATA - PAGE, DIFF_DATA_SIZE + 2 * PAGE,
		PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (all == MAP_FAILED || mprotect(host_data(), DIFF_DATA_SIZE, PROT_READ | PROT_WRITE) != 0)
		return errno;
	memset(host_data(), 0, DIFF_DATA_SIZE);
	if (mprotect(host_data() + DIFF_WRITABLE, DIFF_DATA_SIZE - DIFF_WRITABLE, PROT_READ) != 0)
		return errno;
	return 0;
}

int host_open(void)
{
	int error = map_code();

	if (error == 0)
		error = map_data();
	return error != 0 ? error : x86_trap_push(&everywhere);
}

void host_close(void)
{
	x86_trap_pop(&everywhere);
	munmap(code, PAGE);
	munmap((void *)(uintptr_t)DIFF_CODE, PAGE);
	munmap(host_data() - PAGE, DIFF_DATA_SIZE + 2 * PAGE);
}

uint8_t *host_data(void)
{
	return (uint8_t *)(uintptr_t)DIFF_DATA;
}

/*
 * The instruction, then jmp [rip] to host_exit.  Behind a branch, and everywhere else in the page,
 * stands HLT, which faults.
 */
void host_load(const uint8_t *bytes, unsigned len, bool branch)
{
	static const uint8_t jmp[] = {0xff, 0x25, 0, 0, 0, 0};
	uintptr_t out = (uintptr_t)host_exit;

	memset(code, HLT, PAGE);
	memcpy(code + OFFSET, bytes, len);
	if (!branch) {
		memcpy(code + OFFSET + len, jmp, sizeof(jmp));
		memcpy(code + OFFSET + len + sizeof(jmp), &out, sizeof(out));
	}
	code_len = len;
	x86_exec_serialize();
}

void host_run(struct diff_state *state)
{
	const uint64_t visible = X86_FL_STATUS | X86_FL_DF;
	uint64_t flags = state->rflags;

	state->vector = DIFF_NO_FAULT;
	state->rip = DIFF_RIP + code_len;
	current = state;
	host_enter(state);
	current = NULL;
	/* Linux hides what is mapped there from user programs. */
	if (state->cr2 >= USER_END)
		state->error &= ~1u;
	if (state->rip != DIFF_RIP) /* a branch was taken; what is there does not matter */
		state->vector = DIFF_NO_FAULT;
	state->rflags = (state->rflags & visible) | (flags & ~visible);
}
