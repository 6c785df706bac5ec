/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring: requests with a directory, and those that the system refuses. */
#define main uring_main
#include "uring.c"
#undef main

static void in_a_directory(int dir)
{
	struct io_uring_sqe r;
	int fd;

	run(request(IORING_OP_MKDIRAT, dir, "below", 0700), 0, "mkdirat");
	tell("mkdir", "d/below", NULL, "ok", FLAGS ", \"mode\": 448");
	r = request(IORING_OP_OPENAT, dir, "f", 0600);
	r.open_flags = O_CREAT | O_RDONLY;
	fd = run(r, 0, "openat");
	tell("open", "d/f", NULL, "ok", "\"access\": \"r\", \"created\": true");
	run(request(IORING_OP_WRITE, fd, "x", 1), EBADF, "write");
	tell("write", "d/f", NULL, "EBADF", FLAGS);
	close(fd);
	r = request(IORING_OP_RENAMEAT, dir, "f", AT_FDCWD);
	r.addr2 = (unsigned long)"d/below";
	r.rename_flags = 2; /* RENAME_EXCHANGE */
	run(r, 0, "renameat");
	tell("exchange", "d/below", "d/f", "ok", FLAGS);
	r.rename_flags = 1; /* RENAME_NOREPLACE */
	run(r, EEXIST, "renameat");
	tell("rename", "d/below", "d/f", "EEXIST", "\"flags\": [\"io_uring\", \"noreplace\"]");
	run(request(IORING_OP_UNLINKAT, dir, "f", 0), EISDIR, "unlinkat");
	tell("unlink", "d/f", NULL, "EISDIR", FLAGS);
	/* The name is relative to the directory in "fd", the text is not. */
	r = request(IORING_OP_SYMLINKAT, dir, "text", 0);
	r.addr2 = (unsigned long)"f";
	run(r, EEXIST, "symlinkat");
	tell("symlink", "d/f", "text", "EEXIST", FLAGS);
}

static void refused(void)
{
	struct io_uring_sqe r;
	int dir;

	run(request(IORING_OP_MKDIRAT, AT_FDCWD, "d", 0755), 0, "mkdirat");
	tell("mkdir", "d", NULL, "ok", FLAGS);
	r = request(IORING_OP_OPENAT, AT_FDCWD, "d", 0);
	r.open_flags = O_DIRECTORY;
	dir = run(r, 0, "openat");
	tell("open", "d", NULL, "ok", "\"access\": \"r\"");
	in_a_directory(dir);
	r = request(IORING_OP_UNLINKAT, AT_FDCWD, "d", 0);
	r.unlink_flags = AT_REMOVEDIR;
	run(r, ENOTEMPTY, "unlinkat");
	tell("rmdir", "d", NULL, "ENOTEMPTY", FLAGS);
}

int main(void)
{
	umask(0);
	story_begin();
	begin(0);
	refused();
	return 0;
}
