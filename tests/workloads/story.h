/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C side of calls.py: make a system call, fail if it goes another way than told, tell the
 * step as a line of JSON on the descriptor WA_STORY_FD. Names here need no escaping.
 */
#ifndef STORY_H
#define STORY_H

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char ground[PATH_MAX];
static int story_fd = 1;

static void story_begin(void)
{
	const char *fd = getenv("WA_STORY_FD");

	if (fd)
		story_fd = atoi(fd);
	if (!getcwd(ground, sizeof(ground)))
		exit(1);
}

/* more: the inside of a JSON object, such as "\"bytes\": 4". source may be NULL. */
static void tell(const char *op, const char *path, const char *source, const char *result, const char *more)
{
	char line[3 * PATH_MAX];
	int n = snprintf(line, sizeof(line), "{\"op\": \"%s\", \"path\": \"%s/%s\", \"source\": ", op, ground, path);

	if (!source)
		n += snprintf(line + n, sizeof(line) - n, "null");
	else if (!strcmp(op, "symlink"))
		n += snprintf(line + n, sizeof(line) - n, "\"%s\"", source);
	else
		n += snprintf(line + n, sizeof(line) - n, "\"%s/%s\"", ground, source);
	n += snprintf(line + n, sizeof(line) - n, ", \"result\": \"%s\", \"more\": {%s}, \"but\": \"\"}\n", result,
		      more ? more : "");
	if (write(story_fd, line, n) != n)
		exit(1);
}

/* Check that a call succeeded (want 0) or failed with the errno that was wanted. */
__attribute__((unused)) static long went(long result, int want, const char *what)
{
	int got = result < 0 ? errno : 0;

	if (got != want) {
		fprintf(stderr, "%s: %s, not %s\n", what, strerror(got), strerror(want));
		exit(1);
	}
	return result;
}

#endif
