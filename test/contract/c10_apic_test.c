/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 10.1 and 10.2: the local APIC, as a guest's driver sees it; script.h has the words. */
#include "test/contract/script.h"

#define ON "[fee000f0]<1ff " /* software-enabled */
/* The APIC of vcpu 1 (and 2), on; back to vcpu 0. */
#define TWO   "@1 " ON "@0 " ON
#define THREE "@2 " ON TWO

static const struct script_row registers[] = {
	/* Read-only ones, and what is left out. */
	{"c10_1_2_id", "[fee00020]>0 [fee00020]<5000000 [fee00020]>0"},
	{"c10_1_2_id_of_another_vcpu", "@3 [fee00020]>3000000"},
	{"c10_1_2_version", "[fee00030]>60010 [fee00030]<0 [fee00030]>60010"},
	{"c10_1_2_apr_reads_zero", "[fee00090]>0 [fee00090]<ff [fee00090]>0"},
	{"c10_1_2_rrr_reads_zero", "[fee000c0]>0 [fee000c0]<ff [fee000c0]>0"},
	{"c10_1_2_eoi_reads_zero", "[fee000b0]>0 [fee000b0]<0 [fee000b0]>0"},
	{"c10_1_2_ppr_is_read_only", "[fee000a0]>0 [fee000a0]<f0 [fee000a0]>0"},
	{"c10_1_2_isr_is_read_only",
		"[fee00100]<ffffffff [fee00170]<ffffffff [fee00100]>0 [fee00170]>0"},
	{"c10_1_2_tmr_is_read_only",
		"[fee00180]<ffffffff [fee001f0]<ffffffff [fee00180]>0 [fee001f0]>0"},
	{"c10_1_2_irr_is_read_only",
		"[fee00200]<ffffffff [fee00270]<ffffffff [fee00200]>0 [fee00270]>0"},
	{"c10_1_2_current_count_is_read_only", "[fee00390]>0 [fee00390]<100 [fee00390]>0"},
	{"c10_1_2_self_ipi_is_not_in_the_page", ON "[fee003f0]<40 [fee003f0]>0 [fee00220]>0"},
	{"c10_1_2_undefined_offsets_read_zero",
		"[fee00000]<1 [fee00000]>0 [fee00040]<1 [fee00040]>0 [fee00290]<1 [fee00290]>0 "
		"[fee003a0]<1 [fee003a0]>0"},
	/* Writable ones. */
	{"c10_1_2_tpr", "[fee00080]>0 [fee00080]<ffffffff [fee00080]>ff [fee000a0]>ff"},
	{"c10_1_2_ldr_keeps_the_id", "[fee000d0]>0 [fee000d0]<12345678 [fee000d0]>12000000"},
	{"c10_1_2_dfr_keeps_the_model",
		"[fee000e0]>ffffffff [fee000e0]<0 [fee000e0]>fffffff [fee000e0]<f0000000 "
		"[fee000e0]>ffffffff"},
	{"c10_1_2_svr", "[fee000f0]>ff [fee000f0]<1ab [fee000f0]>1ab [fee000f0]<ff [fee000f0]>ff"},
	{"c10_1_2_icr_high_stores_the_destination",
		"[fee00310]>0 [fee00310]<5000000 [fee00310]>5000000 [fee00300]>0"},
	{"c10_1_2_icr_low_reads_back", ON "[fee00300]<44041 [fee00300]>44041"},
	{"c10_1_2_icr_delivery_status_reads_zero", ON "[fee00300]<45041 [fee00300]>44041"},
	{"c10_1_2_initial_count", "[fee00380]>0 [fee00380]<12345678 [fee00380]>12345678"},
	{"c10_1_2_divide", "[fee003e0]>0 [fee003e0]<ffffffff [fee003e0]>b"},
	/* The local vector table: what sticks, while the APIC is on. */
	{"c10_1_2_lvt_cmci", "[fee002f0]>10000 " ON "[fee002f0]<ffffffff [fee002f0]>107ff"},
	{"c10_1_2_lvt_timer", "[fee00320]>10000 " ON "[fee00320]<fffbffff [fee00320]>300ff"},
	{"c10_1_2_lvt_thermal", "[fee00330]>10000 " ON "[fee00330]<ffffffff [fee00330]>107ff"},
	{"c10_1_2_lvt_perf", "[fee00340]>10000 " ON "[fee00340]<ffffffff [fee00340]>107ff"},
	{"c10_1_2_lvt_lint0", "[fee00350]>10000 " ON "[fee00350]<ffffffff [fee00350]>1a7ff"},
	{"c10_1_2_lvt_lint1", "[fee00360]>10000 " ON "[fee00360]<ffffffff [fee00360]>1a7ff"},
	{"c10_1_2_lvt_error", "[fee00370]>10000 " ON "[fee00370]<ffffffff [fee00370]>100ff"},
	/* ... and while it is off. */
	{"c10_1_2_lvt_cmci_stays_masked_while_off", "[fee002f0]<fe [fee002f0]>100fe"},
	{"c10_1_2_lvt_timer_stays_masked_while_off", "[fee00320]<200fe [fee00320]>300fe"},
	{"c10_1_2_lvt_thermal_stays_masked_while_off", "[fee00330]<fe [fee00330]>100fe"},
	{"c10_1_2_lvt_perf_stays_masked_while_off", "[fee00340]<fe [fee00340]>100fe"},
	{"c10_1_2_lvt_lint0_stays_masked_while_off", "[fee00350]<fe [fee00350]>100fe"},
	{"c10_1_2_lvt_lint1_stays_masked_while_off", "[fee00360]<fe [fee00360]>100fe"},
	{"c10_1_2_lvt_error_stays_masked_while_off", "[fee00370]<fe [fee00370]>100fe"},
	/* 10.1.1 */
	{"c10_1_1_a_byte_can_be_read", "b:[fee00030]>10 b:[fee00032]>6 w:[fee00032]>6"},
	{"c10_1_1_between_registers_is_nothing", "[fee00034]>ffffffff [fee0003c]>ffffffff"},
	{"c10_1_1_byte_and_word_writes_are_lost", "b:[fee00080]<50 w:[fee00080]<50 [fee00080]>0"},
	{"c10_1_1_unaligned_writes_are_lost", "[fee00084]<50 [fee00080]>0 [fee00090]>0"},
	{"c10_1_1_msrs_fault_in_xapic_mode", "$802! $80b<0! $808!"},
};

static const struct script_row enabling[] = {
	{"c10_1_3_disabling_masks_every_lvt",
		ON "[fee00320]<41 [fee00350]<41 [fee00370]<41 [fee000f0]<ff [fee00320]>10041 "
		   "[fee00350]>10041 [fee00370]>10041"},
	{"c10_1_3_enabling_leaves_them_masked",
		ON "[fee00350]<41 [fee000f0]<ff " ON "[fee00350]>10041"},
	{"c10_1_3_disabling_stops_the_timer", ON "[fee00380]<ffffffff [fee000f0]<ff [fee00390]>0"},
	{"c10_1_3_enabling_restarts_a_periodic_timer", ON
		"[fee00320]<20041 [fee003e0]<a [fee00380]<ffffff00 [fee000f0]<ff [fee00390]>0 " ON
		"[fee00390]>ff000000/ff000000"},
	{"c10_1_3_enabling_does_not_restart_one_shot",
		ON "[fee00320]<41 [fee00380]<ffffff00 [fee000f0]<ff " ON "[fee00390]>0"},
	{"c10_1_3_irr_survives_disabling", ON "irq=41 [fee000f0]<ff [fee00220]>2 " ON "int=41"},
	{"c10_1_3_isr_survives_disabling", ON "irq=41 int=41 [fee000f0]<ff [fee00120]>2"},
	{"c10_1_3_a_disabled_apic_drops_interrupts", "irq=41 [fee00220]>0 " ON "int=-"},
};

static const struct script_row acceptance[] = {
	{"c10_1_4_vector_15_is_refused", ON "irq=f! [fee00200]>0"},
	{"c10_1_4_vector_16_is_accepted", ON "irq=10 [fee00200]>10000"},
	{"c10_1_4_vector_31_is_delivered", ON "irq=1f int=1f [fee00100]>80000000"},
	{"c10_1_4_vector_255_is_delivered", ON "irq=ff int=ff [fee00170]>80000000"},
	{"c10_1_4_vector_256_is_refused", ON "irq=100!"},
	{"c10_1_4_irr_holds_one_of_each", ON "irq=41 irq=41 int=41 [fee000b0]<0 int=-"},
	{"c10_1_4_another_waits_while_in_service",
		ON "irq=41 int=41 irq=41 [fee00220]>2 int=- [fee000b0]<0 int=41"},
	{"c10_1_4_the_highest_comes_first",
		ON "irq=41 irq=93 irq=62 int=93 [fee000b0]<0 int=62 [fee000b0]<0 int=41"},
	{"c10_1_4_same_class_does_not_nest", ON "irq=41 int=41 irq=4f int=- [fee000b0]<0 int=4f"},
	{"c10_1_4_higher_class_nests", ON "irq=41 int=41 irq=50 int=50 [fee00120]>10002"},
	{"c10_1_4_ppr_follows_isr", ON "irq=6b int=6b [fee000a0]>60 [fee000b0]<0 [fee000a0]>0"},
	{"c10_1_4_ppr_is_tpr_when_that_is_higher", ON "[fee00080]<73 irq=8b int=8b [fee000a0]>80 "
						      "[fee00080]<93 [fee000a0]>93"},
	{"c10_1_4_ppr_of_equal_classes_is_tpr",
		ON "irq=6b int=6b [fee00080]<65 [fee000a0]>65 [fee00080]<5f [fee000a0]>60"},
	{"c10_1_4_tpr_holds_back_its_class", ON "[fee00080]<40 irq=4f int=- [fee00080]<3f int=4f"},
	{"c10_1_4_tpr_lets_the_next_class_pass", ON "[fee00080]<4f irq=50 int=50"},
	{"c10_1_4_tpr_ff_holds_back_all", ON "[fee00080]<ff irq=ff int=- [fee00080]<0 int=ff"},
	{"c10_1_4_eoi_ends_the_highest",
		ON "irq=41 int=41 irq=73 int=73 [fee000b0]<0 [fee00130]>0 [fee00120]>2"},
	{"c10_1_4_eoi_with_nothing_in_service", ON "[fee000b0]<0 [fee000b0]<1 irq=41 int=41"},
	{"c10_1_4_cr8_reads_the_class", "[fee00080]<a7 cr8>a"},
	{"c10_1_4_cr8_writes_the_class", "[fee00080]<a7 cr8<3 [fee00080]>30 [fee000a0]>30"},
	{"c10_1_4_cr8_above_15_is_gp", "cr8<10! cr8<8000000000000000! cr8>0"},
	{"c10_1_4_cr8_holds_back_interrupts", ON "cr8<4 irq=41 int=- cr8<0 int=41"},
	{"c10_1_4_isr_and_irr_in_every_word",
		ON "irq=25 irq=45 irq=65 irq=85 irq=a5 irq=c5 irq=e5 [fee00210]>20 [fee00220]>20 "
		   "[fee00230]>20 [fee00240]>20 [fee00250]>20 [fee00260]>20 [fee00270]>20 "
		   "int=e5 [fee00170]>20 [fee00270]>0"},
};

/* Receivers are looked at through their own pages. */
static const struct script_row messages[] = {
	{"c10_1_6_fixed_to_another",
		TWO "[fee00310]<1000000 [fee00300]<41 [fee00220]>0 @1 [fee00220]>2"},
	{"c10_1_6_fixed_to_itself_by_id", ON "[fee00310]<0 [fee00300]<41 [fee00220]>2"},
	{"c10_1_6_shorthand_self",
		TWO "[fee00310]<1000000 [fee00300]<40041 [fee00220]>2 @1 [fee00220]>0"},
	{"c10_1_6_shorthand_all", TWO "[fee00300]<80041 [fee00220]>2 @1 [fee00220]>2"},
	{"c10_1_6_shorthand_others",
		THREE "[fee00300]<c0041 [fee00220]>0 @1 [fee00220]>2 @2 [fee00220]>2"},
	{"c10_1_6_an_ipi_is_edge_triggered",
		TWO "[fee00310]<1000000 [fee00300]<c041 @1 [fee00220]>2 [fee001a0]>0"},
	{"c10_1_6_an_ipi_to_a_disabled_apic_is_lost",
		ON "@1 [fee000f0]<ff @0 [fee00310]<1000000 [fee00300]<41 @1 [fee00220]>0"},
	{"c10_1_6_nmi", TWO "[fee00310]<1000000 [fee00300]<400 @1 nmi=1 @0 nmi=0"},
	{"c10_1_6_nmi_ignores_the_vector", TWO "[fee00310]<1000000 [fee00300]<403 @1 nmi=1 int=2"},
	{"c10_1_6_nmi_to_a_disabled_apic",
		ON "@1 [fee000f0]<ff @0 [fee00310]<1000000 [fee00300]<400 @1 nmi=1"},
	{"c10_1_6_vector_below_16_is_not_sent",
		TWO "[fee00310]<1000000 [fee00300]<f [fee00280]<0 [fee00280]>20 @1 [fee00200]>0"},
	{"c10_1_6_vector_16_is_sent", TWO "[fee00310]<1000000 [fee00300]<10 [fee00280]<0 "
					  "[fee00280]>0 @1 [fee00200]>10000"},
	{"c10_1_6_smi_is_not_there",
		TWO "[fee00310]<1000000 [fee00300]<200 [fee00280]<0 [fee00280]>0 @1 [fee00200]>0"},
	{"c10_1_6_reserved_mode_sends_nothing", TWO "[fee00310]<1000000 [fee00300]<341 @1 "
						    "[fee00220]>0 nmi=0"},
	{"c10_1_6_extint_mode_sends_nothing",
		TWO "[fee00310]<1000000 [fee00300]<741 @1 [fee00220]>0 ext=0"},
	{"c10_1_6_lowest_priority_takes_the_lowest",
		THREE "[fee00080]<20 [fee000d0]<1000000 @1 [fee00080]<10 [fee000d0]<2000000 @2 "
		      "[fee00080]<30 [fee000d0]<4000000 @0 [fee00310]<7000000 [fee00300]<941 "
		      "[fee00220]>0 @1 [fee00220]>2 @2 [fee00220]>0"},
	{"c10_1_6_init_deassert_is_ignored",
		TWO "[fee00310]<1000000 [fee00300]<8500 @1 [fee00020]>1000000 "
		    "[fee000f0]>1ff"},
	{"c10_1_7_nobody_has_that_id", TWO "[fee00310]<9000000 [fee00300]<41 [fee00220]>0 @1 "
					   "[fee00220]>0"},
	{"c10_1_7_id_past_the_last_vcpu",
		TWO "[fee00310]<10000000 [fee00300]<41 [fee00220]>0 @1 [fee00220]>0"},
	{"c10_1_7_physical_broadcast",
		TWO "[fee00310]<ff000000 [fee00300]<41 [fee00220]>2 @1 [fee00220]>2"},
	{"c10_1_7_logical_broadcast",
		TWO "[fee00310]<ff000000 [fee00300]<841 [fee00220]>2 @1 [fee00220]>2"},
	{"c10_1_7_flat_matches_any_bit",
		TWO "[fee000d0]<1000000 @1 [fee000d0]<2000000 @0 [fee00310]<6000000 [fee00300]<841 "
		    "[fee00220]>0 @1 [fee00220]>2"},
	{"c10_1_7_flat_reaches_several",
		TWO "[fee000d0]<1000000 @1 [fee000d0]<2000000 @0 [fee00310]<3000000 [fee00300]<841 "
		    "[fee00220]>2 @1 [fee00220]>2"},
	{"c10_1_7_flat_without_a_match",
		TWO "[fee000d0]<1000000 @1 [fee000d0]<2000000 @0 [fee00310]<4000000 [fee00300]<841 "
		    "[fee00220]>0 @1 [fee00220]>0"},
	{"c10_1_7_cluster_and_member_must_match",
		TWO "[fee000e0]<0 [fee000d0]<11000000 @1 [fee000e0]<0 [fee000d0]<22000000 @0 "
		    "[fee00310]<22000000 [fee00300]<841 [fee00220]>0 @1 [fee00220]>2"},
	{"c10_1_7_cluster_of_the_wrong_number",
		TWO "@1 [fee000e0]<0 [fee000d0]<22000000 @0 [fee00310]<12000000 [fee00300]<841 "
		    "@1 [fee00220]>0"},
	{"c10_1_7_cluster_without_the_member",
		TWO "@1 [fee000e0]<0 [fee000d0]<22000000 @0 [fee00310]<25000000 [fee00300]<841 "
		    "@1 [fee00220]>0"},
	{"c10_1_7_neither_flat_nor_cluster",
		TWO "@1 [fee000e0]<40000000 [fee000d0]<ff000000 @0 [fee00310]<2000000 "
		    "[fee00300]<841 @1 [fee00220]>0"},
};

static const struct script_row errors[] = {
	{"c10_1_9_esr_shows_only_when_written",
		ON "[fee00300]<5 [fee00280]>0 [fee00280]<0 [fee00280]>20"},
	{"c10_1_9_esr_write_clears_the_latch",
		ON "[fee00300]<5 [fee00280]<0 [fee00280]>20 [fee00280]<0 [fee00280]>0"},
	{"c10_1_9_esr_ignores_what_is_written", ON "[fee00280]<ffffffff [fee00280]>0"},
	{"c10_1_9_receive_illegal_vector", ON "msi=fee00000,5 [fee00280]<0 [fee00280]>40"},
	{"c10_1_9_error_entry_fires", ON "[fee00370]<e1 [fee00300]<5 int=e1"},
	{"c10_1_9_masked_error_entry_does_not", ON "[fee00370]<100e1 [fee00300]<5 int=-"},
	{"c10_1_9_error_entry_with_an_illegal_vector",
		ON "[fee00370]<5 [fee00300]<5 int=- [fee00280]<0 [fee00280]>20"},
	{"c10_1_9_lint0_fixed", ON "[fee00350]<41 lvt=0 int=41"},
	{"c10_1_9_lint0_extint", ON "[fee00350]<700 lvt=0 ext=1"},
	{"c10_1_9_lint0_nmi", ON "[fee00350]<400 lvt=0 nmi=1 int=2"},
	{"c10_1_9_lint0_masked", ON "[fee00350]<10041 lvt=0 int=- ext=0"},
	{"c10_1_9_lint0_smi_is_ignored", ON "[fee00350]<200 lvt=0 int=- ext=0 nmi=0"},
	{"c10_1_9_lint1_nmi", ON "[fee00360]<400 lvt=1 nmi=1"},
	{"c10_1_9_lint1_fixed", ON "[fee00360]<52 lvt=1 int=52"},
	{"c10_1_9_timer_entry_is_always_fixed", ON "[fee00320]<41 lvt=2 int=41"},
	{"c10_1_9_error_by_index", ON "[fee00370]<e1 lvt=3 int=e1"},
	{"c10_1_9_perf", ON "[fee00340]<42 lvt=4 int=42"},
	{"c10_1_9_perf_as_nmi", ON "[fee00340]<400 lvt=4 nmi=1"},
	{"c10_1_9_thermal", ON "[fee00330]<43 lvt=5 int=43"},
	{"c10_1_9_cmci", ON "[fee002f0]<44 lvt=6 int=44"},
	{"c10_1_9_vector_below_16_is_an_error",
		ON "[fee00340]<f lvt=4 int=- [fee00280]<0 [fee00280]>20"},
	{"c10_1_9_no_such_entry", "lvt=7! lvt=-1!"},
	{"c10_1_9_lint0_of_a_disabled_apic_is_intr", "lvt=0 ext=1"},
	{"c10_1_9_lint1_of_a_disabled_apic_is_nmi", "lvt=1 nmi=1"},
	{"c10_1_9_others_of_a_disabled_apic_are_nothing",
		"[fee00340]<42 lvt=4 lvt=2 lvt=3 ext=0 nmi=0 " ON "int=-"},
	{"c10_1_9_all_active_vcpus", "@1 @0 lvtall=0 ext=1 @1 ext=1"},
};

static const struct script_row base[] = {
	{"c10_1_10_apicbase_of_the_boot_processor", "$1b>fee00900"},
	{"c10_1_10_apicbase_of_another", "@1 $1b>fee00800"},
	{"c10_1_10_the_same_value_is_accepted", "$1b<fee00900 $1b>fee00900"},
	{"c10_1_10_the_page_moves",
		ON "$1b<fe000900 [fe0000f0]>1ff $1b<fe002900 [fe0020f0]>1ff $1b<fee00900 [fee000f0]>1ff"},
	{"c10_1_10_not_into_ram", "$1b<900! $1b>fee00900"},
	{"c10_1_10_the_bsp_bit_is_read_only", "$1b<fee00800! $1b>fee00900"},
	{"c10_1_10_reserved_bits", "$1b<fee00901! $1b<800000fee00900! $1b>fee00900"},
	{"c10_1_10_x2apic_must_be_offered", "$1b<fee00d00! $1b>fee00900"},
	{"c10_1_10_disabled_it_decodes_no_page", ON "$1b<fee00100 [fee00030]>ffffffff"},
	{"c10_1_10_disabled_it_forgets",
		ON "[fee00080]<50 $1b<fee00100 $1b<fee00900 [fee00080]>0 [fee000f0]>ff"},
};

static const struct script_row msis[] = {
	{"c10_2_physical", TWO "msi=fee01000,41 [fee00220]>0 @1 [fee00220]>2"},
	{"c10_2_broadcast", TWO "msi=feeff000,41 [fee00220]>2 @1 [fee00220]>2"},
	{"c10_2_nobody", TWO "msi=fee09000,41 [fee00220]>0 @1 [fee00220]>0"},
	{"c10_2_not_an_apic_address",
		ON "msi=fed00000,41! msi=1fee00000,41! msi=0,41! [fee00220]>0"},
	{"c10_2_logical_needs_hint_and_mode",
		TWO "[fee000d0]<8000000 @1 [fee000d0]<1000000 @0 msi=fee0100c,41 [fee00220]>0 @1 "
		    "[fee00220]>2"},
	{"c10_2_mode_without_hint_is_physical",
		TWO "[fee000d0]<1000000 @1 [fee000d0]<8000000 @0 msi=fee01004,41 [fee00220]>0 @1 "
		    "[fee00220]>2"},
	{"c10_2_hint_without_mode_is_physical",
		TWO "[fee000d0]<1000000 @1 [fee000d0]<8000000 @0 msi=fee01008,41 [fee00220]>0 @1 "
		    "[fee00220]>2"},
	{"c10_2_lowest_priority",
		TWO "[fee00080]<20 msi=feeff000,141 [fee00220]>0 @1 [fee00220]>2"},
	{"c10_2_extint", ON "msi=fee00000,700 ext=1"},
	{"c10_2_nmi", ON "msi=fee00000,400 nmi=1"},
	{"c10_2_smi_is_dropped", ON "msi=fee00000,241 [fee00220]>0 nmi=0 ext=0"},
	{"c10_2_init_is_dropped", ON "msi=fee00000,541 [fee00220]>0 [fee000f0]>1ff"},
	{"c10_2_always_edge", ON "msi=fee00000,c041 [fee00220]>2 [fee001a0]>0"},
	{"c10_2_to_a_disabled_apic", "msi=fee00000,41 [fee00220]>0"},
	{"c10_2_is_delivered", ON "msi=fee00000,41 int=41"},
};

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(script, registers),
		CONTRACT_ROWS(script, enabling),
		CONTRACT_ROWS(script, acceptance),
		CONTRACT_ROWS(script, messages),
		CONTRACT_ROWS(script, errors),
		CONTRACT_ROWS(script, base),
		CONTRACT_ROWS(script, msis),
	};

	return contract_run("c10 apic", tests, sizeof(tests) / sizeof(tests[0]));
}
