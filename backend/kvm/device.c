/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* /dev/kvm: opening it, what it must be able to do, a VM in it, and the guest's memory. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/kvm/kvm.h"
#include "backend/kvm/option.h"

/* Three pages and one that VT-x without unrestricted guests needs; nothing else is there. */
#define TSS_ADDRESS	 0xfeffd000u
#define IDENTITY_ADDRESS 0xfeffc000ull

/* MONITOR and MWAIT, which CPUID does not offer, would do nothing instead of #UD. */
#define UNWANTED_QUIRKS (KVM_X86_QUIRK_OUT_7E_INC_RIP | KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS)

/* Without these we do not run; all of Linux 5.14 or later has them. */
static const struct {
	int number;
	const char *name;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	{KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
	{KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
	{KVM_CAP_XCRS, "KVM_CAP_XCRS"},
	{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
	{KVM_CAP_SET_GUEST_DEBUG, "KVM_CAP_SET_GUEST_DEBUG"},
	{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR"},
	{KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER"},
	{KVM_CAP_EXIT_ON_EMULATION_FAILURE, "KVM_CAP_EXIT_ON_EMULATION_FAILURE"},
};

static int explain_open(int error, const char *device, char *why, size_t size)
{
	switch (error) {
	case ENOENT:
		snprintf(why, size,
			"%s does not exist: no KVM in this kernel, or its module is not loaded",
			device);
		break;
	case EACCES:
	case EPERM:
		snprintf(why, size, "%s may not be opened by this user: see the group kvm", device);
		break;
	default:
		snprintf(why, size, "%s cannot be opened: %s", device, strerror(error));
		break;
	}
	return error;
}

/* The descriptor of a KVM that can do what we need, or -1 with errno and a line. */
static int device_open(const char *device, char *why, size_t size)
{
	int fd = open(device, O_RDWR | O_CLOEXEC), version, error;

	if (fd < 0) {
		error = explain_open(errno, device, why, size);
		goto fail;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	error = ENXIO;
	if (version < 0) {
		snprintf(why, size, "%s is not KVM", device);
		goto fail_close;
	}
	if (version != KVM_API_VERSION) {
		snprintf(why, size, "%s speaks version %d of KVM's interface, not %d", device,
			version, KVM_API_VERSION);
		goto fail_close;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].number) <= 0) {
			snprintf(why, size, "this kernel's KVM lacks %s", needed[i].name);
			goto fail_close;
		}
	if ((ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & KVM_SYNC_ALL) != KVM_SYNC_ALL) {
		snprintf(why, size, "this kernel's KVM_CAP_SYNC_REGS does not carry all registers");
		goto fail_close;
	}
	return fd;
fail_close:
	close(fd);
fail:
	errno = error;
	return -1;
}

int kvm_probe(char *why, size_t size)
{
	int fd = device_open(KVM_DEVICE, why, size), vm, error = 0;

	if (fd < 0)
		return ENXIO;
	vm = ioctl(fd, KVM_CREATE_VM, 0);
	if (vm < 0) {
		snprintf(why, size, "%s makes no virtual machine: %s", KVM_DEVICE, strerror(errno));
		error = ENXIO;
	} else {
		close(vm);
	}
	close(fd);
	return error;
}

/* ---- A VM ---- */

static int enable(int fd, unsigned cap, uint64_t arg)
{
	struct kvm_enable_cap e = {.cap = cap, .args = {arg}};

	return kvm_call(fd, KVM_ENABLE_CAP, &e) < 0 ? errno : 0;
}

static int check(int fd, int cap)
{
	int rc = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return rc < 0 ? 0 : rc;
}

static int read_supported(struct kvm_guest *g)
{
	g->supported =
		calloc(1, sizeof(*g->supported) + KVM_CPUID_MAX * sizeof(struct kvm_cpuid_entry2));
	if (!g->supported)
		return ENOMEM;
	g->supported->nent = KVM_CPUID_MAX;
	return kvm_call(g->system, KVM_GET_SUPPORTED_CPUID, g->supported) < 0 ? errno : 0;
}

static int read_msrs(struct kvm_guest *g)
{
	struct kvm_msr_list *list, count = {.nmsrs = 0};
	int error = 0;

	if (kvm_call(g->system, KVM_GET_MSR_INDEX_LIST, &count) < 0 && errno != E2BIG)
		return errno;
	list = calloc(1, sizeof(*list) + count.nmsrs * sizeof(list->indices[0]));
	if (!list)
		return ENOMEM;
	list->nmsrs = count.nmsrs;
	if (kvm_call(g->system, KVM_GET_MSR_INDEX_LIST, list) < 0)
		error = errno;
	for (unsigned i = 0; !error && i < list->nmsrs; i++)
		for (unsigned n = 0; n < kvm_state_msr_count; n++)
			if (list->indices[i] == kvm_state_msrs[n])
				g->msrs |= 1ull << n;
	free(list);
	return error;
}

static void vm_options(struct kvm_guest *g)
{
	uint64_t identity = IDENTITY_ADDRESS, quirks;

	/* Who does not need them may refuse them. */
	(void)kvm_call(g->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	(void)ioctl(g->fd, KVM_SET_TSS_ADDR, (unsigned long)TSS_ADDRESS);
	quirks = (uint64_t)check(g->fd, KVM_CAP_DISABLE_QUIRKS2) & UNWANTED_QUIRKS;
	if (quirks)
		(void)enable(g->fd, KVM_CAP_DISABLE_QUIRKS2, quirks);
	g->has_sregs2 = check(g->fd, KVM_CAP_SREGS2) > 0;
	g->max_vcpus = (unsigned)check(g->fd, KVM_CAP_MAX_VCPUS);
}

static int vm_make(struct kvm_guest *g, char *why, size_t size)
{
	int error;

	g->fd = kvm_call(g->system, KVM_CREATE_VM, NULL);
	if (g->fd < 0) {
		error = errno;
		snprintf(why, size, "%s makes no virtual machine: %s", g->device, strerror(error));
		return error;
	}
	vm_options(g);
	g->run_size = (size_t)ioctl(g->system, KVM_GET_VCPU_MMAP_SIZE, 0);
	g->late = kvm_is_late(g->system, g->run_size);
	error = enable(g->fd, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
	if (!error)
		error = enable(g->fd, KVM_CAP_X86_USER_SPACE_MSR,
			KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
				KVM_MSR_EXIT_REASON_FILTER);
	if (!error)
		error = kvm_msr_filter_set(g->fd);
	if (!error)
		error = read_supported(g);
	if (!error)
		error = read_msrs(g);
	if (error)
		snprintf(why, size, "KVM refuses to be set up: %s", strerror(error));
	return error;
}

int kvm_guest_open(struct kvm_guest *g, char *why, size_t size)
{
	int error = 0;

	if (atomic_load(&g->open))
		return 0;
	pthread_mutex_lock(&g->lock);
	if (!atomic_load(&g->open)) {
		g->system = device_open(g->device, why, size);
		error = g->system < 0 ? errno : vm_make(g, why, size);
		if (error)
			kvm_guest_close(g);
		else
			atomic_store(&g->open, true);
	}
	pthread_mutex_unlock(&g->lock);
	return error;
}

void kvm_guest_close(struct kvm_guest *g)
{
	free(g->supported);
	g->supported = NULL;
	if (g->fd >= 0)
		close(g->fd);
	if (g->system >= 0)
		close(g->system);
	g->fd = g->system = -1;
	g->nslots = 0;
	atomic_store(&g->open, false);
	atomic_store(&g->stale, true);
}

/* ---- Memory ---- */

/* The part of a segment from `at` on that is read-only as a whole, or not at all. */
static struct kvm_userspace_memory_region piece_at(
	struct kvm_guest *g, const struct vm_ram *seg, size_t at)
{
	vm_paddr_t gpa = seg->gpa + at, rom;
	bool is_rom = vm_gpa_is_rom(g->vm, gpa);
	size_t len = seg->len - at, rom_len;

	for (unsigned i = 0; vm_rom_at(g->vm, i, &rom, &rom_len); i++) {
		vm_paddr_t end = gpa < rom ? rom : rom + rom_len;

		if (end > gpa && end - gpa < len)
			len = end - gpa;
	}
	return (struct kvm_userspace_memory_region){
		.flags = is_rom ? KVM_MEM_READONLY : g->logging ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)seg->hva + at,
	};
}

/* RAM only: what vm_map_mmio shows is reached through exits, as device memory must be. */
static int slots_wanted(struct kvm_guest *g, struct kvm_userspace_memory_region *want, unsigned *n)
{
	struct vm_ram seg;

	*n = 0;
	for (unsigned i = 0; vm_ram_at(g->vm, i, &seg); i++) {
		for (size_t at = 0; at < seg.len; at += want[(*n)++].memory_size) {
			if (*n == KVM_SLOTS)
				return E2BIG;
			want[*n] = piece_at(g, &seg, at);
			want[*n].slot = *n;
		}
	}
	return 0;
}

static int slot_set(struct kvm_guest *g, const struct kvm_userspace_memory_region *want)
{
	g->slot[want->slot] = *want;
	return kvm_call(g->fd, KVM_SET_USER_MEMORY_REGION, &g->slot[want->slot]) < 0 ? errno : 0;
}

static int slot_collect(struct kvm_guest *g, const struct kvm_userspace_memory_region *slot)
{
	const size_t pages = slot->memory_size / 4096, words = (pages + 63) / 64;
	uint64_t *bits = calloc(words, sizeof(*bits));
	struct kvm_dirty_log log = {.slot = slot->slot, .dirty_bitmap = bits};
	int error = 0;

	if (!bits)
		return ENOMEM;
	if (kvm_call(g->fd, KVM_GET_DIRTY_LOG, &log) < 0)
		error = errno;
	for (size_t i = 0; !error && i < words; i++)
		for (; bits[i]; bits[i] &= bits[i] - 1)
			vm_dirty_note(g->vm,
				slot->guest_phys_addr +
					(64 * i + (unsigned)__builtin_ctzll(bits[i])) * 4096,
				4096);
	free(bits);
	return error;
}

int kvm_dirty_collect(void *vmi)
{
	struct kvm_guest *g = vmi;
	int error = 0;

	for (unsigned i = 0; i < g->nslots && !error; i++)
		if (g->slot[i].flags & KVM_MEM_LOG_DIRTY_PAGES)
			error = slot_collect(g, &g->slot[i]);
	return error;
}

int kvm_dirty_log(void *vmi, bool on)
{
	struct kvm_guest *g = vmi;

	g->logging = on;
	atomic_store(&g->stale, true);
	return kvm_dirty_collect(g); /* begins anew */
}

/* KVM changes no slot's size: from the first one that differs on they go, and come anew. */
static int slots_set(struct kvm_guest *g)
{
	struct kvm_userspace_memory_region want[KVM_SLOTS];
	unsigned n, same = 0;
	int error = slots_wanted(g, want, &n);

	if (!error)
		error = kvm_dirty_collect(g); /* what goes takes its log along */
	if (error)
		return error;
	while (same < n && same < g->nslots &&
		memcmp(&g->slot[same], &want[same], sizeof(want[same])) == 0)
		same++;
	for (; g->nslots > same && !error; g->nslots--) {
		struct kvm_userspace_memory_region gone = g->slot[g->nslots - 1];

		gone.memory_size = 0;
		error = slot_set(g, &gone);
	}
	for (; g->nslots < n && !error; g->nslots++)
		error = slot_set(g, &want[g->nslots]);
	return error;
}

int kvm_slots_sync(struct kvm_guest *g, char *why, size_t size)
{
	int error = 0;

	if (!atomic_load(&g->stale))
		return 0;
	pthread_mutex_lock(&g->lock);
	if (atomic_load(&g->stale))
		error = slots_set(g);
	if (!error)
		atomic_store(&g->stale, false);
	pthread_mutex_unlock(&g->lock);
	if (error)
		snprintf(why, size, "KVM does not take the guest's memory: %s", strerror(error));
	return error;
}

/* ---- Settings ---- */

#define DEVICE_KEY "device"

const char *kvm_option_key(size_t index)
{
	return index == 0 ? DEVICE_KEY : NULL;
}

int kvm_set_option(void *vmi, const char *key, const char *value, char *why, size_t size)
{
	struct kvm_guest *g = vmi;

	if (strcmp(key, DEVICE_KEY) != 0) {
		snprintf(why, size, "unknown setting; there is kvm." DEVICE_KEY);
		return ENOENT;
	}
	if (atomic_load(&g->open)) {
		snprintf(why, size, "too late");
		return EBUSY;
	}
	if (value[0] == '\0' || strlen(value) >= sizeof(g->device)) {
		snprintf(why, size, "the path of a device, like %s", KVM_DEVICE);
		return EINVAL;
	}
	strcpy(g->device, value);
	return 0;
}

int kvm_check_options(void *vmi, unsigned ncpus, char *why, size_t size)
{
	struct kvm_guest *g = vmi;
	int error = kvm_guest_open(g, why, size);

	if (!error && g->max_vcpus && ncpus > g->max_vcpus) {
		snprintf(why, size, "KVM runs up to %u vcpus here", g->max_vcpus);
		error = EINVAL;
	}
	return error;
}

bool kvm_explain(void *vmi, int vcpu, char *why, size_t size)
{
	const struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);

	if (!c->failure[0])
		return false;
	snprintf(why, size, "%s", c->failure);
	return true;
}
