/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 10.1 and 11.5: the local APIC in x2APIC mode (SDM vol. 3, 10.12). */
#include "test/contract/script.h"

#define ON  "$80f<1ff "
#define TWO "@1 " ON "@0 " ON

static const struct script_row registers[] = {
	{"c11_5_id_is_the_plain_one", "$802>0 @5 $802>5"},
	{"c11_5_id_is_read_only", "$802<0!"},
	{"c11_5_version", "$803>60010 $803<60010!"},
	{"c11_5_tpr", "$808>0 $808<ff $808>ff $80a>ff"},
	{"c11_5_tpr_above_8_bits_is_gp", "$808<100! $808<100000000! $808>0"},
	{"c11_5_tpr_is_cr8", "$808<a7 cr8>a cr8<3 $808>30"},
	{"c11_5_apr_is_gp", "$809! $809<0!"},
	{"c11_5_ppr_is_read_only", "$80a>0 $80a<0!"},
	{"c11_5_eoi", "$80b<0"},
	{"c11_5_eoi_of_anything_but_zero_is_gp", "$80b<1! $80b<100000000!"},
	{"c11_5_eoi_cannot_be_read", "$80b!"},
	{"c11_5_rrr_is_gp", "$80c!"},
	{"c11_5_ldr_comes_from_the_id", "$80d>1 @1 $80d>2 @5 $80d>20"},
	{"c11_5_ldr_is_read_only", "$80d<1!"},
	{"c11_5_dfr_is_gp", "$80e! $80e<ffffffff!"},
	{"c11_5_svr", "$80f>ff $80f<1ab $80f>1ab"},
	{"c11_5_svr_reserved_bits_are_gp", "$80f<10000! $80f<1000! $80f>ff"},
	{"c11_5_isr_is_read_only", "$810>0 $817>0 $810<0! $817<0!"},
	{"c11_5_tmr_is_read_only", "$818>0 $81f>0 $818<0! $81f<0!"},
	{"c11_5_irr_is_read_only", "$820>0 $827>0 $820<0! $827<0!"},
	{"c11_5_esr_takes_only_zero", "$828>0 $828<0 $828<1!"},
	{"c11_5_lvt_cmci", ON "$82f>10000 $82f<41 $82f>41"},
	{"c11_5_icr_is_one_register", ON "$830<500000041 $830>500000041"},
	{"c11_5_icr_high_is_gp", "$831! $831<0!"},
	{"c11_5_lvt_timer", ON "$832>10000 $832<20041 $832>20041"},
	{"c11_5_lvt_thermal", ON "$833>10000 $833<41 $833>41"},
	{"c11_5_lvt_perf", ON "$834>10000 $834<41 $834>41"},
	{"c11_5_lvt_lint0", ON "$835>10000 $835<8700 $835>8700"},
	{"c11_5_lvt_lint1", ON "$836>10000 $836<400 $836>400"},
	{"c11_5_lvt_error", ON "$837>10000 $837<e1 $837>e1"},
	{"c11_5_lvt_reserved_bits_are_gp", ON "$832<80000000! $835<20000! $837<100000000!"},
	{"c11_5_initial_count", "$838>0 $838<12345678 $838>12345678 $838<100000000!"},
	{"c11_5_current_count_is_read_only", "$839>0 $839<0!"},
	{"c11_5_divide", "$83e>0 $83e<b $83e>b $83e<4! $83e>b"},
	{"c11_5_self_ipi_cannot_be_read", "$83f!"},
	{"c11_5_self_ipi", ON "$83f<41 $822>2 int=41"},
	{"c11_5_self_ipi_above_8_bits_is_gp", ON "$83f<100!"},
	{"c11_5_self_ipi_below_16_is_an_error", ON "$83f<5 $828<0 $828>20 int=-"},
	{"c11_5_undefined_registers_are_gp", "$800! $801! $804! $840! $8ff! $bff! $840<0!"},
	{"c11_5_the_page_is_not_decoded", "$808<50 [fee00080]<20 $808>50 [fee00030]>ffffffff"},
	{"c11_5_apicbase_has_the_bit", "$1b>fee00d00 @1 $1b>fee00c00"},
	{"c11_5_back_to_xapic_is_gp", "$1b<fee00900! $1b>fee00d00"},
	{"c11_5_off_and_by_way_of_xapic_on_again",
		"$1b<fee00100 $808! $1b<fee00900 [fee00030]>60010 $1b<fee00d00 $803>60010"},
	{"c11_5_off_and_on_at_once_is_gp", "$1b<fee00100 $1b<fee00d00!"},
};

static const struct script_row messages[] = {
	{"c11_5_ipi_by_32_bit_id", TWO "$830<100000041 $822>0 @1 $822>2"},
	{"c11_5_ipi_to_ff_is_nobody", TWO "$830<ff00000041 $822>0 @1 $822>0"},
	{"c11_5_ipi_broadcast", TWO "$830<ffffffff00000041 $822>2 @1 $822>2"},
	{"c11_5_ipi_logical", TWO "$830<200000841 $822>0 @1 $822>2"},
	{"c11_5_ipi_logical_to_several", TWO "$830<300000841 $822>2 @1 $822>2"},
	{"c11_5_ipi_logical_of_another_cluster", TWO "$830<1000200000841 $822>0 @1 $822>0"},
	{"c11_5_ipi_shorthand_others", TWO "$830<c0041 $822>0 @1 $822>2"},
	{"c11_5_ipi_nmi", TWO "$830<100000400 @1 nmi=1"},
	{"c11_5_icr_reserved_bits_are_gp", TWO "$830<100100041! $830<2041! @1 $822>0"},
	{"c11_5_msi_uses_8_bits", TWO "msi=fee01000,41 $822>0 @1 $822>2 @0 msi=feeff000,42 $822>4"},
	{"c11_5_interrupt_and_eoi", ON "irq=41 int=41 $812>2 $80a>40 $80b<0 $812>0"},
	{"c11_5_level_interrupt_ends_by_eoi",
		ON "[fec00000]<18 [fec00010]<8041 io+4 [fec00010]>c041 int=41 io-4 $80b<0 "
		   "[fec00010]>8041"},
};

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(script_x2apic, registers),
		CONTRACT_ROWS(script_x2apic, messages),
	};

	return contract_run("c11 x2apic", tests, sizeof(tests) / sizeof(tests[0]));
}
