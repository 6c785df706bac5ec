/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring: operations that make no system call of their own, one after the other.
 *
 *   uring           as part of io_uring_enter
 *   uring async     by the kernel's worker threads (IOSQE_ASYNC)
 *   uring polled    taken up by a kernel thread (IORING_SETUP_SQPOLL)
 *   uring chained   several handed in at once, each after the one before it (IOSQE_IO_LINK)
 *   uring silent    without a result where there is success (IOSQE_CQE_SKIP_SUCCESS)
 *   uring fixed     on files of io_uring's own table (IOSQE_FIXED_FILE), and out of its own buffers
 *   uring data      operations on the data and attributes of open files
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
#include <sys/uio.h>

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

/* Place a request in the queue, to be handed in with the next. */
static void queue(struct io_uring_sqe request, unsigned char flags)
{
	unsigned tail = *sq_tail;

	request.flags |= sqe_flags | flags;
	sqes[tail & *sq_mask] = request;
	sq_array[tail & *sq_mask] = tail & *sq_mask;
	__atomic_store_n(sq_tail, tail + 1, __ATOMIC_RELEASE);
}

/* Hand in what is queued, and take the results of so many, which must be successes. */
static void hand_in(unsigned count, unsigned results)
{
	if (syscall(SYS_io_uring_enter, ring, count, results, IORING_ENTER_GETEVENTS, NULL, 0) != (long)count)
		exit(1);
	for (; results; results--) {
		int result = cqes[*cq_head & *cq_mask].res;

		if (result < 0) {
			fprintf(stderr, "queued: %s\n", strerror(-result));
			exit(result == -EINVAL ? 77 : 1);
		}
		__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
	}
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

#define FLAGS "\"flags\": [\"io_uring\"]"

static void chained(void)
{
	struct io_uring_sqe r = request(IORING_OP_LINKAT, AT_FDCWD, "one/two", AT_FDCWD);

	queue(request(IORING_OP_MKDIRAT, AT_FDCWD, "one", 0755), IOSQE_IO_LINK);
	queue(request(IORING_OP_SYMLINKAT, AT_FDCWD, "text", 0), IOSQE_IO_LINK);
	sqes[(*sq_tail - 1) & *sq_mask].addr2 = (unsigned long)"one/two";
	r.addr2 = (unsigned long)"one/three";
	queue(r, IOSQE_IO_LINK);
	queue(request(IORING_OP_UNLINKAT, AT_FDCWD, "one/two", 0), 0);
	hand_in(4, 4);
	tell("mkdir", "one", NULL, "ok", FLAGS ", \"mode\": 493");
	tell("symlink", "one/two", "text", "ok", FLAGS);
	tell("link", "one/three", "one/two", "ok", FLAGS);
	tell("unlink", "one/two", NULL, "ok", FLAGS);
}

/* A last one with a result tells that the others are done. */
static void silent(void)
{
	queue(request(IORING_OP_MKDIRAT, AT_FDCWD, "quiet", 0700), IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK);
	queue(request(IORING_OP_MKDIRAT, AT_FDCWD, "quiet/deep", 0700), IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK);
	queue(request(IORING_OP_MKDIRAT, AT_FDCWD, "loud", 0700), 0);
	hand_in(3, 1);
	tell("mkdir", "quiet", NULL, "ok", FLAGS);
	tell("mkdir", "quiet/deep", NULL, "ok", FLAGS);
	tell("mkdir", "loud", NULL, "ok", FLAGS);
}

/* Write out of a buffer that the kernel was told of before. */
static void buffered(void)
{
	static char buffer[] = "123456";
	struct iovec known = { buffer, sizeof(buffer) };
	struct io_uring_sqe r = request(IORING_OP_OPENAT, AT_FDCWD, "buffered", 0600);
	int fd;

	r.open_flags = O_CREAT | O_EXCL | O_WRONLY;
	fd = run(r, 0, "openat");
	tell("open", "buffered", NULL, "ok", "\"access\": \"w\", \"created\": true");
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &known, 1))
		exit(77);
	r = request(IORING_OP_WRITE_FIXED, fd, buffer, 6);
	r.buf_index = 0;
	run(r, 0, "write of a fixed buffer");
	tell("write", "buffered", NULL, "ok", FLAGS ", \"bytes\": 6");
	close(fd);
}

static void fixed(void)
{
	int none[2] = { -1, -1 };
	struct io_uring_sqe r = request(IORING_OP_OPENAT, AT_FDCWD, "slot", 0600);

	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, none, 2))
		exit(77);
	r.open_flags = O_CREAT | O_EXCL | O_WRONLY;
	r.file_index = 2;
	run(r, 0, "openat into a slot");
	tell("open", "slot", NULL, "ok", "\"access\": \"w\", \"created\": true");
	r = request(IORING_OP_WRITE, 1, "12345678", 8);
	r.flags = IOSQE_FIXED_FILE;
	run(r, 0, "write to a slot");
	tell("write", "slot", NULL, "ok", FLAGS ", \"bytes\": 8");
	r = request(IORING_OP_FALLOCATE, 1, NULL, 0);
	r.addr = 4096;
	r.flags = IOSQE_FIXED_FILE;
	run(r, 0, "fallocate in a slot");
	tell("fallocate", "slot", NULL, "ok", NULL);
	buffered();
}

static void data(void)
{
	struct open_how { unsigned long long flags, mode, resolve; } how = { O_CREAT | O_RDWR, 0640, 0 };
	struct io_uring_sqe r = request(IORING_OP_OPENAT2, AT_FDCWD, "file", sizeof(how));
	struct iovec parts[] = { { "abc", 3 }, { "de", 2 } };
	int ends[2], fd;

	r.addr2 = (unsigned long)&how;
	fd = run(r, 0, "openat2");
	tell("open", "file", NULL, "ok", "\"access\": \"rw\", \"created\": true, \"mode\": 416");
	run(request(IORING_OP_WRITEV, fd, parts, 2), 0, "writev");
	tell("write", "file", NULL, "ok", FLAGS ", \"bytes\": 5");
	if (pipe(ends) || write(ends[1], "piped", 5) != 5)
		exit(1);
	r = request(IORING_OP_SPLICE, fd, NULL, 5);
	r.splice_fd_in = ends[0];
	r.splice_off_in = -1ULL;
	run(r, 0, "splice");
	tell("copy", "file", NULL, "ok", FLAGS ", \"bytes\": 5");
	r = request(IORING_OP_FSETXATTR, fd, "user.two", 1);
	r.addr2 = (unsigned long)"2";
	run(r, 0, "fsetxattr");
	tell("setxattr", "file", NULL, "ok", "\"flags\": [\"io_uring\", \"xattr=user.two\"]");
	/* IORING_OP_FTRUNCATE, which is younger than many a header (Linux 6.9). */
	r = request(55, fd, NULL, 0);
	r.off = 3;
	run(r, 0, "ftruncate");
	tell("truncate", "file", NULL, "ok", FLAGS);
	close(fd);
}

static void carry_out(const char *what)
{
	if (!strcmp(what, "chained"))
		chained();
	else if (!strcmp(what, "silent"))
		silent();
	else if (!strcmp(what, "fixed"))
		fixed();
	else if (!strcmp(what, "data"))
		data();
	else
		all();
}

int main(int argc, char **argv)
{
	umask(0);
	story_begin();
	sqe_flags = argc > 1 && !strcmp(argv[1], "async") ? IOSQE_ASYNC : 0;
	begin(argc > 1 && !strcmp(argv[1], "polled") ? IORING_SETUP_SQPOLL : 0);
	carry_out(argc > 1 ? argv[1] : "");
	return 0;
}
