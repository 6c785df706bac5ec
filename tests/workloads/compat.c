/* SPDX-License-Identifier: Apache-2.0 */
/* A 32-bit program: its system calls have numbers and argument layouts of their own. */
#include "story.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define OK 0

static void names(void)
{
	went(syscall(SYS_mkdir, "d", 0755), OK, "mkdir");
	tell("mkdir", "d", NULL, "ok", "\"mode\": 493");
	went(syscall(SYS_mkdirat, AT_FDCWD, "d/e", 0755), OK, "mkdirat");
	tell("mkdir", "d/e", NULL, "ok", NULL);
	went(syscall(SYS_mkdir, "d", 0755), EEXIST, "mkdir");
	tell("mkdir", "d", NULL, "EEXIST", NULL);
	went(syscall(SYS_symlink, "d/f", "s"), OK, "symlink");
	tell("symlink", "s", "d/f", "ok", NULL);
	went(syscall(SYS_mknod, "fifo", S_IFIFO | 0600, 0), OK, "mknod");
	tell("mknod", "fifo", NULL, "ok", NULL);
	went(syscall(SYS_rename, "fifo", "fifo2"), OK, "rename");
	tell("rename", "fifo2", "fifo", "ok", NULL);
	went(syscall(SYS_unlink, "fifo2"), OK, "unlink");
	tell("unlink", "fifo2", NULL, "ok", NULL);
	went(syscall(SYS_rmdir, "d/e"), OK, "rmdir");
	tell("rmdir", "d/e", NULL, "ok", NULL);
}

static void files(void)
{
	int fd = went(syscall(SYS_open, "d/f", O_CREAT | O_RDWR, 0600), OK, "open");

	tell("open", "d/f", NULL, "ok", "\"access\": \"rw\", \"created\": true, \"flags\": [\"creat\"]");
	went(syscall(SYS_write, fd, "12345678", 8), OK, "write");
	tell("write", "d/f", NULL, "ok", "\"bytes\": 12, \"calls\": 2");
	went(syscall(SYS_pwrite64, fd, "1234", 4, 0, 0), OK, "pwrite64");
	went(syscall(SYS_ftruncate64, fd, 5, 0), OK, "ftruncate64");
	tell("truncate", "d/f", NULL, "ok", NULL);
	went(syscall(SYS_ftruncate, fd, 4), OK, "ftruncate");
	tell("truncate", "d/f", NULL, "ok", NULL);
	went(syscall(SYS_truncate64, "s", 6, 0), OK, "truncate64");
	tell("truncate", "d/f", NULL, "ok", NULL);
	went(syscall(SYS_fallocate, fd, 0, 0, 0, 4096, 0), OK, "fallocate");
	tell("fallocate", "d/f", NULL, "ok", NULL);
	went(syscall(SYS_fchmod, fd, 0640), OK, "fchmod");
	tell("chmod", "d/f", NULL, "ok", "\"mode\": 416");
	went(syscall(SYS_chmod, "d/f", 0600), OK, "chmod");
	tell("chmod", "d/f", NULL, "ok", NULL);
	/* Both widths of user numbers. */
	went(syscall(SYS_lchown, "s", getuid(), getgid()), OK, "lchown");
	tell("chown", "s", NULL, "ok", NULL);
	went(syscall(SYS_chown32, "s", getuid(), getgid()), OK, "chown32");
	tell("chown", "d/f", NULL, "ok", NULL);
	went(syscall(SYS_lchown32, "s", getuid(), getgid()), OK, "lchown32");
	tell("chown", "s", NULL, "ok", NULL);
	went(syscall(SYS_fchown32, fd, getuid(), getgid()), OK, "fchown32");
	tell("chown", "d/f", NULL, "ok", NULL);
	went(syscall(SYS_utimensat, AT_FDCWD, "d/f", NULL, 0), OK, "utimensat");
	tell("utime", "d/f", NULL, "ok", NULL);
	went(syscall(SYS_link, "d/f", "hard"), OK, "link");
	tell("link", "hard", "d/f", "ok", NULL);
	went(syscall(SYS_linkat, AT_FDCWD, "d/f", AT_FDCWD, "hard", 0), EEXIST, "linkat");
	tell("link", "hard", "d/f", "EEXIST", NULL);
	close(fd);
	fd = went(syscall(SYS_openat, AT_FDCWD, "hard", O_RDONLY), OK, "openat");
	tell("open", "hard", NULL, "ok", "\"access\": \"r\", \"flags\": []");
	int out = went(syscall(SYS_creat, "sent", 0600), OK, "creat");
	tell("open", "sent", NULL, "ok", "\"access\": \"w\", \"created\": true");
	went(syscall(SYS_sendfile64, out, fd, NULL, 100), OK, "sendfile64");
	tell("copy", "sent", "hard", "ok", "\"bytes\": 100");
	close(out);
	close(fd);
}

static void sockets(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "sock" };
	unsigned long arguments[3];
	int fd;

	/* socketcall(2): the arguments lie in memory. */
	arguments[0] = AF_UNIX;
	arguments[1] = SOCK_STREAM;
	arguments[2] = 0;
	fd = went(syscall(SYS_socketcall, 1, arguments), OK, "socketcall(socket)");
	arguments[0] = fd;
	arguments[1] = (unsigned long)&address;
	arguments[2] = sizeof(address);
	went(syscall(SYS_socketcall, 2, arguments), OK, "socketcall(bind)");
	tell("bind", "sock", NULL, "ok", NULL);
	close(fd);
	strcpy(address.sun_path, "sock2");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	went(syscall(SYS_bind, fd, &address, sizeof(address)), OK, "bind");
	tell("bind", "sock2", NULL, "ok", NULL);
	close(fd);
}

static void mappings(void)
{
	int fd = went(syscall(SYS_open, "hard", O_RDWR), OK, "open");
	unsigned long arguments[6] = { 0, 4096, 3, 1, fd, 0 };

	tell("open", "hard", NULL, "ok", "\"access\": \"rw\"");
	went(syscall(SYS_mmap2, 0, 4096, 3, 1, fd, 0) == -1 ? -1 : 0, OK, "mmap2");
	tell("mmap_write", "hard", NULL, "ok", NULL);
	went(syscall(SYS_mmap, arguments) == -1 ? -1 : 0, OK, "old mmap");
	tell("mmap_write", "hard", NULL, "ok", NULL);
	close(fd);
}

int main(void)
{
	umask(0);
	story_begin();
	names();
	files();
	sockets();
	mappings();
	return 0;
}
