/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * io_uring: operations that make no system call of their own. A request is reported when it
 * is submitted, where its paths are still at hand (as the kernel's own copies, so no race),
 * and its result when it completes; the host joins the two by the request's address.
 */
#ifndef WRITEAUDIT_URING_H
#define WRITEAUDIT_URING_H

/* enum io_uring_op; ABI. */
#define WA_IORING_WRITEV 2
#define WA_IORING_WRITE_FIXED 5
#define WA_IORING_FALLOCATE 17
#define WA_IORING_OPENAT 18
#define WA_IORING_WRITE 23
#define WA_IORING_OPENAT2 28
#define WA_IORING_SPLICE 30
#define WA_IORING_RENAMEAT 35
#define WA_IORING_UNLINKAT 36
#define WA_IORING_MKDIRAT 37
#define WA_IORING_SYMLINKAT 38
#define WA_IORING_LINKAT 39
#define WA_IORING_FSETXATTR 41
#define WA_IORING_SETXATTR 42
#define WA_IORING_FTRUNCATE 55
#define WA_IORING_WRITEV_FIXED 61

#define WA_REQ_F_FIXED_FILE 1 /* IOSQE_FIXED_FILE: the number is no descriptor */
#define WA_REQ_F_LINK 0x0c /* IOSQE_IO_LINK, IOSQE_IO_HARDLINK */
#define WA_REQ_F_LATER 0x1e /* IOSQE_IO_DRAIN, IO_LINK, IO_HARDLINK, ASYNC: not carried out at once */

/* One number of a request; what this kernel does not have makes the request one of another kind. */
#define WA_CMD(type, field, read)                    \
	({                                           \
		__u64 wa_cmd = WA_FIND(type, field); \
		if (wa_cmd == WA_NOWHERE)            \
			return 0;                    \
		read(req + wa_cmd);                  \
	})
#define WA_CMD64(type, field) WA_CMD(type, field, kread64)
#define WA_CMD32(type, field) ((__s64)(int)WA_CMD(type, field, kread32))
#define WA_CMD_NAME(type, field)                                            \
	({                                                                  \
		__u64 wa_cmd = WA_FIND_NAME(type, field);                   \
		if (wa_cmd == WA_NOWHERE)                                   \
			return 0;                                           \
		kread64(kread64(req + wa_cmd) + WA_OFFSET(filename, name)); \
	})

/*
 * Lay out a request's arguments as the table's entry for its operation expects them. Returns 0 if this
 * kernel keeps them in another way than those that we know.
 */
WA_FUNC int uring_arguments(__u64 req, __u32 opcode)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);

	if (!s)
		return 0;
	s->arg[0] = 0;
	s->arg[1] = 0;
	s->arg[2] = 0;
	s->arg[3] = 0;
	s->arg[4] = 0;
	s->arg[5] = 0;
	switch (opcode) {
	case WA_IORING_OPENAT:
	case WA_IORING_OPENAT2: {
		__u64 how = WA_FIND(io_open, how);

		if (how == WA_NOWHERE)
			return 0;
		s->arg[0] = WA_CMD32(io_open, dfd);
		s->arg[1] = WA_CMD_NAME(io_open, filename);
		s->arg[2] = kread64(req + how) /* its first member is flags */;
		s->arg[3] = kread64(req + how + 8);
		s->arg[4] = kread64(req + how + 16);
		break;
	}
	case WA_IORING_RENAMEAT:
		s->arg[0] = WA_CMD32(io_rename, old_dfd);
		s->arg[1] = WA_CMD_NAME(io_rename, oldpath);
		s->arg[2] = WA_CMD32(io_rename, new_dfd);
		s->arg[3] = WA_CMD_NAME(io_rename, newpath);
		s->arg[4] = WA_CMD32(io_rename, flags);
		break;
	case WA_IORING_LINKAT:
		s->arg[0] = WA_CMD32(io_link, old_dfd);
		s->arg[2] = WA_CMD32(io_link, new_dfd);
		s->arg[4] = WA_CMD32(io_link, flags);
		s->arg[1] = WA_CMD_NAME(io_link, oldpath);
		s->arg[3] = WA_CMD_NAME(io_link, newpath);
		break;
	case WA_IORING_SYMLINKAT:
		s->arg[0] = WA_CMD_NAME(io_link, oldpath);
		s->arg[1] = WA_CMD32(io_link, new_dfd);
		s->arg[2] = WA_CMD_NAME(io_link, newpath);
		break;
	case WA_IORING_UNLINKAT:
		s->arg[0] = WA_CMD32(io_unlink, dfd);
		s->arg[1] = WA_CMD_NAME(io_unlink, filename);
		s->arg[2] = WA_CMD32(io_unlink, flags);
		break;
	case WA_IORING_MKDIRAT:
		s->arg[0] = WA_CMD32(io_mkdir, dfd);
		s->arg[1] = WA_CMD_NAME(io_mkdir, filename);
		s->arg[2] = WA_CMD32(io_mkdir, mode) & 0xffff;
		break;
	case WA_IORING_SETXATTR:
	case WA_IORING_FSETXATTR: {
		__u64 ctx = WA_FIND(io_xattr, ctx), kname = WA_FIND(kernel_xattr_ctx, kname);

		if (kname == WA_NOWHERE)
			kname = WA_FIND(xattr_ctx, kname);
		s->arg[0] = (__u64)WA_AT_FDCWD;
		if (opcode == WA_IORING_SETXATTR)
			s->arg[1] = WA_CMD_NAME(io_xattr, filename);
		if (ctx == WA_NOWHERE || kname == WA_NOWHERE)
			return 0;
		s->arg[2] = kread64(req + ctx + kname);
		break;
	}
	}
	/* Where the operation is on a file: its descriptor, which is looked up only later. */
	if (!(KREAD32(io_kiocb, flags, req) & WA_REQ_F_FIXED_FILE))
		s->arg[5] = fd_file(kread32(req + WA_OFFSET(io_kiocb, cqe) + WA_OFFSET(io_cqe, fd)));
	return 1;
}

/*
 * A request is carried out later than it is submitted, by a thread of io_uring's perhaps, and told
 * of later still. Which directory or open file a descriptor stands for is looked up before or after;
 * so it is kept when these changed last, by those who use io_uring or share with those who do.
 */
WA_INLINE int moved_since(__u32 which, __u64 since)
{
	__u64 *when = moved_of(which);

	return !when || *when >= since;
}

WA_INLINE int fd_moved_since(int fd, __u64 since)
{
	return moved_since(WA_MOVED_FD(fd), since) || moved_since(WA_MOVED_FDS, since);
}

/*
 * A descriptor is closed at once; or nobody knows when, and so it is never trusted again. The last
 * request of a chain does not say that it is in one.
 */
WA_INLINE void note_close(__u64 req, struct wa_task *task, __u32 fd)
{
	__u64 *when = moved_of(WA_MOVED_FD(fd));

	if (!when)
		return;
	if (KREAD32(io_kiocb, flags, req) & WA_REQ_F_LATER || task->rings & WA_RINGS_CHAINS)
		*when = ~0ULL;
	else if (~*when)
		*when = bpf_ktime_get_ns();
}

WA_INLINE int is_at(__u32 kind)
{
	return (kind & 0x7f) == WA_ARG_AT;
}

/* May the names of a request have begun elsewhere than where they did when it was submitted? */
WA_FUNC int is_doubtful(__u64 req)
{
	__u64 current = bpf_get_current_task();
	struct wa_task *task = task_of(bpf_get_current_pid_tgid() >> 32);
	struct wa_request *r = request_of(req);
	struct wa_table *t = table_get();
	struct wa_spec *spec;

	if (!r || !t)
		return 1;
	spec = &t->spec[WA_ROW(r->row)];
	if (!is_at(spec->a_kind) && !is_at(spec->b_kind))
		return 0;
	if (!task || task->rings & WA_RINGS_APART || moved_since(WA_MOVED_PLACE, r->since))
		return 1;
	if (KREAD64(task_struct, fs, current) != r->fs || KREAD64(task_struct, files, current) != r->files)
		return 1;
#pragma clang loop unroll(full)
	for (int i = 0; i < 2; i++)
		if (r->dir[i] != WA_AT_FDCWD && fd_moved_since(r->dir[i], r->since))
			return 1;
	return 0;
}

WA_FUNC int on_uring_submit(__u64 req)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_task *task = task_of(bpf_get_current_pid_tgid() >> 32);
	struct wa_table *t = table_get();
	struct wa_config *c = config_get();
	struct wa_request entry = {};
	struct wa_spec *spec;
	__u32 opcode, row, op;

	if (!WA_HAS_URING || !task || !task->armed || !s || !t || !c)
		return 0;
	task->rings |= WA_RINGS_USED;
	if (KREAD32(io_kiocb, flags, req) & WA_REQ_F_LINK)
		task->rings |= WA_RINGS_CHAINS;
	opcode = KREAD32(io_kiocb, opcode, req) & 0xff;
	row = WA_ABI_URING + opcode;
	if (opcode >= c->known[3])
		return send_unknown(row, opcode, task->pid);
	spec = &t->spec[WA_ROW(row)];
	op = spec->op;
	if (op == WA_OP_CLOSE)
		note_close(req, task, kread32(req + WA_OFFSET(io_kiocb, cqe) + WA_OFFSET(io_cqe, fd)));
	if (op == WA_OP_NONE || op == WA_OP_CLOSE)
		return 0;
	head_fill(&s->event.head, WA_EVENT, task->pid);
	s->event.head.flags = WA_H_IO_URING;
	s->event.head.row = row;
	s->event.key = req;
	if (op == WA_OP_URING_OTHER || !uring_arguments(req, opcode)) {
		if (op != WA_OP_URING_OTHER)
			miss_feature(WA_LACKS_URING);
		send_event(row, WA_OP_URING_OTHER, 0);
		return 0;
	}
	entry.since = bpf_ktime_get_ns();
	entry.fs = KREAD64(task_struct, fs, bpf_get_current_task());
	entry.files = KREAD64(task_struct, files, bpf_get_current_task());
	entry.row = row;
	entry.dir[0] = is_at(spec->a_kind) ? (int)s->arg[spec->a_dir & 7] : WA_AT_FDCWD;
	entry.dir[1] = is_at(spec->b_kind) ? (int)s->arg[spec->b_dir & 7] : WA_AT_FDCWD;
	if (request_add(req, &entry) < 0)
		count(WA_N_UNTRACKED);
	send_event(row, op, 0);
	return 0;
}

/*
 * io_uring_submit_req(req; perf: ctx, req, …): each request, chained ones too, just before it is queued
 * or run (Linux 6.3); io_uring_submit_sqe(req, …) before that (6.0).
 */
#ifdef WA_PERF
WA_PERF_TP(io_uring, io_uring_submit_req)
{
	return on_uring_submit(WA_PASSED(16));
}
#else
WA_RAW_TP(io_uring_submit_req, )
{
	return on_uring_submit(ctx->args[0]);
}

WA_RAW_TP(io_uring_submit_sqe, )
{
	return on_uring_submit(ctx->args[0]);
}
#endif

/*
 * io_uring_complete(ctx, req, …; perf: the same): when the result is posted (Linux 5.18 with the request as
 * second argument). Not called for requests that asked to be silent on success.
 */
#ifdef WA_PERF
WA_PERF_TP(io_uring, io_uring_complete)
#else
WA_RAW_TP(io_uring_complete, )
#endif
{
#ifdef WA_PERF
	__u64 req = WA_PASSED(16);
#else
	__u64 req = ctx->args[1];
#endif
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_table *t = table_get();
	struct wa_task *task;
	struct wa_request *r;
	__u32 off = sizeof(struct wa_event);
	__s64 ret;

	if (!WA_HAS_URING)
		return 0;
	r = request_of(req);
	if (!r || !s || !t)
		return 0;
	task = task_of(bpf_get_current_pid_tgid() >> 32);
	ret = (__s32)kread32(req + WA_OFFSET(io_kiocb, cqe) + WA_OFFSET(io_cqe, res));
	head_fill(&s->event.head, WA_URING_DONE, task ? task->pid : 0);
	s->event.head.flags = WA_H_IO_URING;
	s->event.head.row = r->row;
	s->event.head.op = t->spec[WA_ROW(r->row)].op;
	if (is_doubtful(req))
		s->event.head.flags |= WA_H_DOUBTFUL;
	s->event.key = req;
	s->event.ret = ret;
	/* The file by now: the one that was opened, or the one that was worked on. */
	if (s->event.head.op == WA_OP_OPEN) {
		/* A slot of io_uring's own table is no descriptor, and its number is not returned. */
		s->arg[0] = 0;
		if (ret >= 0 && task && !KREAD32(io_open, file_slot, req)) {
			if (fd_moved_since(ret, r->since) || task->rings & WA_RINGS_APART)
				s->event.head.flags |= WA_H_DOUBTFUL;
			else
				s->arg[0] = fd_file(ret);
		}
	} else {
		s->arg[0] = KREAD64(io_kiocb, file, req);
	}
	if (s->arg[0]) {
		off = put_file(s, off, s->arg[0]);
		s->event.head.operands = 1;
		note_mounts(WA_SLOT_SYSCALL);
	}
	request_remove(req);
	send(WA_SLOT_SYSCALL, off, WA_URING_DONE, 0);
	return 0;
}

#endif
