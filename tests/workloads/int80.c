/* SPDX-License-Identifier: Apache-2.0 */
/* A 64-bit program that makes 32-bit system calls (int 0x80): mkdir is 39 there, which is getpid here. */
#define _GNU_SOURCE
#include "story.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static long call(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	return result;
}

int main(void)
{
	/* Addresses have 32 bits as well. */
	char *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			 -1, 0);
	long made = (long)low, moved = (long)low + 100, data = (long)low + 200;
	long fd;

	if (low == MAP_FAILED)
		return 1;
	strcpy(low, "made");
	strcpy(low + 100, "moved");
	strcpy(low + 200, "data");
	umask(0);
	story_begin();
	if (call(39, made, 0700, 0)) {
		fprintf(stderr, "no 32-bit system calls here\n");
		return 77;
	}
	tell("mkdir", "made", NULL, "ok", "\"mode\": 448");
	if (call(38, made, moved, 0))
		return 1;
	tell("rename", "moved", "made", "ok", NULL);
	fd = call(5, made, O_CREAT | O_WRONLY, 0600);
	if (fd < 0)
		return 1;
	tell("open", "made", NULL, "ok", "\"access\": \"w\", \"created\": true");
	if (call(4, fd, data, 4) != 4)
		return 1;
	tell("write", "made", NULL, "ok", "\"bytes\": 4, \"calls\": 1");
	if (call(38, moved, made, 0) != -ENOTDIR)
		return 1;
	tell("rename", "made", "moved", "ENOTDIR", NULL);
	if (unlink("made"))
		return 1;
	tell("unlink", "made", NULL, "ok", NULL);
	return 0;
}
