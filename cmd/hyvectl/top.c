/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The screen.  ncurses has the terminal from the first page on; endwin() gives it back as it was,
 * also when a signal ends us.
 */
#include "cmd/hyvectl/top.h"

#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cmd/hyvectl/client.h"

enum { PERIOD_MS = 1000, ONCE_MS = 500 };

static void pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

bool top_once(struct client *client)
{
	struct sample *before = sample_take(client), *now = NULL;

	if (before) {
		pause_ms(ONCE_MS);
		now = sample_take(client);
	}
	if (now)
		sample_print(stdout, before, now);
	sample_free(before);
	sample_free(now);
	return now != NULL;
}

/* ---- live ---- */

struct screen {
	char *page; /* NULL: there is none yet */
	int top;    /* the first line that is shown */
	int signal_fd;
};

static int count_lines(const char *text)
{
	int n = 0;

	for (; (text = strchr(text, '\n')) != NULL; text++)
		n++;
	return n;
}

/* Titles of tables are in capitals. */
static bool is_title(const char *line)
{
	return strncmp(line, "VCPU ", 5) == 0 || strncmp(line, "THREAD ", 7) == 0 ||
	       strncmp(line, "DEVICE ", 7) == 0;
}

static void draw(struct screen *s)
{
	const char *line = s->page;
	int row = -s->top;

	erase();
	for (; line && *line && row < LINES; row++) {
		size_t len = strcspn(line, "\n");

		if (row >= 0) {
			attrset(row == 0 && s->top == 0 ? A_BOLD
				: is_title(line)	? A_REVERSE
							: A_NORMAL);
			mvaddnstr(row, 0, line, len < (size_t)COLS ? (int)len : COLS);
		}
		line += len + (line[len] == '\n');
	}
	attrset(A_NORMAL);
	refresh();
}

static void scroll_by(struct screen *s, int lines)
{
	int most = s->page ? count_lines(s->page) - LINES : 0;

	s->top += lines;
	s->top = s->top > most ? most : s->top;
	s->top = s->top < 0 ? 0 : s->top;
}

/* False: it was the last. */
static bool handle_key(struct screen *s, int key)
{
	switch (key) {
	case 'q':
	case 'Q':
	case 3: /* Ctrl-C */
		return false;
	case KEY_DOWN:
	case 'j':
		scroll_by(s, 1);
		break;
	case KEY_UP:
	case 'k':
		scroll_by(s, -1);
		break;
	case KEY_NPAGE:
	case ' ':
		scroll_by(s, LINES - 1);
		break;
	case KEY_PPAGE:
		scroll_by(s, 1 - LINES);
		break;
	}
	return true;
}

static bool make_page(struct screen *s, const struct sample *before, const struct sample *now)
{
	size_t size;

	free(s->page);
	s->page = NULL;
	FILE *out = open_memstream(&s->page, &size);

	if (!out)
		return false;
	sample_print(out, before, now);
	return fclose(out) == 0;
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Keys, new sizes and signals, until that time. False: to the end. */
static bool wait_until(struct screen *s, long long until)
{
	for (long long left; (left = until - now_ms()) > 0;) {
		struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
			{.fd = s->signal_fd, .events = POLLIN}};
		int key;

		/* A new size interrupts it; ncurses then has it as a key. */
		if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
			return false;
		if (fds[1].revents || fds[0].revents & (POLLHUP | POLLERR))
			return false;
		while ((key = getch()) != ERR)
			if (!handle_key(s, key))
				return false;
		draw(s);
	}
	return true;
}

static bool show(struct client *client, struct screen *s)
{
	struct sample *before = sample_take(client), *now;
	bool go_on = before != NULL, works = go_on;
	long long when = now_ms() + PERIOD_MS / 4; /* the first page soon */

	while (go_on && wait_until(s, when)) {
		now = sample_take(client);
		works = go_on = now && make_page(s, before, now);
		sample_free(before);
		before = now;
		when = now_ms() + PERIOD_MS;
		scroll_by(s, 0);
		draw(s);
	}
	sample_free(before);
	return works;
}

bool top_live(struct client *client)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct screen s = {0};
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaddset(&set, ends[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	SCREEN *terminal = newterm(NULL, stdout, stdin);

	if (s.signal_fd < 0 || !terminal) {
		snprintf(client->why, sizeof(client->why),
			"this terminal (TERM=%.40s) cannot be used; try --once",
			getenv("TERM") ? getenv("TERM") : "");
		return false;
	}
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	curs_set(0);
	bool works = show(client, &s);

	endwin();
	delscreen(terminal);
	close(s.signal_fd);
	free(s.page);
	return works;
}
