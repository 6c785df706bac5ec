/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring: what a request begins at is another thing when it is carried out, or told of, than when
 * it was submitted. Each name must be recorded as it was, or said to be text only.
 *
 *   uring_later cwd      the working directory, while the request waits for one before it
 *   uring_later dir      a descriptor's directory, likewise
 *   uring_later apart    the working directory of io_uring's threads, which they began with
 *   uring_later opened   the descriptor that an open returned, before its result is asked for
 */
#define main uring_main
#include "uring.c"
#undef main

#include <sched.h>

static int ends[2];

/* Queue a read of a pipe, and then a request that waits for it; hand in both. */
static void wait_with(struct io_uring_sqe r)
{
	static char byte;

	if (pipe(ends))
		exit(1);
	queue(request(IORING_OP_READ, ends[0], &byte, 1), IOSQE_IO_LINK);
	queue(r, 0);
	if (syscall(SYS_io_uring_enter, ring, 2, 0, 0, NULL, 0) != 2)
		exit(1);
}

static void go_on(void)
{
	if (write(ends[1], "x", 1) != 1)
		exit(1);
	hand_in(0, 2);
}

static void made(const char *path)
{
	struct stat status;

	if (stat(path, &status)) {
		fprintf(stderr, "%s was not made\n", path);
		exit(1);
	}
}

static int directory(const char *path)
{
	int fd;

	if (mkdir(path, 0755))
		exit(1);
	tell("mkdir", path, NULL, "ok", NULL);
	fd = open(path, O_PATH);
	tell("open", path, NULL, "ok", "\"access\": \"path\"");
	return fd;
}

static void moved(const char *what)
{
	int before = directory("before"), after = directory("after");

	if (!strcmp(what, "dir")) {
		int fd = dup(before);

		wait_with(request(IORING_OP_MKDIRAT, fd, "new", 0700));
		dup2(after, fd);
		go_on();
		made("after/new");
		tell("mkdir", "after/new", NULL, "ok", NULL);
		return;
	}
	if (fchdir(before))
		exit(1);
	if (!strcmp(what, "apart")) {
		run(request(IORING_OP_MKDIRAT, AT_FDCWD, "first", 0700), 0, "mkdirat");
		tell("mkdir", "before/first", NULL, "ok", FLAGS);
		if (unshare(CLONE_FS) || fchdir(after))
			exit(1);
		run(request(IORING_OP_MKDIRAT, AT_FDCWD, "new", 0700), 0, "mkdirat");
		if (faccessat(before, "new", F_OK, 0)) {
			made("new");
			tell("mkdir", "after/new", NULL, "ok", NULL);
		} else {
			tell("mkdir", "before/new", NULL, "ok", NULL);
		}
		return;
	}
	wait_with(request(IORING_OP_MKDIRAT, AT_FDCWD, "new", 0700));
	if (fchdir(after))
		exit(1);
	go_on();
	made("new");
	tell("mkdir", "after/new", NULL, "ok", NULL);
	/* There and back: the same as before is not the same all along. */
	if (fchdir(before))
		exit(1);
	wait_with(request(IORING_OP_MKDIRAT, AT_FDCWD, "again", 0700));
	if (fchdir(after) || write(ends[1], "x", 1) != 1)
		exit(1);
	while (faccessat(after, "again", F_OK, 0))
		usleep(1000);
	if (fchdir(before))
		exit(1);
	hand_in(0, 2);
	tell("mkdir", "after/again", NULL, "ok", NULL);
}

static void opened(void)
{
	struct io_uring_sqe r = request(IORING_OP_OPENAT, AT_FDCWD, "opened", 0600);
	int other = open("other", O_RDWR | O_CREAT, 0600), expected, kept;

	tell("open", "other", NULL, "ok", NULL);
	expected = dup(0);
	close(expected);
	r.open_flags = O_CREAT | O_WRONLY;
	queue(r, 0);
	if (syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) != 1)
		exit(1);
	while (fcntl(expected, F_GETFD) < 0)
		usleep(1000);
	kept = dup(expected);
	if (kept < 0 || dup2(other, expected) < 0)
		exit(1);
	hand_in(0, 1);
	tell("open", "opened", NULL, "ok", "\"access\": \"w\"");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	umask(0);
	story_begin();
	if (!strcmp(what, "opened")) {
		/* With these a result is told when it is asked for, and not before. */
		begin(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
		opened();
	} else {
		begin(0);
		moved(what);
	}
	return 0;
}
