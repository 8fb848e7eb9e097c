/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmm-api.md 10.1.5, 10.5, 10.6, and what later bhyve has inside: the timers.  Time is real: what
 * must not have happened yet is asked within a time limit, what must happen is waited for.
 */
#include <time.h>
#include <unistd.h>

#include <vmm/pc.h>
#include <vmm/vrtc.h>

#include "test/contract/script.h"

/* ---- 10.1.5: the local APIC's; 20000 is 977 us undivided, 2 ms by two ---- */

#define ON "[fee000f0]<1ff "

static const struct script_row apic_timer[] = {
	{"c10_1_5_one_shot", ON "[fee00320]<41 [fee00380]<20000 wait=41 [fee00390]>0"},
	{"c10_1_5_one_shot_fires_once",
		ON "[fee00320]<41 [fee00380]<20000 wait=41 [fee000b0]<0 us=4000 int=-"},
	{"c10_1_5_periodic", ON "[fee00320]<20041 [fee00380]<20000 wait=41 [fee000b0]<0 wait=41 "
				"[fee000b0]<0 wait=41"},
	{"c10_1_5_not_before_its_time",
		ON "[fee00320]<41 [fee003e0]<a in=900000 [fee00380]<8000000 us=1000 int=-"},
	{"c10_1_5_masked_it_counts_and_is_silent",
		ON "[fee00320]<10041 [fee00380]<20000 us=4000 int=- [fee00390]>0"},
	{"c10_1_5_zero_stops",
		ON "[fee00320]<41 [fee00380]<80000 [fee00380]<0 [fee00390]>0 us=9000 int=-"},
	{"c10_1_5_the_initial_count_stays",
		ON "[fee00320]<41 [fee00380]<20000 wait=41 [fee00380]>20000"},
	{"c10_1_5_writing_it_starts_over",
		ON "[fee00320]<41 [fee00380]<20000 wait=41 [fee000b0]<0 [fee00380]<20000 wait=41"},
	{"c10_1_5_unmasked_in_time", ON
		"[fee00320]<30041 [fee003e0]<b [fee00380]<100000 int=- [fee00320]<20041 wait=41"},
	{"c10_1_5_vector_below_16_is_an_error",
		ON "[fee00370]<e1 [fee00320]<5 [fee00380]<1000 wait=e1 [fee00280]<0 [fee00280]>20"},
	{"c10_1_5_deadline_mode_ignores_the_count",
		ON "[fee00320]<40041 [fee00380]<1000 [fee00380]>0 us=2000 int=-"},
	{"c10_1_5_deadline_in_the_past", ON "[fee00320]<40041 $6e0<1 wait=41 $6e0>0"},
	{"c10_1_5_deadline_of_zero_disarms",
		ON "[fee00320]<40041 $6e0<7fffffffffffffff $6e0>7fffffffffffffff $6e0<0 $6e0>0"},
	{"c10_1_5_deadline_out_of_its_mode", ON "[fee00320]<41 $6e0<1 $6e0>0 us=1000 int=-"},
	{"c10_1_5_deadline_mode_left_disarms",
		ON "[fee00320]<40041 $6e0<7fffffffffffffff [fee00320]<41 $6e0>0"},
};

/* ---- 10.5: the PIT; 4a9 is 1 ms.  The PIC passes line 0 alone, as vector 20. ---- */

#define PIC "20<11 21<20 21<4 21<1 21<fe "
#define EOI "20<20 "

static const struct script_row pit[] = {
	{"c10_5_mode_0_interrupts_once", PIC "43<30 40<a9 40<4 wait=20 " EOI "us=3000 int=-"},
	{"c10_5_mode_2_interrupts_again_and_again",
		PIC "43<34 40<a9 40<4 wait=20 " EOI "wait=20 " EOI "wait=20"},
	{"c10_5_mode_3_interrupts_again_and_again",
		PIC "43<36 40<a9 40<4 wait=20 " EOI "wait=20 " EOI "wait=20"},
	{"c10_5_mode_4_interrupts_once", PIC "43<38 40<a9 40<4 wait=20 " EOI "us=3000 int=-"},
	{"c10_5_mode_1_waits_for_its_gate", PIC "43<32 40<a9 40<4 us=3000 int=-"},
	{"c10_5_mode_5_waits_for_its_gate", PIC "43<3a 40<a9 40<4 us=3000 int=-"},
	{"c10_5_mode_6_is_mode_2", PIC "43<3c 43<e2 40>f4 40<a9 40<4 wait=20 " EOI "wait=20"},
	{"c10_5_mode_7_is_mode_3", PIC "43<3e 43<e2 40>f6 40<a9 40<4 wait=20 " EOI "wait=20"},
	{"c10_5_a_new_count_starts_mode_0_over",
		PIC "43<30 40<a9 40<4 wait=20 " EOI "40<a9 40<4 wait=20"},
	{"c10_5_half_a_count_stops_mode_0", PIC "43<30 in=50000 40<ff 40<ff 40<a9 us=2000 int=-"},
	{"c10_5_nothing_before_a_count", PIC "43<34 us=3000 int=-"},
	{"c10_5_low_byte_only", PIC "43<10 40<ff wait=20"},
	{"c10_5_high_byte_only", PIC "43<20 40<4 wait=20"},
	{"c10_5_bcd_counts", PIC "43<31 40<0 40<10 wait=20"},
	{"c10_5_reaches_pin_2", ON "[fec00000]<14 [fec00010]<41 43<30 40<a9 40<4 wait=41"},
	{"c10_5_the_control_word_stops_it", PIC "43<34 in=50000 40<ff 40<ff 43<30 us=60000 int=-"},
	{"c10_5_control_cannot_be_read", "43>ff"},
	{"c10_5_wide_accesses_do_nothing", "43<30 w:40<ffff 43<e2 40>70 w:40>ffff l:40>ffffffff"},
	/* Status: OUT, null count, access, mode, BCD. */
	{"c10_5_status_of_mode_0", "43<30 43<e2 40>70 in=50000 40<ff 40<ff 43<e2 40>30"},
	{"c10_5_status_of_mode_1", "43<32 43<e2 40>f2 40<ff 40<ff 43<e2 40>f2"},
	{"c10_5_status_of_mode_2", "43<34 43<e2 40>f4 in=50000 40<ff 40<ff 43<e2 40>b4"},
	{"c10_5_status_of_mode_3", "43<36 43<e2 40>f6 in=25000 40<ff 40<ff 43<e2 40>b6"},
	{"c10_5_status_of_mode_4", "43<38 43<e2 40>f8 in=50000 40<ff 40<ff 43<e2 40>b8"},
	{"c10_5_status_of_mode_5", "43<3a 43<e2 40>fa 40<ff 40<ff 43<e2 40>fa"},
	{"c10_5_status_has_the_access", "43<10 43<e2 40>50 43<20 43<e2 40>60 43<30 43<e2 40>70"},
	{"c10_5_status_has_bcd", "43<31 43<e2 40>71"},
	{"c10_5_status_out_rises_at_the_end_of_mode_0", "43<10 40<8 us=500 43<e2 40>90"},
	{"c10_5_status_is_latched_once", "43<30 43<e2 40<8 40<0 43<e2 40>70 us=500 43<e2 40>b0"},
	{"c10_5_status_comes_before_the_count",
		"43<30 40<ff 40<ff us=60000 43<c2 40>b0 40>0/0 40>0/0 43<e2 40>b0"},
	{"c10_5_read_back_of_several", "43<30 43<b4 43<ea 40>70 42>f4"},
	{"c10_5_read_back_of_none", "43<30 43<e0 43<e2 40>70"},
	/* Latched, what was counted down stands still: FFFF less a little, its high byte. */
	{"c10_5_latch_holds_both_halves",
		"43<34 in=10000 40<ff 40<ff 43<0 us=20000 40>0/0 40>c0/c0"},
	{"c10_5_latch_by_read_back", "43<34 in=10000 40<ff 40<ff 43<d2 us=20000 40>0/0 40>c0/c0"},
	{"c10_5_second_latch_is_ignored",
		"43<34 in=10000 40<ff 40<ff 43<0 us=20000 43<0 40>0/0 40>c0/c0"},
	{"c10_5_latch_of_another_counter", "43<b4 61<1 in=10000 42<ff 42<ff 43<80 42>0/0 42>c0/c0"},
	{"c10_5_high_byte_reads_alone", "43<24 in=10000 40<ff 40>c0/c0 40>c0/c0"},
	{"c10_5_halves_alternate_unlatched",
		"43<34 in=10000 40<0 40<ff 40>0/0 40>c0/c0 40>0/0 40>c0/c0"},
	{"c10_5_never_programmed_is_100_hz", "43<c2 40>b4/bf 43<d2 us=1000 40>0/0 40>0/c0"},
	/* Port 61 and counter 2's gate. */
	{"c10_5_61_keeps_four_bits", "61>0/f 61<ff 61>f/f 61<5 61>5/f"},
	{"c10_5_61_wide_accesses_do_nothing", "w:61>ffff"},
	{"c10_5_61_has_out_of_counter_2", "61<1 43<b0 61>0/20 42<8 42<0 us=500 61>20/20"},
	{"c10_5_the_gate_holds_mode_0",
		"61<0 43<b0 42<8 42<0 us=1000 61>0/20 61<1 us=500 61>20/20"},
	{"c10_5_the_gate_triggers_mode_1",
		"61<0 43<b2 42<ff 42<ff 61>20/20 in=50000 61<1 61>0/20 us=60000 61>20/20"},
	{"c10_5_the_gate_triggers_mode_1_again",
		"61<0 43<b2 42<ff 42<ff 61<1 us=60000 61>20/20 in=50000 61<0 61<1 61>0/20"},
	{"c10_5_the_gate_sets_out_of_mode_3", "61<1 43<b6 42<10 42<0 61<0 61>20/20"},
	{"c10_5_out_of_mode_3_is_a_square",
		"61<1 43<b6 in=20000 42<ff 42<ff 61>20/20 in=34000 us=30000 61>0/20"},
};

/* ---- 10.6: HPET; comparator 10000 (2710) is 1 ms; timer 2 to pin 20 as vector 41 ---- */

#define PIN20 ON "[fec00000]<38 [fec00010]<41 "
#define LEV20 ON "[fec00000]<38 [fec00010]<8041 "
#define GO    "[fed00010]<1 "

static const struct script_row hpet[] = {
	{"c10_6_capabilities", "q:[fed00000]>5f5e10080868701 [fed00000]<0 [fed00000]>80868701"},
	{"c10_6_configuration_has_two_bits", "[fed00010]>0 [fed00010]<fffffffe [fed00010]>2"},
	{"c10_6_configuration_high_half", "[fed00014]<ffffffff [fed00014]>0 [fed00010]>0"},
	{"c10_6_stopped_the_counter_holds",
		"[fed000f0]<12345678 us=1000 [fed000f0]>12345678 q:[fed000f0]>12345678"},
	{"c10_6_counter_high_half_is_zero", "[fed000f4]<ffffffff [fed000f4]>0"},
	{"c10_6_stopping_keeps_the_count",
		"[fed000f0]<70000000 " GO "us=100 [fed00010]<0 [fed000f0]>70000000/ff000000"},
	{"c10_6_it_counts_on_from_there",
		"[fed000f0]<fffffff0 " GO "us=1000 [fed00010]<0 [fed000f0]>0/f0000000"},
	{"c10_6_the_counter_can_be_written_while_it_runs",
		GO "in=1000000 [fed000f0]<50000000 [fed000f0]>50000000/ff000000"},
	{"c10_6_status_is_zero", "[fed00020]>0 [fed00020]<ff [fed00020]>0"},
	{"c10_6_timer_configuration_at_reset",
		"[fed00100]>8010 [fed00104]>f00000 [fed001e0]>8010 [fed001e4]>f00000"},
	{"c10_6_timer_configuration_read_only_bits",
		"[fed00140]<ffffa931 [fed00140]>a810 [fed00144]<ffffffff [fed00144]>f00000"},
	{"c10_6_timer_route_20_to_23",
		"[fed00140]<2800 [fed00140]>a810 [fed00140]<2e00 [fed00140]>ae10"},
	{"c10_6_an_illegal_route_is_none", "[fed00140]<2800 [fed00140]<2600 [fed00140]>8010"},
	{"c10_6_comparator_at_reset", "q:[fed00108]>ffffffff q:[fed001e8]>ffffffff"},
	{"c10_6_comparator_has_32_bits", "q:[fed00108]<1122334455667788 q:[fed00108]>55667788"},
	{"c10_6_fsb_registers", "[fed00150]<12345678 [fed00154]<fee00000 "
				"q:[fed00150]>fee0000012345678"},
	{"c10_6_only_32_and_64_bits",
		"b:[fed00000]>0 w:[fed00000]>0 w:[fed00010]<1 b:[fed00010]<1 [fed00010]>0"},
	{"c10_6_only_aligned", "[fed00002]>0 [fed00012]<1 [fed00010]>0"},
	{"c10_6_undefined_offsets",
		"[fed00008]>0 [fed00030]<5 [fed00030]>0 [fed00118]>0 [fed00200]>0"},
	{"c10_6_one_shot", PIN20 "[fed00140]<2804 [fed00148]<2710 " GO "wait=41"},
	{"c10_6_one_shot_fires_once",
		PIN20 "[fed00140]<2804 [fed00148]<2710 " GO "wait=41 [fee000b0]<0 us=3000 int=-"},
	{"c10_6_one_shot_again", PIN20 "[fed00140]<2804 [fed00148]<2710 " GO
				       "wait=41 [fee000b0]<0 [fed000f0]<0 wait=41"},
	{"c10_6_one_shot_of_the_past_waits",
		PIN20 "[fed00140]<2804 [fed000f0]<20000 [fed00148]<10000 " GO "us=2000 int=-"},
	{"c10_6_not_while_it_stands", PIN20 "[fed00140]<2804 [fed00148]<10 us=1000 int=-"},
	{"c10_6_a_due_timer_fires_when_stopped",
		PIN20 "[fed00140]<2804 [fed00148]<2710 " GO "us=3000 [fed00010]<0 int=41"},
	{"c10_6_not_without_the_enable_bit",
		PIN20 "[fed00140]<2800 [fed00148]<10 " GO "us=1000 int=-"},
	{"c10_6_not_without_a_route",
		ON "[fec00000]<10 [fec00010]<41 [fed00140]<4 [fed00148]<10 " GO "us=1000 int=-"},
	{"c10_6_periodic", PIN20 "[fed00140]<284c [fed00148]<2710 " GO
				 "wait=41 [fee000b0]<0 wait=41 [fee000b0]<0 wait=41"},
	{"c10_6_value_set_clears_itself",
		"[fed00140]<284c [fed00140]>a85c [fed00148]<2710 [fed00140]>a81c"},
	{"c10_6_value_set_writes_both", "[fed00140]<284c [fed00148]<2710 [fed00148]>2710"},
	{"c10_6_the_rate_alone", "[fed00140]<284c [fed00148]<2710 [fed00148]<500 [fed00148]>2710"},
	{"c10_6_level_holds_its_pin", LEV20 "[fed00140]<2806 [fed00148]<2710 " GO
					    "wait=41 [fed00020]>4 [fee000b0]<0 int=41"},
	{"c10_6_status_write_lets_go",
		LEV20 "[fed00140]<2806 [fed00148]<2710 " GO
		      "wait=41 [fed00020]<4 [fed00020]>0 [fee000b0]<0 int=-"},
	{"c10_6_status_write_of_another_bit",
		LEV20 "[fed00140]<2806 [fed00148]<2710 " GO "wait=41 [fed00020]<fb [fed00020]>4"},
	{"c10_6_turning_to_edge_lets_go",
		LEV20 "[fed00140]<2806 [fed00148]<2710 " GO
		      "wait=41 [fed00140]<2804 [fed00020]>0 [fee000b0]<0 int=-"},
	{"c10_6_disabling_lets_go",
		LEV20 "[fed00140]<2806 [fed00148]<2710 " GO
		      "wait=41 [fed00140]<2802 [fed00020]>0 [fee000b0]<0 int=-"},
	{"c10_6_another_route_lets_go",
		LEV20 "[fed00140]<2806 [fed00148]<2710 " GO
		      "wait=41 [fed00140]<2a06 [fed00020]>0 [fee000b0]<0 int=-"},
	{"c10_6_fsb", ON "[fed00150]<43 [fed00154]<fee00000 [fed00140]<4004 [fed00148]<2710 " GO
			 "wait=43"},
	{"c10_6_legacy_timer_0_to_the_pic",
		PIC "[fed00100]<4 [fed00108]<2710 [fed00010]<3 wait=20"},
	{"c10_6_legacy_timer_0_to_pin_2",
		ON "[fec00000]<14 [fec00010]<41 [fed00100]<4 [fed00108]<2710 [fed00010]<3 wait=41"},
	{"c10_6_legacy_timer_1_to_pin_8",
		ON "[fec00000]<20 [fec00010]<41 [fed00120]<4 [fed00128]<2710 [fed00010]<3 wait=41"},
	{"c10_6_legacy_timer_1_to_the_pic", "20<11 21<20 21<4 21<1 21<fb a0<11 a1<28 a1<2 a1<1 "
					    "a1<fe [fed00120]<4 [fed00128]<2710 "
					    "[fed00010]<3 wait=28"},
	{"c10_6_legacy_takes_the_pits_line", PIC "[fed00010]<3 43<30 40<a9 40<4 us=3000 int=-"},
	{"c10_6_legacy_needs_the_counter", PIC "[fed00010]<2 43<30 40<a9 40<4 wait=20"},
	{"c10_6_the_last_timer", PIN20 "[fed001e0]<2804 [fed001e8]<2710 " GO "wait=41"},
	{"c10_6_timers_are_independent",
		PIN20 "[fec00000]<3a [fec00010]<42 [fed00140]<2804 [fed00148]<5000 [fed00160]<2a04 "
		      "[fed00168]<2710 " GO "wait=42 [fee000b0]<0 wait=41"},
};

/* ---- RTC: 5e0be10c is 2020-01-01 00:00:12, a Wednesday ---- */

#define NEWYEAR "rtc=5e0be10c in=900000 "
/* Out of the divider's reset, the first update comes after half a second. */
#define SOON "70<a 71<76 71<26 "

static const struct script_row rtc[] = {
	{"c10_9_index_cannot_be_read", "70<5 70>ff"},
	{"c10_9_index_has_7_bits", "70<50 71<ab 70<d0 71>ab"},
	{"c10_9_memory_keeps_bytes", "70<e 71<a5 70<7f 71<5a 70<e 71>a5 70<7f 71>5a"},
	{"c10_9_wide_accesses_do_nothing", "70<50 71<12 w:71>ffff 71>12"},
	{"c10_9_a_at_reset", "70<a 71>26/7f"},
	{"c10_9_a_update_in_progress_is_read_only", NEWYEAR "70<a 71<a6 71>26"},
	{"c10_9_b_at_reset", "70<b 71>2"},
	{"c10_9_c_cannot_be_written", "70<c 71>0/f 71<f0 71>0/f"},
	{"c10_9_d_is_valid_and_read_only", "70<d 71>80 71<0 71>80"},
	{"c10_9_date_in_bcd",
		NEWYEAR "70<0 71>12 70<2 71>0 70<4 71>0 70<6 71>4 70<7 71>1 70<8 71>1 70<9 71>20 "
			"70<32 71>20"},
	{"c10_9_date_in_binary", NEWYEAR "70<b 71<6 70<0 71>c 70<9 71>14 70<32 71>14"},
	{"c10_9_midnight_in_12_hours", NEWYEAR "70<b 71<0 70<4 71>12"},
	{"c10_9_noon_in_12_hours", "rtc=5e0c89c0 in=900000 70<b 71<0 70<4 71>92"},
	{"c10_9_afternoon_in_12_hours", "rtc=5e0c97d0 in=900000 70<b 71<0 70<4 71>81"},
	{"c10_9_set_stops_the_clock", "rtc=5e0be10c " SOON "70<b 71<82 us=600000 70<0 71>12"},
	{"c10_9_set_takes_a_new_date",
		"70<b 71<82 70<0 71<33 70<2 71<44 70<4 71<15 70<7 71<28 70<8 71<2 70<9 71<99 70<32 "
		"71<20 in=900000 70<b 71<2 70<0 71>33 70<4 71>15 70<6 71>7 70<9 71>99"},
	{"c10_9_the_clock_runs", "rtc=5e0be10c " SOON "in=1400000 us=600000 70<0 71>13"},
	{"c10_9_leap_day", "rtc=5e5af17f " SOON "us=600000 in=800000 70<7 71>29 70<8 71>2"},
	{"c10_9_update_flag", "rtc=5e0be10c " SOON "70<c 71>0/f us=600000 71>10/10"},
	{"c10_9_reading_c_clears_it",
		"rtc=5e0be10c " SOON "us=600000 70<c 71>10/10 in=700000 71>0/10"},
	{"c10_9_update_interrupt", "20<11 21<20 21<4 21<1 21<fb a0<11 a1<28 a1<2 a1<1 a1<fe " SOON
				   "70<c 71>0/f 70<b 71<12 wait=28 70<c 71>90/90"},
	{"c10_9_periodic_interrupt",
		"20<11 21<20 21<4 21<1 21<fb a0<11 a1<28 a1<2 a1<1 a1<fe 70<c 71>0/f 70<b 71<42 "
		"wait=28 70<c 71>c0/c0 a0<20 20<20 wait=28"},
	{"c10_9_periodic_waits_for_c_to_be_read",
		"20<11 21<20 21<4 21<1 21<fb a0<11 a1<28 a1<2 a1<1 a1<fe 70<c 71>0/f 70<b 71<42 "
		"wait=28 a0<20 20<20 us=3000 int=-"},
	{"c10_9_alarm_interrupt", "20<11 21<20 21<4 21<1 21<fb a0<11 a1<28 a1<2 a1<1 a1<fe "
				  "rtc=5e0be10c 70<1 71<13 70<3 "
				  "71<ff 70<5 71<ff 70<c 71>0/f 70<b 71<22 rtc=5e0be10c " SOON
				  "wait=28 in=400000 70<c 71>a0/a0 70<0 71>13"},
	{"c10_9_alarm_that_does_not_match",
		"rtc=5e0be10c " SOON
		"70<1 71<55 70<3 71<ff 70<5 71<ff 70<c 71>0/f us=600000 71>0/20"},
	{"c10_9_reaches_pin_8", ON "[fec00000]<20 [fec00010]<41 70<c 71>0/f 70<b 71<42 wait=41"},
};

/* ---- Counting, held against the host's clock ---- */

struct rate_row {
	const char *name;
	uint64_t hz;
	const char *words; /* how to start it */
	uint64_t (*read)(struct contract *c);
	uint64_t mask; /* the counter's bits */
	bool down;
};

static uint64_t apic_count(struct contract *c)
{
	return load32(c, 0xfee00390);
}

static uint64_t hpet_count(struct contract *c)
{
	return load32(c, PC_HPET_BASE + 0xf0);
}

static uint64_t pm_count(struct contract *c)
{
	return guest_in(c, 0, PC_PM_TIMER, 4);
}

static uint64_t pit_count(struct contract *c, unsigned n)
{
	uint8_t low;

	outb(c, 0x43, (uint8_t)(n << 6));
	low = inb(c, (uint16_t)(0x40 + n));
	return low | (uint64_t)inb(c, (uint16_t)(0x40 + n)) << 8;
}

static uint64_t pit_count_0(struct contract *c)
{
	return pit_count(c, 0);
}

static uint64_t pit_count_1(struct contract *c)
{
	return pit_count(c, 1);
}

static uint64_t pit_count_2(struct contract *c)
{
	return pit_count(c, 2);
}

#define APIC_HZ (1u << 27)
#define PIT_HZ	1193182u

static const struct rate_row rates[] = {
	{"c10_1_5_divide_by_2", APIC_HZ / 2, "[fee003e0]<0 [fee00380]<ffffffff", apic_count,
		UINT32_MAX, true},
	{"c10_1_5_divide_by_4", APIC_HZ / 4, "[fee003e0]<1 [fee00380]<ffffffff", apic_count,
		UINT32_MAX, true},
	{"c10_1_5_divide_by_8", APIC_HZ / 8, "[fee003e0]<2 [fee00380]<ffffffff", apic_count,
		UINT32_MAX, true},
	{"c10_1_5_divide_by_16", APIC_HZ / 16, "[fee003e0]<3 [fee00380]<ffffffff", apic_count,
		UINT32_MAX, true},
	{"c10_1_5_divide_by_32", APIC_HZ / 32, "[fee003e0]<8 [fee00380]<ffffffff", apic_count,
		UINT32_MAX, true},
	{"c10_1_5_divide_by_64", APIC_HZ / 64, "[fee003e0]<9 [fee00380]<ffffffff", apic_count,
		UINT32_MAX, true},
	{"c10_1_5_divide_by_128", APIC_HZ / 128, "[fee003e0]<a [fee00380]<ffffffff", apic_count,
		UINT32_MAX, true},
	{"c10_1_5_divide_by_1", APIC_HZ, "[fee003e0]<b [fee00380]<ffffffff", apic_count, UINT32_MAX,
		true},
	{"c10_5_counter_0_in_mode_0", PIT_HZ, "43<30 40<0 40<0", pit_count_0, 0xffff, true},
	{"c10_5_counter_0_in_mode_2", PIT_HZ, "43<34 40<0 40<0", pit_count_0, 0xffff, true},
	{"c10_5_counter_0_in_mode_3_by_two", PIT_HZ * 2, "43<36 40<0 40<0", pit_count_0, 0xffff,
		true},
	{"c10_5_counter_0_in_mode_4", PIT_HZ, "43<38 40<0 40<0", pit_count_0, 0xffff, true},
	{"c10_5_counter_1_in_mode_2", PIT_HZ, "43<74 41<0 41<0", pit_count_1, 0xffff, true},
	{"c10_5_counter_2_in_mode_0", PIT_HZ, "61<1 43<b0 42<0 42<0", pit_count_2, 0xffff, true},
	{"c10_5_counter_2_in_mode_1", PIT_HZ, "61<0 43<b2 42<0 42<0 61<1", pit_count_2, 0xffff,
		true},
	{"c10_5_counter_2_in_mode_5", PIT_HZ, "61<0 43<ba 42<0 42<0 61<1", pit_count_2, 0xffff,
		true},
	{"c10_6_the_counter_has_10_mhz", 10000000, "[fed00010]<1", hpet_count, UINT32_MAX, false},
	{"c10_9_pm_timer_has_3_579545_mhz", 3579545, "", pm_count, UINT32_MAX, false},
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/*
 * Two readings 5 ms apart, each between two looks at the host's clock.  Of a slow host the counter
 * may have wrapped.
 */
static void rate(void **state)
{
	struct contract *c = *state;
	const struct rate_row *row = c->row;
	double before[2], after[2], least, most;
	uint64_t count[2], ticks;

	service(c, 0);
	play(c, row->words);
	for (int i = 0; i < 2; i++) {
		before[i] = now_s();
		count[i] = row->read(c);
		after[i] = now_s();
		if (i == 0)
			usleep(5000);
	}
	ticks = (row->down ? count[0] - count[1] : count[1] - count[0]) & row->mask;
	least = (before[1] - after[0]) * (double)row->hz - 4;
	most = (after[1] - before[0]) * (double)row->hz + 4;
	if (most > (double)row->mask)
		try_again();
	if ((double)ticks < least || (double)ticks > most)
		fail_msg("%llu ticks, not %.0f to %.0f", (unsigned long long)ticks, least, most);
}

/* What is asked for is not there before its time. */
struct wait_row {
	const char *name;
	uint64_t us;
	const char *words; /* starts it and waits */
};

static const struct wait_row waits[] = {
	{"c10_1_5_one_shot_takes_its_time", 10000,
		ON "[fee00320]<41 [fee003e0]<b [fee00380]<147ae1 wait=41"},
	{"c10_1_5_three_periods_take_their_time", 9000,
		ON "[fee00320]<20041 [fee003e0]<b [fee00380]<624dd wait=41 [fee000b0]<0 wait=41 "
		   "[fee000b0]<0 wait=41"},
	{"c10_5_mode_0_takes_its_time", 9999, PIC "43<30 40<9b 40<2e wait=20"},
	{"c10_5_count_0_is_65536", 54925, PIC "43<30 40<0 40<0 wait=20"},
	{"c10_5_high_byte_only_is_times_256", 10296, PIC "43<20 40<30 wait=20"},
	{"c10_5_bcd_0_is_10000", 8380, PIC "43<31 40<0 40<0 wait=20"},
	{"c10_5_three_periods_of_mode_2_take_their_time", 11999,
		PIC "43<34 40<a4 40<12 wait=20 " EOI "wait=20 " EOI "wait=20"},
	{"c10_6_one_shot_takes_its_time", 10000,
		PIN20 "[fed00140]<2804 [fed00148]<186a0 " GO "wait=41"},
	{"c10_6_three_periods_take_their_time", 9000,
		PIN20 "[fed00140]<284c [fed00148]<7530 " GO
		      "wait=41 [fee000b0]<0 wait=41 [fee000b0]<0 wait=41"},
};

static void takes_its_time(void **state)
{
	struct contract *c = *state;
	const struct wait_row *row = c->row;
	double start, took;

	service(c, 0);
	start = now_s();
	play(c, row->words);
	took = (now_s() - start) * 1e6;
	if (took < (double)row->us)
		fail_msg("%.0f us instead of %llu", took, (unsigned long long)row->us);
}

static void c10_1_5_deadline_in_the_future(void **state)
{
	struct contract *c = *state;
	uint64_t tsc;

	service(c, 0);
	play(c, ON "[fee00320]<40041");
	assert_int_equal(guest_rdmsr(c, 0, 0x10, &tsc), -1);
	tsc += 20000000;
	assert_int_equal(guest_wrmsr(c, 0, 0x6e0, tsc), -1);
	play(c, "wait=41 $6e0>0");
	assert_int_equal(guest_rdmsr(c, 0, 0x10, &c->guest[0].error_code), -1);
	assert_true(c->guest[0].error_code >= tsc);
}

/* ---- 10.5: the refresh bit, for delay loops of old ---- */

static void c10_5_61_refresh_toggles(void **state)
{
	struct contract *c = *state;
	unsigned changes = 0;

	service(c, 0);
	for (uint8_t last = inb(c, 0x61), i = 0; changes < 4; i++) {
		uint8_t now = inb(c, 0x61);

		changes += (now ^ last) >> 4 & 1;
		last = now;
		usleep(17);
	}
}

static void c10_6_capabilities_by_call(void **state)
{
	struct contract *c = *state;
	uint32_t capabilities = 0;

	assert_int_equal(vmmdev_hpet_capabilities(c->vm, &capabilities), 0);
	assert_int_equal(capabilities, 0x80868701);
}

static void c10_9_pm_timer_ignores_writes_and_reads_in_parts(void **state)
{
	struct contract *c = *state;
	uint32_t before, part, after;

	service(c, 0);
	guest_out(c, 0, PC_PM_TIMER, 4, 0);
	before = guest_in(c, 0, PC_PM_TIMER, 4);
	part = guest_in(c, 0, PC_PM_TIMER, 2);
	after = guest_in(c, 0, PC_PM_TIMER, 4);
	assert_true(((part - before) & 0xffff) <= after - before);
}

static void c10_9_date_by_call(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vrtc_set_time(c->vm, 1577836812), 0);
	assert_in_range(vrtc_get_time(c->vm), 1577836812, 1577836812 + 20);
	assert_int_equal(vrtc_set_time(c->vm, -1), EINVAL);
	assert_int_equal(vrtc_set_time(c->vm, 253402300800), EINVAL);
}

static void c10_9_memory_by_call(void **state)
{
	struct contract *c = *state;
	uint8_t value = 0;

	service(c, 0);
	assert_int_equal(vrtc_nvram_write(c->vm, 0x40, 0x77), 0);
	play(c, "70<40 71>77 71<66");
	assert_int_equal(vrtc_nvram_read(c->vm, 0x40, &value), 0);
	assert_int_equal(value, 0x66);
	assert_int_equal(vrtc_nvram_write(c->vm, 13, 1), EINVAL);
	assert_int_equal(vrtc_nvram_write(c->vm, VRTC_CENTURY, 1), EINVAL);
	assert_int_equal(vrtc_nvram_read(c->vm, VRTC_NVRAM_SIZE, &value), EINVAL);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(script, apic_timer),
		CONTRACT(c10_1_5_deadline_in_the_future),
		CONTRACT_ROWS(script, pit),
		CONTRACT(c10_5_61_refresh_toggles),
		CONTRACT_ROWS(script, hpet),
		CONTRACT(c10_6_capabilities_by_call),
		CONTRACT_ROWS(script, rtc),
		CONTRACT(c10_9_date_by_call),
		CONTRACT(c10_9_memory_by_call),
		CONTRACT(c10_9_pm_timer_ignores_writes_and_reads_in_parts),
		CONTRACT_ROWS(rate, rates),
		CONTRACT_ROWS(takes_its_time, waits),
	};

	return contract_run("c10 timer", tests, sizeof(tests) / sizeof(tests[0]));
}
