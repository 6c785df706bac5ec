/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and removes files as fast as it can: flood COUNT PROCESSES. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 1000, processes = argc > 2 ? atol(argv[2]) : 1;
	char name[64];
	int status, failed = 0;

	for (long process = 0; process < processes; process++) {
		if (fork())
			continue;
		for (long i = 0; i < count / processes; i++) {
			snprintf(name, sizeof(name), "flood-%ld-%ld", process, i % 64);
			int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);

			if (fd < 0)
				_exit(1);
			close(fd);
			if (unlink(name))
				_exit(1);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}
