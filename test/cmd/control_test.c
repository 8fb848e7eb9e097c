/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The control socket: what it answers, where it lies and with which rights, and clients that mean
 * no good.  With machines of this process, one that never runs and one whose guest counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/control/answer.h"
#include "cmd/control/control.h"
#include "cmd/control/place.h"
#include "cmd/control/protocol.h"
#include "machine/machine.h"

#include <vmm/vmm_dev.h>

struct fixture {
	struct config *config;
	struct machine *machine;
	struct control *control;
	struct machine_error error;
	char dir[32], image[64], rundir[64];
	pthread_t runner;
	bool runs;
	enum vm_suspend_how how;
	int code;
};

/* xor ebx, ebx; 1: inc ebx; jmp 1b, in real mode. */
static const uint8_t counting[] = {0x66, 0x31, 0xdb, 0x66, 0x43, 0xeb, 0xfc};

static void set(struct fixture *f, const char *key, const char *value)
{
	assert_int_equal(config_set(f->config, key, value), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t sector[512] = {[510] = 0x55, [511] = 0xaa};

	strcpy(f->dir, "/tmp/hyve-control-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->image, sizeof(f->image), "%s/image", f->dir);
	snprintf(f->rundir, sizeof(f->rundir), "%s/run", f->dir);
	memcpy(sector, counting, sizeof(counting));
	FILE *file = fopen(f->image, "w");

	assert_int_equal(fwrite(sector, 1, sizeof(sector), file), sizeof(sector));
	fclose(file);
	assert_int_equal(config_create(&f->config), 0);
	set(f, "name", "test");
	set(f, "memory.size", "16M");
	set(f, "cpus", "2");
	set(f, "backend", "soft");
	set(f, "image.path", f->image);
	set(f, "rundir", f->rundir);
	assert_int_equal(machine_create(f->config, &f->machine, &f->error), 0);
	*state = f;
	return 0;
}

static void *run_machine(void *arg)
{
	struct fixture *f = arg;

	f->code = machine_run(f->machine, &f->how, &f->error);
	return NULL;
}

static void start(struct fixture *f)
{
	assert_int_equal(pthread_create(&f->runner, NULL, run_machine, f), 0);
	f->runs = true;
}

static void await_end(struct fixture *f)
{
	pthread_join(f->runner, NULL);
	f->runs = false;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[64];

	control_stop(f->control);
	if (f->runs) {
		machine_stop(f->machine, VM_SUSPEND_POWEROFF);
		await_end(f);
	}
	machine_destroy(f->machine);
	control_close(f->control);
	config_destroy(f->config);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* ---- answers, without a socket ---- */

/* The reply to a request, which has to be a line. */
static json_t *answer_of(struct fixture *f, const char *request)
{
	char *line = control_answer(f->machine, request, strlen(request));

	assert_non_null(line);
	size_t len = strlen(line);

	assert_true(len > 1 && line[len - 1] == '\n' && strchr(line, '\n') == line + len - 1);
	json_t *reply = json_loads(line, 0, NULL);

	free(line);
	assert_true(json_is_object(reply));
	assert_int_equal(json_integer_value(json_object_get(reply, "version")), CONTROL_VERSION);
	return reply;
}

#define REQUEST(rest) "{\"version\":1,\"command\":" rest "}"

static json_t *result_of(struct fixture *f, const char *request)
{
	json_t *reply = answer_of(f, request), *result;

	if (!json_is_true(json_object_get(reply, "ok")))
		fail_msg("%s: %s", request, json_string_value(json_object_get(reply, "error")));
	result = json_incref(json_object_get(reply, "result"));
	json_decref(reply);
	return result;
}

static void assert_done(struct fixture *f, const char *request)
{
	json_decref(result_of(f, request));
}

static void assert_refused(struct fixture *f, const char *request, int code)
{
	json_t *reply = answer_of(f, request);
	const char *why = json_string_value(json_object_get(reply, "error"));

	assert_true(json_is_false(json_object_get(reply, "ok")));
	if (json_integer_value(json_object_get(reply, "errno")) != code)
		fail_msg("%s: %s", request, why);
	assert_true(why && *why);
	json_decref(reply);
}

static uint64_t number_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	uint64_t value = 0;

	assert_true(text && control_number(text, &value));
	return value;
}

static uint64_t register_of(struct fixture *f, const char *name)
{
	json_t *result = result_of(f, REQUEST("\"registers\",\"cpu\":0"));
	uint64_t value = number_of(json_object_get(result, "registers"), name);

	json_decref(result);
	return value;
}

static void what_is_no_request(void **state)
{
	static const struct {
		const char *request;
		int code;
	} bad[] = {
		{"", EINVAL},
		{"hello", EINVAL},
		{"[1,2]", EINVAL},
		{"{\"version\":1", EINVAL},
		{"{}", EINVAL},
		{"{\"version\":1}", EINVAL},
		{"{\"version\":2,\"command\":\"info\"}", EPROTO},
		{"{\"version\":-1,\"command\":\"info\"}", EINVAL},
		{"{\"version\":1,\"version\":1,\"command\":\"info\"}", EINVAL},
		{"{\"version\":1,\"command\":\"info\"} x", EINVAL},
		{REQUEST("7"), EINVAL},
		{REQUEST("\"reboot\""), ENOSYS},
		{REQUEST("\"registers\""), EINVAL},
		{REQUEST("\"registers\",\"cpu\":16"), EINVAL},
		{REQUEST("\"registers\",\"cpu\":-1"), EINVAL},
		{REQUEST("\"registers\",\"cpu\":0.5"), EINVAL},
		{REQUEST("\"registers\",\"cpu\":\"0x\""), EINVAL},
		{REQUEST("\"set-register\",\"cpu\":0,\"name\":\"rxx\",\"value\":1"), EINVAL},
		{REQUEST("\"set-register\",\"cpu\":0,\"name\":\"rax\""), EINVAL},
		{REQUEST("\"set-register\",\"cpu\":0,\"name\":\"rax\",\"value\":-1"), EINVAL},
		{REQUEST("\"set-register\",\"cpu\":0,\"name\":\"cs\",\"value\":65536"), EINVAL},
		{REQUEST("\"set-register\",\"cpu\":0,\"name\":\"rax\","
			 "\"value\":\"0x10000000000000000\""),
			EINVAL},
		{REQUEST("\"set-descriptor\",\"cpu\":0,\"name\":\"rax\",\"base\":0,\"limit\":0,"
			 "\"access\":0"),
			EINVAL},
		{REQUEST("\"set-capability\",\"cpu\":0,\"name\":\"fly\",\"value\":1"), EINVAL},
		{REQUEST("\"set-rtc-nvram\",\"offset\":128,\"value\":1"), EINVAL},
		{REQUEST("\"set-rtc-nvram\",\"offset\":80,\"value\":256"), EINVAL},
		{REQUEST("\"lapic-lvt\",\"cpu\":0,\"lvt\":77"), EINVAL},
		{REQUEST("\"resume\""), EALREADY},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused(*state, bad[i].request, bad[i].code);
}

static void registers_are_set_and_got(void **state)
{
	struct fixture *f = *state;
	char request[160];

	for (size_t i = 0; i < control_nregisters; i++) {
		const char *name = control_registers[i].name;

		/* Any value will not do for these. */
		if (strchr("ced", name[0]) || strcmp(name, "rflags") == 0)
			continue;
		snprintf(request, sizeof(request),
			REQUEST("\"set-register\",\"cpu\":0,\"name\":\"%s\",\"value\":\"0x%lx\""),
			name, 0xfedcba9876543200 + i);
		assert_done(f, request);
	}
	for (size_t i = 0; i < control_nregisters; i++) {
		const char *name = control_registers[i].name;

		if (strchr("ced", name[0]) || strcmp(name, "rflags") == 0)
			continue;
		assert_int_equal(register_of(f, name), 0xfedcba9876543200 + i);
	}
	assert_done(f, REQUEST("\"set-descriptor\",\"cpu\":1,\"name\":\"fs\",\"base\":\"0x12345\","
			       "\"limit\":65535,\"access\":147"));
	json_t *result = result_of(f, REQUEST("\"registers\",\"cpu\":1"));
	const json_t *fs = json_object_get(json_object_get(result, "descriptors"), "fs");

	assert_int_equal(number_of(fs, "base"), 0x12345);
	assert_int_equal(number_of(fs, "limit"), 0xffff);
	assert_int_equal(number_of(fs, "access"), 0x93);
	json_decref(result);
}

static void the_rest_is_answered(void **state)
{
	struct fixture *f = *state;
	json_t *r = result_of(f, REQUEST("\"info\""));

	assert_string_equal(json_string_value(json_object_get(r, "name")), "test");
	assert_string_equal(json_string_value(json_object_get(r, "backend")), "soft");
	assert_int_equal(json_integer_value(json_object_get(r, "cpus")), 2);
	assert_int_equal(json_integer_value(json_object_get(r, "memory")), 16 << 20);
	assert_int_equal(json_integer_value(json_object_get(r, "pid")), getpid());
	json_decref(r);

	r = result_of(f, REQUEST("\"memory\""));
	const json_t *segment = json_array_get(json_object_get(r, "segments"), 0);

	assert_int_equal(json_array_size(json_object_get(r, "segments")), 1);
	assert_int_equal(number_of(segment, "length"), 16 << 20);
	json_decref(r);

	r = result_of(f, REQUEST("\"gpa\",\"gpa\":4096"));
	assert_true(json_is_true(json_object_get(r, "ram")));
	json_decref(r);
	r = result_of(f, REQUEST("\"gpa\",\"gpa\":\"0x1000000\""));
	assert_true(json_is_false(json_object_get(r, "ram")));
	json_decref(r);

	assert_done(f, REQUEST("\"set-rtc-nvram\",\"offset\":100,\"value\":171"));
	r = result_of(f, REQUEST("\"rtc-nvram\",\"offset\":100"));
	assert_int_equal(json_integer_value(json_object_get(r, "value")), 171);
	json_decref(r);

	assert_done(f, REQUEST("\"set-rtc-time\",\"secs\":1000000000"));
	r = result_of(f, REQUEST("\"rtc-time\""));
	assert_in_range(json_integer_value(json_object_get(r, "secs")), 1000000000, 1000000010);
	json_decref(r);

	r = result_of(f, REQUEST("\"stats\",\"cpu\":1"));
	assert_true(json_array_size(json_object_get(r, "counters")) > VMM_STAT_COUNT);
	json_decref(r);
	assert_done(f, REQUEST("\"devices\""));
	assert_done(f, REQUEST("\"capabilities\",\"cpu\":0"));
	assert_done(f, REQUEST("\"set-x2apic\",\"cpu\":0,\"state\":1"));
	r = result_of(f, REQUEST("\"x2apic\",\"cpu\":0"));
	assert_int_equal(json_integer_value(json_object_get(r, "state")), 1);
	json_decref(r);
	assert_done(f, REQUEST("\"intinfo\",\"cpu\":0"));
	assert_done(f, REQUEST("\"nmi\",\"cpu\":0"));
	assert_done(f, REQUEST("\"cpus\""));
}

/* ---- a guest that runs ---- */

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Until it counts. */
static void await_counting(struct fixture *f)
{
	for (int i = 0; i < 1000; i++) {
		uint64_t before = register_of(f, "rbx");

		sleep_ms(5);
		if (register_of(f, "rbx") > before)
			return;
	}
	fail_msg("the guest does not count");
}

static void pause_stops_the_guest(void **state)
{
	struct fixture *f = *state;

	start(f);
	await_counting(f);
	assert_done(f, REQUEST("\"pause\""));
	assert_refused(f, REQUEST("\"pause\""), EALREADY);
	uint64_t count = register_of(f, "rbx"), rip = register_of(f, "rip");

	sleep_ms(50);
	assert_int_equal(register_of(f, "rbx"), count);
	assert_int_equal(register_of(f, "rip"), rip);
	json_t *info = result_of(f, REQUEST("\"info\""));

	assert_string_equal(json_string_value(json_object_get(info, "state")), "paused");
	json_decref(info);
	assert_done(f, REQUEST("\"resume\""));
	await_counting(f);
	/* A machine that is paused ends all the same. */
	assert_done(f, REQUEST("\"pause\""));
	assert_done(f, REQUEST("\"reset\""));
	await_end(f);
	assert_int_equal(f->code, 0);
	assert_int_equal(f->how, VM_SUSPEND_RESET);
}

static void registers_of_a_running_guest(void **state)
{
	struct fixture *f = *state;

	start(f);
	await_counting(f);
	/* It stops where it is looked at, and goes on from what was set. */
	assert_done(
		f, REQUEST("\"set-register\",\"cpu\":0,\"name\":\"rbx\",\"value\":\"0x80000000\""));
	uint64_t count = register_of(f, "rbx");

	assert_in_range(count, 0x80000000, 0xffffffff);
	/* Once more from the beginning: EBX is cleared there. */
	assert_done(f, REQUEST("\"set-register\",\"cpu\":0,\"name\":\"rip\",\"value\":\"0x7c00\""));
	for (int i = 0; register_of(f, "rbx") >= 0x80000000; i++)
		assert_in_range(i, 0, 1000);
	await_counting(f);
}

static void destroy_is_an_error(void **state)
{
	struct fixture *f = *state;

	start(f);
	await_counting(f);
	assert_done(f, REQUEST("\"destroy\""));
	await_end(f);
	assert_int_equal(f->code, ECONNABORTED);
}

static void *looker(void *arg)
{
	for (int i = 0; i < 50; i++)
		register_of(arg, "rip");
	return NULL;
}

static void lookers_and_pauses_at_once(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[3];

	start(f);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, looker, f), 0);
	for (int i = 0; i < 50; i++) {
		assert_done(f, REQUEST("\"pause\""));
		assert_done(f, REQUEST("\"resume\""));
	}
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	await_counting(f);
}

/* ---- the socket ---- */

static void serve(struct fixture *f)
{
	char warning[256];

	assert_int_equal(
		control_open(f->config, &f->control, &f->error, warning, sizeof(warning)), 0);
	assert_non_null(f->control);
	assert_int_equal(control_serve(f->control, f->machine), 0);
}

static int connect_to(struct fixture *f)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(control_address(-1, f->rundir, "test", &address), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* What comes until a line feed, or the end: 0 bytes then. */
static size_t read_line(int fd, char *line, size_t size)
{
	size_t have = 0;

	while (have < size - 1) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, 20000) != 1)
			fail_msg("nothing comes");
		if (read(fd, line + have, 1) != 1)
			break;
		if (line[have++] == '\n')
			break;
	}
	line[have] = '\0';
	return have;
}

static const char info[] = REQUEST("\"info\"") "\n";

static void say(int fd, const char *text, size_t len)
{
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

static void assert_served(struct fixture *f)
{
	char line[1024];
	int fd = connect_to(f);

	say(fd, info, sizeof(info) - 1);
	assert_true(read_line(fd, line, sizeof(line)) > 0);
	assert_non_null(strstr(line, "\"ok\":true"));
	close(fd);
}

static void modes_of_folder_and_socket(void **state)
{
	struct fixture *f = *state;
	char path[96];
	struct stat st;

	umask(0);
	serve(f);
	umask(022);
	assert_int_equal(stat(f->rundir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	snprintf(path, sizeof(path), "%s/test", f->rundir);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_served(f);
	control_close(f->control);
	f->control = NULL;
	assert_int_equal(stat(path, &st), -1);
}

static void a_name_is_taken_once(void **state)
{
	struct fixture *f = *state;
	struct control *second;
	char warning[256], pid[32];

	serve(f);
	assert_int_equal(
		control_open(f->config, &second, &f->error, warning, sizeof(warning)), EBUSY);
	snprintf(pid, sizeof(pid), "(pid %d)", getpid());
	assert_non_null(strstr(f->error.text, "test is running already"));
	assert_non_null(strstr(f->error.text, pid));
	assert_served(f);
}

static void stale_sockets_are_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(mkdir(f->rundir, 0700), 0);
	assert_int_equal(control_address(-1, f->rundir, "test", &address), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	serve(f);
	assert_served(f);
}

static void other_files_are_not(void **state)
{
	struct fixture *f = *state;
	struct control *control;
	char path[96], warning[256];

	assert_int_equal(mkdir(f->rundir, 0700), 0);
	snprintf(path, sizeof(path), "%s/test", f->rundir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(
		control_open(f->config, &control, &f->error, warning, sizeof(warning)), EEXIST);
	assert_int_equal(access(path, F_OK), 0);
}

static void folders_of_all_are_refused(void **state)
{
	struct fixture *f = *state;
	struct control *control;
	char warning[256];

	assert_int_equal(mkdir(f->rundir, 0700), 0);
	assert_int_equal(chmod(f->rundir, 0777), 0);
	assert_int_equal(
		control_open(f->config, &control, &f->error, warning, sizeof(warning)), EACCES);
	assert_non_null(strstr(f->error.text, "chmod 700"));
}

static void a_killed_machine_leaves_no_socket(void **state)
{
	struct fixture *f = *state;
	char path[96];
	pid_t child = fork();

	if (child == 0) {
		char warning[256];

		if (control_open(f->config, &f->control, &f->error, warning, sizeof(warning)))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	int status;

	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status));
	snprintf(path, sizeof(path), "%s/test", f->rundir);
	for (int i = 0; access(path, F_OK) == 0; i++) {
		assert_in_range(i, 0, 2000);
		sleep_ms(5);
	}
}

static void long_paths(void **state)
{
	struct fixture *f = *state;
	char deep[300];

	assert_int_equal(mkdir(f->rundir, 0700), 0);
	snprintf(deep, sizeof(deep), "%s/%0200d", f->rundir, 0);
	set(f, "rundir", deep);
	serve(f);
	/* As hyvectl goes there. */
	struct sockaddr_un address;
	int dir = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(control_address(dir, deep, "test", &address), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	close(dir);
}

static void no_socket_is_wanted(void **state)
{
	struct fixture *f = *state;
	char warning[256];

	set(f, "control", "false");
	assert_int_equal(
		control_open(f->config, &f->control, &f->error, warning, sizeof(warning)), 0);
	assert_null(f->control);
	assert_int_equal(access(f->rundir, F_OK), -1);
}

static void names_that_leave_the_folder(void **state)
{
	static const char *const names[] = {"../test", "a/b", ".", "..", ".hidden"};
	struct fixture *f = *state;
	struct control *control;
	char warning[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		set(f, "name", names[i]);
		assert_int_equal(
			control_open(f->config, &control, &f->error, warning, sizeof(warning)),
			EINVAL);
	}
	/* machine_destroy still has the old one. */
	set(f, "name", "test");
}

/* ---- hostile clients ---- */

static void several_requests_at_once(void **state)
{
	struct fixture *f = *state;
	char line[1024], text[4 * sizeof(info)] = "";

	serve(f);
	int fd = connect_to(f);

	for (int i = 0; i < 4; i++)
		strcat(text, info);
	/* One after the other, also when they come in pieces. */
	say(fd, text, strlen(text) - 20);
	sleep_ms(20);
	say(fd, text + strlen(text) - 20, 20);
	for (int i = 0; i < 4; i++) {
		assert_true(read_line(fd, line, sizeof(line)) > 0);
		assert_non_null(strstr(line, "\"ok\":true"));
	}
	close(fd);
}

static void garbage(void **state)
{
	struct fixture *f = *state;
	char line[1024], noise[512];

	serve(f);
	int fd = connect_to(f);

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)(i * 37 + 200);
	for (size_t i = 0; i < sizeof(noise); i++)
		if (noise[i] == '\n')
			noise[i] = 0;
	noise[sizeof(noise) - 1] = '\n';
	for (int i = 0; i < 20; i++) {
		say(fd, noise, sizeof(noise));
		assert_true(read_line(fd, line, sizeof(line)) > 0);
		assert_non_null(strstr(line, "\"ok\":false"));
	}
	close(fd);
	assert_served(f);
}

static void a_line_without_end(void **state)
{
	struct fixture *f = *state;
	char line[1024], noise[4096];
	int fd;

	memset(noise, ' ', sizeof(noise));
	serve(f);
	fd = connect_to(f);
	/* It is told, and goes. */
	for (int i = 0; i < 1000 && send(fd, noise, sizeof(noise), MSG_NOSIGNAL) > 0; i++)
		;
	close(fd);
	fd = connect_to(f);
	say(fd, noise, sizeof(noise));
	assert_true(read_line(fd, line, sizeof(line)) > 0);
	assert_non_null(strstr(line, "too long"));
	assert_int_equal(read_line(fd, line, sizeof(line)), 0);
	close(fd);
	assert_served(f);
}

static void a_line_that_takes_for_ever(void **state)
{
	struct fixture *f = *state;
	char line[64];
	bool gone = false;

	serve(f);
	int fd = connect_to(f);

	/* Five seconds for a line; a byte now and then does not buy more. */
	for (int i = 0; i < 160 && !gone; i++) {
		gone = send(fd, " ", 1, MSG_NOSIGNAL) != 1;
		sleep_ms(50);
		if (i % 20 == 0)
			assert_served(f);
	}
	assert_true(gone);
	assert_int_equal(read_line(fd, line, sizeof(line)), 0);
	close(fd);
}

static void clients_that_never_read(void **state)
{
	struct fixture *f = *state;
	static const char stats[] = REQUEST("\"stats\",\"cpu\":0") "\n";
	int fds[8];

	serve(f);
	for (int k = 0; k < 8; k++) {
		fds[k] = connect_to(f);
		/* As much as they are given room for. */
		for (int i = 0; i < 100000; i++)
			if (send(fds[k], stats, sizeof(stats) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
				break;
	}
	for (int i = 0; i < 20; i++)
		assert_served(f);
	for (int k = 0; k < 8; k++)
		close(fds[k]);
}

static void a_hundred_clients(void **state)
{
	struct fixture *f = *state;
	int fds[100];

	serve(f);
	for (int i = 0; i < 100; i++)
		fds[i] = connect_to(f);
	/* The places are theirs, but who comes now is served. */
	for (int i = 0; i < 20; i++)
		assert_served(f);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	assert_served(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_no_request),
		TEST(registers_are_set_and_got),
		TEST(the_rest_is_answered),
		TEST(pause_stops_the_guest),
		TEST(registers_of_a_running_guest),
		TEST(destroy_is_an_error),
		TEST(lookers_and_pauses_at_once),
		TEST(modes_of_folder_and_socket),
		TEST(a_name_is_taken_once),
		TEST(stale_sockets_are_replaced),
		TEST(other_files_are_not),
		TEST(folders_of_all_are_refused),
		TEST(a_killed_machine_leaves_no_socket),
		TEST(long_paths),
		TEST(no_socket_is_wanted),
		TEST(names_that_leave_the_folder),
		TEST(several_requests_at_once),
		TEST(garbage),
		TEST(a_line_without_end),
		TEST(a_line_that_takes_for_ever),
		TEST(clients_that_never_read),
		TEST(a_hundred_clients),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
