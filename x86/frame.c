/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Stack frames of gates and events, and where the TSS says that they go. */
#include "x86/system.h"

enum {
	TSS16_SP0 = 2, /* SP, SS for levels 0 to 2 (SDM vol. 3, figure 8-10) */
	TSS32_ESP0 = 4,
	TSS64_RSP0 = 4 /* then RSP1, RSP2, 8 reserved bytes, IST1 to IST7 (figure 8-11) */
};

/* Linear address of push number `i`; #SS if it is not on the stack. */
static enum x86_result locate(
	struct x86_cpu *cpu, const struct x86_frame *frame, unsigned i, uint64_t *gla)
{
	uint64_t offset = (frame->sp - (i + 1) * frame->word) & x86_mask(frame->sp_size);
	bool ok;

	if (frame->sp_size == 8) {
		*gla = offset;
		ok = x86_canonical(offset) && x86_canonical(offset + frame->word - 1);
	} else {
		*gla = (uint32_t)(frame->ss->base + offset);
		ok = !(frame->ss->access & X86_SEG_UNUSABLE) &&
		     x86_seg_range(frame->ss, offset, frame->word);
	}
	return ok ? X86_DONE : x86_raise_error(cpu, X86_SS_FAULT, frame->error);
}

static unsigned store_acc(const struct x86_frame *frame)
{
	return frame->cpl == 3 ? X86_ACC_WRITE | X86_ACC_USER : X86_ACC_TABLE_WRITE;
}

/* SP wraps inside the frame, or the frame is longer than one write may be. */
static enum x86_result write_scattered(
	struct x86_cpu *cpu, const struct x86_frame *frame, const uint64_t *gla)
{
	enum x86_result res = X86_DONE;

	for (unsigned i = 0; i < frame->count && res == X86_DONE; i++)
		res = x86_data_probe(cpu, gla[i], frame->word, store_acc(frame));
	for (unsigned i = 0; i < frame->count && res == X86_DONE; i++)
		res = x86_write(cpu, gla[i], &frame->words[i], frame->word, store_acc(frame));
	return res;
}

enum x86_result x86_frame_write(struct x86_cpu *cpu, const struct x86_frame *frame)
{
	uint64_t gla[X86_FRAME_MAX];
	uint8_t image[X86_FRAME_MAX * 8];
	bool contiguous = true;
	unsigned last = frame->count - 1;

	for (unsigned i = 0; i < frame->count; i++) {
		enum x86_result res = locate(cpu, frame, i, &gla[i]);

		if (res != X86_DONE)
			return res;
		contiguous = contiguous && gla[i] == gla[0] - i * frame->word;
		x86_bytes_copy(image + (last - i) * frame->word, &frame->words[i], frame->word);
	}
	if (!contiguous)
		return write_scattered(cpu, frame, gla);
	return x86_write(cpu, gla[last], image, frame->count * frame->word, store_acc(frame));
}

uint64_t x86_frame_rsp(const struct x86_frame *frame, uint64_t old_rsp)
{
	return x86_merge(old_rsp, frame->sp - frame->count * frame->word, frame->sp_size);
}

enum x86_result x86_stack_peek(struct x86_cpu *cpu, unsigned size, unsigned at, uint64_t *value)
{
	uint64_t offset = cpu->gpr[X86_RSP] + at;

	return x86_data_read(cpu, X86_SS, offset & x86_mask(x86_stack_size(cpu)), size, value);
}

static enum x86_result tss_read(
	struct x86_cpu *cpu, unsigned offset, void *buf, unsigned size, unsigned ext)
{
	if (cpu->tr.access & X86_SEG_UNUSABLE || offset + size - 1 > cpu->tr.limit)
		return x86_raise_error(cpu, X86_TS, x86_sel_error(cpu->tr.sel, ext));
	return x86_read(cpu, cpu->tr.base + offset, buf, size, X86_ACC_TABLE_READ);
}

enum x86_result x86_tss_stack(
	struct x86_cpu *cpu, unsigned cpl, unsigned ext, uint16_t *ss, uint64_t *sp)
{
	bool is_32 = cpu->tr.access & 8; /* types 9 and 11 against 1 and 3 */
	unsigned size = is_32 ? 4 : 2;
	unsigned offset = is_32 ? TSS32_ESP0 + cpl * 8 : TSS16_SP0 + cpl * 4;
	uint8_t pair[8] = {0};
	enum x86_result res = tss_read(cpu, offset, pair, size * 2, ext);

	*sp = 0;
	x86_bytes_copy(sp, pair, size);
	x86_bytes_copy(ss, pair + size, 2);
	return res;
}

enum x86_result x86_tss_rsp(struct x86_cpu *cpu, unsigned index, unsigned ext, uint64_t *rsp)
{
	enum x86_result res = tss_read(cpu, TSS64_RSP0 + index * 8, rsp, 8, ext);

	if (res == X86_DONE && !x86_canonical(*rsp))
		res = x86_raise_error(cpu, X86_SS_FAULT, ext);
	return res;
}
