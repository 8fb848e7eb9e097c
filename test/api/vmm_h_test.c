/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmm.h is bhyve's: every enumerator and macro has its value, every struct its layout (LP64), every
 * function its type.  Almost all of it is decided when this file compiles.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

#define VALUE(name, value)	 _Static_assert((name) == (value), #name)
#define SIZE(type, size)	 _Static_assert(sizeof(struct type) == (size), #type)
#define OFFSET(type, member, at) _Static_assert(offsetof(struct type, member) == (at), #member)
#define PROTOTYPE(name, ret, args)                                                                 \
	_Static_assert(__builtin_types_compatible_p(__typeof__(name), ret args), #name)
#define FUNCTION_TYPE(name, ret, args)                                                             \
	_Static_assert(__builtin_types_compatible_p(name, ret(*) args), #name)
#define MEMBER_TYPE(member, type)                                                                  \
	_Static_assert(                                                                            \
		__builtin_types_compatible_p(__typeof__(((struct vmm_ops *)0)->member), type),     \
		#member)

/* enum vm_suspend_how */
VALUE(VM_SUSPEND_NONE, 0);
VALUE(VM_SUSPEND_RESET, 1);
VALUE(VM_SUSPEND_POWEROFF, 2);
VALUE(VM_SUSPEND_HALT, 3);
VALUE(VM_SUSPEND_TRIPLEFAULT, 4);
VALUE(VM_SUSPEND_LAST, 5);

/* enum vm_reg_name */
VALUE(VM_REG_GUEST_RAX, 0);
VALUE(VM_REG_GUEST_RBX, 1);
VALUE(VM_REG_GUEST_RCX, 2);
VALUE(VM_REG_GUEST_RDX, 3);
VALUE(VM_REG_GUEST_RSI, 4);
VALUE(VM_REG_GUEST_RDI, 5);
VALUE(VM_REG_GUEST_RBP, 6);
VALUE(VM_REG_GUEST_R8, 7);
VALUE(VM_REG_GUEST_R9, 8);
VALUE(VM_REG_GUEST_R10, 9);
VALUE(VM_REG_GUEST_R11, 10);
VALUE(VM_REG_GUEST_R12, 11);
VALUE(VM_REG_GUEST_R13, 12);
VALUE(VM_REG_GUEST_R14, 13);
VALUE(VM_REG_GUEST_R15, 14);
VALUE(VM_REG_GUEST_CR0, 15);
VALUE(VM_REG_GUEST_CR3, 16);
VALUE(VM_REG_GUEST_CR4, 17);
VALUE(VM_REG_GUEST_DR7, 18);
VALUE(VM_REG_GUEST_RSP, 19);
VALUE(VM_REG_GUEST_RIP, 20);
VALUE(VM_REG_GUEST_RFLAGS, 21);
VALUE(VM_REG_GUEST_ES, 22);
VALUE(VM_REG_GUEST_CS, 23);
VALUE(VM_REG_GUEST_SS, 24);
VALUE(VM_REG_GUEST_DS, 25);
VALUE(VM_REG_GUEST_FS, 26);
VALUE(VM_REG_GUEST_GS, 27);
VALUE(VM_REG_GUEST_LDTR, 28);
VALUE(VM_REG_GUEST_TR, 29);
VALUE(VM_REG_GUEST_IDTR, 30);
VALUE(VM_REG_GUEST_GDTR, 31);
VALUE(VM_REG_GUEST_EFER, 32);
VALUE(VM_REG_GUEST_CR2, 33);
VALUE(VM_REG_GUEST_PDPTE0, 34);
VALUE(VM_REG_GUEST_PDPTE1, 35);
VALUE(VM_REG_GUEST_PDPTE2, 36);
VALUE(VM_REG_GUEST_PDPTE3, 37);
VALUE(VM_REG_LAST, 38);

/* enum x2apic_state */
VALUE(X2APIC_DISABLED, 0);
VALUE(X2APIC_ENABLED, 1);
VALUE(X2APIC_STATE_LAST, 2);

/* enum vcpu_state */
VALUE(VCPU_IDLE, 0);
VALUE(VCPU_FROZEN, 1);
VALUE(VCPU_RUNNING, 2);
VALUE(VCPU_SLEEPING, 3);

/* enum vm_cap_type */
VALUE(VM_CAP_HALT_EXIT, 0);
VALUE(VM_CAP_MTRAP_EXIT, 1);
VALUE(VM_CAP_PAUSE_EXIT, 2);
VALUE(VM_CAP_UNRESTRICTED_GUEST, 3);
VALUE(VM_CAP_ENABLE_INVPCID, 4);
VALUE(VM_CAP_MAX, 5);

/* enum vm_intr_trigger */
VALUE(EDGE_TRIGGER, 0);
VALUE(LEVEL_TRIGGER, 1);

/* enum vm_cpu_mode */
VALUE(CPU_MODE_REAL, 0);
VALUE(CPU_MODE_PROTECTED, 1);
VALUE(CPU_MODE_COMPATIBILITY, 2);
VALUE(CPU_MODE_64BIT, 3);

/* enum vm_paging_mode */
VALUE(PAGING_MODE_FLAT, 0);
VALUE(PAGING_MODE_32, 1);
VALUE(PAGING_MODE_PAE, 2);
VALUE(PAGING_MODE_64, 3);

/* enum vm_exitcode */
VALUE(VM_EXITCODE_INOUT, 0);
VALUE(VM_EXITCODE_VMX, 1);
VALUE(VM_EXITCODE_BOGUS, 2);
VALUE(VM_EXITCODE_RDMSR, 3);
VALUE(VM_EXITCODE_WRMSR, 4);
VALUE(VM_EXITCODE_HLT, 5);
VALUE(VM_EXITCODE_MTRAP, 6);
VALUE(VM_EXITCODE_PAUSE, 7);
VALUE(VM_EXITCODE_PAGING, 8);
VALUE(VM_EXITCODE_INST_EMUL, 9);
VALUE(VM_EXITCODE_SPINUP_AP, 10);
VALUE(VM_EXITCODE_DEPRECATED1, 11);
VALUE(VM_EXITCODE_RENDEZVOUS, 12);
VALUE(VM_EXITCODE_IOAPIC_EOI, 13);
VALUE(VM_EXITCODE_SUSPENDED, 14);
VALUE(VM_EXITCODE_INOUT_STR, 15);
VALUE(VM_EXITCODE_TASK_SWITCH, 16);
VALUE(VM_EXITCODE_MAX, 17);

/* enum task_switch_reason */
VALUE(TSR_CALL, 0);
VALUE(TSR_IRET, 1);
VALUE(TSR_JMP, 2);
VALUE(TSR_IDT_GATE, 3);

/* Macros */
VALUE(VM_INTINFO_DEL_ERRCODE, 0x800);
VALUE(VM_INTINFO_RSVD, 0x7ffff000);
VALUE(VM_INTINFO_VALID, 0x80000000);
VALUE(VM_INTINFO_TYPE, 0x700);
VALUE(VM_INTINFO_HWINTR, 0);
VALUE(VM_INTINFO_NMI, 0x200);
VALUE(VM_INTINFO_HWEXCEPTION, 0x300);
VALUE(VM_INTINFO_SWINTR, 0x400);
VALUE(VM_MAX_NAMELEN, 32);
VALUE(VM_MAXCPU, 16);
VALUE(VIE_INST_SIZE, 15);
VALUE(VM_INTINFO_VECTOR(0x1234), 0x34);
VALUE(SEG_DESC_TYPE(0x1ffff), 0x1f);
VALUE(SEG_DESC_DPL(0x60), 3);
VALUE(SEG_DESC_DPL(0x1ff9f), 0);
VALUE(SEG_DESC_PRESENT(0x80), 1);
VALUE(SEG_DESC_PRESENT(0x1ff7f), 0);
VALUE(SEG_DESC_DEF32(0x4000), 1);
VALUE(SEG_DESC_DEF32(0x1bfff), 0);
VALUE(SEG_DESC_GRANULARITY(0x8000), 1);
VALUE(SEG_DESC_GRANULARITY(0x17fff), 0);
VALUE(SEG_DESC_UNUSABLE(0x10000), 1);
VALUE(SEG_DESC_UNUSABLE(0xffff), 0);

/* Layouts */
SIZE(seg_desc, 16);
OFFSET(seg_desc, base, 0);
OFFSET(seg_desc, limit, 8);
OFFSET(seg_desc, access, 12);
SIZE(vm_guest_paging, 24);
OFFSET(vm_guest_paging, cr3, 0);
OFFSET(vm_guest_paging, cpl, 8);
OFFSET(vm_guest_paging, cpu_mode, 12);
OFFSET(vm_guest_paging, paging_mode, 16);
SIZE(vie_op, 4);
OFFSET(vie_op, op_byte, 0);
OFFSET(vie_op, op_type, 1);
OFFSET(vie_op, op_flags, 2);
SIZE(vie, 64);
OFFSET(vie, inst, 0);
OFFSET(vie, num_valid, 15);
OFFSET(vie, num_processed, 16);
OFFSET(vie, disp_bytes, 22);
OFFSET(vie, imm_bytes, 23);
OFFSET(vie, scale, 24);
OFFSET(vie, base_register, 28);
OFFSET(vie, index_register, 32);
OFFSET(vie, displacement, 40);
OFFSET(vie, immediate, 48);
OFFSET(vie, decoded, 56);
OFFSET(vie, op, 58);
SIZE(vm_inout, 8);
OFFSET(vm_inout, port, 2);
OFFSET(vm_inout, eax, 4);
SIZE(vm_inout_str, 88);
OFFSET(vm_inout_str, inout, 0);
OFFSET(vm_inout_str, paging, 8);
OFFSET(vm_inout_str, rflags, 32);
OFFSET(vm_inout_str, cr0, 40);
OFFSET(vm_inout_str, index, 48);
OFFSET(vm_inout_str, count, 56);
OFFSET(vm_inout_str, addrsize, 64);
OFFSET(vm_inout_str, seg_name, 68);
OFFSET(vm_inout_str, seg_desc, 72);
SIZE(vm_task_switch, 48);
OFFSET(vm_task_switch, tsssel, 0);
OFFSET(vm_task_switch, ext, 4);
OFFSET(vm_task_switch, errcode, 8);
OFFSET(vm_task_switch, errcode_valid, 12);
OFFSET(vm_task_switch, reason, 16);
OFFSET(vm_task_switch, paging, 24);
SIZE(vm_exit, 128);
OFFSET(vm_exit, exitcode, 0);
OFFSET(vm_exit, inst_length, 4);
OFFSET(vm_exit, rip, 8);
OFFSET(vm_exit, u, 16);
OFFSET(vm_exit, u.inout, 16);
OFFSET(vm_exit, u.inout_str, 16);
OFFSET(vm_exit, u.paging.gpa, 16);
OFFSET(vm_exit, u.paging.fault_type, 24);
OFFSET(vm_exit, u.inst_emul.gpa, 16);
OFFSET(vm_exit, u.inst_emul.gla, 24);
OFFSET(vm_exit, u.inst_emul.cs_d, 32);
OFFSET(vm_exit, u.inst_emul.paging, 40);
OFFSET(vm_exit, u.inst_emul.vie, 64);
OFFSET(vm_exit, u.vmx.status, 16);
OFFSET(vm_exit, u.vmx.exit_reason, 20);
OFFSET(vm_exit, u.vmx.exit_qualification, 24);
OFFSET(vm_exit, u.vmx.inst_type, 32);
OFFSET(vm_exit, u.vmx.inst_error, 36);
OFFSET(vm_exit, u.msr.code, 16);
OFFSET(vm_exit, u.msr.wval, 24);
OFFSET(vm_exit, u.spinup_ap.vcpu, 16);
OFFSET(vm_exit, u.spinup_ap.rip, 24);
OFFSET(vm_exit, u.hlt.rflags, 16);
OFFSET(vm_exit, u.ioapic_eoi.vector, 16);
OFFSET(vm_exit, u.suspended.how, 16);
OFFSET(vm_exit, u.task_switch, 16);
SIZE(vm_copyinfo, 32);
OFFSET(vm_copyinfo, gpa, 0);
OFFSET(vm_copyinfo, len, 8);
OFFSET(vm_copyinfo, hva, 16);
OFFSET(vm_copyinfo, cookie, 24);
OFFSET(vmm_ops, init, 0);
OFFSET(vmm_ops, cleanup, 8);
OFFSET(vmm_ops, resume, 16);
OFFSET(vmm_ops, vminit, 24);
OFFSET(vmm_ops, vmrun, 32);
OFFSET(vmm_ops, vmcleanup, 40);
OFFSET(vmm_ops, vmgetreg, 48);
OFFSET(vmm_ops, vmsetreg, 56);
OFFSET(vmm_ops, vmgetdesc, 64);
OFFSET(vmm_ops, vmsetdesc, 72);
OFFSET(vmm_ops, vmgetcap, 80);
OFFSET(vmm_ops, vmsetcap, 88);
OFFSET(vmm_ops, vmspace_alloc, 96);
OFFSET(vmm_ops, vmspace_free, 104);
OFFSET(vmm_ops, vlapic_init, 112);
OFFSET(vmm_ops, vlapic_cleanup, 120);

/* Functions */
PROTOTYPE(vm_create, int, (const char *, struct vm **));
PROTOTYPE(vm_destroy, void, (struct vm *));
PROTOTYPE(vm_reinit, int, (struct vm *));
PROTOTYPE(vm_name, const char *, (struct vm *));
PROTOTYPE(vm_malloc, int, (struct vm *, vm_paddr_t, size_t));
PROTOTYPE(vm_map_mmio, int, (struct vm *, vm_paddr_t, size_t, vm_paddr_t));
PROTOTYPE(vm_unmap_mmio, int, (struct vm *, vm_paddr_t, size_t));
PROTOTYPE(vm_gpa_hold, void *, (struct vm *, vm_paddr_t, size_t, int, void **));
PROTOTYPE(vm_gpa_release, void, (void *));
PROTOTYPE(vm_gpabase2memseg, int, (struct vm *, vm_paddr_t, struct vm_memory_segment *));
PROTOTYPE(
	vm_get_memobj, int, (struct vm *, vm_paddr_t, size_t, vm_offset_t *, struct vm_object **));
PROTOTYPE(vm_mem_allocated, boolean_t, (struct vm *, vm_paddr_t));
PROTOTYPE(vm_get_register, int, (struct vm *, int, int, uint64_t *));
PROTOTYPE(vm_set_register, int, (struct vm *, int, int, uint64_t));
PROTOTYPE(vm_get_seg_desc, int, (struct vm *, int, int, struct seg_desc *));
PROTOTYPE(vm_set_seg_desc, int, (struct vm *, int, int, struct seg_desc *));
PROTOTYPE(vm_run, int, (struct vm *, struct vm_run *));
PROTOTYPE(vm_suspend, int, (struct vm *, enum vm_suspend_how));
PROTOTYPE(vm_inject_nmi, int, (struct vm *, int));
PROTOTYPE(vm_nmi_pending, int, (struct vm *, int));
PROTOTYPE(vm_nmi_clear, void, (struct vm *, int));
PROTOTYPE(vm_inject_extint, int, (struct vm *, int));
PROTOTYPE(vm_extint_pending, int, (struct vm *, int));
PROTOTYPE(vm_extint_clear, void, (struct vm *, int));
PROTOTYPE(vm_guest_msrs, uint64_t *, (struct vm *, int));
PROTOTYPE(vm_lapic, struct vlapic *, (struct vm *, int));
PROTOTYPE(vm_ioapic, struct vioapic *, (struct vm *));
PROTOTYPE(vm_hpet, struct vhpet *, (struct vm *));
PROTOTYPE(vm_get_capability, int, (struct vm *, int, int, int *));
PROTOTYPE(vm_set_capability, int, (struct vm *, int, int, int));
PROTOTYPE(vm_get_x2apic_state, int, (struct vm *, int, enum x2apic_state *));
PROTOTYPE(vm_set_x2apic_state, int, (struct vm *, int, enum x2apic_state));
PROTOTYPE(vm_apicid2vcpuid, int, (struct vm *, int));
PROTOTYPE(vm_activate_cpu, int, (struct vm *, int));
PROTOTYPE(vm_active_cpus, cpuset_t, (struct vm *));
PROTOTYPE(vm_suspended_cpus, cpuset_t, (struct vm *));
PROTOTYPE(vm_exitinfo, struct vm_exit *, (struct vm *, int));
PROTOTYPE(vm_exit_suspended, void, (struct vm *, int, uint64_t));
PROTOTYPE(vm_exit_rendezvous, void, (struct vm *, int, uint64_t));
PROTOTYPE(vm_exit_astpending, void, (struct vm *, int, uint64_t));
PROTOTYPE(vm_smp_rendezvous, void, (struct vm *, int, cpuset_t, vm_rendezvous_func_t, void *));
PROTOTYPE(vcpu_rendezvous_pending, int, (void *));
PROTOTYPE(vcpu_suspended, int, (void *));
PROTOTYPE(vmm_is_pptdev, int, (int, int, int));
PROTOTYPE(vm_iommu_domain, void *, (struct vm *));
PROTOTYPE(vcpu_set_state, int, (struct vm *, int, enum vcpu_state, _Bool));
PROTOTYPE(vcpu_get_state, enum vcpu_state, (struct vm *, int, int *));
PROTOTYPE(vcpu_is_running, int, (struct vm *, int, int *));
PROTOTYPE(vcpu_stats, void *, (struct vm *, int));
PROTOTYPE(vcpu_notify_event, void, (struct vm *, int, _Bool));
PROTOTYPE(vm_get_vmspace, struct vmspace *, (struct vm *));
PROTOTYPE(vm_assign_pptdev, int, (struct vm *, int, int, int));
PROTOTYPE(vm_unassign_pptdev, int, (struct vm *, int, int, int));
PROTOTYPE(vm_atpic, struct vatpic *, (struct vm *));
PROTOTYPE(vm_atpit, struct vatpit *, (struct vm *));
PROTOTYPE(vm_inject_exception, int, (struct vm *, int, struct vm_exception *));
PROTOTYPE(vm_exit_intinfo, int, (struct vm *, int, uint64_t));
PROTOTYPE(vm_entry_intinfo, int, (struct vm *, int, uint64_t *));
PROTOTYPE(vm_get_intinfo, int, (struct vm *, int, uint64_t *, uint64_t *));
PROTOTYPE(vm_inject_gp, void, (struct vm *, int));
PROTOTYPE(vm_inject_ud, void, (struct vm *, int));
PROTOTYPE(vm_inject_ac, void, (struct vm *, int, int));
PROTOTYPE(vm_inject_ss, void, (struct vm *, int, int));
PROTOTYPE(vm_inject_pf, void, (struct vm *, int, int, uint64_t));
PROTOTYPE(vm_segment_name, enum vm_reg_name, (int));
PROTOTYPE(vm_copy_setup, int,
	(struct vm *, int, struct vm_guest_paging *, uint64_t, size_t, int, struct vm_copyinfo *,
		int));
PROTOTYPE(vm_copy_teardown, void, (struct vm *, int, struct vm_copyinfo *, int));
PROTOTYPE(vm_copyin, void, (struct vm *, int, struct vm_copyinfo *, void *, size_t));
PROTOTYPE(vm_copyout, void, (struct vm *, int, const void *, struct vm_copyinfo *, size_t));

/* Function types, and the members of struct vmm_ops that have them */
FUNCTION_TYPE(vmm_init_func_t, int, (int));
FUNCTION_TYPE(vmm_cleanup_func_t, int, (void));
FUNCTION_TYPE(vmm_resume_func_t, void, (void));
FUNCTION_TYPE(vmi_init_func_t, void *, (struct vm *, struct pmap *));
FUNCTION_TYPE(vmi_run_func_t, int, (void *, int, register_t, struct pmap *, void *, void *));
FUNCTION_TYPE(vmi_cleanup_func_t, void, (void *));
FUNCTION_TYPE(vmi_get_register_t, int, (void *, int, int, uint64_t *));
FUNCTION_TYPE(vmi_set_register_t, int, (void *, int, int, uint64_t));
FUNCTION_TYPE(vmi_get_desc_t, int, (void *, int, int, struct seg_desc *));
FUNCTION_TYPE(vmi_set_desc_t, int, (void *, int, int, struct seg_desc *));
FUNCTION_TYPE(vmi_get_cap_t, int, (void *, int, int, int *));
FUNCTION_TYPE(vmi_set_cap_t, int, (void *, int, int, int));
FUNCTION_TYPE(vmi_vmspace_alloc, struct vmspace *, (vm_offset_t, vm_offset_t));
FUNCTION_TYPE(vmi_vmspace_free, void, (struct vmspace *));
FUNCTION_TYPE(vmi_vlapic_init, struct vlapic *, (void *, int));
FUNCTION_TYPE(vmi_vlapic_cleanup, void, (void *, struct vlapic *));
FUNCTION_TYPE(vm_rendezvous_func_t, void, (struct vm *, int, void *));
MEMBER_TYPE(init, vmm_init_func_t);
MEMBER_TYPE(cleanup, vmm_cleanup_func_t);
MEMBER_TYPE(resume, vmm_resume_func_t);
MEMBER_TYPE(vminit, vmi_init_func_t);
MEMBER_TYPE(vmrun, vmi_run_func_t);
MEMBER_TYPE(vmcleanup, vmi_cleanup_func_t);
MEMBER_TYPE(vmgetreg, vmi_get_register_t);
MEMBER_TYPE(vmsetreg, vmi_set_register_t);
MEMBER_TYPE(vmgetdesc, vmi_get_desc_t);
MEMBER_TYPE(vmsetdesc, vmi_set_desc_t);
MEMBER_TYPE(vmgetcap, vmi_get_cap_t);
MEMBER_TYPE(vmsetcap, vmi_set_cap_t);
MEMBER_TYPE(vmspace_alloc, vmi_vmspace_alloc);
MEMBER_TYPE(vmspace_free, vmi_vmspace_free);
MEMBER_TYPE(vlapic_init, vmi_vlapic_init);
MEMBER_TYPE(vlapic_cleanup, vmi_vlapic_cleanup);

/* The records of vmm_dev.h (vmm-api.md 12.3) */
OFFSET(vm_run, cpuid, 0);
OFFSET(vm_run, rip, 8);
OFFSET(vm_run, vm_exit, 16);
OFFSET(vm_exception, cpuid, 0);
OFFSET(vm_exception, vector, 4);
OFFSET(vm_exception, error_code, 8);
OFFSET(vm_exception, error_code_valid, 12);
OFFSET(vm_memory_segment, gpa, 0);
OFFSET(vm_memory_segment, len, 8);
OFFSET(vm_memory_segment, wired, 16);

/* FreeBSD's types */
VALUE(sizeof(vm_paddr_t), 8);
VALUE(sizeof(vm_offset_t), 8);
VALUE(sizeof(register_t), 8);
VALUE(sizeof(boolean_t), 4);
_Static_assert(__builtin_types_compatible_p(cpuset_t, cpu_set_t), "cpuset_t");

/* The inlines read the words that vmrun's cookies point at. */
static void cookies_are_words(void **state)
{
	uintptr_t rendezvous = 0;
	int suspend = 0;

	(void)state;
	assert_false(vcpu_rendezvous_pending(&rendezvous));
	assert_false(vcpu_suspended(&suspend));
	rendezvous = (uintptr_t)1 << 63;
	suspend = VM_SUSPEND_HALT;
	assert_true(vcpu_rendezvous_pending(&rendezvous));
	assert_true(vcpu_suspended(&suspend));
}

/* VM_INTINFO_VALID must not smear into the error code when widened. */
static void intinfo_valid_is_unsigned(void **state)
{
	uint64_t info = (uint64_t)VM_INTINFO_VALID | VM_INTINFO_HWEXCEPTION;

	(void)state;
	assert_int_equal(info >> 32, 0);
}

static void unions_overlap_as_documented(void **state)
{
	struct vm_exit exit = {.u.inout_str.inout = {.bytes = 4, .in = 1, .port = 0x3f8, .eax = 7}};

	(void)state;
	assert_int_equal(exit.u.inout.bytes, 4);
	assert_int_equal(exit.u.inout.port, 0x3f8);
	assert_int_equal(exit.u.inout.eax, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cookies_are_words),
		cmocka_unit_test(intinfo_valid_is_unsigned),
		cmocka_unit_test(unions_overlap_as_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
