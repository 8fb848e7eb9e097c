/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The kit of the guest images: tests that look at the CPU from inside.
 *
 * A test fills the register file R, runs a snippet of assembly with it in whatever mode and privilege
 * R describes (run(), or run_real() for real mode), and gets the machine back at the first exception,
 * interrupt or INT 0x80: R then holds the interrupted context, the vector and the error code.  So every
 * fault is data to compare, and nothing depends on a handler knowing how to resume.
 *
 * Addresses (see rom.ld): the image at 0x1000..0xefff, the kernel stack under 0x10000, the stack that
 * exceptions arrive on under 0x20000, the snippets' stack under STACK_TOP, all identity mapped.
 */
#ifndef GUEST_KIT_H
#define GUEST_KIT_H

/* Offsets into struct ctx, in words, for the assembly. */
#define C_AX	 0
#define C_CX	 1
#define C_DX	 2
#define C_BX	 3
#define C_SP	 4
#define C_BP	 5
#define C_SI	 6
#define C_DI	 7
#define C_IP	 8
#define C_FLAGS	 9
#define C_CS	 10
#define C_SS	 11
#define C_DS	 12
#define C_ES	 13
#define C_FS	 14
#define C_GS	 15
#define C_VECTOR 16
#define C_ERROR	 17
#define C_CR2	 18
#define C_R8	 19 /* 64-bit images only */

/* Selectors: the order lets SYSCALL, SYSENTER and their returns use them. */
#define SEL_KCS	  0x08 /* kernel code of the image's own size */
#define SEL_KDS	  0x10
#define SEL_UCS32 0x1b
#define SEL_UDS	  0x23
#define SEL_UCS64 0x2b /* 64-bit images only */
#define SEL_UDS2  0x33 /* SYSEXIT's SS in 64-bit images */
#define SEL_TSS	  0x38 /* two slots */
#define SEL_KCS32 0x48
#define SEL_KCS16 0x50
#define SEL_KDS16 0x58 /* base 0, limit 0xffff, 16-bit */
#define SEL_UCS16 0x63
#define SEL_DFTSS 0x68 /* 32-bit images: the double fault's task */
#define SEL_FREE  0x80 /* tests make descriptors of their own from here on */
#define GDT_SLOTS 64

#define KERNEL_STACK 0x10000
#define EXC_STACK    0x20000
#define STACK_TOP    0x28000
#define DF_STACK     0x2a000

#define VEC_END 0x80 /* int $0x80 ends a snippet */

#define F_CF   0x1
#define F_PF   0x4
#define F_AF   0x10
#define F_ZF   0x40
#define F_SF   0x80
#define F_TF   0x100
#define F_IF   0x200
#define F_DF   0x400
#define F_OF   0x800
#define F_IOPL 0x3000
#define F_NT   0x4000
#define F_RF   0x10000
#define F_VM   0x20000
#define F_AC   0x40000
#define F_ID   0x200000

#define CR0_PE 0x1
#define CR0_MP 0x2
#define CR0_EM 0x4
#define CR0_TS 0x8
#define CR0_NE 0x20
#define CR0_WP 0x10000
#define CR0_AM 0x40000
#define CR0_PG 0x80000000

#define CR4_VME	     0x1
#define CR4_PVI	     0x2
#define CR4_TSD	     0x4
#define CR4_DE	     0x8
#define CR4_PSE	     0x10
#define CR4_PAE	     0x20
#define CR4_PGE	     0x80
#define CR4_OSFXSR   0x200
#define CR4_OSXMM    0x400
#define CR4_UMIP     0x800
#define CR4_FSGSBASE 0x10000
#define CR4_PCIDE    0x20000
#define CR4_OSXSAVE  0x40000
#define CR4_SMEP     0x100000
#define CR4_SMAP     0x200000

#define MSR_APIC_BASE	   0x1b
#define MSR_SYSENTER_CS	   0x174
#define MSR_SYSENTER_ESP   0x175
#define MSR_SYSENTER_EIP   0x176
#define MSR_EFER	   0xc0000080
#define MSR_STAR	   0xc0000081
#define MSR_LSTAR	   0xc0000082
#define MSR_CSTAR	   0xc0000083
#define MSR_SFMASK	   0xc0000084
#define MSR_FS_BASE	   0xc0000100
#define MSR_GS_BASE	   0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX	   0xc0000103
#define EFER_SCE	   0x1
#define EFER_LME	   0x100
#define EFER_LMA	   0x400
#define EFER_NXE	   0x800

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stdint.h>

/* 4 bytes in 32-bit images, 8 in 64-bit ones. */
typedef unsigned long word;

struct ctx {
	word ax, cx, dx, bx, sp, bp, si, di, ip, flags;
	word cs, ss, ds, es, fs, gs;
	word vector, error, cr2;
#ifdef __x86_64__
	word r8, r9, r10, r11, r12, r13, r14, r15;
#endif
};

extern struct ctx R;
/* The selector that run_real() loads into all data segments before it clears PE: unreal mode. */
extern uint16_t real_sel;
extern volatile uint32_t df_ran; /* set by the double-fault task of 32-bit images */

void run(void);
void run_real(void);

enum {
	DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11,
	SS = 12, GP = 13, PF = 14, MF = 16, AC = 17, XM = 19, END = VEC_END
};

/*
 * A snippet of code of the given size: a symbol, its text, and the INT that ends it.  The second form
 * also names an address inside, where the text says `1:`.
 */
#define CODE(bits, name, ...)                                                                      \
	extern char name[];                                                                        \
	__asm__(".pushsection .snip,\"awx\"\n.code" #bits "\n.globl " #name "\n" #name ":\n\t"     \
		__VA_ARGS__ "\n\tint $0x80\n" KIT_CODE "\n.popsection\n")
#define CODE_AT(bits, name, at, ...)                                                               \
	extern char name[], at[];                                                                  \
	__asm__(".pushsection .snip,\"awx\"\n.code" #bits "\n.globl " #name ", " #at "\n" #name    \
		":\n\t" __VA_ARGS__ "\n\tint $0x80\n" #at " = 1b\n" KIT_CODE "\n.popsection\n")
#ifdef __x86_64__
#define KIT_CODE ".code64"
#else
#define KIT_CODE ".code32"
#endif

/* Fresh register files. GPRs hold 0x1000000 * their number, so that a wrong one is seen. */
void fresh(const void *code);			 /* ring 0, the image's own code size */
void fresh_user(const void *code);		 /* ring 3, the image's own code size */
void fresh_cs(const void *code, uint16_t cs, uint16_t ss); /* any other segment pair */
#define TRY(code, ...) (fresh(code), (void)0, ##__VA_ARGS__, run())
#define TRY_USER(code, ...) (fresh_user(code), (void)0, ##__VA_ARGS__, run())

/* ---- results: one line each ---- */
void check(const char *name, uint64_t got, uint64_t want);
void check_true(const char *name, bool ok);
/* The snippet ended in exception `vector` with `error` at `ip`. */
void expect(const char *name, unsigned vector, uint32_t error, const void *ip);
/* It ran to its INT 0x80. */
void expect_end(const char *name);
/* As expect() for #PF, and CR2. */
void expect_pf(const char *name, uint32_t error, const void *ip, word cr2);
void skip(const char *name);
/* The last line; the kit prints it, unless an image ends in a way of its own. */
void finish_line(void);
void say(const char *text);
void say_hex(uint64_t value);

/* ---- descriptors ---- */
struct __attribute__((packed)) table_reg {
	uint16_t limit;
	word base;
};
extern uint64_t gdt[GDT_SLOTS];
extern uint32_t idt[];
extern uint8_t tss[];	 /* with the I/O bitmap behind it */
extern char stubs[];	 /* 256 handler entries of STUB_SIZE bytes */
#define STUB_SIZE 16
#define TSS_SIZE  104
#define TSS_IOMAP (TSS_SIZE + 32) /* 32 bytes of interrupt redirection map before it */

#define D_P	  0x80u
#define D_DPL(n)  ((n) << 5)
#define D_S	  0x10u
#define D_CODE	  (D_P | D_S | 0x0a) /* readable */
#define D_XCODE	  (D_P | D_S | 0x08) /* execute only */
#define D_CONF	  (D_P | D_S | 0x0e)
#define D_DATA	  (D_P | D_S | 0x02)
#define D_RODATA  (D_P | D_S | 0x00)
#define D_DOWN	  (D_P | D_S | 0x06) /* expand-down */
#define D_LDT	  (D_P | 0x02)
#define D_TSS16	  (D_P | 0x01)
#define D_TSS32	  (D_P | 0x09)
#define D_BUSY	  0x02u
#define D_CALL16  (D_P | 0x04)
#define D_TASK	  (D_P | 0x05)
#define D_INT16	  (D_P | 0x06)
#define D_TRAP16  (D_P | 0x07)
#define D_CALL32  (D_P | 0x0c)
#define D_INT32	  (D_P | 0x0e)
#define D_TRAP32  (D_P | 0x0f)
/* Flag nibble, in bits 15:12 of the access word. */
#define D_L 0x2000u
#define D_D 0x4000u
#define D_G 0x8000u

/* `access`: access byte in 7:0, flags in 15:12.  With D_G the limit counts pages. */
uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t access);
uint64_t gate(uint32_t target, uint16_t sel, uint32_t access, unsigned count);
void gdt_set(uint16_t sel, uint64_t value);
/* An IDT entry for the kit's own stub of `vector`; access 0 makes it not present. */
void idt_set(unsigned vector, uint32_t access);
void idt_target(unsigned vector, const void *target, uint16_t sel, uint32_t access);
void idt_ist(unsigned vector, unsigned ist);
void idt_reset(void);

/* ---- instructions ---- */
struct regs4 {
	uint32_t a, b, c, d;
};
struct regs4 cpuid(uint32_t leaf, uint32_t subleaf);
bool is_amd(void);
/* QEMU without hardware acceleration: for the few checks that it does not survive. */
bool in_tcg(void);
/* Each instruction takes long, so a long test is to do less. */
bool be_brief(void);
uint64_t rdmsr(uint32_t msr);
void wrmsr(uint32_t msr, uint64_t value);

#define CR_ACCESS(n)                                                                               \
	static inline word read_cr##n(void)                                                        \
	{                                                                                          \
		word value;                                                                        \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(value));                              \
		return value;                                                                      \
	}                                                                                          \
	static inline void write_cr##n(word value)                                                 \
	{                                                                                          \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(value) : "memory");                     \
	}
CR_ACCESS(0)
CR_ACCESS(2)
CR_ACCESS(3)
CR_ACCESS(4)

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
static inline uint32_t inl(uint16_t port)
{
	uint32_t value;
	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static inline void invlpg(word gla)
{
	__asm__ volatile("invlpg (%0)" : : "r"(gla) : "memory");
}

/* A word of memory that the compiler must not reason about. */
#define MEM8(a)	 (*(volatile uint8_t *)(word)(a))
#define MEM16(a) (*(volatile uint16_t *)(word)(a))
#define MEM32(a) (*(volatile uint32_t *)(word)(a))
#define MEM64(a) (*(volatile uint64_t *)(word)(a))

void *memcpy(void *dst, const void *src, __SIZE_TYPE__ n);
void *memset(void *dst, int c, __SIZE_TYPE__ n);

/* Each image's own tests; the kit calls it once the machine stands in the image's mode. */
void image_main(void);

#endif
#endif
