/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The process tree: who is audited. Processes, not threads: a thread is audited because
 * its process is.
 */
#ifndef WRITEAUDIT_TASKS_H
#define WRITEAUDIT_TASKS_H

#define WA_ARGV_MAX 16384 /* and the rest is said to be missing */

WA_INLINE struct wa_scratch *task_record(__u16 kind, __u32 pid, __u32 other)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_TASK);

	if (!s)
		return 0;
	head_fill(&s->task.head, kind, pid);
	s->task.other = other;
	s->task.pad = 0;
	return s;
}

WA_FUNC int on_fork(__u64 parent, __u64 child)
{
	__u32 parent_tgid = KREAD32(task_struct, tgid, parent);
	__u32 child_tgid = KREAD32(task_struct, tgid, child);
	struct wa_task *task = task_of(parent_tgid);
	struct wa_task_event event = {};
	struct wa_config *c = config_get();
	struct wa_task entry = {};

	if (!task || !c || parent_tgid == child_tgid)
		return 0;
#ifdef WA_PERF
	if (task_of(child_tgid))
		return 0; /* another copy of the program was here */
#endif
	entry.armed = task->armed;
	if (KREAD64(task_struct, fs, parent) == KREAD64(task_struct, fs, child) ||
	    KREAD64(task_struct, files, parent) == KREAD64(task_struct, files, child)) {
		entry.rings = task->rings | WA_RINGS_USED;
		task->rings = entry.rings;
	}
	entry.pid = pid_of(child, child_tgid);
	if (task_add(child_tgid, &entry) < 0)
		count(WA_N_UNTRACKED);
	head_fill(&event.head, WA_FORK, task->pid);
	event.other = entry.pid;
	if (KREAD64(task_struct, mm, parent) == KREAD64(task_struct, mm, child))
		event.head.flags |= WA_H_SAME_MM;
	if (KREAD64(nsproxy, mnt_ns, KREAD64(task_struct, nsproxy, parent)) !=
	    KREAD64(nsproxy, mnt_ns, KREAD64(task_struct, nsproxy, child))) {
		event.head.flags |= WA_H_NEW_MNT_NS;
		__sync_fetch_and_add(&c->mount_generation, 1);
	}
	send_task(&event, event.head.flags & WA_H_NEW_MNT_NS);
	return 0;
}

/*
 * sched_process_fork(parent, child): in fork, vfork and clone, before the child runs for
 * the first time (Linux 2.6.28). Threads come here too.
 */
WA_RAW_TP(sched_process_fork, )
{
	return on_fork(ctx->args[0], ctx->args[1]);
}

#ifdef WA_PERF
/*
 * The tracepoint of perf passes numbers only, not the child, so this one stays a raw one, which can be
 * preempted. For each fork its copies run one after the other, and the first that does settles it: a
 * fork is missed only if others are being preempted on this processor in each of the copies at once.
 */
WA_RAW_TP(sched_process_fork, _2)
{
	return on_fork(ctx->args[0], ctx->args[1]);
}
WA_RAW_TP(sched_process_fork, _3)
{
	return on_fork(ctx->args[0], ctx->args[1]);
}
WA_RAW_TP(sched_process_fork, _4)
{
	return on_fork(ctx->args[0], ctx->args[1]);
}
#endif

/*
 * sched_process_exec(task, old_pid, bprm; perf: the file's name, pid, old_pid): after the new program is in
 * place (Linux 3.4). The announced process is audited from here on: what came before was the launcher.
 */
WA_INLINE int on_exec(__u64 current, __u32 old_pid)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct wa_task *task = task_of(tgid);
	struct wa_scratch *s;
	struct wa_operand *o;
	__u64 path_mnt = 0, path_dentry = 0;
	__u32 off = sizeof(struct wa_task_event) + sizeof(struct wa_operand);
	__u64 mm, exe, from, to, length, start_at, end_at;

	if (!task)
		return 0;
	task->armed = 1;
	s = task_record(WA_EXEC, task->pid, old_pid);
	if (!s)
		return 0;
	s->task.head.operands = 1;
	o = (struct wa_operand *)&s->head[sizeof(struct wa_task_event)];
	o->ino = 0;
	o->dev = 0;
	o->f_mode = 0;
	o->i_mode = 0;
	o->flags = WA_F_FILE | WA_F_BASE;
	o->skip = 0;
	mm = KREAD64(task_struct, mm, current);
	exe = KREAD64(mm_struct, exe_file, mm);
	o->nlink = 0;
	o->chain = 0;
	o->room = 0;
	o->pad = 0;
	path_mnt = KREAD64(file, f_path, exe);
	path_dentry = kread64(exe + WA_OFFSET(file, f_path) + 8);
	o->parent = parent_of(path_mnt, path_dentry);
	operand_file(o, exe, KREAD64(file, f_inode, exe));

	/* argv lies in user memory, zero bytes between the words; just copied there, so resident. */
	start_at = WA_FIND(mm_struct, arg_start);
	end_at = WA_FIND(mm_struct, arg_end);
	if (start_at == WA_NOWHERE || end_at == WA_NOWHERE) {
		miss_feature(WA_LACKS_ARGV);
		from = to = 0;
	} else {
		from = kread64(mm + start_at);
		to = kread64(mm + end_at);
	}
	length = to - from;
	if (length > WA_ARGV_MAX) {
		length = WA_ARGV_MAX;
		s->task.head.flags |= WA_H_MORE;
	}
	o->name_len = 0;
	if (length && bpf_probe_read_user(&s->head[off], length, (void *)from) == 0) {
		o->name_len = length;
		o->flags |= WA_F_NAME;
		off += length;
	}
	walk_begin(&s->walk, path_mnt, path_dentry, off, WA_LIMIT_B);
	walk_run(WA_SLOT_TASK);
	o->flags |= s->walk.flags;
	o->base_len = s->walk.off - off;
	o->in_mount = s->walk.in_mount ? s->walk.in_mount - off : o->base_len;
	off = s->walk.off;
	o->mount = note_mount(path_mnt - WA_OFFSET(mount, mnt));
	send(WA_SLOT_TASK, off, WA_EXEC, 0);
	return 0;
}

#ifdef WA_PERF
WA_PERF_TP(sched, sched_process_exec)
{
	return on_exec(bpf_get_current_task(), WA_PASSED32(16));
}
#else
WA_RAW_TP(sched_process_exec, )
{
	return on_exec(ctx->args[0], (__u32)ctx->args[1]);
}
#endif

/*
 * sched_process_exit(task): once for every thread (Linux 2.6.28). The process is gone with
 * its last one, whichever that is; signal->live has been counted down before.
 */
WA_INLINE int on_task_exit(__u64 current)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct wa_task *task = task_of(tgid);
	struct wa_scratch *s;
	__u64 signal;
	__u32 code;

	if (!task)
		return 0;
	signal = KREAD64(task_struct, signal, current);
	if (KREAD32(signal_struct, live, signal))
		return 0;
	code = KREAD32(signal_struct, group_exit_code, signal);
	if (!code)
		code = KREAD32(task_struct, exit_code, current);
	s = task_record(WA_EXIT, task->pid, code);
	task_remove(tgid);
	if (!s)
		return 0;
	if (code & 0x80)
		s->task.head.flags |= WA_H_COREDUMP;
	send(WA_SLOT_TASK, sizeof(struct wa_task_event), WA_EXIT, 1);
	return 0;
}

#ifdef WA_PERF
WA_PERF_TP(sched, sched_process_exit)
{
	return on_task_exit(bpf_get_current_task());
}
#else
WA_RAW_TP(sched_process_exit, )
{
	return on_task_exit(ctx->args[0]);
}
#endif

#endif
