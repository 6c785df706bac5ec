/* SPDX-License-Identifier: Apache-2.0 */
/* A 32-bit program, the calls that compat.c leaves out: each has a number or a layout of its own. */
#define _GNU_SOURCE
#include "story.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define OK 0
#define NODUMP 0x40

static int opened(const char *name, int flags)
{
	int fd = went(syscall(SYS_openat, AT_FDCWD, name, flags, 0600), OK, "openat");

	tell("open", name, NULL, "ok", NULL);
	return fd;
}

static void names(void)
{
	struct open_how how = { O_CREAT | O_EXCL | O_WRONLY, 0640, RESOLVE_BENEATH };
	int dir;

	went(syscall(SYS_mkdir, "d", 0755), OK, "mkdir");
	tell("mkdir", "d", NULL, "ok", NULL);
	dir = opened("d", O_DIRECTORY);
	went(syscall(SYS_mknodat, dir, "fifo", S_IFIFO | 0600, 0), OK, "mknodat");
	tell("mknod", "d/fifo", NULL, "ok", NULL);
	went(syscall(SYS_symlinkat, "fifo", dir, "l"), OK, "symlinkat");
	tell("symlink", "d/l", "fifo", "ok", NULL);
	went(syscall(SYS_linkat, dir, "fifo", dir, "hard", 0), OK, "linkat");
	tell("link", "d/hard", "d/fifo", "ok", NULL);
	went(syscall(SYS_renameat, dir, "l", AT_FDCWD, "moved"), OK, "renameat");
	tell("rename", "moved", "d/l", "ok", NULL);
	went(syscall(SYS_renameat2, dir, "fifo", AT_FDCWD, "moved", 2), OK, "renameat2");
	tell("exchange", "moved", "d/fifo", "ok", NULL);
	went(syscall(SYS_renameat2, dir, "fifo", AT_FDCWD, "moved", 1), EEXIST, "renameat2");
	tell("rename", "moved", "d/fifo", "EEXIST", "\"flags\": [\"noreplace\"]");
	went(syscall(SYS_unlinkat, dir, "hard", 0), OK, "unlinkat");
	tell("unlink", "d/hard", NULL, "ok", NULL);
	went(syscall(SYS_unlinkat, AT_FDCWD, "d", AT_REMOVEDIR), ENOTEMPTY, "unlinkat");
	tell("rmdir", "d", NULL, "ENOTEMPTY", NULL);
	close(went(syscall(SYS_openat2, dir, "two", &how, sizeof(how)), OK, "openat2"));
	tell("open", "d/two", NULL, "ok", "\"access\": \"w\", \"created\": true, \"mode\": 416");
	close(dir);
}

static void owners_and_times(int dir, int fd)
{
	went(syscall(SYS_fchmodat, dir, "two", 0600), OK, "fchmodat");
	tell("chmod", "d/two", NULL, "ok", "\"mode\": 384");
	/* 16-bit user numbers; -1 leaves them as they are. */
	went(syscall(SYS_chown, "d/two", 0xffff, 0xffff), OK, "chown");
	tell("chown", "d/two", NULL, "ok", NULL);
	went(syscall(SYS_fchown, fd, 0xffff, 0xffff), OK, "fchown");
	tell("chown", "d/two", NULL, "ok", NULL);
	went(syscall(SYS_fchownat, dir, "two", -1, -1, 0), OK, "fchownat");
	tell("chown", "d/two", NULL, "ok", NULL);
	went(syscall(SYS_utime, "d/two", NULL), OK, "utime");
	tell("utime", "d/two", NULL, "ok", NULL);
	went(syscall(SYS_utimes, "d/two", NULL), OK, "utimes");
	tell("utime", "d/two", NULL, "ok", NULL);
	went(syscall(SYS_futimesat, dir, "two", NULL), OK, "futimesat");
	tell("utime", "d/two", NULL, "ok", NULL);
	went(syscall(SYS_utimensat_time64, fd, NULL, NULL, 0), OK, "utimensat_time64");
	tell("utime", "d/two", NULL, "ok", NULL);
}

#define FLAGS(name) "\"flags\": [\"xattr=" name "\"]"

static void attributes(int fd)
{
	int flags = NODUMP;

	went(syscall(SYS_setxattr, "d/two", "user.a", "1", 1, 0), OK, "setxattr");
	tell("setxattr", "d/two", NULL, "ok", FLAGS("user.a"));
	went(syscall(SYS_lsetxattr, "d/two", "user.b", "1", 1, 0), OK, "lsetxattr");
	tell("setxattr", "d/two", NULL, "ok", FLAGS("user.b"));
	went(syscall(SYS_fsetxattr, fd, "user.c", "1", 1, 0), OK, "fsetxattr");
	tell("setxattr", "d/two", NULL, "ok", FLAGS("user.c"));
	went(syscall(SYS_removexattr, "d/two", "user.a"), OK, "removexattr");
	tell("removexattr", "d/two", NULL, "ok", FLAGS("user.a"));
	went(syscall(SYS_lremovexattr, "d/two", "user.b"), OK, "lremovexattr");
	tell("removexattr", "d/two", NULL, "ok", FLAGS("user.b"));
	went(syscall(SYS_fremovexattr, fd, "user.c"), OK, "fremovexattr");
	tell("removexattr", "d/two", NULL, "ok", FLAGS("user.c"));
	/* Not every file system has flags. */
	if (!syscall(SYS_ioctl, fd, FS_IOC32_SETFLAGS, &flags))
		tell("setflags", "d/two", NULL, "ok", NULL);
	else
		tell("setflags", "d/two", NULL, errno == ENOTTY ? "ENOTTY" : "EOPNOTSUPP", NULL);
}

static void asynchronous(void)
{
	unsigned long context = 0;
	struct iocb block = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_nbytes = 4 }, *blocks[] = { &block };
	struct io_event event;
	int fd = opened("aio", O_CREAT | O_WRONLY);

	block.aio_fildes = fd;
	block.aio_buf = (unsigned long)"1234";
	went(syscall(SYS_io_setup, 4, &context), OK, "io_setup");
	went(syscall(SYS_io_submit, context, 1, blocks), OK, "io_submit");
	tell("write", "aio", NULL, "ok", "\"bytes\": 4, \"flags\": [\"aio\"]");
	syscall(SYS_io_getevents, context, 1, 1, &event, NULL);
	syscall(SYS_io_destroy, context);
	close(fd);
}

static void data(void)
{
	struct iovec parts[] = { { "abc", 3 }, { "de", 2 } };
	int ends[2], fd = opened("d/two", O_RDWR), out;
	void *at;

	went(syscall(SYS_writev, fd, parts, 2), OK, "writev");
	tell("write", "d/two", NULL, "ok", "\"bytes\": 15, \"calls\": 3");
	went(syscall(SYS_pwritev, fd, parts, 2, 0, 0), OK, "pwritev");
	went(syscall(SYS_pwritev2, fd, parts, 2, 0, 0, 0), OK, "pwritev2");
	if (lseek(fd, 0, SEEK_SET))
		exit(1);
	out = opened("copy", O_CREAT | O_WRONLY);
	went(syscall(SYS_copy_file_range, fd, NULL, out, NULL, 3, 0), OK, "copy_file_range");
	tell("copy", "copy", "d/two", "ok", "\"bytes\": 3");
	went(syscall(SYS_sendfile, out, fd, NULL, 100), OK, "sendfile");
	tell("copy", "copy", "d/two", "ok", "\"bytes\": 2");
	if (pipe(ends) || write(ends[1], "piped", 5) != 5)
		exit(1);
	went(syscall(SYS_splice, ends[0], NULL, out, NULL, 5, 0), OK, "splice");
	tell("copy", "copy", NULL, "ok", "\"bytes\": 5");
	close(out);
	at = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
	went(syscall(SYS_mprotect, at, 4096, PROT_READ | PROT_WRITE), OK, "mprotect");
	tell("mmap_write", "d/two", NULL, "ok", NULL);
	close(fd);
}

int main(void)
{
	int dir, fd;

	umask(0);
	story_begin();
	names();
	dir = opened("d", O_DIRECTORY);
	fd = opened("d/two", O_RDWR);
	owners_and_times(dir, fd);
	attributes(fd);
	close(fd);
	close(dir);
	data();
	asynchronous();
	return 0;
}
