/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that is not the first executes a program: it takes over the number of the process. */
#include "story.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

static char *program;

static void *run(void *unused)
{
	(void)unused;
	if (mkdir("by-thread", 0700))
		exit(1);
	tell("mkdir", "by-thread", NULL, "ok", NULL);
	execl(program, program, "again", NULL);
	exit(1);
}

static int again(void)
{
	int fd = open("after", O_CREAT | O_WRONLY, 0600);

	tell("open", "after", NULL, "ok", "\"created\": true");
	if (write(fd, "abc", 3) != 3)
		return 1;
	tell("write", "after", NULL, "ok", "\"bytes\": 3, \"calls\": 1");
	if (rename("by-thread", "renamed"))
		return 1;
	tell("rename", "renamed", "by-thread", "ok", NULL);
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	umask(0);
	story_begin();
	program = argv[0];
	if (argc > 1)
		return again();
	pthread_create(&thread, 0, run, 0);
	for (;;)
		pause();
}
