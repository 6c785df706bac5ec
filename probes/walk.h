/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Paths out of the kernel's own objects: from a directory entry up to the root of its
 * mount, over to the mount point, and so on to the root of the namespace. Components are
 * written last one first, each ended by a zero byte; the host turns them round.
 */
#ifndef WRITEAUDIT_WALK_H
#define WRITEAUDIT_WALK_H

#define WA_MASK (WA_DATA - 1)
#define WA_CHUNK 4 /* components a round: few, for the verifier looks at each */
#define WA_ROUNDS 128

#define WA_WALK_END 1

#ifdef WA_DIRECT
#define WA_SHORT 32 /* bytes that a name and its zero byte may have to be copied word by word */

/*
 * Copy a short name to off; returns its length with the zero byte, 0 if it must be copied the
 * slow way. The entry's own sequence number tells that nothing was renamed meanwhile: name and
 * length belong together then.
 */
WA_INLINE long copy_short(struct wa_scratch *s, __u32 off, __u64 dentry)
{
	__u32 sequence = KREAD32(dentry, d_seq, dentry);
	__u64 called = dentry + WA_OFFSET(dentry, d_name);
	__u32 length = KREAD32(qstr, len, called);
	__u64 name = KREAD64(qstr, name, called);

	if (length >= WA_SHORT || sequence & 1)
		return 0;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < WA_SHORT; i += 8)
		*(__u64 *)&s->head[off + i] = kread64(name + i);
	if (KREAD32(dentry, d_seq, dentry) != sequence)
		return 0;
	s->head[off + length] = 0;
	return length + 1;
}
#else
WA_INLINE long copy_short(struct wa_scratch *s, __u32 off, __u64 dentry)
{
	return 0;
}
#endif

/* One step: a component, or the crossing into the parent mount. */
WA_INLINE void walk_step(struct wa_walk *w, struct wa_scratch *s)
{
	__u64 dentry = w->dentry;
	__u64 parent;
	__u32 off = w->off;
	long n;

	/* Where writeaudit has its own root directory, in a chroot say, its names begin: the host knows no
	 * other. */
	if (dentry == w->stop && w->mount == w->stop_mount && !w->to_fs_root) {
		w->done = WA_WALK_END;
		return;
	}
	if (dentry == w->root && !w->to_fs_root) {
		__u64 above = KREAD64(mount, mnt_parent, w->mount);

		if (above == w->mount || !above) {
			/* Past that root, in the same namespace: outside of the chroot. */
			if (w->stop && above &&
			    KREAD64(mount, mnt_ns, w->mount) == KREAD64(mount, mnt_ns, w->stop_mount))
				w->flags |= WA_F_UNREACHABLE;
			w->done = WA_WALK_END;
			return;
		}
		if (!w->in_mount)
			w->in_mount = off;
		w->dentry = KREAD64(mount, mnt_mountpoint, w->mount);
		w->mount = above;
		w->root = kread64(above + WA_OFFSET(mount, mnt) + WA_OFFSET(vfsmount, mnt_root));
		return;
	}
	parent = KREAD64(dentry, d_parent, dentry);
	if (parent == dentry || !parent) {
		/* The root of the file system, yet not that of the mount: the directory was
		 * moved out from under a bind mount. */
		if (!w->to_fs_root)
			w->flags |= WA_F_UNREACHABLE;
		w->done = WA_WALK_END;
		return;
	}
	if (off > w->limit) {
		w->flags |= WA_F_TRUNCATED;
		w->done = WA_WALK_END;
		return;
	}
	off &= WA_MASK;
	n = copy_short(s, off, dentry);
	if (!n)
		n = bpf_probe_read_kernel_str(&s->head[off], WA_COMPONENT,
					      (void *)kread64(dentry + WA_OFFSET(dentry, d_name) +
							      WA_OFFSET(qstr, name)));
	if (n <= 0) {
		count(WA_N_FAULT);
		w->flags |= WA_F_FAULT;
		w->done = WA_WALK_END;
		return;
	}
	w->off = off + n;
	w->dentry = parent;
}

#ifdef WA_DIRECT
/* bpf_loop (Linux 5.17): the verifier looks at a step once, however many there may be. */
static long walk_on(__u64 index, void *context)
{
	struct wa_scratch *s = scratch_of(*(__u32 *)context);

	if (!s || s->walk.done)
		return 1;
	walk_step(&s->walk, s);
	return 0;
}

/* Write the path of a directory entry at walk.off; the walk must have been set up. */
WA_FUNC int walk_run(__u32 slot)
{
	struct wa_scratch *s;
	__u32 context = slot;

	bpf_loop(WA_ROUNDS * WA_CHUNK, walk_on, &context, 0);
	s = scratch_of(slot);
	if (s && !s->walk.done)
		s->walk.flags |= WA_F_TRUNCATED;
	return 0;
}
#else
WA_FUNC int walk_chunk(__u32 slot)
{
	struct wa_scratch *s = scratch_of(slot);

	if (!s)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_CHUNK; i++) {
		if (s->walk.done)
			break;
		walk_step(&s->walk, s);
	}
	return s->walk.done;
}

/* Write the path of a directory entry at walk.off; the walk must have been set up. */
WA_FUNC int walk_run(__u32 slot)
{
	struct wa_scratch *s = scratch_of(slot);

	if (!s)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_ROUNDS; i++)
		if (walk_chunk(slot))
			return 0;
	s->walk.flags |= WA_F_TRUNCATED;
	return 0;
}
#endif

/* Begin a walk at a struct path {vfsmount, dentry}. */
WA_INLINE void walk_begin(struct wa_walk *w, __u64 vfsmount, __u64 dentry, __u32 off, __u32 limit)
{
	struct wa_config *c = config_get();

	w->stop = c ? c->root_dentry : 0;
	w->stop_mount = c ? c->root_mnt - WA_OFFSET(mount, mnt) : 0;
	w->mount = vfsmount - WA_OFFSET(mount, mnt);
	w->dentry = dentry;
	w->root = KREAD64(vfsmount, mnt_root, vfsmount);
	w->off = off;
	w->limit = limit;
	w->flags = 0;
	w->in_mount = 0;
	w->done = 0;
	w->to_fs_root = 0;
}

#ifdef WA_DIRECT
#define WA_CHAIN_MAX 48 /* longer ones have no number */
#define WA_MIX 0x9e3779b97f4a7c15ULL

WA_INLINE __u64 mixed(__u64 chain, __u64 word)
{
	chain = (chain ^ word) * WA_MIX;
	return chain ^ chain >> 29;
}

/*
 * A number for a directory and all that its path is made of: the entries up to the root of the
 * namespace, by address, name (its hash and length) and sequence number, which any renaming moves on,
 * and the mounts. So the same number means the same path. Returns 0 if it has none.
 */
struct wa_chain {
	__u64 mount, dentry, root;
	__u64 chain;
	__u64 ended; /* 1: at the root of the namespace; 2: elsewhere */
};

static long chain_on(__u64 index, void *context)
{
	struct wa_chain *c = context;
	__u64 dentry = c->dentry, mount = c->mount, parent;

	if (dentry == c->root) {
		parent = KREAD64(mount, mnt_parent, mount);
		if (parent == mount || !parent) {
			c->ended = 1;
			return 1;
		}
		c->dentry = KREAD64(mount, mnt_mountpoint, mount);
		c->mount = parent;
		c->root = kread64(parent + WA_OFFSET(mount, mnt) + WA_OFFSET(vfsmount, mnt_root));
		c->chain = mixed(c->chain, parent);
		return 0;
	}
	parent = KREAD64(dentry, d_parent, dentry);
	if (parent == dentry || !parent) {
		c->ended = 2;
		return 1;
	}
	c->chain = mixed(mixed(c->chain, kread64(dentry + WA_OFFSET(dentry, d_name))),
			 dentry ^ (__u64)KREAD32(dentry, d_seq, dentry) << 48);
	c->dentry = parent;
	return 0;
}

WA_FUNC __u64 chain_of(__u64 mount, __u64 dentry)
{
	struct wa_config *config = config_get();
	struct wa_chain c = {};

	if (!config)
		return 0;
	c.mount = mount;
	c.dentry = dentry;
	c.root = kread64(mount + WA_OFFSET(mount, mnt) + WA_OFFSET(vfsmount, mnt_root));
	c.chain = mixed(mount, config->mount_generation);
	bpf_loop(WA_CHAIN_MAX, chain_on, &c, 0);
	return c.ended == 1 ? c.chain : 0;
}
#endif

/* d_unlinked() in the kernel's words: unhashed, and not the root of anything. */
WA_INLINE int is_deleted(__u64 dentry)
{
	return !kread64(dentry + WA_OFFSET(dentry, d_hash) + 8) &&
	       KREAD64(dentry, d_parent, dentry) != dentry;
}

#endif
