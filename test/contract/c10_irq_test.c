/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 10.3 and 10.4: I/O APIC and PIC; script.h has the words. */
#include "test/contract/script.h"

/* ---- 10.3: pin 4's entry is registers 18 and 19 ---- */

#define ON    "[fee000f0]<1ff "
#define LOW4  "[fec00000]<18 "
#define HIGH4 "[fec00000]<19 "
#define EDGE  ON LOW4 "[fec00010]<41 "
#define LEVEL ON LOW4 "[fec00010]<8041 "
#define EOI   "[fee000b0]<0 "

static const struct script_row ioapic[] = {
	{"c10_3_id", "[fec00000]<0 [fec00010]>0 [fec00010]<ffffffff [fec00010]>f000000"},
	{"c10_3_version", "[fec00000]<1 [fec00010]>170011 [fec00010]<0 [fec00010]>170011"},
	{"c10_3_arbitration_id_is_the_id",
		"[fec00000]<0 [fec00010]<5000000 [fec00000]<2 [fec00010]>5000000"},
	{"c10_3_index_has_8_bits", "[fec00000]<fffffff1 [fec00000]>f1"},
	{"c10_3_undefined_registers", "[fec00000]<3 [fec00010]<ff [fec00010]>0 [fec00000]<40 "
				      "[fec00010]<ff [fec00010]>0 [fec00000]<ff [fec00010]>0"},
	{"c10_3_entry_at_reset", LOW4 "[fec00010]>10000 " HIGH4 "[fec00010]>0/ff000000"},
	{"c10_3_entry_of_the_last_pin",
		"[fec00000]<3e [fec00010]>10000 [fec00010]<10099 [fec00010]>10099"},
	{"c10_3_entry_low_bits", LOW4 "[fec00010]<1ffff [fec00010]>1afff"},
	{"c10_3_entry_destination", HIGH4 "[fec00010]<ab000000 [fec00010]>ab000000/ff000000"},
	{"c10_3_delivery_status_is_read_only", LOW4 "[fec00010]<11041 [fec00010]>10041"},
	{"c10_3_remote_irr_is_read_only", LOW4 "[fec00010]<1c041 [fec00010]>18041"},
	{"c10_3_other_widths_do_nothing",
		"[fec00000]<1 b:[fec00010]>0 w:[fec00010]>0 b:[fec00000]<2 w:[fec00000]<2 "
		"[fec00000]>1"},
	{"c10_3_other_offsets_do_nothing",
		"[fec00000]<1 [fec00004]>0 [fec00014]>0 [fec00020]>0 [fec00020]<5 [fec00ffc]>0 "
		"[fec00010]>170011"},
	{"c10_3_no_such_pin", "io+-1! io+24! io-24! io^24! io^-1!"},
	{"c10_3_edge", EDGE "io+4 [fee00220]>2 [fee001a0]>0 [fec00010]>41 int=41"},
	{"c10_3_edge_again_needs_a_new_edge", EDGE "io+4 int=41 " EOI "int=- io-4 io+4 int=41"},
	{"c10_3_asserters_are_counted",
		EDGE "io+4 int=41 " EOI "io+4 int=- io-4 io+4 int=- io-4 io-4 io+4 int=41"},
	{"c10_3_an_unbalanced_deassert_delays", EDGE "io-4 io+4 int=- io+4 int=41"},
	{"c10_3_pulse", EDGE "io^4 int=41 " EOI "io^4 int=41"},
	{"c10_3_masked_edges_are_lost", ON LOW4 "[fec00010]<10041 io^4 [fec00010]<41 int=-"},
	{"c10_3_unmasking_a_high_line_sends", ON LOW4 "[fec00010]<10041 io+4 [fec00010]<41 int=41"},
	{"c10_3_level_sets_remote_irr", LEVEL "io+4 [fec00010]>c041 [fee00220]>2 [fee001a0]>2"},
	{"c10_3_level_waits_for_the_eoi",
		LEVEL "io+4 int=41 io-4 io+4 [fee00220]>0 " EOI "[fee00220]>2"},
	{"c10_3_eoi_of_a_low_line_ends_it", LEVEL "io+4 int=41 io-4 " EOI "[fec00010]>8041 int=-"},
	{"c10_3_eoi_of_a_high_line_sends_again",
		LEVEL "io+4 int=41 " EOI "[fec00010]>c041 int=41 io-4 " EOI "[fec00010]>8041"},
	{"c10_3_eoi_of_another_vector_changes_nothing",
		LEVEL "io+4 irq=52 int=52 " EOI "[fec00010]>c041"},
	{"c10_3_eoi_reaches_every_pin_of_the_vector",
		LEVEL "[fec00000]<1a [fec00010]<8041 io+4 io+5 int=41 io-4 io-5 " EOI
		      "[fec00010]>8041 " LOW4 "[fec00010]>8041"},
	{"c10_3_an_edge_vector_sends_no_eoi", LEVEL "io+4 int=41 io-4 " LOW4 "[fec00010]>c041"},
	{"c10_3_masking_keeps_remote_irr", LEVEL "io+4 [fec00010]<18041 [fec00010]>1c041"},
	{"c10_3_turning_to_edge_clears_remote_irr",
		LEVEL "io+4 [fec00010]<10041 [fec00010]>10041 [fec00010]<18041 [fec00010]>18041"},
	{"c10_3_unmasking_with_remote_irr_sends_nothing",
		LEVEL "io+4 int=41 [fec00010]<18041 [fec00010]<8041 [fee00220]>0"},
	{"c10_3_polarity_is_stored_and_ignored",
		ON LOW4 "[fec00010]<2041 [fec00010]>2041 int=- io+4 int=41"},
	{"c10_3_to_another_vcpu", "@1 " ON "@0 " ON HIGH4 "[fec00010]<1000000 " LOW4
				  "[fec00010]<41 io+4 [fee00220]>0 @1 [fee00220]>2"},
	{"c10_3_logical", "@1 " ON "[fee000d0]<4000000 @0 " ON HIGH4 "[fec00010]<4000000 " LOW4
			  "[fec00010]<841 io+4 [fee00220]>0 @1 [fee00220]>2"},
	{"c10_3_broadcast", "@1 " ON "@0 " ON HIGH4 "[fec00010]<ff000000 " LOW4
			    "[fec00010]<41 io+4 [fee00220]>2 @1 [fee00220]>2"},
	{"c10_3_lowest_priority",
		"@1 " ON "@0 " ON "[fee00080]<20 " HIGH4 "[fec00010]<ff000000 " LOW4
		"[fec00010]<141 io+4 [fee00220]>0 @1 [fee00220]>2"},
	{"c10_3_extint", ON LOW4 "[fec00010]<700 io+4 ext=1"},
	{"c10_3_smi_is_dropped", ON LOW4 "[fec00010]<241 io+4 [fee00220]>0 nmi=0 ext=0"},
	{"c10_3_init_is_dropped", ON LOW4 "[fec00010]<541 io+4 [fee00220]>0 [fee000f0]>1ff"},
	{"c10_3_vector_below_16_is_an_error",
		ON LOW4 "[fec00010]<f io+4 [fee00200]>0 [fee00280]<0 [fee00280]>40"},
	{"c10_3_the_pic_drives_pin_0",
		ON "[fec00000]<10 [fec00010]<41 20<11 21<20 21<4 21<1 21<0 pic+4 [fee00220]>2"},
};

/* ---- 10.4: bases 20 and 28, everything unmasked ---- */

#define MASTER "20<11 21<20 21<4 21<1 21<0 "
#define SLAVE  "a0<11 a1<28 a1<2 a1<1 a1<0 "
#define PICS   MASTER SLAVE

static const struct script_row pic[] = {
	{"c10_4_nothing_before_initialisation", "pic+4 intr=0 20<a 20>0 ext=0"},
	{"c10_4_not_ready_until_icw4", "20<11 21<20 21<4 pic^4 intr=0 21<1 intr=0 pic^4 intr=1"},
	{"c10_4_icw1_without_icw4", "20<10 21<20 21<4 21<0 pic^4 pend=24"},
	{"c10_4_icw1_single_has_no_icw3", "20<13 21<20 21<1 21<0 pic^4 pend=24"},
	{"c10_4_icw1_clears_the_mask", PICS "21<ff 20<11 21>0"},
	{"c10_4_icw1_clears_requests", PICS "pic^4 20<11 21<20 21<4 21<1 20>0 intr=0"},
	{"c10_4_icw1_clears_service",
		PICS "pic^4 acc=24 20<b 20>10 20<11 21<20 21<4 21<1 20<b 20>0"},
	{"c10_4_icw1_resets_the_priority", PICS "20<c3 20<11 21<20 21<4 21<1 pic^7 pic^4 pend=24"},
	{"c10_4_icw1_selects_irr", PICS "20<b pic^4 20<11 21<20 21<4 21<1 pic^5 20>20"},
	{"c10_4_icw1_ends_automatic_eoi",
		"20<11 21<20 21<4 21<3 " MASTER "pic^4 acc=24 20<b 20>10"},
	{"c10_4_icw2_takes_bits_7_to_3", "20<11 21<27 21<4 21<1 21<0 pic^1 pend=21"},
	{"c10_4_icw2_of_the_slave", PICS "pic^9 pend=29"},
	{"c10_4_icw4_automatic_eoi", "20<11 21<20 21<4 21<3 21<0 pic^4 acc=24 20<b 20>0 20<a 20>0"},
	{"c10_4_mask_reads_back", PICS "21<a5 21>a5 a1<5a a1>5a 21>a5"},
	{"c10_4_mask_before_initialisation", "21<a5 21>a5"},
	{"c10_4_mask_holds_back", PICS "21<10 pic^4 intr=0 20>10 21<0 intr=1 pend=24"},
	{"c10_4_masking_withdraws_intr", PICS "pic^4 intr=1 21<10 intr=0"},
	{"c10_4_edge_stays_until_accepted", PICS "pic+4 pic-4 20>10 intr=1 acc=24 20>0 intr=0"},
	{"c10_4_a_high_edge_line_requests_once", PICS "pic+4 acc=24 20<20 20>0 intr=0"},
	{"c10_4_asserters_are_counted",
		PICS "pic+4 acc=24 20<20 pic+4 intr=0 pic-4 pic+4 intr=0 pic-4 pic-4 pic+4 intr=1"},
	{"c10_4_accepting_sets_isr", PICS "pic^4 acc=24 20<b 20>10 20<a 20>0"},
	{"c10_4_irr_is_what_reads_after_reset", PICS "pic^4 20>10"},
	{"c10_4_read_select_stays", PICS "pic^4 acc=24 20<b 20>10 20>10 20<8 20>10 20<a 20>0"},
	{"c10_4_priority_is_0_to_7",
		PICS "pic^7 pend=27 pic^3 pend=23 pic^1 pend=21 pic^0 pend=20"},
	{"c10_4_slave_ranks_as_line_2", PICS "pic^3 pend=23 pic^15 pend=2f pic^1 pend=21"},
	{"c10_4_in_service_blocks_itself_and_lower",
		PICS "pic^4 acc=24 pic^4 pic^5 intr=0 pic^3 intr=1 pend=23"},
	{"c10_4_eoi_nonspecific", PICS "pic^4 acc=24 pic^3 acc=23 20<20 20<b 20>10 20<20 20>0"},
	{"c10_4_eoi_specific", PICS "pic^4 acc=24 pic^3 acc=23 20<64 20<b 20>8"},
	{"c10_4_eoi_with_nothing_in_service", PICS "20<20 20<b 20>0 pic^4 pend=24"},
	{"c10_4_eoi_lets_the_next_one_through",
		PICS "pic^4 acc=24 pic^5 intr=0 20<20 intr=1 pend=25"},
	{"c10_4_rotate_on_nonspecific_eoi", PICS "pic^4 acc=24 20<a0 pic^4 pic^5 pend=25"},
	{"c10_4_rotate_on_specific_eoi", PICS "pic^4 acc=24 20<e4 pic^3 pic^6 pend=26"},
	{"c10_4_set_priority", PICS "20<c3 pic^3 pic^4 pend=24 pic^2 pend=24"},
	{"c10_4_set_priority_wraps", PICS "20<c7 pic^7 pic^0 pend=20"},
	{"c10_4_rotate_on_automatic_eoi",
		"20<11 21<20 21<4 21<3 21<0 20<80 pic^4 acc=24 pic^4 pic^5 pend=25"},
	{"c10_4_rotate_on_automatic_eoi_off",
		"20<11 21<20 21<4 21<3 21<0 20<80 20<0 pic^4 acc=24 pic^4 pic^5 pend=24"},
	{"c10_4_ocw2_no_operation", PICS "pic^4 acc=24 20<40 20<b 20>10"},
	{"c10_4_poll_accepts", PICS "pic^4 20<c 20>84 20<b 20>10 intr=0"},
	{"c10_4_poll_of_nothing", PICS "20<c 20>0/80 20>0"},
	{"c10_4_poll_is_for_one_read", PICS "pic^4 20<c 20>84 20>0"},
	{"c10_4_poll_through_the_other_port", PICS "21<0 pic^4 20<c 21>84 21>0"},
	{"c10_4_poll_of_the_slave", PICS "pic^9 a0<c a0>81 a0<b a0>2"},
	{"c10_4_special_mask_lets_lower_ones_through",
		PICS "pic^4 acc=24 pic^5 intr=0 21<10 intr=0 20<68 intr=1 pend=25"},
	{"c10_4_special_mask_off", PICS "pic^4 acc=24 pic^5 21<10 20<68 intr=1 20<48 intr=0"},
	{"c10_4_slave_request_raises_the_cascade", PICS "pic^9 intr=1 20>4 a0>2 pend=29"},
	{"c10_4_slave_accepting_sets_both", PICS "pic^9 acc=29 20<b 20>4 a0<b a0>2"},
	{"c10_4_slave_needs_two_eois",
		PICS "pic^9 acc=29 pic^10 intr=0 a0<20 intr=0 20<20 intr=1 pend=2a"},
	{"c10_4_slave_in_service_blocks_its_betters", PICS "pic^9 acc=29 pic^8 intr=0"},
	{"c10_4_special_fully_nested_lets_them_through",
		"20<11 21<20 21<4 21<11 21<0 " SLAVE "pic^9 acc=29 pic^8 intr=1 pend=28"},
	{"c10_4_masked_cascade_holds_the_slave_back", PICS "21<4 pic^9 intr=0 21<0 intr=1"},
	{"c10_4_line_2_has_no_device", PICS "pic^2 intr=0 20>0"},
	{"c10_4_spurious_of_the_master", PICS "pend=27"},
	{"c10_4_spurious_leaves_no_trace", PICS "acc=27 20<b 20>0"},
	{"c10_4_level_follows_the_line", PICS "4d0<10 pic+4 intr=1 20>10 pic-4 intr=0 20>0"},
	{"c10_4_level_requests_again_after_eoi",
		PICS "4d0<10 pic+4 acc=24 intr=0 20<20 intr=1 pic-4 intr=0"},
	{"c10_4_level_of_the_slave", PICS "4d1<2 pic+9 acc=29 a0<20 20<20 intr=1 pic-9 intr=0"},
	{"c10_4_elcr_of_the_master", "4d0>0 4d0<ff 4d0>f8"},
	{"c10_4_elcr_of_the_slave", "4d1>0 4d1<ff 4d1>de"},
	{"c10_4_elcr_by_call", "pic*4 4d0>10 pic*9 4d1>2 pic/4 4d0>0 4d1>2"},
	{"c10_4_elcr_lines_that_are_always_edge",
		"pic*0! pic*1! pic*2! pic*8! pic*13! pic/0 pic/13"},
	{"c10_4_no_such_line", "pic+16! pic-16! pic^16! pic*16! pic+-1!"},
	{"c10_4_wide_accesses_do_nothing", PICS "w:20>ffff l:20>ffffffff"},
	{"c10_4_intr_reaches_lint0", PICS "[fee000f0]<1ff [fee00350]<41 pic^4 int=41"},
	{"c10_4_intr_reaches_every_active_vcpu", PICS "@1 @0 pic^4 ext=1 @1 ext=1"},
	{"c10_4_intr_reaches_the_guest", PICS "pic^4 int=24 20<b 20>10"},
	{"c10_4_the_slaves_vector_reaches_the_guest", PICS "pic^12 int=2c a0<b a0>10"},
	{"c10_4_one_intr_for_each_request", PICS "pic^4 pic^5 int=24 ext=0 20<20 ext=1 int=25"},
	{"c10_4_isa_lines_reach_both",
		PICS "[fee000f0]<1ff [fec00000]<18 [fec00010]<41 isa+4 pend=24 [fee00220]>2"},
	{"c10_4_isa_pin_minus_one_is_the_pic_alone",
		PICS "[fee000f0]<1ff [fec00000]<18 [fec00010]<41 pic^4 [fee00220]>0"},
};

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(script, ioapic),
		CONTRACT_ROWS(script, pic),
	};

	return contract_run("c10 irq", tests, sizeof(tests) / sizeof(tests[0]));
}
