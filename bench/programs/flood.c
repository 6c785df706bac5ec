/* flood DIR PROCESSES FILES: each process creates FILES empty files, 1,000 in a directory. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void create(int process, long files)
{
	char name[64];

	snprintf(name, sizeof(name), "p%d", process);
	mkdir(name, 0755);
	for (long i = 0; i < files; i++) {
		if (i % 1000 == 0) {
			snprintf(name, sizeof(name), "p%d/d%ld", process, i / 1000);
			mkdir(name, 0755);
		}
		snprintf(name, sizeof(name), "p%d/d%ld/f%ld", process, i / 1000, i);
		int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0) {
			perror(name);
			_exit(1);
		}
		close(fd);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	int status, failed = 0;

	if (argc != 4 || chdir(argv[1])) {
		fprintf(stderr, "usage: flood DIR PROCESSES FILES\n");
		return 2;
	}
	for (int i = 0; i < atoi(argv[2]); i++)
		if (fork() == 0)
			create(i, atol(argv[3]));
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}
