/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "cmd/control/protocol.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmm/vmm.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct control_register control_registers[] = {
	{"efer", VM_REG_GUEST_EFER, 16},
	{"cr0", VM_REG_GUEST_CR0, 16},
	{"cr2", VM_REG_GUEST_CR2, 16},
	{"cr3", VM_REG_GUEST_CR3, 16},
	{"cr4", VM_REG_GUEST_CR4, 16},
	{"dr7", VM_REG_GUEST_DR7, 16},
	{"rsp", VM_REG_GUEST_RSP, 16},
	{"rip", VM_REG_GUEST_RIP, 16},
	{"rax", VM_REG_GUEST_RAX, 16},
	{"rbx", VM_REG_GUEST_RBX, 16},
	{"rcx", VM_REG_GUEST_RCX, 16},
	{"rdx", VM_REG_GUEST_RDX, 16},
	{"rsi", VM_REG_GUEST_RSI, 16},
	{"rdi", VM_REG_GUEST_RDI, 16},
	{"rbp", VM_REG_GUEST_RBP, 16},
	{"r8", VM_REG_GUEST_R8, 16},
	{"r9", VM_REG_GUEST_R9, 16},
	{"r10", VM_REG_GUEST_R10, 16},
	{"r11", VM_REG_GUEST_R11, 16},
	{"r12", VM_REG_GUEST_R12, 16},
	{"r13", VM_REG_GUEST_R13, 16},
	{"r14", VM_REG_GUEST_R14, 16},
	{"r15", VM_REG_GUEST_R15, 16},
	{"rflags", VM_REG_GUEST_RFLAGS, 16},
};
const size_t control_nregisters = COUNT(control_registers);

const struct control_register control_selectors[] = {
	{"cs", VM_REG_GUEST_CS, 4},
	{"ds", VM_REG_GUEST_DS, 4},
	{"es", VM_REG_GUEST_ES, 4},
	{"fs", VM_REG_GUEST_FS, 4},
	{"gs", VM_REG_GUEST_GS, 4},
	{"ss", VM_REG_GUEST_SS, 4},
	{"tr", VM_REG_GUEST_TR, 4},
	{"ldtr", VM_REG_GUEST_LDTR, 4},
};
const size_t control_nselectors = COUNT(control_selectors);

const struct control_register control_descriptors[] = {
	{"ds", VM_REG_GUEST_DS, 8},
	{"es", VM_REG_GUEST_ES, 8},
	{"fs", VM_REG_GUEST_FS, 8},
	{"gs", VM_REG_GUEST_GS, 8},
	{"ss", VM_REG_GUEST_SS, 8},
	{"cs", VM_REG_GUEST_CS, 8},
	{"tr", VM_REG_GUEST_TR, 8},
	{"ldtr", VM_REG_GUEST_LDTR, 8},
	{"gdtr", VM_REG_GUEST_GDTR, 0},
	{"idtr", VM_REG_GUEST_IDTR, 0},
};
const size_t control_ndescriptors = COUNT(control_descriptors);

const char *const control_capabilities[] = {
	[VM_CAP_HALT_EXIT] = "hlt_exit",
	[VM_CAP_MTRAP_EXIT] = "mtrap_exit",
	[VM_CAP_PAUSE_EXIT] = "pause_exit",
	[VM_CAP_UNRESTRICTED_GUEST] = "unrestricted_guest",
	[VM_CAP_ENABLE_INVPCID] = "enable_invpcid",
};
const size_t control_ncapabilities = COUNT(control_capabilities);

static const struct control_register *find(
	const struct control_register *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

const struct control_register *control_register_find(const char *name)
{
	const struct control_register *r = find(control_registers, control_nregisters, name);

	return r ? r : find(control_selectors, control_nselectors, name);
}

const struct control_register *control_descriptor_find(const char *name)
{
	return find(control_descriptors, control_ndescriptors, name);
}

bool control_number(const char *text, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*value = strtoull(text, &end, 0);
	return errno == 0 && *end == '\0';
}

bool control_rundir(const char *given, char *path, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *ours = getenv("HYVE_RUNDIR");
	int n;

	if (!given && ours && *ours)
		given = ours;
	if (given)
		n = snprintf(path, size, "%s", given);
	else if (geteuid() == 0)
		n = snprintf(path, size, "/run/hyve");
	else if (runtime && *runtime == '/')
		n = snprintf(path, size, "%s/hyve", runtime);
	else
		n = snprintf(path, size, "/tmp/hyve-%u", (unsigned)geteuid());
	return n > 0 && (size_t)n < size;
}

int control_address(int dir, const char *path, const char *name, struct sockaddr_un *address)
{
	size_t size = sizeof(address->sun_path);

	if (!*name || *name == '.' || strchr(name, '/') || strlen(name) >= VM_MAX_NAMELEN)
		return EINVAL;
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if ((size_t)snprintf(address->sun_path, size, "%s/%s", path, name) >= size)
		snprintf(address->sun_path, size, "/proc/self/fd/%d/%s", dir, name);
	return 0;
}
