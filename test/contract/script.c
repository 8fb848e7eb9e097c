/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <time.h>
#include <unistd.h>

#include <vmm/vatpic.h>
#include <vmm/vrtc.h>

#include "test/contract/script.h"

#define GP 13

/* A word that is being played. */
struct word {
	struct contract *c;
	int vcpu;
	const char *text; /* the whole of it, for messages */
	const char *at;	  /* what is still to be read */
	uint64_t good_until_ns;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static _Noreturn void bad(const struct word *w, const char *what, uint64_t got)
{
	if (w->good_until_ns && now_ns() > w->good_until_ns)
		try_again();
	fail_msg("\"%s\": %s %#llx", w->text, what, (unsigned long long)got);
}

static void same(const struct word *w, uint64_t got, uint64_t expected)
{
	if (got != expected)
		bad(w, "got", got);
}

static bool eat(struct word *w, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncmp(w->at, prefix, n) != 0)
		return false;
	w->at += n;
	return true;
}

static uint64_t number(struct word *w, int base)
{
	char *end;
	uint64_t value = strtoull(w->at, &end, base);

	if (end == w->at)
		bad(w, "no number at", (uint64_t)(w->at - w->text));
	w->at = end;
	return value;
}

static void expect(struct word *w, uint64_t got)
{
	uint64_t value = number(w, 16), mask = eat(w, "/") ? number(w, 16) : UINT64_MAX;

	same(w, got & mask, value);
}

static int width(struct word *w, int otherwise)
{
	static const struct {
		const char *prefix;
		int bytes;
	} widths[] = {{"b:", 1}, {"w:", 2}, {"l:", 4}, {"q:", 8}};

	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
		if (eat(w, widths[i].prefix))
			return widths[i].bytes;
	return otherwise;
}

static void port(struct word *w)
{
	int bytes = width(w, 1);
	uint16_t number_ = (uint16_t)number(w, 16);

	if (eat(w, "<"))
		guest_out(w->c, w->vcpu, number_, bytes, (uint32_t)number(w, 16));
	else if (eat(w, ">"))
		expect(w, guest_in(w->c, w->vcpu, number_, bytes));
	else
		bad(w, "what is", (uint64_t)*w->at);
}

static void memory(struct word *w)
{
	int bytes = width(w, 4);
	uint64_t gpa;

	eat(w, "[");
	gpa = number(w, 16);
	eat(w, "]");
	if (eat(w, "<"))
		guest_store(w->c, w->vcpu, gpa, bytes, number(w, 16));
	else if (eat(w, ">"))
		expect(w, guest_load(w->c, w->vcpu, gpa, bytes));
	else
		bad(w, "what is", (uint64_t)*w->at);
}

/* What guest_rdmsr and its neighbours say, with or without "!" at the end of the word. */
static void outcome(struct word *w, int result)
{
	same(w, (uint64_t)result, eat(w, "!") ? GP : UINT64_MAX);
}

static void msr(struct word *w)
{
	uint32_t name = (uint32_t)number(w, 16);
	uint64_t value = 0;
	int result;

	if (eat(w, "<")) {
		value = number(w, 16);
		outcome(w, guest_wrmsr(w->c, w->vcpu, name, value));
		return;
	}
	result = guest_rdmsr(w->c, w->vcpu, name, &value);
	if (eat(w, ">")) {
		same(w, (uint64_t)result, UINT64_MAX);
		expect(w, value);
	} else {
		outcome(w, result);
	}
}

static void cr8(struct word *w)
{
	if (eat(w, "<")) {
		set_reg(w->c, w->vcpu, VM_REG_GUEST_RAX, number(w, 16));
		outcome(w, EXECUTE(w->c, w->vcpu, "\x44\x0f\x22\xc0")); /* mov cr8, rax */
		return;
	}
	eat(w, ">");
	same(w, (uint64_t)EXECUTE(w->c, w->vcpu, "\x44\x0f\x20\xc0"), UINT64_MAX);
	expect(w, get_reg(w->c, w->vcpu, VM_REG_GUEST_RAX));
}

/* ---- Lines and messages ---- */

static int pic_line(struct vm *vm, char how, int line)
{
	switch (how) {
	case '+':
		return vmmdev_isa_assert_irq(vm, line, -1);
	case '-':
		return vmmdev_isa_deassert_irq(vm, line, -1);
	case '*':
		return vmmdev_isa_set_irq_trigger(vm, line, LEVEL_TRIGGER);
	case '/':
		return vmmdev_isa_set_irq_trigger(vm, line, EDGE_TRIGGER);
	default:
		return vmmdev_isa_pulse_irq(vm, line, -1);
	}
}

static int ioapic_pin(struct vm *vm, char how, int pin)
{
	return how == '+'   ? vmmdev_ioapic_assert_irq(vm, pin)
	       : how == '-' ? vmmdev_ioapic_deassert_irq(vm, pin)
			    : vmmdev_ioapic_pulse_irq(vm, pin);
}

static int isa_line(struct vm *vm, char how, int line)
{
	return how == '+'   ? vmmdev_isa_assert_irq(vm, line, line)
	       : how == '-' ? vmmdev_isa_deassert_irq(vm, line, line)
			    : vmmdev_isa_pulse_irq(vm, line, line);
}

static void line(struct word *w, int (*move)(struct vm *vm, char how, int line))
{
	char how = *w->at++;
	int error = move(w->c->vm, how, (int)(int64_t)number(w, 10));

	same(w, (uint64_t)error, eat(w, "!") ? EINVAL : 0);
}

static void irq(struct word *w)
{
	int error = vmmdev_lapic_irq(w->c->vm, w->vcpu, (int)number(w, 16));

	same(w, (uint64_t)error, eat(w, "!") ? EINVAL : 0);
}

static void lvt(struct word *w)
{
	int error = vmmdev_lapic_local_irq(w->c->vm, w->vcpu, (int)(int64_t)number(w, 10));

	same(w, (uint64_t)error, eat(w, "!") ? EINVAL : 0);
}

static void lvt_of_all(struct word *w)
{
	same(w, (uint64_t)vmmdev_lapic_local_irq(w->c->vm, -1, (int)number(w, 10)), 0);
}

static void msi(struct word *w)
{
	uint64_t addr = number(w, 16);
	int error;

	eat(w, ",");
	error = vmmdev_lapic_msi(w->c->vm, addr, number(w, 16));
	same(w, (uint64_t)error, eat(w, "!") ? EINVAL : 0);
}

/* ---- What is seen ---- */

static uint64_t vector(struct word *w)
{
	return eat(w, "-") ? UINT64_MAX : number(w, 16);
}

static void interrupt(struct word *w)
{
	same(w, (uint64_t)guest_interrupt(w->c, w->vcpu), vector(w));
}

static void wait_for(struct word *w)
{
	same(w, (uint64_t)guest_wait(w->c, w->vcpu), vector(w));
}

static void pending(struct word *w)
{
	int got = -1;

	vatpic_pending_intr(w->c->vm, &got);
	expect(w, (uint64_t)got);
}

static void accept(struct word *w)
{
	int got = -1;

	vatpic_pending_intr(w->c->vm, &got);
	expect(w, (uint64_t)got);
	vatpic_intr_accepted(w->c->vm, got);
}

static void pic_output(struct word *w)
{
	expect(w, vatpic_intr_asserted(w->c->vm));
}

static void extint(struct word *w)
{
	expect(w, (uint64_t)vm_extint_pending(w->c->vm, w->vcpu));
}

static void nmi(struct word *w)
{
	expect(w, (uint64_t)vm_nmi_pending(w->c->vm, w->vcpu));
}

static void pass_time(struct word *w)
{
	usleep((useconds_t)number(w, 10));
}

static void hurry(struct word *w)
{
	w->good_until_ns = now_ns() + number(w, 10) * 1000;
}

static void date(struct word *w)
{
	assert_int_equal(vrtc_set_time(w->c->vm, (int64_t)number(w, 16)), 0);
}

static void pic(struct word *w)
{
	line(w, pic_line);
}

static void ioapic(struct word *w)
{
	line(w, ioapic_pin);
}

static void isa(struct word *w)
{
	line(w, isa_line);
}

static const struct {
	const char *prefix;
	void (*play)(struct word *w);
} verbs[] = {{"$", msr}, {"cr8", cr8}, {"pic", pic}, {"io", ioapic}, {"isa", isa}, {"irq=", irq},
	{"lvt=", lvt}, {"lvtall=", lvt_of_all}, {"msi=", msi}, {"int=", interrupt},
	{"wait=", wait_for}, {"pend=", pending}, {"acc=", accept}, {"intr=", pic_output},
	{"ext=", extint}, {"nmi=", nmi}, {"us=", pass_time}, {"in=", hurry}, {"rtc=", date}};

static void play_word(struct word *w)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (eat(w, verbs[i].prefix)) {
			verbs[i].play(w);
			return;
		}
	if (strchr(w->text, '['))
		memory(w);
	else
		port(w);
}

static void choose_vcpu(struct contract *c, int vcpu)
{
	cpuset_t active = vm_active_cpus(c->vm);

	if (CPU_ISSET(vcpu, &active))
		return;
	contract_add_vcpu(c, vcpu);
	service(c, vcpu);
}

void play(struct contract *c, const char *words)
{
	char *copy = strdup(words), *rest = copy, *text;
	struct word w = {.c = c};

	while ((text = strsep(&rest, " ")) != NULL) {
		if (!*text)
			continue;
		w.text = w.at = text;
		if (eat(&w, "@")) {
			w.vcpu = (int)number(&w, 10);
			choose_vcpu(c, w.vcpu);
		} else {
			play_word(&w);
		}
		if (*w.at)
			bad(&w, "left over", (uint64_t)*w.at);
	}
	free(copy);
}

void script(void **state)
{
	struct contract *c = *state;
	const struct script_row *row = c->row;

	service(c, 0);
	play(c, row->words);
}

void script_x2apic(void **state)
{
	struct contract *c = *state;

	for (int i = 0; i < VM_MAXCPU; i++)
		assert_int_equal(vm_set_x2apic_state(c->vm, i, X2APIC_ENABLED), 0);
	script(state);
}
