/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Links in /proc whose meaning depends on who follows them. The host cannot follow these once the
 * process is gone, so where such a name begins is found here: by its text, if /proc is what it
 * seems to be.
 */
#ifndef WRITEAUDIT_MAGIC_H
#define WRITEAUDIT_MAGIC_H

#define WA_PROC_SUPER_MAGIC 0x9fa0
#define WA_PROC 0x636f7270 /* "proc" as the processor reads it */

/* Where a magic link leads, other than to a descriptor (>= 0). */
#define WA_MAGIC_NONE (-1)
#define WA_MAGIC_CWD (-2)
#define WA_MAGIC_ROOT (-3)

#define WA_CHAR(i) s->head[(start + (i)) & WA_MASK]

WA_INLINE int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

#define WA_DIGITS 8

/* The number written at a place, in the lower half; in the upper half how many digits it has. */
WA_FUNC __u64 number_at(__u32 start)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	__u32 number = 0, digits = 0;

	if (!s)
		return 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < WA_DIGITS; i++) {
		char c = WA_CHAR(i);

		if (!is_digit(c))
			break;
		number = number * 10 + (c - '0');
		digits = i + 1;
	}
	return (__u64)digits << 32 | number;
}

/*
 * Does a name begin with /proc/self/fd/N, /proc/thread-self/fd/N, /proc/PID/fd/N of this
 * process, /dev/fd/N, /proc/self/cwd or /proc/self/root? The name lies at start in the record.
 * Returns the descriptor or WA_MAGIC_*, with the length of the prefix in the upper half.
 */
WA_FUNC __u64 magic_link(__u32 start)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	__u32 at = 0, number = 0, digits = 0;
	__u64 written;

	if (!s)
		return (__u32)WA_MAGIC_NONE;
	if (WA_CHAR(1) == 'd' && WA_CHAR(2) == 'e' && WA_CHAR(3) == 'v') {
		at = 4; /* /dev/fd is a link to /proc/self/fd */
	} else if (WA_CHAR(1) == 'p' && WA_CHAR(2) == 'r' && WA_CHAR(3) == 'o' && WA_CHAR(4) == 'c' &&
		   WA_CHAR(5) == '/') {
		if (WA_CHAR(6) == 's' && WA_CHAR(9) == 'f') {
			at = 10; /* /proc/self */
		} else if (WA_CHAR(6) == 't' && WA_CHAR(12) == '-' && WA_CHAR(16) == 'f') {
			at = 17; /* /proc/thread-self */
		} else {
			written = number_at(start + 6);
			number = (__u32)written;
			at = written ? 6 + (written >> 32) : 0;
			if (!at || number != s->event.head.pid)
				return (__u32)WA_MAGIC_NONE;
		}
		if (WA_CHAR(at) == '/' && WA_CHAR(at + 1) == 'c' && WA_CHAR(at + 2) == 'w' &&
		    WA_CHAR(at + 3) == 'd' && (!WA_CHAR(at + 4) || WA_CHAR(at + 4) == '/'))
			return (__u64)(at + 4) << 32 | (__u32)WA_MAGIC_CWD;
		if (WA_CHAR(at) == '/' && WA_CHAR(at + 1) == 'r' && WA_CHAR(at + 2) == 'o' &&
		    WA_CHAR(at + 4) == 't' && (!WA_CHAR(at + 5) || WA_CHAR(at + 5) == '/'))
			return (__u64)(at + 5) << 32 | (__u32)WA_MAGIC_ROOT;
	}
	if (!at || WA_CHAR(at) != '/' || WA_CHAR(at + 1) != 'f' || WA_CHAR(at + 2) != 'd' ||
	    WA_CHAR(at + 3) != '/')
		return (__u32)WA_MAGIC_NONE;
	at += 4;
	written = number_at(start + at);
	number = (__u32)written;
	digits = written >> 32;
	at += digits;
	if (!digits || (WA_CHAR(at) && WA_CHAR(at) != '/'))
		return (__u32)WA_MAGIC_NONE;
	return (__u64)at << 32 | (number & 0x7fffffff);
}

/* What the search for the mount at /proc does next. */
#define WA_SEARCH_PROC 0 /* find what is mounted on "proc" in the root directory */
#define WA_SEARCH_COVER 1 /* is another mount on top of it? */
#define WA_SEARCH_INSIDE 2 /* is anything mounted on the links of a process? */

#define WA_SEARCH_STEPS 64 /* mounts that are looked at, at most */

/* How a search ends. */
#define WA_PROC_OTHER 1 /* /proc is something else, or may be */
#define WA_PROC_REAL 2
#define WA_PROC_OWN 3 /* and its numbers are those that writeaudit knows */

/* Does an entry of a procfs, whose root is given, belong to a process, or lead to one? */
WA_INLINE int of_a_process(__u64 dentry, __u64 root)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < 8; i++) {
		__u64 parent = KREAD64(dentry, d_parent, dentry);

		if (parent == root) {
			__u32 name =
				kread32(kread64(dentry + WA_OFFSET(dentry, d_name) + WA_OFFSET(qstr, name)));

			/* A number, "self" or "thread-self". */
			return is_digit(name) || (name & 0xffff) == ('s' | 'e' << 8) ||
			       (name & 0xffff) == ('t' | 'h' << 8);
		}
		dentry = parent;
	}
	return 1;
}

/* Is a mount all of a procfs? */
WA_INLINE int is_proc(__u64 mount)
{
	__u64 vfsmount = mount + WA_OFFSET(mount, mnt);
	__u64 sb = KREAD64(vfsmount, mnt_sb, vfsmount);

	return KREAD64(super_block, s_magic, sb) == WA_PROC_SUPER_MAGIC &&
	       KREAD64(vfsmount, mnt_root, vfsmount) == KREAD64(super_block, s_root, sb);
}

/* Are the numbers in a procfs those of writeaudit's pid namespace? */
WA_INLINE int is_own_proc(__u64 mount)
{
	struct wa_config *c = config_get();
	__u64 vfsmount = mount + WA_OFFSET(mount, mnt);
	__u64 info_at = WA_FIND(super_block, s_fs_info), ns_at = WA_FIND(proc_fs_info, pid_ns);
	__u64 info, pid;

	if (!c || info_at == WA_NOWHERE || ns_at == WA_NOWHERE) {
		miss_feature(WA_LACKS_PROC);
		return 0;
	}
	info = kread64(KREAD64(vfsmount, mnt_sb, vfsmount) + info_at);
	pid = KREAD64(task_struct, thread_pid, bpf_get_current_task());
	/* struct upid is an int and a pointer to the namespace. */
	return kread64(pid + WA_OFFSET(pid, numbers) + 16 * (__u64)c->pid_level + 8) == kread64(info + ns_at);
}

WA_INLINE void search_children(struct wa_search *w, __u32 step)
{
	w->step = step;
	w->at = kread64(w->mount + WA_OFFSET(mount, mnt_mounts));
}

/* One step: look at one mount on another. Returns how the search ends, 0 if it goes on. */
WA_FUNC int search_step(__u32 slot)
{
	struct wa_scratch *s = scratch_of(slot);
	struct wa_search *w;
	__u64 child, point;

	if (!s)
		return WA_PROC_OTHER;
	w = &s->search;
	if (!w->at)
		return WA_PROC_OTHER;
	if (w->at == w->mount + WA_OFFSET(mount, mnt_mounts)) {
		if (w->step == WA_SEARCH_INSIDE)
			return is_own_proc(w->mount) ? WA_PROC_OWN : WA_PROC_REAL;
		if (w->step == WA_SEARCH_PROC || !is_proc(w->mount))
			return WA_PROC_OTHER;
		search_children(w, WA_SEARCH_INSIDE);
		return 0;
	}
	child = w->at - WA_OFFSET(mount, mnt_child);
	w->at = kread64(w->at);
	point = KREAD64(mount, mnt_mountpoint, child);
	if (w->step == WA_SEARCH_INSIDE)
		return of_a_process(point, w->dentry) ? WA_PROC_OTHER : 0;
	if (w->step == WA_SEARCH_PROC) {
		__u64 called = point + WA_OFFSET(dentry, d_name);

		if (KREAD64(dentry, d_parent, point) != w->dentry || KREAD32(qstr, len, called) != 4 ||
		    kread32(KREAD64(qstr, name, called)) != WA_PROC)
			return 0;
	} else if (point != w->dentry) {
		return 0;
	}
	w->mount = child;
	w->dentry = kread64(child + WA_OFFSET(mount, mnt) + WA_OFFSET(vfsmount, mnt_root));
	search_children(w, WA_SEARCH_COVER);
	return 0;
}

#ifdef WA_DIRECT
static long search_on(__u64 index, void *context)
{
	int *end = context;

	*end = search_step(WA_SLOT_SYSCALL);
	return *end != 0;
}
#endif

/*
 * Does a name that magic_link() knows mean what it says: is /proc a procfs, as this process finds it?
 * Not so for io_uring, which follows a link later, when it may lead elsewhere; and what lies in
 * another /dev, or in one that may be covered, need not be the usual links.
 */
WA_FUNC int is_magic(__u32 start)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_config *c = config_get();
	__u64 root = KREAD64(task_struct, fs, bpf_get_current_task()) + WA_OFFSET(fs_struct, root);
	__u64 mnt = kread64(root), dentry = kread64(root + 8);
	int end = 0;

	if (!s || !c || s->event.head.flags & WA_H_IO_URING)
		return 0;
	if (WA_CHAR(1) == 'd' && (mnt != c->root_mnt || dentry != c->root_dentry || c->mount_generation))
		return 0;
	s->search.mount = mnt - WA_OFFSET(mount, mnt);
	s->search.dentry = dentry;
	search_children(&s->search, WA_SEARCH_PROC);
#ifdef WA_DIRECT
	bpf_loop(WA_SEARCH_STEPS, search_on, &end, 0);
#else
#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_SEARCH_STEPS && !end; i++)
		end = search_step(WA_SLOT_SYSCALL);
#endif
	if (end == WA_PROC_REAL)
		return WA_CHAR(1) == 'd' || !is_digit(WA_CHAR(6));
	return end == WA_PROC_OWN;
}

#endif
