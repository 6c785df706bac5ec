/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The wire format between the kernel side and the host: what lies in the ring buffer.
 *
 * Widest members first, explicit padding, no pointers. The host's half is
 * writeaudit/capture/kernel/wire.py; tests/unit/capture/kernel/test_wire_layout.py compares the two.
 * A record is a struct wa_head (or a struct that begins with one), then, for an event,
 * each operand: a struct wa_operand, name_len bytes, base_len bytes, without padding.
 */
#ifndef WRITEAUDIT_EVENTS_H
#define WRITEAUDIT_EVENTS_H

#define WA_WIRE_VERSION 4

/* What a record is. */
enum wa_kind {
	WA_EVENT = 1, /* struct wa_event: one file-system operation */
	WA_TOTAL = 2, /* struct wa_total: sums of an open file that is gone */
	WA_FORK = 3, /* struct wa_task_event */
	WA_EXEC = 4, /* struct wa_task_event, then operand: the program; its name holds argv */
	WA_EXIT = 5, /* struct wa_task_event */
	WA_MOUNT = 6, /* struct wa_mount_event */
	WA_URING_DONE = 7, /* struct wa_event: the result of an io_uring request, and its file */
	WA_KINDS = 8,
};

/* The operation of an event; the host gives each system call its own (syscalls.py). */
enum wa_op {
	WA_OP_NONE = 0,
	WA_OP_OPEN = 1,
	WA_OP_OPENAT2 = 2, /* flags and mode lie in struct open_how */
	WA_OP_CREAT = 3,
	WA_OP_MKDIR = 4,
	WA_OP_MKNOD = 5,
	WA_OP_BIND = 6,
	WA_OP_SYMLINK = 7,
	WA_OP_LINK = 8,
	WA_OP_RENAME = 9,
	WA_OP_UNLINK = 10,
	WA_OP_RMDIR = 11,
	WA_OP_WRITE = 12,
	WA_OP_COPY = 13,
	WA_OP_IOCTL = 14, /* becomes one of the next three, or is dropped */
	WA_OP_CLONE = 15,
	WA_OP_DEDUPE = 16,
	WA_OP_SETFLAGS = 17,
	WA_OP_MMAP = 18,
	WA_OP_MPROTECT = 19,
	WA_OP_TRUNCATE = 20,
	WA_OP_FALLOCATE = 21,
	WA_OP_CHMOD = 22,
	WA_OP_CHOWN = 23,
	WA_OP_UTIME = 24,
	WA_OP_SETXATTR = 25,
	WA_OP_REMOVEXATTR = 26,
	WA_OP_MOUNT = 27,
	WA_OP_MOVE_MOUNT = 28,
	WA_OP_MOUNT_SETATTR = 29,
	WA_OP_UMOUNT = 30,
	WA_OP_CHROOT = 31,
	WA_OP_PIVOT_ROOT = 32,
	WA_OP_UNSHARE = 33, /* unshare, setns: paths mean something else from here on */
	WA_OP_AIO_WRITE = 34, /* io_submit of a write: its result is not seen */
	WA_OP_URING = 35, /* io_uring_setup, so that its use is never overlooked */
	WA_OP_HANDLE = 36, /* open_by_handle_at: no name was passed */
	WA_OP_MREMAP = 37,
	WA_OP_SOCKETCALL = 38, /* 32-bit: arguments in memory; becomes WA_OP_BIND or is dropped */
	WA_OP_OLD_MMAP = 39, /* 32-bit: arguments in memory; becomes WA_OP_MMAP */
	WA_OP_URING_OTHER = 40, /* an io_uring operation on files that is not decoded */
	WA_OP_MMAP_OTHER = 41, /* whatever else is mapped: it takes the place of what lay there */
	WA_OP_SUBVOL_CREATE = 42, /* of btrfs, as are the next two: directories, made and removed by ioctl */
	WA_OP_SUBVOL_SNAPSHOT = 43,
	WA_OP_SUBVOL_DESTROY = 44,
	WA_OP_CLOSE = 45, /* a descriptor may stand for another file from here on: not sent */
	WA_OP_CHDIR = 46, /* names may begin elsewhere from here on: not sent */
	WA_OP_OPEN_TREE = 47, /* a mount may have been made that is attached nowhere: not sent */
	WA_OP_ACCESS = 48, /* sent only if it asks whether the file may be written */
	WA_OP_RESTRICT = 49, /* landlock_restrict_self */
	WA_OP_UNKNOWN =
		50, /* of number arg[0]; arg[1]: of io_uring, arg[2]: of a 32-bit program. Once each */
	WA_OP_MADVISE = 51, /* MADV_REMOVE: a hole in the file behind a shared mapping */
	WA_OP_OUTSIDE = 52, /* reaches into another process, or hands page faults to one */
	WA_OP_PTRACE = 53, /* the same; most requests are of no interest */
	WA_OP_CONNECT = 54, /* of a Unix socket: somebody else may do something on its behalf */
	WA_OP_ACCT = 55, /* the kernel writes to a file from here on */
	WA_OPS = 56,
};

/* Flags of struct wa_operand. */
#define WA_F_BASE 0x0001 /* base holds the components of a path, last one first */
#define WA_F_NAME 0x0002 /* name holds what the process passed */
#define WA_F_FILE 0x0004 /* the base is the file itself; ino, dev, i_mode are its own */
#define WA_F_TEXT 0x0008 /* name is text, not a path (a symlink's content, an xattr's name) */
#define WA_F_TRUNCATED 0x0010 /* the path was longer than the buffer: bytes are missing */
#define WA_F_FAULT 0x0020 /* a read of kernel or user memory failed: bytes are missing */
#define WA_F_DELETED 0x0040 /* the file or directory has no name any more */
#define WA_F_DETACHED 0x0080 /* the mount is in no namespace (umount -l, fsmount) */
#define WA_F_UNREACHABLE 0x0100 /* the walk ended below the root of the mount */
#define WA_F_MAGIC 0x0200 /* name began with /proc/self/fd/N or the like: base is that file */
#define WA_F_ROOT 0x0400 /* name is absolute, base is the root directory of a chroot */
#define WA_F_NOFD 0x0800 /* the descriptor was not open (any more) */
#define WA_F_INTERNAL 0x1000 /* on a mount of the kernel's own (a pipe, a memfd): base is its name there */
#define WA_F_KNOWN                                                                            \
	0x4000 /* base is left out: an earlier record with the same chain had that directory; \
		* for an open file base holds its own name */
#define WA_F_ELSEWHERE 0x2000 /* name is relative, and the root directory is not writeaudit's */

/* Flags of struct wa_head. */
#define WA_H_IO_URING 0x0001
#define WA_H_COMPAT 0x0002 /* made by a 32-bit system call */
#define WA_H_NEW_MNT_NS 0x0004 /* fork: the child has a mount namespace of its own */
#define WA_H_MORE 0x0008 /* there was more of the same that was not sent */
#define WA_H_COREDUMP 0x0010 /* exit: the kernel wrote a core dump */
#define WA_H_SAME_MM 0x0020 /* fork: the child shares the parent's memory (CLONE_VM) */
#define WA_H_JOINED 0x0080 /* fork: it was there before, or its parent is not followed */
#define WA_H_DOUBTFUL 0x0040 /* result: what the request's names began at may have been another by then */

struct wa_head {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 pid; /* thread group id, in the pid namespace of writeaudit */
	__u32 tid;
	__u16 kind; /* enum wa_kind */
	__u16 flags; /* WA_H_* */
	__u8 op; /* enum wa_op */
	__u8 operands;
	__u16 row; /* of the table: which system call it was */
};

struct wa_event {
	struct wa_head head;
	__s64 ret;
	__u64 key; /* of the open file, where writes are added up; else 0 */
	__u64 arg[3]; /* flags, mode and one more, as the system call's entry says */
};

struct wa_operand {
	__u64 ino;
	__u64 chain; /* stands for the directory; 0 if none does, see WA_F_KNOWN */
	__u64 parent; /* inode number of the directory that the file lies in, or that a name begins at */
	__u32 dev; /* kernel's dev_t: major << 20 | minor; of a name: that of parent */
	__u32 mount; /* mount id */
	__u32 f_mode; /* FMODE_* of the open file */
	__u32 nlink; /* names that the file has */
	__u16 i_mode;
	__u16 flags; /* WA_F_* */
	__u16 base_len;
	__u16 in_mount; /* bytes of base that lie below the root of its mount */
	__u16 name_len;
	__u16 skip; /* bytes of name that are the magic link */
	__u16 room; /* WA_F_KNOWN: bytes that follow, used or not */
	__u16 pad;
};

struct wa_total {
	struct wa_head head;
	__u64 key;
	__u64 bytes;
	__u64 calls;
};

struct wa_task_event {
	struct wa_head head;
	/* fork: the child; exec: the thread that called it; exit: the code as wait(2) gives it */
	__u32 other;
	__u32 pad;
};

struct wa_mount_event {
	struct wa_head head;
	__u64 ns; /* inode number of the mount namespace, 0 for none */
	__u32 id;
	__u32 parent;
	__u32 dev;
	__u32 mnt_flags; /* MNT_* */
	__u32 sb_flags; /* SB_* */
	__u16 fstype_len;
	__u16 source_len;
	__u16 root_len; /* components, last one first, as in an operand's base */
	__u16 point_len;
	__u32 pad;
	/* fstype, source, root, mount point follow */
};

/* How to find one operand of a system call. */
enum wa_operand_kind {
	WA_ARG_NONE = 0,
	WA_ARG_CWD = 1, /* argument: path, relative to the working directory */
	WA_ARG_AT = 2, /* arguments: directory descriptor, path */
	WA_ARG_FD = 3, /* argument: descriptor */
	WA_ARG_OPEN_CWD = 4, /* the file just opened; if that failed, as WA_ARG_CWD */
	WA_ARG_OPEN_AT = 5,
	WA_ARG_TEXT = 6, /* argument: text */
	WA_ARG_SOCKADDR = 7, /* argument: struct sockaddr_un, the next one its length */
	WA_ARG_FILE = 8, /* argument: the kernel's own struct file */
	WA_ARG_ROOT = 9, /* the root directory of the process; argument: the path that it was set by */
};

/* Added to a kind: the path is the kernel's own copy, not the process's. */
#define WA_ARG_KERNEL 0x80

#define WA_NO_ARG 0xff

/* What to record of one system call. The host fills the table (syscalls.py). */
struct wa_spec {
	__u8 op; /* enum wa_op; WA_OP_NONE: not recorded */
	__u8 a_kind, a_dir, a_arg; /* first operand: what changes */
	__u8 b_kind, b_dir, b_arg; /* second operand: where it comes from */
	__u8 arg[3]; /* which arguments to send along */
	__u8 rare; /* wake the host at once */
	__u8 told; /* set by the kernel side: that this number is unknown has been told */
	__u8 pad[4];
};

#define WA_ABI_64 0 /* first slot of each table */
#define WA_ABI_32 512
#define WA_ABI_X32 1024
#define WA_ABI_URING 1100 /* + io_uring's own operation codes */
#define WA_SPECS 2048 /* a power of two; the last one stays empty */

/* Set by the host before the command starts, and kept up by the kernel side. */
struct wa_config {
	__u64 cookie; /* the command's process announces itself with it (prctl) */
	__u64 root_mnt; /* writeaudit's own root directory, noted at the announcement */
	__u64 root_dentry;
	__u64 mount_generation; /* counts changes of any mount table by audited processes */
	__u64 group; /* id of the cgroup that is followed with all below it; 0 for none (join.h) */
	__u32 waiting; /* until the announcement: WA_WAITS_* */
	__u32 pid_level; /* depth of writeaudit's pid namespace */
	__u32 shared_seen; /* a process maps a file so that mprotect can make it writable */
	__u32 wake_bytes; /* a power of two: wake the host each time that so much more is waiting */
	__u32 ring_bytes; /* size of the buffer */
	__u32 lacks; /* WA_LACKS_*: what was needed and this kernel does not have */
	__u32 hierarchy; /* that group is in */
	__u32 joining; /* 1: it is noted who forks whom, see join.h */
	__u32 known[4]; /* the first number that the table knows nothing of: 64-bit, 32-bit, x32, io_uring */
};

/* Features that a kernel may lack. What needs them says so when it is needed. */
#define WA_LACKS_PROC 0x1 /* whether /proc is a procfs, and whose */
#define WA_LACKS_ARGV 0x2 /* the arguments of programs */
#define WA_LACKS_URING 0x4 /* what a request to io_uring is about */

#define WA_ANNOUNCE 0x77615f31 /* first argument of the announcing prctl */
#define WA_WAITS_COMMAND 1 /* for the process that becomes the command */
#define WA_WAITS_SELF 2 /* for writeaudit itself, which is not followed: what is joined runs already */

/* Counters, one array per processor: how often each kind was sent, and lost. */
enum wa_counter {
	WA_N_EMITTED = 0, /* + enum wa_kind */
	WA_N_LOST = 8, /* + enum wa_kind: the ring buffer was full */
	WA_N_FAULT = 16, /* a read of memory failed */
	WA_N_UNTRACKED = 17, /* a process could not be followed: the table was full */
	WA_N_NO_ROOM = 18, /* a write could not be added up: sent as an event of its own */
	WA_N_GONE = 19, /* bytes were written through a descriptor that is closed by now */
	WA_COUNTERS = 24,
};

#endif
