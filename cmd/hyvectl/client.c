/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "cmd/hyvectl/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/control/protocol.h"

enum { LIMIT_S = 15 };

static bool fail(struct client *c, const char *what, int code)
{
	snprintf(c->why, sizeof(c->why), "%s: %s", what, strerror(code));
	return false;
}

static bool connect_failed(struct client *c, const char *rundir, int code)
{
	if (code == ENOENT || code == ECONNREFUSED || code == EINVAL)
		snprintf(c->why, sizeof(c->why),
			"no virtual machine \"%.40s\" runs here (in %.150s)", c->name, rundir);
	else if (code == EACCES || code == EPERM)
		snprintf(c->why, sizeof(c->why),
			"%.40s: permission denied; it belongs to another user", c->name);
	else
		return fail(c, c->name, code);
	return false;
}

bool client_open(struct client *c, int dir, const char *rundir, const char *name)
{
	const struct timeval limit = {.tv_sec = LIMIT_S};
	struct sockaddr_un address;
	int code;

	*c = (struct client){.fd = -1, .name = name};
	code = control_address(dir, rundir, name, &address);
	if (code)
		return connect_failed(c, rundir, code);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return fail(c, name, errno);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		code = errno;
		client_close(c);
		return connect_failed(c, rundir, code);
	}
	c->stream = fdopen(c->fd, "r");
	if (c->stream)
		return true;
	code = errno;
	client_close(c);
	return fail(c, name, code);
}

void client_close(struct client *c)
{
	if (c->stream)
		fclose(c->stream);
	else if (c->fd >= 0)
		close(c->fd);
	c->stream = NULL;
	c->fd = -1;
}

/* Takes the reference. */
static bool send_request(struct client *c, json_t *request)
{
	json_object_set_new(request, "version", json_integer(CONTROL_VERSION));
	char *text = json_dumps(request, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	json_decref(request);
	if (!text)
		return fail(c, c->name, ENOMEM);
	text[len++] = '\n'; /* in place of the terminator */
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(c->fd, text + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0) {
			int code = errno;

			free(text);
			return fail(c, c->name, code == EAGAIN ? ETIMEDOUT : code);
		}
		sent += (size_t)n;
	}
	free(text);
	return true;
}

static json_t *receive_reply(struct client *c)
{
	char *line = malloc(CONTROL_REPLY_MAX + 1);
	json_t *reply = NULL;

	if (!line) {
		fail(c, c->name, ENOMEM);
		return NULL;
	}
	errno = 0;
	if (fgets(line, CONTROL_REPLY_MAX + 1, c->stream))
		reply = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	else if (ferror(c->stream))
		fail(c, c->name, errno == EAGAIN ? ETIMEDOUT : errno);
	else
		snprintf(c->why, sizeof(c->why), "%.40s: it has ended", c->name);
	if (!reply && !*c->why)
		snprintf(c->why, sizeof(c->why), "%.40s: the reply is not understood", c->name);
	free(line);
	return reply;
}

json_t *client_call(struct client *c, json_t *request)
{
	json_t *reply, *result;

	c->why[0] = '\0';
	if (!send_request(c, request))
		return NULL;
	reply = receive_reply(c);
	if (!reply)
		return NULL;
	result = json_is_true(json_object_get(reply, "ok"))
			 ? json_incref(json_object_get(reply, "result"))
			 : NULL;
	if (!result)
		snprintf(c->why, sizeof(c->why), "%.40s: %.200s", c->name,
			client_string(reply, "error"));
	json_decref(reply);
	return result;
}

bool client_await_end(struct client *c, int limit_ms)
{
	struct pollfd fd = {.fd = c->fd, .events = POLLIN};

	return poll(&fd, 1, limit_ms) == 1;
}

uint64_t client_number(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	uint64_t value;

	if (json_is_integer(v))
		return (uint64_t)json_integer_value(v);
	return json_is_string(v) && control_number(json_string_value(v), &value) ? value : 0;
}

const char *client_string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	for (const char *p = text; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return "?";
	return text ? text : "";
}
