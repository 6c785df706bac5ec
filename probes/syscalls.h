/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * System calls, at their exit: only there are both the arguments (still in the saved
 * registers) and the result known, and only there do refusals show that the kernel decides
 * before any file-system hook runs, such as EXDEV of linkat and EROFS of open.
 */
#ifndef WRITEAUDIT_SYSCALLS_H
#define WRITEAUDIT_SYSCALLS_H

#define WA_W_OK 2
#define WA_MAP_TYPE 0x0f
#define WA_MAP_SHARED 1
#define WA_MAP_SHARED_VALIDATE 3
#define WA_MAP_ANONYMOUS 0x20
#define WA_PROT_WRITE 2
#define WA_FMODE_WRITE 2
#define WA_MADV_REMOVE 9
#define WA_PTRACE_ATTACH 16
#define WA_PTRACE_SEIZE 0x4206
#define WA_EPERM 1
#define WA_ENOMEM 12
#define WA_EACCES 13
#define WA_ENOSYS 38

#define WA_DEDUPE_MAX 8
#define WA_AIO_MAX 16
/* The row of the table that a system call has; the last row, which is empty, for none. */
WA_INLINE __u32 slot_of(__u32 nr, __u32 compat)
{
	__u32 limit = WA_ABI_32;

	if (compat) {
		nr += WA_ABI_32;
		limit = WA_ABI_X32;
	} else if (nr & WA_X32_BIT) {
		/* x32 shares most numbers with 64-bit programs and has some of its own from 512 on. */
		nr &= ~WA_X32_BIT;
		if (nr >= WA_ABI_32)
			nr += WA_ABI_X32 - WA_ABI_32;
		limit = WA_SPECS;
	}
	if (nr >= limit)
		nr = WA_SPECS - 1;
	return nr;
}

/* Is a number beyond those that the table was made for? */
WA_INLINE int is_unknown(__u32 nr, __u32 compat)
{
	struct wa_config *c = config_get();

	if (!c || nr == ~0U) /* none: a signal's handler has returned */
		return 0;
	if (compat)
		return nr >= c->known[1]; /* 0 where no 32-bit call is known: all of them */
	if (nr & WA_X32_BIT) {
		nr &= ~WA_X32_BIT;
		return nr >= WA_ABI_32 ? nr >= c->known[2] : nr >= c->known[0];
	}
	return nr >= c->known[0];
}

/* A followed process uses what the table knows nothing of: tell it, once for each number. */
WA_FUNC int send_unknown(__u32 slot, __u32 nr, __u32 pid)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_table *t = table_get();
	struct wa_spec *spec;

	if (!s || !t)
		return 0;
	spec = &t->spec[WA_ROW(slot)];
	if (spec->told)
		return 0;
	spec->told = 1;
	head_fill(&s->event.head, WA_EVENT, pid);
	s->event.head.op = WA_OP_UNKNOWN;
	s->event.head.row = slot;
	s->event.key = 0;
	s->event.ret = 0;
	s->event.arg[0] = nr;
	s->event.arg[1] = slot >= WA_ABI_URING && slot < WA_SPECS - 1;
	s->event.arg[2] = slot >= WA_ABI_32 && slot < WA_ABI_X32;
	send(WA_SLOT_SYSCALL, sizeof(struct wa_event), WA_EVENT, 0);
	return 0;
}

WA_FUNC int send_total(__u64 file)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_MOUNT);
	struct wa_file *f = file_of(file);

	if (!s || !f)
		return 0;
	head_fill(&s->total.head, WA_TOTAL, 0);
	s->total.key = f->key;
	s->total.bytes = f->bytes;
	s->total.calls = f->calls;
	file_remove(file);
	send(WA_SLOT_MOUNT, sizeof(struct wa_total), WA_TOTAL, 0);
	return 0;
}

/* Is this an open file whose content lies on a file system, or on a block device? Pipes,
 * terminals and files that live in memory only (memfd) are not. */
WA_INLINE int is_stored(__u64 file)
{
	__u64 inode = KREAD64(file, f_inode, file);
	__u32 fmt = KREAD32(inode, i_mode, inode) & WA_S_IFMT;

	if (fmt != WA_S_IFREG && fmt != WA_S_IFBLK)
		return 0;
	/* By the mount, not the super block: the kernel mounts tracefs, mqueue and others for itself as well.
	 */
	return !is_internal(KREAD64(file, f_path, file) - WA_OFFSET(mount, mnt)) || fmt == WA_S_IFBLK;
}

/*
 * Add a write up. Returns 1 if it is to be sent: the first one of an open file, which
 * brings the path, or one that failed. An entry stands for a struct file by its address;
 * when the address is used again for another file, the old one is gone and its total sent.
 */
WA_FUNC int note_write(__u64 file, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_config *c = config_get();
	struct wa_file entry = {};
	struct wa_file *f;
	__u64 inode = KREAD64(file, f_inode, file);

	if (!s || !c || ret == 0)
		return 0;
	if (ret < 0)
		return 1;
	entry.ino = KREAD64(inode, i_ino, inode);
	entry.dev = kread32(KREAD64(inode, i_sb, inode) + WA_OFFSET(super_block, s_dev));
	f = file_of(file);
	if (f) {
		if (f->ino == entry.ino && f->dev == entry.dev) {
			__sync_fetch_and_add(&f->bytes, ret);
			__sync_fetch_and_add(&f->calls, 1);
			return 0;
		}
		send_total(file);
	}
	/* Unique without a shared counter: two processors may be here in the same nanosecond. */
	entry.key = bpf_ktime_get_ns() << 8 | (bpf_get_smp_processor_id() & 0xff);
	entry.bytes = ret;
	entry.calls = 1;
	if (file_add(file, &entry) == 0) {
		s->event.key = entry.key;
		return 1;
	}
	f = file_of(file);
	if (f) {
		__sync_fetch_and_add(&f->bytes, ret);
		__sync_fetch_and_add(&f->calls, 1);
		return 0;
	}
	count(WA_N_NO_ROOM);
	return 1;
}

/*
 * Which mmap is it? mprotect names no file, so the host keeps where shared mappings lie: those of
 * a file open for writing, which mprotect can make writable, and those of others, for which it is
 * refused. munmap need not be told: nothing can be done to room where nothing lies, and what is
 * put there next is told, for the sake of the former.
 */
WA_INLINE __u32 mmap_op(struct wa_scratch *s, struct wa_config *c, struct wa_task *task, __s64 ret)
{
	__u32 type = s->arg[3] & WA_MAP_TYPE;
	__u64 file = 0;

	if ((type == WA_MAP_SHARED || type == WA_MAP_SHARED_VALIDATE) && !(s->arg[3] & WA_MAP_ANONYMOUS))
		file = fd_file((int)s->arg[4]);
	if (file && is_stored(file)) {
		if (s->arg[2] & WA_PROT_WRITE)
			return WA_OP_MMAP;
		if (ret < 0)
			return WA_OP_NONE;
		if (KREAD32(file, f_mode, file) & WA_FMODE_WRITE) {
			c->shared_seen = 1;
			task->armed = WA_ARMED_MAPS;
		}
		return WA_OP_MMAP;
	}
	return ret >= 0 && c->shared_seen && task->armed == WA_ARMED_MAPS ? WA_OP_MMAP_OTHER : WA_OP_NONE;
}

/* Is this mprotect of interest? One that failed may have changed what lies before the obstacle. */
WA_INLINE int makes_writable(struct wa_scratch *s, struct wa_config *c, __s64 ret)
{
	if (!(s->arg[2] & WA_PROT_WRITE))
		return 0;
	return ret == -WA_EACCES || ret == -WA_EPERM || (c->shared_seen && (ret >= 0 || ret == -WA_ENOMEM));
}

WA_INLINE __u64 argument(struct wa_scratch *s, __u8 index)
{
	return index == WA_NO_ARG ? 0 : s->arg[index & 7];
}

/* Put an event together from its specification. Returns where it ends, 0 if it is of no interest after all.
 */
WA_FUNC __u32 fill_event(__u32 slot, __u32 op, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_table *t = table_get();
	struct wa_spec *spec;
	__u32 off = sizeof(struct wa_event);
	__u32 operands = 0;

	if (!s || !t)
		return 0;
	spec = &t->spec[WA_ROW(slot)];
	s->chains[0] = 0;
	s->chains[1] = 0;
	s->event.ret = ret;
	s->event.head.op = op;
	s->event.arg[0] = argument(s, spec->arg[0]);
	s->event.arg[1] = argument(s, spec->arg[1]);
	s->event.arg[2] = argument(s, spec->arg[2]);
	if (op == WA_OP_OPENAT2) {
		/* struct open_how: flags, mode, resolve; the kernel takes the first two from it. */
		if (bpf_probe_read_user(s->event.arg, 24, (void *)s->arg[2]) < 0)
			count(WA_N_FAULT);
	}
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 2; i++) {
		__u32 kind = i ? spec->b_kind : spec->a_kind;
		__u32 dir = i ? spec->b_dir : spec->a_dir;
		__u32 arg = i ? spec->b_arg : spec->a_arg;

		/* What an ioctl's source is depends on the command, not on the call. */
		if (i && (op == WA_OP_CLONE || op == WA_OP_DEDUPE)) {
			kind = WA_ARG_FD;
			arg = op == WA_OP_CLONE ? 5 : 0;
		}
		if (!i && op == WA_OP_DEDUPE)
			arg = 5;
		/* What the name began at is the old root directory, which the process has no more. */
		if (!i && op == WA_OP_CHROOT && ret >= 0)
			kind = WA_ARG_ROOT;
		if (!i && op >= WA_OP_SUBVOL_CREATE && op <= WA_OP_SUBVOL_DESTROY) {
			kind = WA_ARG_AT;
			dir = 0;
			arg = 5;
		}
		if (kind == WA_ARG_NONE || op == WA_OP_MMAP_OTHER || op == WA_OP_URING_OTHER)
			break;
		s->event.head.operands = i;
		off = put_operand(s, off, kind | dir << 8 | arg << 16 | i << 24, ret);
		if (!off) {
			s->mounts[0] = 0;
			return 0;
		}
		operands++;
	}
	s->event.head.operands = operands;
	return off;
}

/* Put an event together, and send it after what the host must know of its mounts. */
WA_INLINE int send_event(__u32 slot, __u32 op, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_table *t = table_get();
	__u32 size = fill_event(slot, op, ret);

	if (!size || !t || !s)
		return 0;
	note_mounts(WA_SLOT_SYSCALL);
	if (!send(WA_SLOT_SYSCALL, size, WA_EVENT, t->spec[WA_ROW(slot)].rare))
		return 0;
#ifdef WA_DIRECT
	if (s->chains[0] && !chain_known(s->chains[0]))
		chain_add(s->chains[0]);
	if (s->chains[1] && !chain_known(s->chains[1]))
		chain_add(s->chains[1]);
#endif
	return 0;
}

/* struct file_dedupe_range and file_dedupe_range_info; ABI. */
struct wa_range {
	__u64 offset, length;
	__u16 count, pad1;
	__u32 pad2;
};
struct wa_range_info {
	__s64 fd;
	__u64 offset, bytes;
	__s32 status;
	__u32 pad;
};

/* One of the files that FIDEDUPERANGE changes. Returns 1 if there is none. */
WA_FUNC int send_range(__u32 slot, __u32 index, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_range *range;
	struct wa_range_info *info;

	if (!s)
		return 1;
	range = (struct wa_range *)s->slack;
	info = (struct wa_range_info *)(s->slack + sizeof(*range));
	if (index >= range->count)
		return 1;
	if (bpf_probe_read_user(info, sizeof(*info),
				(void *)(s->arg[2] + sizeof(*range) + index * sizeof(*info))) < 0) {
		count(WA_N_FAULT);
		return 1;
	}
	s->arg[5] = info->fd;
	s->arg[4] = info->bytes;
	if (range->count > WA_DEDUPE_MAX)
		s->event.head.flags |= WA_H_MORE;
	if (ret >= 0) /* FILE_DEDUPE_RANGE_DIFFERS is 1: nothing was changed. */
		ret = info->status < 0 ? info->status : info->status ? 0 : (__s64)info->bytes;
	send_event(slot, WA_OP_DEDUPE, ret);
	return 0;
}

/* FIDEDUPERANGE changes several files, each with a result of its own. */
WA_INLINE int send_dedupe(__u32 slot, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_range *range;

	if (!s)
		return 0;
	range = (struct wa_range *)s->slack; /* the stack has no room for it */
	range->count = 0;
	if (bpf_probe_read_user(range, sizeof(*range), (void *)s->arg[2]) < 0)
		count(WA_N_FAULT);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < WA_DEDUPE_MAX; i++)
		if (send_range(slot, i, ret))
			break;
	return 0;
}

/* struct iocb; ABI. */
struct wa_iocb {
	__u64 data;
	__u32 key, rw_flags;
	__u16 opcode;
	__u16 reqprio;
	__u32 fildes;
	__u64 buf, nbytes;
	__u64 address; /* of the process's own; not in the ABI */
};

/* One of the requests that io_submit queued, if it is a write. Returns 1 if there is none. */
WA_FUNC int send_iocb(__u32 slot, __u32 index, __s64 total)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_iocb *iocb;
	__u64 file;
	__u32 width;

	if (!s || index >= total)
		return 1;
	iocb = (struct wa_iocb *)s->slack; /* the stack has no room for it */
	iocb->address = 0;
	width = s->event.head.flags & WA_H_COMPAT ? 4 : 8;
	if (bpf_probe_read_user(&iocb->address, width, (void *)(s->arg[2] + width * index)) < 0 ||
	    bpf_probe_read_user(iocb, __builtin_offsetof(struct wa_iocb, address), (void *)iocb->address) <
		    0) {
		count(WA_N_FAULT);
		return 0;
	}
	if (iocb->opcode != 1 && iocb->opcode != 8) /* IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV */
		return 0;
	s->arg[5] = iocb->fildes;
	s->arg[4] = iocb->opcode == 1 ? iocb->nbytes : 0;
	file = fd_file((int)s->arg[5]);
	if (!file || !is_stored(file))
		return 0;
	if (total > WA_AIO_MAX)
		s->event.head.flags |= WA_H_MORE;
	send_event(slot, WA_OP_AIO_WRITE, 0);
	return 0;
}

/* io_submit queues writes whose results come later: what was asked for is recorded. */
WA_INLINE int send_aio(__u32 slot, __s64 ret)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < WA_AIO_MAX; i++)
		if (send_iocb(slot, i, ret))
			break;
	return 0;
}

/* 32-bit calls whose arguments lie in memory: take them up as if they had been passed. */
WA_FUNC int load_arguments(__u64 address)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	__u32 words[6] = {};

	if (!s)
		return -1;
	if (bpf_probe_read_user(words, sizeof(words), (void *)address) < 0 &&
	    bpf_probe_read_user(words, 12, (void *)address) < 0) {
		count(WA_N_FAULT);
		return -1;
	}
	s->arg[0] = words[0];
	s->arg[1] = words[1];
	s->arg[2] = words[2];
	s->arg[3] = words[3];
	s->arg[4] = words[4];
	s->arg[5] = words[5];
	return 0;
}

WA_INLINE void note_moved(__u32 which)
{
	__u64 *when = moved_of(which);

	if (when && ~*when)
		*when = bpf_ktime_get_ns();
}

/* The first look at a call that is recorded: what can be dropped is dropped here. */
WA_INLINE int on_syscall(__u32 slot, __u32 op, __s64 ret, struct wa_task *task)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_config *c = config_get();
	__u64 file;

	if (!s || !c)
		return 0;
	if (op == WA_OP_SOCKETCALL) {
		op = s->arg[0] == 2 /* SYS_BIND */ ? WA_OP_BIND : WA_OP_CONNECT;
		if ((s->arg[0] != 2 && s->arg[0] != 3) || load_arguments(s->arg[1]))
			return 0;
	} else if (op == WA_OP_OLD_MMAP) {
		if (load_arguments(s->arg[0]))
			return 0;
		op = WA_OP_MMAP;
	}
	switch (op) {
	case WA_OP_OPEN:
	case WA_OP_OPENAT2:
	case WA_OP_CREAT:
	case WA_OP_HANDLE:
		/* A new struct file: whatever had its address before is gone. */
		if (ret >= 0) {
			file = fd_file((int)ret);
			if (file && file_of(file))
				send_total(file);
		}
		break;
	case WA_OP_WRITE:
		file = fd_file((int)s->arg[0]);
		if (!file && ret > 0)
			count(WA_N_GONE);
		if (!file || !is_stored(file) || !note_write(file, ret))
			return 0;
		break;
	case WA_OP_COPY: {
		struct wa_table *t = table_get();

		if (!t || ret == 0)
			return 0;
		file = fd_file((int)s->arg[t->spec[WA_ROW(slot)].a_arg & 7]);
		if (!file && ret > 0)
			count(WA_N_GONE);
		if (!file || !is_stored(file))
			return 0;
		break;
	}
	case WA_OP_IOCTL:
		op = ioctl_op((__u32)s->arg[1]);
		if (op == WA_OP_NONE)
			return 0;
		if (op == WA_OP_DEDUPE)
			return send_dedupe(slot, ret);
		break;
	case WA_OP_MMAP:
		op = mmap_op(s, c, task, ret);
		if (op == WA_OP_NONE)
			return 0;
		break;
	case WA_OP_MPROTECT:
		if (!makes_writable(s, c, ret))
			return 0;
		break;
	case WA_OP_MADVISE:
		if (s->arg[2] != WA_MADV_REMOVE)
			return 0;
		break;
	case WA_OP_PTRACE:
		if (s->arg[0] != WA_PTRACE_ATTACH && s->arg[0] != WA_PTRACE_SEIZE)
			return 0;
		if (ret < 0)
			return 0;
		break;
	case WA_OP_OUTSIDE:
	case WA_OP_CONNECT:
		if (ret < 0)
			return 0;
		break;
	case WA_OP_ACCT:
		if (!s->arg[0])
			return 0;
		break;
	case WA_OP_MREMAP:
		if (!c->shared_seen || ret < 0)
			return 0;
		break;
	case WA_OP_AIO_WRITE:
		if (ret <= 0)
			return 0;
		return send_aio(slot, ret);
	case WA_OP_CLOSE: {
		struct wa_table *t = table_get();
		struct wa_spec *spec;

		if (!t)
			return 0;
		spec = &t->spec[WA_ROW(slot)];
		note_moved(spec->a_kind == WA_ARG_FD ? WA_MOVED_FD(argument(s, spec->a_arg)) : WA_MOVED_FDS);
		return 0;
	}
	case WA_OP_ACCESS: {
		struct wa_table *t = table_get();

		if (!t || !(argument(s, t->spec[WA_ROW(slot)].arg[1]) & WA_W_OK))
			return 0;
		break;
	}
	case WA_OP_CHDIR:
		note_moved(WA_MOVED_PLACE);
		return 0;
	case WA_OP_OPEN_TREE:
		if (ret >= 0)
			__sync_fetch_and_add(&c->mount_generation, 1);
		return 0;
	case WA_OP_CHROOT:
		note_moved(WA_MOVED_PLACE);
		break;
	case WA_OP_MOUNT:
	case WA_OP_MOVE_MOUNT:
	case WA_OP_MOUNT_SETATTR:
	case WA_OP_UMOUNT:
	case WA_OP_PIVOT_ROOT:
	case WA_OP_UNSHARE:
		if (ret >= 0)
			__sync_fetch_and_add(&c->mount_generation, 1);
		if (op == WA_OP_PIVOT_ROOT)
			note_moved(WA_MOVED_PLACE);
		/* io_uring's threads keep the directories that they began with. */
		if (op == WA_OP_UNSHARE && task->rings)
			task->rings |= WA_RINGS_APART;
		break;
	}
	return send_event(slot, op, ret);
}

/*
 * The launcher's child, just before it executes the command: it says so itself, so that no process
 * number has to be translated between namespaces. Or writeaudit itself, for its root directory and
 * its pid namespace alone.
 */
WA_FUNC int on_announcement(__u64 regs)
{
	struct wa_config *c = config_get();
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct wa_task entry = {};
	__u32 waiting;
	__u64 at;

	if (!c || kread32(regs + WA_REG_NR) != WA_NR_PRCTL || kread64(regs + WA_REG_ARG0) != WA_ANNOUNCE ||
	    kread64(regs + WA_REG_ARG1) != c->cookie)
		return 0;
	waiting = c->waiting;
	c->waiting = 0;
	at = KREAD64(task_struct, nsproxy, bpf_get_current_task());
	at = KREAD64(nsproxy, pid_ns_for_children, at);
	c->pid_level = KREAD32(pid_namespace, level, at);
	at = KREAD64(task_struct, fs, bpf_get_current_task());
	c->root_mnt = kread64(at + WA_OFFSET(fs_struct, root));
	c->root_dentry = kread64(at + WA_OFFSET(fs_struct, root) + 8);
	if (waiting == WA_WAITS_SELF)
		return 0;
	entry.pid = pid_of(bpf_get_current_task(), tgid);
	if (task_add(tgid, &entry) < 0)
		count(WA_N_UNTRACKED);
	return 0;
}

/*
 * sys_exit(regs, ret; perf: number, ret): every system call of every process, 32-bit ones included
 * (Linux 4.17 for raw tracepoints). So the first lines decide what it costs the rest of the machine.
 */
#ifdef WA_PERF
WA_PERF_TP(raw_syscalls, sys_exit)
#else
WA_RAW_TP(sys_exit, )
#endif
{
	__u64 id = bpf_get_current_pid_tgid();
	struct wa_task *task = task_of(id >> 32);
#ifdef WA_PERF
	__u64 regs = own_registers();
	__s64 ret = WA_PASSED(16);
#else
	__u64 regs = ctx->args[0];
	__s64 ret = ctx->args[1];
#endif
	struct wa_scratch *s;
	struct wa_config *c;
	struct wa_table *t;
	__u32 nr, slot, op, compat;

	if (!task) {
		c = config_get();
		return c && c->waiting ? on_announcement(regs) : 0;
	}
	if (!task->armed)
		return 0;
	t = table_get();
	s = scratch_of(WA_SLOT_SYSCALL);
	if (!t || !s)
		return 0;
	nr = kread32(regs + WA_REG_NR);
	compat = is_compat();
	slot = slot_of(nr, compat);
	op = t->spec[WA_ROW(slot)].op;
	if (op == WA_OP_NONE)
		return is_unknown(nr, compat) && ret != -WA_ENOSYS ? send_unknown(slot, nr, task->pid) : 0;
	if ((op == WA_OP_CLOSE || op == WA_OP_CHDIR) && !task->rings)
		return 0;
#ifdef WA_DIRECT
	if (!compat && send_brief(regs, slot | op << 16, task->pid))
		return 0;
#endif
	if (load_registers(regs, compat))
		return 0;
	head_fill(&s->event.head, WA_EVENT, task->pid);
	if (compat)
		s->event.head.flags = WA_H_COMPAT;
	s->event.head.row = slot;
	s->event.key = 0;
	on_syscall(slot, op, ret, task);
	return 0;
}

#endif
