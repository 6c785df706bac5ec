/*
 * spin CALLS: prints what one getpid(2) costs, in nanoseconds of processor time. Processor
 * time, so that other programs on the machine do not count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec from, to;
	long calls = argc == 2 ? atol(argv[1]) : 0;

	if (calls < 1) {
		fprintf(stderr, "usage: spin CALLS\n");
		return 2;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (long i = 0; i < calls; i++)
		syscall(SYS_getpid);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	printf("%.2f\n", ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / calls);
	return 0;
}
