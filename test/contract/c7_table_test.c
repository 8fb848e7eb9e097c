/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmm-api.md 7.2, 7.3 and 7.7, case by case: which of two events a guest gets, and with which error
 * code.
 */
#include "test/contract/script.h"

#define VALID	 ((uint64_t)VM_INTINFO_VALID)
#define HWINTR	 (VALID | VM_INTINFO_HWINTR | 0x30)
#define NMI	 (VALID | VM_INTINFO_NMI | 2)
#define SWINTR	 (VALID | VM_INTINFO_SWINTR | 0x21)
#define HWEXC(v) (VALID | VM_INTINFO_HWEXCEPTION | (v))

enum {
	DE = 0,
	DB = 1,
	BP = 3,
	OF = 4,
	BR = 5,
	UD = 6,
	NM = 7,
	DF = 8,
	TS = 10,
	NP = 11,
	SS = 12,
	GP = 13,
	PF = 14,
	MF = 16,
	AC = 17,
	MC = 18,
	XM = 19,
	VE = 20
};

/* ---- 7.3: real-mode handlers report their vector; 0x80 is the guest that goes on ---- */

struct pair_row {
	const char *name;
	uint64_t first; /* interrupted */
	int second;	/* queued */
	unsigned delivered;
};

static void combine(void **state)
{
	struct contract *c = *state;
	const struct pair_row *row = c->row;
	struct vm_exception vme = {.vector = row->second};

	GUEST(real_mode, c, 0, "\xb0\x80\xe6\xe9\xeb\xfa"); /* mov al, 0x80; out 0xe9, al; again */
	for (unsigned v = 0; v < 256; v++) {
		const uint8_t code[] = {0xb0, (uint8_t)v, 0xe6, DONE_PORT, 0xcf};

		memcpy(c->ram + 0x2000 + v * 8, code, sizeof(code));
		set_ivt(c, v, (uint16_t)(0x2000 + v * 8));
	}
	assert_int_equal(vm_exit_intinfo(c->vm, 0, row->first), 0);
	if (row->second >= 0)
		assert_int_equal(vm_inject_exception(c->vm, 0, &vme), 0);
	assert_int_equal(run_to_out(c, 0) & 0xff, row->delivered);
	assert_int_equal(run_to_out(c, 0) & 0xff, 0x80); /* and nothing of the other one remains */
}

#define NONE (-1)

static const struct pair_row pairs[] = {
	/* Alone. */
	{"c7_2_interrupt_alone", HWINTR, NONE, 0x30},
	{"c7_2_nmi_alone", NMI, NONE, 2},
	{"c7_2_software_interrupt_alone", SWINTR, NONE, 0x21},
	{"c7_2_exception_alone", HWEXC(UD), NONE, UD},
	{"c7_2_not_valid_is_nothing", HWINTR & ~VALID, NONE, 0x80},
	{"c7_2_not_valid_leaves_the_queued_one", HWINTR & ~VALID, UD, UD},
	/* Events that are no exceptions are benign. */
	{"c7_3_interrupt_then_de", HWINTR, DE, DE},
	{"c7_3_interrupt_then_db", HWINTR, DB, DB},
	{"c7_3_interrupt_then_ud", HWINTR, UD, UD},
	{"c7_3_interrupt_then_ts", HWINTR, TS, TS},
	{"c7_3_interrupt_then_np", HWINTR, NP, NP},
	{"c7_3_interrupt_then_ss", HWINTR, SS, SS},
	{"c7_3_interrupt_then_gp", HWINTR, GP, GP},
	{"c7_3_interrupt_then_pf", HWINTR, PF, PF},
	{"c7_3_interrupt_then_ve", HWINTR, VE, VE},
	{"c7_3_nmi_then_db", NMI, DB, DB},
	{"c7_3_nmi_then_np", NMI, NP, NP},
	{"c7_3_nmi_then_gp", NMI, GP, GP},
	{"c7_3_nmi_then_pf", NMI, PF, PF},
	{"c7_3_software_interrupt_then_ud", SWINTR, UD, UD},
	{"c7_3_software_interrupt_then_np", SWINTR, NP, NP},
	{"c7_3_software_interrupt_then_gp", SWINTR, GP, GP},
	{"c7_3_software_interrupt_then_pf", SWINTR, PF, PF},
	/* Each exception first, a contributory one second. */
	{"c7_3_de_then_gp", HWEXC(DE), GP, DF},
	{"c7_3_db_then_gp", HWEXC(DB), GP, GP},
	{"c7_3_bp_then_gp", HWEXC(BP), GP, GP},
	{"c7_3_of_then_gp", HWEXC(OF), GP, GP},
	{"c7_3_br_then_gp", HWEXC(BR), GP, GP},
	{"c7_3_ud_then_gp", HWEXC(UD), GP, GP},
	{"c7_3_nm_then_gp", HWEXC(NM), GP, GP},
	{"c7_3_ts_then_gp", HWEXC(TS), GP, DF},
	{"c7_3_np_then_gp", HWEXC(NP), GP, DF},
	{"c7_3_ss_then_gp", HWEXC(SS), GP, DF},
	{"c7_3_gp_then_gp", HWEXC(GP), GP, DF},
	{"c7_3_pf_then_gp", HWEXC(PF), GP, DF},
	{"c7_3_mf_then_gp", HWEXC(MF), GP, GP},
	{"c7_3_ac_then_gp", HWEXC(AC), GP, GP},
	{"c7_3_mc_then_gp", HWEXC(MC), GP, GP},
	{"c7_3_xm_then_gp", HWEXC(XM), GP, GP},
	{"c7_3_ve_then_gp", HWEXC(VE), GP, DF},
	/* Each exception first, a page fault second. */
	{"c7_3_de_then_pf", HWEXC(DE), PF, PF},
	{"c7_3_db_then_pf", HWEXC(DB), PF, PF},
	{"c7_3_ud_then_pf", HWEXC(UD), PF, PF},
	{"c7_3_ts_then_pf", HWEXC(TS), PF, PF},
	{"c7_3_np_then_pf", HWEXC(NP), PF, PF},
	{"c7_3_ss_then_pf", HWEXC(SS), PF, PF},
	{"c7_3_gp_then_pf", HWEXC(GP), PF, PF},
	{"c7_3_pf_then_pf", HWEXC(PF), PF, DF},
	{"c7_3_ac_then_pf", HWEXC(AC), PF, PF},
	{"c7_3_ve_then_pf", HWEXC(VE), PF, DF},
	{"c7_3_pf_then_ve", HWEXC(PF), VE, DF},
	/* A contributory one first, each second. */
	{"c7_3_gp_then_de", HWEXC(GP), DE, DF},
	{"c7_3_gp_then_db", HWEXC(GP), DB, DB},
	{"c7_3_gp_then_br", HWEXC(GP), BR, BR},
	{"c7_3_gp_then_ud", HWEXC(GP), UD, UD},
	{"c7_3_gp_then_nm", HWEXC(GP), NM, NM},
	{"c7_3_gp_then_ts", HWEXC(GP), TS, DF},
	{"c7_3_gp_then_np", HWEXC(GP), NP, DF},
	{"c7_3_gp_then_ss", HWEXC(GP), SS, DF},
	{"c7_3_gp_then_mf", HWEXC(GP), MF, MF},
	{"c7_3_gp_then_ac", HWEXC(GP), AC, AC},
	{"c7_3_gp_then_mc", HWEXC(GP), MC, MC},
	{"c7_3_gp_then_xm", HWEXC(GP), XM, XM},
	{"c7_3_gp_then_ve", HWEXC(GP), VE, VE},
	/* A page fault first, each second. */
	{"c7_3_pf_then_de", HWEXC(PF), DE, DF},
	{"c7_3_pf_then_db", HWEXC(PF), DB, DB},
	{"c7_3_pf_then_ud", HWEXC(PF), UD, UD},
	{"c7_3_pf_then_nm", HWEXC(PF), NM, NM},
	{"c7_3_pf_then_ts", HWEXC(PF), TS, DF},
	{"c7_3_pf_then_np", HWEXC(PF), NP, DF},
	{"c7_3_pf_then_ss", HWEXC(PF), SS, DF},
	{"c7_3_pf_then_ac", HWEXC(PF), AC, AC},
};

/* A double fault first: whatever the second is. */
static const struct pair_row triples[] = {
	{"c7_3_df_then_de", HWEXC(DF), DE, 0},
	{"c7_3_df_then_db", HWEXC(DF), DB, 0},
	{"c7_3_df_then_ud", HWEXC(DF), UD, 0},
	{"c7_3_df_then_gp", HWEXC(DF), GP, 0},
	{"c7_3_df_then_pf", HWEXC(DF), PF, 0},
};

static void triple(void **state)
{
	struct contract *c = *state;
	const struct pair_row *row = c->row;
	struct vm_exception vme = {.vector = row->second};
	struct vm_exit *exit;

	GUEST(real_mode, c, 0, "\xe6\xe9");
	assert_int_equal(vm_exit_intinfo(c->vm, 0, row->first | VM_INTINFO_DEL_ERRCODE), 0);
	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), 0);
	exit = run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(exit->u.suspended.how, VM_SUSPEND_TRIPLEFAULT);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), EALREADY);
}

/* ---- 7.2: what vm_exit_intinfo takes ---- */

struct info_row {
	const char *name;
	uint64_t info;
	int error;
	uint64_t kept;
};

static const struct info_row infos[] = {
	{"c7_2_takes_an_interrupt", HWINTR, 0, HWINTR},
	{"c7_2_takes_interrupt_255", VALID | 0xff, 0, VALID | 0xff},
	{"c7_2_takes_an_nmi", NMI, 0, NMI},
	{"c7_2_takes_exception_31", HWEXC(31), 0, HWEXC(31)},
	{"c7_2_takes_a_software_interrupt", SWINTR, 0, SWINTR},
	{"c7_2_takes_an_error_code", HWEXC(13) | VM_INTINFO_DEL_ERRCODE | 0x1234ull << 32, 0,
		HWEXC(13) | VM_INTINFO_DEL_ERRCODE | 0x1234ull << 32},
	{"c7_2_refuses_nmi_of_another_vector", VALID | VM_INTINFO_NMI | 3, EINVAL, 0},
	{"c7_2_refuses_exception_32", HWEXC(32), EINVAL, 0},
	{"c7_2_refuses_bit_12", HWINTR | 0x1000, EINVAL, 0},
	{"c7_2_refuses_bit_30", HWINTR | 0x40000000, EINVAL, 0},
	{"c7_2_not_valid_is_kept_as_zero", 0x7fffffff, 0, 0},
};

static void takes(void **state)
{
	struct contract *c = *state;
	const struct info_row *row = c->row;
	uint64_t info1, info2;

	assert_int_equal(vm_exit_intinfo(c->vm, 0, row->info), row->error);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info1, row->kept);
	assert_int_equal(info2, 0);
}

/* ---- 7.7, 4.7: what reaches a 64-bit guest's handler ---- */

#define NO_CODE UINT64_MAX

struct inject_row {
	const char *name;
	int vector;
	uint64_t code; /* or NO_CODE */
};

static const struct inject_row injections[] = {
	{"c7_7_de", DE, NO_CODE},
	{"c7_7_db", DB, NO_CODE},
	{"c7_7_bp", BP, NO_CODE},
	{"c7_7_of", OF, NO_CODE},
	{"c7_7_br", BR, NO_CODE},
	{"c7_7_ud", UD, NO_CODE},
	{"c7_7_nm", NM, NO_CODE},
	{"c7_7_ts", TS, 0x28},
	{"c7_7_np", NP, 0xfff8},
	{"c7_7_ss", SS, 0x10},
	{"c7_7_gp", GP, 0x1234},
	{"c7_7_pf", PF, 0x17},
	{"c7_7_mf", MF, NO_CODE},
	{"c7_7_ac", AC, 0},
	{"c7_7_mc", MC, NO_CODE},
	{"c7_7_xm", XM, NO_CODE},
};

/* Without a code the return address is on top; at an instruction of the guest that is not executed.
 */
static void reaches(void **state)
{
	struct contract *c = *state;
	const struct inject_row *row = c->row;
	bool has_code = row->code != NO_CODE;
	struct vm_exception vme = {.vector = row->vector,
		.error_code = has_code ? (uint32_t)row->code : 0,
		.error_code_valid = has_code};
	uint64_t frame[2];

	service(c, 0);
	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), 0);
	set_reg(c, 0, VM_REG_GUEST_RAX, 7);
	assert_int_equal(EXECUTE(c, 0, "\x48\xff\xc0"), row->vector); /* inc rax */
	memcpy(frame, c->ram + get_reg(c, 0, VM_REG_GUEST_RSP) + 8, sizeof(frame));
	if (has_code)
		assert_int_equal(frame[0], row->code);
	assert_int_equal(frame[has_code], 0x5000);
	memcpy(frame, c->ram + get_reg(c, 0, VM_REG_GUEST_RSP), 8);
	assert_int_equal((frame[0] & ~0xffull) | 7, 7); /* RAX as the handler has pushed it */
}

/* 4.7: the wrappers: their vector, their code, and that the instruction restarts. */
struct wrapper_row {
	const char *name;
	int vector;
	uint64_t code;
};

static const struct wrapper_row wrappers[] = {
	{"c4_7_vm_inject_gp", GP, 0},
	{"c4_7_vm_inject_ud", UD, NO_CODE},
	{"c4_7_vm_inject_ac", AC, 0},
	{"c4_7_vm_inject_ss", SS, 0x18},
	{"c4_7_vm_inject_pf", PF, 2},
};

static void wrap(void **state)
{
	struct contract *c = *state;
	const struct wrapper_row *row = c->row;
	struct vm_exit *exit = vm_exitinfo(c->vm, 0);
	uint64_t info1, info2, expected = HWEXC((uint64_t)row->vector);

	GUEST(protected_mode, c, 0, "\xe6\xe9");
	run_to(c, 0, VM_EXITCODE_INOUT);
	assert_int_equal(exit->inst_length, 2);
	switch (row->vector) {
	case GP:
		vm_inject_gp(c->vm, 0);
		break;
	case UD:
		vm_inject_ud(c->vm, 0);
		break;
	case AC:
		vm_inject_ac(c->vm, 0, (int)row->code);
		break;
	case SS:
		vm_inject_ss(c->vm, 0, (int)row->code);
		break;
	default:
		vm_inject_pf(c->vm, 0, (int)row->code, 0xabcdef);
		assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR2), 0xabcdef);
		break;
	}
	if (row->code != NO_CODE)
		expected |= VM_INTINFO_DEL_ERRCODE | row->code << 32;
	assert_int_equal(exit->inst_length, 0);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info2, expected);
	assert_int_equal(info1, 0);
}

/* ---- 7.5: order and windows ---- */

#define ON "[fee000f0]<1ff "

static const struct script_row order[] = {
	{"c7_5_nothing_pending", ON "int=-"},
	{"c7_5_apic_vector_waits_for_if", ON "irq=41 [fee00220]>2 [fee00220]>2 int=41"},
	{"c7_5_nmi_does_not_wait_for_if", "lvt=1 nmi=1 [fee00030]>60010 nmi=0"},
	{"c7_5_accepted_when_injected", ON "irq=41 int=41 [fee00220]>0 [fee00120]>2"},
	{"c7_5_ppr_holds_back", ON "[fee00080]<50 irq=41 int=- [fee00080]<0 int=41"},
	{"c7_6_extint_waits_for_if",
		"20<11 21<20 21<4 21<1 21<0 pic^4 ext=1 21>0 ext=1 int=24 ext=0"},
	{"c7_6_extint_of_the_vector_at_injection",
		"20<11 21<20 21<4 21<1 21<0 pic^4 ext=1 pic^1 int=21"},
	{"c7_6_any_vector_from_the_pic", "20<11 21<f8 21<4 21<1 21<0 pic^7 int=ff"},
	{"c7_6_extint_with_the_apic_on",
		"20<11 21<20 21<4 21<1 21<0 " ON "[fee00350]<700 pic^4 int=24"},
	{"c7_6_extint_ignores_the_task_priority",
		"20<11 21<20 21<4 21<1 21<0 " ON "[fee00350]<700 [fee00080]<ff pic^4 int=24"},
	{"c7_6_two_in_a_row", "20<11 21<20 21<4 21<3 21<0 pic^4 pic^5 int=25"},
};

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(combine, pairs),
		CONTRACT_ROWS(triple, triples),
		CONTRACT_ROWS(takes, infos),
		CONTRACT_ROWS(reaches, injections),
		CONTRACT_ROWS(wrap, wrappers),
		CONTRACT_ROWS(script, order),
	};

	return contract_run("c7 table", tests, sizeof(tests) / sizeof(tests[0]));
}
