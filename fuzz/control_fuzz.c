/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Requests of the control socket: each line of the input is one, against a machine whose guest never
 * runs.  Every reply is a line of JSON that says yes or no, and why not.
 */
#include <jansson.h>

#include "cmd/control/answer.h"
#include "cmd/control/protocol.h"
#include "fuzz/fuzz.h"
#include "machine/machine.h"

static struct machine *create(void)
{
	static const uint8_t halt[512] = {0xf4, [510] = 0x55, 0xaa};
	struct machine *machine;
	struct machine_error error;
	struct fuzz_file image;
	struct config *config;

	fuzz_file_create(&image);
	fuzz_file_write(&image, halt, sizeof(halt));
	FUZZ_CHECK(config_create(&config) == 0);
	FUZZ_CHECK(config_set(config, "name", "fuzz") == 0);
	FUZZ_CHECK(config_set(config, "cpus", "2") == 0);
	FUZZ_CHECK(config_set(config, "memory.size", "4M") == 0);
	FUZZ_CHECK(config_set(config, "backend", "soft") == 0);
	FUZZ_CHECK(config_set(config, "image.path", image.path) == 0);
	FUZZ_CHECK(machine_create(config, &machine, &error) == 0);
	return machine;
}

static void check(const char *reply)
{
	size_t len = strlen(reply);

	FUZZ_CHECK(len > 0 && len <= CONTROL_REPLY_MAX && strchr(reply, '\n') == reply + len - 1);
	json_t *object = json_loads(reply, JSON_REJECT_DUPLICATES, NULL);
	const json_t *ok = json_object_get(object, "ok");

	FUZZ_CHECK(json_integer_value(json_object_get(object, "version")) == CONTROL_VERSION);
	if (json_is_true(ok)) {
		FUZZ_CHECK(json_is_object(json_object_get(object, "result")));
	} else {
		FUZZ_CHECK(json_is_false(ok));
		FUZZ_CHECK(json_integer_value(json_object_get(object, "errno")) > 0);
		FUZZ_CHECK(*json_string_value(json_object_get(object, "error")));
	}
	json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine *machine;
	const char *at = (const char *)data, *end = at + size;

	/* One for all inputs: to make one takes long. */
	if (!machine)
		machine = create();
	while (at < end) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((line_end ? line_end : end) - at);
		char *reply = control_answer(
			machine, at, len < CONTROL_REQUEST_MAX ? len : CONTROL_REQUEST_MAX);

		FUZZ_CHECK(reply != NULL);
		check(reply);
		free(reply);
		at += len + 1;
	}
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const char *const seeds[] = {
		"{\"version\":1,\"command\":\"info\"}\n",
		"{\"version\":1,\"command\":\"registers\",\"cpu\":0}\n",
		"{\"version\":1,\"command\":\"set-register\",\"cpu\":1,\"name\":\"cr0\","
		"\"value\":\"0x80000011\"}\n"
		"{\"version\":1,\"command\":\"set-register\",\"cpu\":1,\"name\":\"rip\",\"value\":0}\n",
		"{\"version\":1,\"command\":\"set-descriptor\",\"cpu\":0,\"name\":\"gdtr\","
		"\"base\":4096,\"limit\":23,\"access\":0}\n",
		"{\"version\":1,\"command\":\"stats\",\"cpu\":15}\n",
		"{\"version\":1,\"command\":\"devices\"}\n{\"version\":1,\"command\":\"memory\"}\n",
		"{\"version\":1,\"command\":\"gpa\",\"gpa\":\"0xfee00000\"}\n",
		"{\"version\":1,\"command\":\"cpus\"}\n{\"version\":1,\"command\":\"rtc-time\"}\n",
		"{\"version\":1,\"command\":\"x2apic\",\"cpu\":0}\n"
		"{\"version\":1,\"command\":\"set-x2apic\",\"cpu\":0,\"state\":1}\n",
		"{\"version\":1,\"command\":\"capabilities\",\"cpu\":0}\n"
		"{\"version\":1,\"command\":\"set-capability\",\"cpu\":0,\"name\":\"pause_exit\","
		"\"value\":1}\n",
		"{\"version\":1,\"command\":\"set-rtc-time\",\"secs\":1000000000}\n"
		"{\"version\":1,\"command\":\"set-rtc-nvram\",\"offset\":80,\"value\":7}\n"
		"{\"version\":1,\"command\":\"rtc-nvram\",\"offset\":80}\n",
		"{\"version\":1,\"command\":\"lapic-lvt\",\"cpu\":0,\"lvt\":3}\n"
		"{\"version\":1,\"command\":\"nmi\",\"cpu\":0}\n"
		"{\"version\":1,\"command\":\"intinfo\",\"cpu\":0}\n",
		"{\"version\":1,\"command\":\"pause\"}\n{\"version\":1,\"command\":\"resume\"}\n",
		"{\"version\":1,\"command\":\"power-button\"}\n",
		"{\"version\":1,\"command\":\"reset\"}\n{\"version\":1,\"command\":\"destroy\"}\n",
		"{\"version\":2,\"command\":\"info\"}\n[[[[[[[[\n\n\"\\ud800\"\n",
	};

	if (n >= sizeof(seeds) / sizeof(seeds[0]))
		return 0;
	return (size_t)snprintf((char *)to, room, "%s", seeds[n]);
}
