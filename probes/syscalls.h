/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * System calls, at their exit: only there are both the arguments (still in the saved
 * registers) and the result known, and only there do refusals show that the kernel decides
 * before any file-system hook runs, such as EXDEV of linkat and EROFS of open.
 */
#ifndef WRITEAUDIT_SYSCALLS_H
#define WRITEAUDIT_SYSCALLS_H

#define WA_MAP_TYPE 0x0f
#define WA_MAP_SHARED 1
#define WA_MAP_SHARED_VALIDATE 3
#define WA_MAP_ANONYMOUS 0x20
#define WA_PROT_WRITE 2
#define WA_FMODE_WRITE 2
#define WA_EPERM 1
#define WA_ENOMEM 12
#define WA_EACCES 13

/* wa_task.armed: armed, and the process maps a file that mprotect can make writable. A fork
 * inherits it with the mappings, an exec sets it back. */
#define WA_ARMED_MAPS 2

#define WA_DEDUPE_MAX 8
#define WA_AIO_MAX 16
#define WA_NR_PRCTL 157

/* struct pt_regs of x86-64 begins so; the order is ABI (ptrace(2) shows it to users). */
struct wa_regs {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax;
};
#define WA_REG_NR 120
#define WA_REG_ARG0 112
#define WA_REG_ARG1 104

#define WA_TS_COMPAT 2 /* thread_info.status: in a 32-bit system call */
#define WA_X32_BIT 0x40000000

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

/* Keeps the compiler from proving away a bound that the verifier wants to see. */
#define WA_ROW(slot)                             \
	({                                       \
		__u32 wa_row = (slot);           \
		asm volatile("" : "+r"(wa_row)); \
		wa_row &(WA_SPECS - 1);          \
	})

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
	__u64 sb;

	if (fmt != WA_S_IFREG && fmt != WA_S_IFBLK)
		return 0;
	sb = KREAD64(inode, i_sb, inode);
	return !(KREAD32(super_block, s_flags, sb) & WA_SB_KERNMOUNT) || fmt == WA_S_IFBLK;
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

/* Put an event together from its specification and send it. */
WA_FUNC int send_event(__u32 slot, __u32 op, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_table *t = table_get();
	struct wa_spec *spec;
	__u32 off = sizeof(struct wa_event);
	__u32 operands = 0;

	if (!s || !t)
		return 0;
	spec = &t->spec[WA_ROW(slot)];
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
		if (kind == WA_ARG_NONE || op == WA_OP_MMAP_OTHER)
			break;
		off = put_operand(off, kind | dir << 8 | arg << 16 | i << 24, ret);
		if (!off)
			return 0;
		operands++;
	}
	s->event.head.operands = operands;
	send(WA_SLOT_SYSCALL, off, s->event.head.kind, spec->rare);
	return 0;
}

/* FIDEDUPERANGE changes several files, each with a result of its own. */
WA_FUNC int send_dedupe(__u32 slot, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct {
		__u64 offset, length;
		__u16 count, pad1;
		__u32 pad2;
	} range = {};
	struct {
		__s64 fd;
		__u64 offset, bytes;
		__s32 status;
		__u32 pad;
	} info = {};

	if (!s)
		return 0;
	if (bpf_probe_read_user(&range, sizeof(range), (void *)s->arg[2]) < 0)
		count(WA_N_FAULT);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < WA_DEDUPE_MAX; i++) {
		if (i >= range.count)
			break;
		if (bpf_probe_read_user(&info, sizeof(info),
					(void *)(s->arg[2] + sizeof(range) + i * sizeof(info))) < 0) {
			count(WA_N_FAULT);
			break;
		}
		s->arg[5] = info.fd;
		s->arg[4] = info.bytes;
		if (range.count > WA_DEDUPE_MAX)
			s->event.head.flags |= WA_H_MORE;
		/* FILE_DEDUPE_RANGE_DIFFERS is 1: nothing was changed. */
		send_event(slot, WA_OP_DEDUPE,
			   ret < 0	     ? ret
			   : info.status < 0 ? info.status
			   : info.status     ? 0
					     : (__s64)info.bytes);
	}
	return 0;
}

/* One of the requests that io_submit queued, if it is a write. Returns 1 if there is none. */
WA_FUNC int send_iocb(__u32 slot, __u32 index, __s64 total)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct {
		__u64 data;
		__u32 key, rw_flags;
		__u16 opcode;
		__u16 reqprio;
		__u32 fildes;
		__u64 buf, nbytes;
	} iocb = {};
	__u64 pointer = 0, file;
	__u32 width;

	if (!s || index >= total)
		return 1;
	width = s->event.head.flags & WA_H_COMPAT ? 4 : 8;
	if (bpf_probe_read_user(&pointer, width, (void *)(s->arg[2] + width * index)) < 0 ||
	    bpf_probe_read_user(&iocb, sizeof(iocb), (void *)pointer) < 0) {
		count(WA_N_FAULT);
		return 0;
	}
	if (iocb.opcode != 1 && iocb.opcode != 8) /* IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV */
		return 0;
	file = fd_file(iocb.fildes);
	if (!file || !is_stored(file))
		return 0;
	s->arg[5] = iocb.fildes;
	s->arg[4] = iocb.opcode == 1 ? iocb.nbytes : 0;
	if (total > WA_AIO_MAX)
		s->event.head.flags |= WA_H_MORE;
	send_event(slot, WA_OP_AIO_WRITE, 0);
	return 0;
}

/* io_submit queues writes whose results come later: what was asked for is recorded. */
WA_FUNC int send_aio(__u32 slot, __s64 ret)
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
		if (s->arg[0] != 2 /* SYS_BIND */ || load_arguments(s->arg[1]))
			return 0;
		op = WA_OP_BIND;
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
		if (!file || !is_stored(file) || !note_write(file, ret))
			return 0;
		break;
	case WA_OP_COPY: {
		struct wa_table *t = table_get();

		if (!t || ret == 0)
			return 0;
		file = fd_file((int)s->arg[t->spec[WA_ROW(slot)].a_arg & 7]);
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

/* Take up the arguments out of the saved registers. Returns 0 if they could be read. */
#ifdef WA_DIRECT
#define WA_REG(name) kread64(regs + __builtin_offsetof(struct wa_regs, name))
#else
#define WA_REG(name) r->name
#endif

WA_INLINE int load_registers(__u64 regs, __u32 compat)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);

	if (!s)
		return -1;
#ifndef WA_DIRECT
	/* They are put where the record's data will be: the stack has no room for them. */
	struct wa_regs *r = (struct wa_regs *)s->slack;

	if (bpf_probe_read_kernel(r, sizeof(*r), (void *)regs) < 0) {
		count(WA_N_FAULT);
		return -1;
	}
#endif
	if (compat) {
		s->arg[0] = (__u32)WA_REG(bx);
		s->arg[1] = (__u32)WA_REG(cx);
		s->arg[2] = (__u32)WA_REG(dx);
		s->arg[3] = (__u32)WA_REG(si);
		s->arg[4] = (__u32)WA_REG(di);
		s->arg[5] = (__u32)WA_REG(bp);
	} else {
		s->arg[0] = WA_REG(di);
		s->arg[1] = WA_REG(si);
		s->arg[2] = WA_REG(dx);
		s->arg[3] = WA_REG(r10);
		s->arg[4] = WA_REG(r8);
		s->arg[5] = WA_REG(r9);
	}
	return 0;
}

/*
 * sys_exit(regs, ret): every system call of every process, 32-bit ones included (Linux 4.17
 * for raw tracepoints). So the first lines decide what it costs the rest of the machine.
 */
WA_RAW_TP(sys_exit)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct wa_task *task = task_of(id >> 32);
	__u64 regs = ctx->args[0];
	__s64 ret = ctx->args[1];
	struct wa_scratch *s;
	struct wa_config *c;
	struct wa_table *t;
	__u32 nr, slot, op, compat;

	if (!task) {
		struct wa_task entry = {};
		__u64 level;

		/* The launcher's child, just before it executes the command: it says so itself,
		 * so that no process number has to be translated between namespaces. */
		c = config_get();
		if (!c || !c->waiting)
			return 0;
		if (kread32(regs + WA_REG_NR) != WA_NR_PRCTL || kread64(regs + WA_REG_ARG0) != WA_ANNOUNCE ||
		    kread64(regs + WA_REG_ARG1) != c->cookie)
			return 0;
		c->waiting = 0;
		level = KREAD64(task_struct, nsproxy, bpf_get_current_task());
		level = KREAD64(nsproxy, pid_ns_for_children, level);
		c->pid_level = KREAD32(pid_namespace, level, level);
		level = KREAD64(task_struct, fs, bpf_get_current_task());
		c->root_mnt = kread64(level + WA_OFFSET(fs_struct, root));
		c->root_dentry = kread64(level + WA_OFFSET(fs_struct, root) + 8);
		entry.pid = pid_of(bpf_get_current_task(), id >> 32);
		if (task_add(id >> 32, &entry) < 0)
			count(WA_N_UNTRACKED);
		return 0;
	}
	if (!task->armed)
		return 0;
	t = table_get();
	s = scratch_of(WA_SLOT_SYSCALL);
	if (!t || !s)
		return 0;
	nr = kread32(regs + WA_REG_NR);
	compat = KREAD32(task_struct, thread_info, bpf_get_current_task() + WA_OFFSET(thread_info, status)) &
		 WA_TS_COMPAT;
	slot = slot_of(nr, compat);
	op = t->spec[WA_ROW(slot)].op;
	if (op == WA_OP_NONE || ((op == WA_OP_CLOSE || op == WA_OP_CHDIR) && !task->rings))
		return 0;
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
