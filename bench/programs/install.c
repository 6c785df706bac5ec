/*
 * install DIR EVENTS STAMP: does what installers do, until EVENTS operations are made: a file
 * under a temporary name, its content, its mode, its final name; 64 files in a directory.
 * At the end it writes the time (CLOCK_MONOTONIC, nanoseconds) into the file STAMP.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *name)
{
	perror(name);
	exit(1);
}

int main(int argc, char **argv)
{
	static const char content[1200] = "# a module of a package\n";
	char temporary[96], final[96], directory[64] = "";
	struct timespec now;
	long events = 0, wanted, file = 0;
	FILE *stamp;

	if (argc != 4 || chdir(argv[1])) {
		fprintf(stderr, "usage: install DIR EVENTS STAMP\n");
		return 2;
	}
	wanted = atol(argv[2]);
	while (events < wanted) {
		if (file % 64 == 0) {
			snprintf(directory, sizeof(directory), "package_%ld", file / 64);
			if (mkdir(directory, 0755))
				fail(directory);
			events++;
		}
		snprintf(temporary, sizeof(temporary), "%s/.tmp%06ld", directory, file);
		snprintf(final, sizeof(final), "%s/module_%ld.py", directory, file);
		int fd = open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, content, sizeof(content)) != sizeof(content) || fchmod(fd, 0644))
			fail(temporary);
		close(fd);
		if (rename(temporary, final))
			fail(final);
		events += 4;
		file++;
	}
	stamp = fopen(argv[3], "w");
	if (!stamp)
		fail(argv[3]);
	clock_gettime(CLOCK_MONOTONIC, &now);
	fprintf(stamp, "%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
	return fclose(stamp) != 0;
}
