/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Counters of the backend's own. */
#include "backend/kvm/kvm.h"

bool kvm_stat(void *vmi, int vcpu, unsigned i, const char **name, uint64_t *value)
{
	const struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);
	const struct {
		const char *name;
		uint64_t value;
	} stats[] = {
		{"KVM_RUN calls", c->stat_run},
		{"Signals to end KVM_RUN", c->stat_kicks},
		{"Instructions for the user, taken back from KVM", c->stat_settled},
		{"Instructions that KVM could not emulate", c->stat_emulated},
	};

	if (i >= sizeof(stats) / sizeof(stats[0]))
		return false;
	*name = stats[i].name;
	*value = stats[i].value;
	return true;
}
