/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Processes that ran before the audit did, and control groups (`writeaudit attach`). The host puts those
 * that it finds into the map of tasks; these programs see to it that nobody slips through meanwhile, and
 * that whoever comes into a cgroup later is followed from there on. Loaded for an attach alone: an
 * ordinary run pays nothing for them, and a kernel that refuses them loses nothing else.
 */
#ifndef WRITEAUDIT_JOIN_H
#define WRITEAUDIT_JOIN_H

#define WA_GROUP_DEPTH 32 /* cgroups within one another */
#define WA_CHILDREN 256
#define WA_HIERARCHIES 24 /* of cgroup v1, and the one of v2 */

/* Is a cgroup the one that is followed, or below it? Its hierarchy and its number say which it is, in v1 and
 * v2 alike. */
WA_FUNC int in_group(__u64 cgroup)
{
	struct wa_config *c = config_get();
	__u64 above;

	if (!c || !c->group)
		return 0;
	above = KREAD64(cgroup, root, cgroup);
	if (KREAD32(cgroup_root, hierarchy_id, above) != c->hierarchy)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_GROUP_DEPTH; i++) {
		if (KREAD64(kernfs_node, id, KREAD64(cgroup, kn, cgroup)) == c->group)
			return 1;
		above = kread64(cgroup + WA_OFFSET(cgroup, self) + WA_OFFSET(cgroup_subsys_state, parent));
		if (!above)
			return 0;
		cgroup = KREAD64(cgroup_subsys_state, cgroup, above);
	}
	count(WA_N_UNTRACKED); /* nobody looks any higher */
	return 0;
}

/* Is a task in the cgroup? It is in one of each hierarchy. */
WA_FUNC int task_in_group(__u64 task)
{
	__u64 head = KREAD64(task_struct, cgroups, task) + WA_OFFSET(css_set, cgrp_links);
	__u64 at = kread64(head);

#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_HIERARCHIES; i++) {
		if (!at || at == head)
			return 0;
		if (in_group(KREAD64(cgrp_cset_link, cgrp, at - WA_OFFSET(cgrp_cset_link, cgrp_link))))
			return 1;
		at = kread64(at);
	}
	count(WA_N_UNTRACKED);
	return 0;
}

/* Follow a process, by its first thread, that none of the followed made. */
WA_FUNC int follow_newcomer(__u64 leader, __u32 parent)
{
	__u32 tgid = KREAD32(task_struct, tgid, leader);
	struct wa_task_event event = {};
	struct wa_task entry = {};

	if (!KREAD64(task_struct, mm, leader)) /* a thread of the kernel's, or one that has ended */
		return 0;
	entry.armed = WA_ARMED_MAPS; /* what it has mapped is not known */
	entry.pid = pid_of(leader, tgid);
	if (task_add(tgid, &entry) < 0) {
		count(WA_N_UNTRACKED);
		return 0;
	}
	head_fill(&event.head, WA_FORK, parent);
	event.head.flags = WA_H_JOINED;
	event.other = entry.pid;
	send_task(&event, 1);
	return 0;
}

WA_INLINE void note_birth(__u32 child, __u32 parent)
{
	if (bpf_map_update_elem(WA_REF(births), &child, &parent, 0) < 0)
		count(WA_N_UNTRACKED);
}

WA_INLINE __u32 process_of(__u64 task)
{
	return pid_of(KREAD64(task_struct, group_leader, task), KREAD32(task_struct, tgid, task));
}

/*
 * sched_process_fork(parent, child), after the program that follows children: whose parent is not
 * followed yet, because the host has not come to it, is noted for the host. And clone3 with
 * CLONE_INTO_CGROUP (Linux 5.7) puts a child into a cgroup by no other way: it is there before the child
 * runs.
 */
WA_FUNC int on_birth(__u64 parent, __u64 child)
{
	__u32 tgid = KREAD32(task_struct, tgid, child);
	struct wa_config *c = config_get();

	if (!c || task_of(tgid) || tgid == KREAD32(task_struct, tgid, parent))
		return 0;
	if (c->joining)
		note_birth(process_of(child), process_of(parent));
	if (c->group && task_in_group(child))
		follow_newcomer(child, process_of(parent));
	return 0;
}

/* Note one of the children that a task leaves behind; returns the next in the kernel's list. A function of
 * its own for the verifier, which would look at each round of the loop again. */
WA_FUNC __u64 note_left(__u64 at, __u32 parent)
{
	__u64 child = at - WA_OFFSET(task_struct, sibling);

	if (!task_of(KREAD32(task_struct, tgid, child)))
		note_birth(process_of(child), parent);
	return kread64(at);
}

/*
 * sched_process_exit(task), of every thread, while processes are being joined, and before the program that
 * lets go of it: from here on nobody could tell any more whose children those are that it leaves behind.
 */
WA_FUNC int on_parting(__u64 task)
{
	struct wa_config *c = config_get();
	__u64 head, at;
	__u32 self;

	if (!c || !c->joining)
		return 0;
	self = process_of(task);
	if (!task_of(KREAD32(task_struct, tgid, task)))
		note_birth(self, process_of(KREAD64(task_struct, real_parent, task)));
	head = task + WA_OFFSET(task_struct, children);
	at = kread64(head);
#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_CHILDREN; i++) {
		if (!at || at == head)
			return 0;
		at = note_left(at, self);
	}
	count(WA_N_UNTRACKED);
	return 0;
}

/*
 * cgroup_attach_task(cgroup, path, task, threadgroup): whoever is moved into a cgroup from outside, as by
 * `docker exec` (Linux 4.18); a single thread (v1, or a threaded cgroup) brings its whole process along.
 */
WA_FUNC int on_group_attach(__u64 cgroup, __u64 task)
{
	if (!task_of(KREAD32(task_struct, tgid, task)) && in_group(cgroup))
		follow_newcomer(KREAD64(task_struct, group_leader, task), 0);
	return 0;
}

WA_RAW_TP(sched_process_fork, _join)
{
	return on_birth(ctx->args[0], ctx->args[1]);
}

WA_RAW_TP(sched_process_exit, _join)
{
	return on_parting(ctx->args[0]);
}

WA_RAW_TP(cgroup_attach_task, )
{
	return on_group_attach(ctx->args[0], ctx->args[2]);
}

#ifdef WA_PERF
/* perf passes no pointers, so they stay raw ones; two copies each, as of sched_process_fork in tasks.h. */
WA_RAW_TP(sched_process_fork, _join_2)
{
	return on_birth(ctx->args[0], ctx->args[1]);
}
WA_RAW_TP(sched_process_exit, _join_2)
{
	return on_parting(ctx->args[0]);
}
WA_RAW_TP(cgroup_attach_task, _2)
{
	return on_group_attach(ctx->args[0], ctx->args[2]);
}
#endif

#endif
