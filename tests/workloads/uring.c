/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring: operations that make no system call of their own, one after the other.
 *
 *   uring           as part of io_uring_enter
 *   uring async     by the kernel's worker threads (IOSQE_ASYNC)
 *   uring polled    taken up by a kernel thread (IORING_SETUP_SQPOLL)
 *
 * Ends with status 77 where the system has no io_uring.
 */
#define _GNU_SOURCE
#include "story.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int ring;
static unsigned char sqe_flags;
static struct io_uring_params params;
static unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;

static void begin(unsigned flags)
{
	char *sq, *cq;

	params.flags = flags;
	params.sq_thread_idle = 1000;
	ring = syscall(SYS_io_uring_setup, 8, &params);
	if (ring < 0)
		exit(77);
	sq = mmap(0, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		  ring, IORING_OFF_SQ_RING);
	cq = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(*cqes), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	sqes = mmap(0, params.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
		    IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		exit(77);
	sq_tail = (unsigned *)(sq + params.sq_off.tail);
	sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
	sq_array = (unsigned *)(sq + params.sq_off.array);
	sq_flags = (unsigned *)(sq + params.sq_off.flags);
	cq_head = (unsigned *)(cq + params.cq_off.head);
	cq_tail = (unsigned *)(cq + params.cq_off.tail);
	cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
	cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

/* Hand in one request and wait for its result, which must be an errno (want) or success (0). */
static int run(struct io_uring_sqe request, int want, const char *what)
{
	unsigned tail = *sq_tail, enter = IORING_ENTER_GETEVENTS;
	int result;

	request.flags |= sqe_flags;
	sqes[tail & *sq_mask] = request;
	sq_array[tail & *sq_mask] = tail & *sq_mask;
	__atomic_store_n(sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (params.flags & IORING_SETUP_SQPOLL &&
	    __atomic_load_n(sq_flags, __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP)
		enter |= IORING_ENTER_SQ_WAKEUP;
	while (__atomic_load_n(cq_tail, __ATOMIC_ACQUIRE) == *cq_head)
		if (syscall(SYS_io_uring_enter, ring, tail + 1 - *cq_head > 0 ? 1 : 0, 1, enter, NULL, 0) < 0 &&
		    errno != EINTR && errno != EBUSY)
			exit(1);
	result = cqes[*cq_head & *cq_mask].res;
	__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
	if ((result < 0 ? -result : 0) != want) {
		fprintf(stderr, "%s: %s, not %s\n", what, strerror(result < 0 ? -result : 0), strerror(want));
		exit(result == -EINVAL ? 77 : 1);
	}
	return result;
}

static struct io_uring_sqe request(unsigned char opcode, int fd, const void *address, unsigned length)
{
	struct io_uring_sqe made = { .opcode = opcode, .fd = fd, .len = length };

	made.addr = (unsigned long)address;
	return made;
}

static void all(void)
{
	struct io_uring_sqe r = request(IORING_OP_MKDIRAT, AT_FDCWD, "d", 0755);
	int fd;

	run(r, 0, "mkdirat");
	tell("mkdir", "d", NULL, "ok", NULL);
	run(r, EEXIST, "mkdirat");
	tell("mkdir", "d", NULL, "EEXIST", NULL);
	r = request(IORING_OP_OPENAT, AT_FDCWD, "d/f", 0600);
	r.open_flags = O_CREAT | O_RDWR;
	fd = run(r, 0, "openat");
	tell("open", "d/f", NULL, "ok", "\"access\": \"rw\"");
	r = request(IORING_OP_OPENAT, AT_FDCWD, "missing", 0);
	run(r, ENOENT, "openat");
	tell("open", "missing", NULL, "ENOENT", NULL);
	run(request(IORING_OP_WRITE, fd, "12345678", 8), 0, "write");
	tell("write", "d/f", NULL, "ok", NULL);
	r = request(IORING_OP_FALLOCATE, fd, NULL, 0);
	r.addr = 4096;
	run(r, 0, "fallocate");
	tell("fallocate", "d/f", NULL, "ok", NULL);
	r = request(IORING_OP_LINKAT, AT_FDCWD, "d/f", AT_FDCWD);
	r.addr2 = (unsigned long)"linked";
	run(r, 0, "linkat");
	tell("link", "linked", "d/f", "ok", NULL);
	run(r, EEXIST, "linkat");
	tell("link", "linked", "d/f", "EEXIST", NULL);
	r = request(IORING_OP_SYMLINKAT, AT_FDCWD, "d/f", 0);
	r.addr2 = (unsigned long)"symlink";
	run(r, 0, "symlinkat");
	tell("symlink", "symlink", "d/f", "ok", NULL);
	r = request(IORING_OP_RENAMEAT, AT_FDCWD, "linked", AT_FDCWD);
	r.addr2 = (unsigned long)"d/renamed";
	run(r, 0, "renameat");
	tell("rename", "d/renamed", "linked", "ok", NULL);
	run(request(IORING_OP_UNLINKAT, AT_FDCWD, "d/renamed", 0), 0, "unlinkat");
	tell("unlink", "d/renamed", NULL, "ok", NULL);
	r = request(IORING_OP_MKDIRAT, AT_FDCWD, "d/e", 0755);
	run(r, 0, "mkdirat");
	tell("mkdir", "d/e", NULL, "ok", NULL);
	r = request(IORING_OP_UNLINKAT, AT_FDCWD, "d/e", 0);
	r.unlink_flags = AT_REMOVEDIR;
	run(r, 0, "unlinkat");
	tell("rmdir", "d/e", NULL, "ok", NULL);
	r = request(IORING_OP_SETXATTR, 0, "user.one", 1);
	r.addr2 = (unsigned long)"1";
	r.addr3 = (unsigned long)"d/f";
	run(r, 0, "setxattr");
	tell("setxattr", "d/f", NULL, "ok", NULL);
	close(fd);
}

int main(int argc, char **argv)
{
	umask(0);
	story_begin();
	sqe_flags = argc > 1 && !strcmp(argv[1], "async") ? IOSQE_ASYNC : 0;
	begin(argc > 1 && !strcmp(argv[1], "polled") ? IORING_SETUP_SQPOLL : 0);
	all();
	return 0;
}
