/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The configuration: a sorted array of key=value.  Keys are dotted names as bhyve_config(5) has
 * them; the tree is in the names.
 */
#include "machine/machine.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"

enum { KEY_MAX = 128, VALUE_MAX = 65536, EXPAND_DEPTH = 16 };

struct setting {
	char *key, *value;
	char *origin; /* "file:line"; NULL: the command line */
};

struct config {
	struct setting *settings;
	size_t count, capacity;
};

/*
 * What hyve understands, beside what the backends do. The last two change nothing here: bhyve has
 * them.
 */
static const char *const known_keys[] = {
	"name",
	"cpus",
	"sockets",
	"cores",
	"threads",
	"memory.size",
	"memory.guest_in_core",
	"acpi_tables",
	"backend",
	"bootrom",
	"control",
	"rundir",
	"sandbox",
	"stats",
	"config.dump",
	"rtc.use_localtime",
	"uuid",
	"log.*",
	"kernel.path",
	"kernel.initrd",
	"kernel.cmdline",
	"image.path",
	"lpc.bootrom",
	"lpc.com[1-4].path",
	"lpc.fwcfg",
	"lpc.pc-testdev",
	"lpc.ps2",
	"pvpanic.action",
	"pci.*", /* whose keys are looked at when all devices are known */
	"x86.mptable",
	"x86.x2apic",
	"x86.strictio",
	"x86.strictmsr",
	"x86.vmexit_on_hlt",
	"x86.vmexit_on_pause",
	"virtio_msix",
	"destroy_on_poweroff",
	"memory.wired",
};

int machine_error(struct machine_error *error, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return code;
}

int config_create(struct config **config)
{
	*config = calloc(1, sizeof(**config));
	return *config ? 0 : ENOMEM;
}

void config_destroy(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->count; i++) {
		free(config->settings[i].key);
		free(config->settings[i].value);
		free(config->settings[i].origin);
	}
	free(config->settings);
	free(config);
}

static bool key_is_wellformed(const char *key)
{
	size_t len = strlen(key);

	if (len == 0 || len >= KEY_MAX || key[0] == '.' || key[len - 1] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)key[i]) && !strchr("._-", key[i]))
			return false;
	return true;
}

/* Index of the key, or of where it belongs. */
static size_t config_find(const struct config *config, const char *key, bool *found)
{
	size_t low = 0, high = config->count;

	*found = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(config->settings[middle].key, key);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int config_insert(struct config *config, size_t at, const char *key, char *value)
{
	if (config->count == config->capacity) {
		size_t capacity = config->capacity ? 2 * config->capacity : 32;
		struct setting *grown = realloc(config->settings, capacity * sizeof(*grown));

		if (!grown)
			return ENOMEM;
		config->settings = grown;
		config->capacity = capacity;
	}
	char *copy = strdup(key);

	if (!copy)
		return ENOMEM;
	memmove(config->settings + at + 1, config->settings + at,
		(config->count - at) * sizeof(*config->settings));
	config->settings[at] = (struct setting){.key = copy, .value = value};
	config->count++;
	return 0;
}

int config_set(struct config *config, const char *key, const char *value)
{
	if (!key_is_wellformed(key) || strlen(value) >= VALUE_MAX)
		return EINVAL;
	bool found;
	size_t at = config_find(config, key, &found);
	char *copy = strdup(value);

	if (!copy)
		return ENOMEM;
	if (found) {
		free(config->settings[at].value);
		free(config->settings[at].origin);
		config->settings[at].value = copy;
		config->settings[at].origin = NULL;
		return 0;
	}
	int error = config_insert(config, at, key, copy);

	if (error)
		free(copy);
	return error;
}

int config_parse(struct config *config, const char *text, struct machine_error *error)
{
	const char *equals = strchr(text, '=');
	char key[KEY_MAX];

	if (!equals || equals == text || (size_t)(equals - text) >= sizeof(key))
		return machine_error(
			error, EINVAL, "\"%.80s\" is no setting; write key=value", text);
	memcpy(key, text, (size_t)(equals - text));
	key[equals - text] = '\0';
	if (!key_is_wellformed(key))
		return machine_error(error, EINVAL,
			"\"%.80s\" is no key: letters, digits, _ and - with dots between, and no "
			"blanks around =",
			key);
	int code = config_set(config, key, equals + 1);

	if (code)
		machine_error(error, code, "%s: %s", key,
			code == EINVAL ? "over 64 KiB" : strerror(code));
	return code;
}

/* The setting that was made last by this line of a file. Without memory, nobody will know. */
static void set_origin(struct config *config, const char *text, const char *path, unsigned line)
{
	char key[KEY_MAX], *origin;
	bool found;

	snprintf(key, sizeof(key), "%.*s", (int)strcspn(text, "="), text);
	size_t at = config_find(config, key, &found);

	if (found && asprintf(&origin, "%s:%u", path, line) >= 0) {
		free(config->settings[at].origin);
		config->settings[at].origin = origin;
	}
}

static bool is_text(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)line[i]) && !isspace((unsigned char)line[i]))
			return false;
	return true;
}

static char *trim(char *line)
{
	size_t len;

	while (isspace((unsigned char)*line))
		line++;
	for (len = strlen(line); len > 0 && isspace((unsigned char)line[len - 1]); len--)
		line[len - 1] = '\0';
	return line;
}

static int load_line(struct config *config, const char *path, unsigned number, char *line,
	size_t len, struct machine_error *error)
{
	struct machine_error why;

	if (!is_text(line, len))
		return machine_error(error, EINVAL, "%s:%u: this is no text", path, number);
	const char *text = trim(line);

	if (*text == '\0' || *text == '#')
		return 0;
	int code = config_parse(config, text, &why);

	if (code)
		machine_error(error, code, "%s:%u: %.200s", path, number, why.text);
	else
		set_origin(config, text, path, number);
	return code;
}

int config_load(struct config *config, const char *path, struct machine_error *error)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	int code = 0;

	if (!file)
		return machine_error(error, errno, "cannot read %s: %s", path, strerror(errno));
	ssize_t len;

	for (unsigned number = 1; !code && (len = getline(&line, &size, file)) >= 0; number++)
		code = load_line(config, path, number, line, (size_t)len, error);
	if (!code && ferror(file))
		code = machine_error(error, EIO, "cannot read %s: %s", path, strerror(errno));
	free(line);
	fclose(file);
	return code;
}

bool config_known(size_t index, char *pattern, size_t size)
{
	enum { NKEYS = sizeof(known_keys) / sizeof(known_keys[0]) };
	const char *backend, *key;

	if (index < NKEYS)
		snprintf(pattern, size, "%s", known_keys[index]);
	else if (backend_option(index - NKEYS, &backend, &key))
		snprintf(pattern, size, "%s.%s", backend, key);
	else
		return false;
	return true;
}

bool config_is_known(const char *key)
{
	char pattern[KEY_MAX];

	for (size_t i = 0; config_known(i, pattern, sizeof(pattern)); i++)
		if (fnmatch(pattern, key, 0) == 0)
			return true;
	return false;
}

const char *config_get(const struct config *config, const char *key)
{
	bool found;
	size_t at = config_find(config, key, &found);

	return found ? config->settings[at].value : NULL;
}

bool config_at(const struct config *config, size_t index, const char **key, const char **value)
{
	if (index >= config->count)
		return false;
	*key = config->settings[index].key;
	*value = config->settings[index].value;
	return true;
}

/* ---- %(key) ---- */

struct expansion {
	const struct config *config;
	struct machine_error *error;
	FILE *out;
	size_t written;
};

static int expand_into(struct expansion *x, const char *text, int depth);

/* `text` stands on "%("; *end behind the ")". */
static int expand_variable(struct expansion *x, const char *text, int depth, const char **end)
{
	const char *close = strchr(text, ')');
	char key[KEY_MAX];

	if (!close || close - (text + 2) >= KEY_MAX)
		return machine_error(x->error, EINVAL, "\"%.60s\": %%( without )", text);
	memcpy(key, text + 2, (size_t)(close - text - 2));
	key[close - text - 2] = '\0';
	*end = close + 1;
	const char *value = config_get(x->config, key);

	if (!value)
		return machine_error(x->error, EINVAL, "%%(%s): no such setting", key);
	if (depth == EXPAND_DEPTH)
		return machine_error(x->error, EINVAL, "%%(%s) leads back to itself", key);
	return expand_into(x, value, depth + 1);
}

static int expand_into(struct expansion *x, const char *text, int depth)
{
	int code = 0;

	while (*text && !code) {
		if (text[0] == '%' && text[1] == '(') {
			code = expand_variable(x, text, depth, &text);
			continue;
		}
		if (text[0] == '%' && text[1] == '%')
			text++;
		/* Doubling upon doubling must not fill the host's memory. */
		if (++x->written >= VALUE_MAX)
			return machine_error(
				x->error, E2BIG, "a setting is over 64 KiB when expanded");
		fputc(*text++, x->out);
	}
	return code;
}

static int expand_value(
	const struct config *config, const char *text, char **value, struct machine_error *error)
{
	size_t size;
	struct expansion x = {
		.config = config, .error = error, .out = open_memstream(value, &size)};

	if (!x.out)
		return machine_error(error, ENOMEM, "%s", strerror(ENOMEM));
	int code = expand_into(&x, text, 0);

	if (fclose(x.out) != 0 && !code)
		code = machine_error(error, ENOMEM, "%s", strerror(ENOMEM));
	if (code)
		free(*value);
	return code;
}

int config_expand(struct config *config, struct machine_error *error)
{
	char **values = calloc(config->count + 1, sizeof(*values));
	int code = values ? 0 : machine_error(error, ENOMEM, "%s", strerror(ENOMEM));
	size_t n = 0;

	/* All from the unexpanded ones: the order of keys must not matter. */
	while (!code && n < config->count) {
		const struct setting *s = &config->settings[n];
		struct machine_error why;

		code = expand_value(config, s->value, &values[n], &why);
		if (code)
			machine_error(error, code, "%s%s%s: %.120s", s->origin ? s->origin : "",
				s->origin ? ": " : "", s->key, why.text);
		n += !code;
	}
	for (size_t i = 0; i < n; i++) {
		if (code) {
			free(values[i]);
		} else {
			free(config->settings[i].value);
			config->settings[i].value = values[i];
		}
	}
	free(values);
	return code;
}

/* ---- typed values ---- */

/* The option under which the user knows a setting. */
static const char *option_hint(const char *key)
{
	static const char *const hints[][2] = {
		{"cpus", " (-c)"},
		{"sockets", " (-c)"},
		{"cores", " (-c)"},
		{"threads", " (-c)"},
		{"memory.size", " (-m)"},
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (strcmp(hints[i][0], key) == 0)
			return hints[i][1];
	return "";
}

int config_bad(const struct config *config, const char *key, struct machine_error *error,
	const char *format, ...)
{
	bool found;
	size_t at = config_find(config, key, &found);
	const char *text = found ? config->settings[at].value : "";
	const char *origin = found ? config->settings[at].origin : NULL;
	char what[160];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return machine_error(error, EINVAL, "%.100s%s%s=%.60s%s: %s", origin ? origin : "",
		origin ? ": " : "", key, text, origin ? "" : option_hint(key), what);
}

int config_bool(const struct config *config, const char *key, bool normal, bool *value,
	struct machine_error *error)
{
	static const char *const words[] = {"true", "on", "yes", "1", "false", "off", "no", "0"};
	const char *text = config_get(config, key);

	*value = normal;
	if (!text)
		return 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*value = i < 4;
			return 0;
		}
	}
	return config_bad(config, key, error, "use true or false");
}

int config_number(const struct config *config, const char *key, unsigned normal, unsigned low,
	unsigned high, unsigned *value, struct machine_error *error)
{
	const char *text = config_get(config, key);
	char *end;

	*value = normal;
	if (!text)
		return 0;
	errno = 0;
	unsigned long number = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno || number < low ||
		number > high)
		return config_bad(config, key, error, "use a number from %u to %u", low, high);
	*value = (unsigned)number;
	return 0;
}

int memory_size_parse(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "kmgt";
	char *end;
	unsigned shift = 0;

	if (!isdigit((unsigned char)text[0]))
		return EINVAL;
	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);

	if (errno)
		return EINVAL;
	if (*end != '\0') {
		const char *suffix = strchr(suffixes, tolower((unsigned char)*end));

		if (!suffix || (end[1] != '\0' && strcasecmp(end + 1, "b") != 0))
			return EINVAL;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	} else if (number < 1 << 20) {
		shift = 20;
	}
	if (number > UINT64_MAX >> shift)
		return EINVAL;
	*bytes = (uint64_t)number << shift;
	return 0;
}
