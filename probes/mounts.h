/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Mounts describe themselves: the first event in a mount is preceded by a record that says
 * what the mount is. So the host knows a mount even if its namespace is gone by the time
 * that it could read /proc/PID/mountinfo.
 */
#ifndef WRITEAUDIT_MOUNTS_H
#define WRITEAUDIT_MOUNTS_H

/* Components may not run into the name that follows them. */
#define WA_MOUNT_LIMIT 12000

WA_FUNC int send_mount(__u64 mount)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_MOUNT);
	__u64 task = bpf_get_current_task();
	__u64 vfsmount, sb, ns;
	__u32 off = sizeof(struct wa_mount_event);
	__u32 start;
	long n;

	if (!s)
		return 0;
	vfsmount = mount + WA_OFFSET(mount, mnt);
	sb = KREAD64(vfsmount, mnt_sb, vfsmount);
	ns = KREAD64(mount, mnt_ns, mount);
	head_fill(&s->mount.head, WA_MOUNT, pid_of(task, bpf_get_current_pid_tgid() >> 32));
	s->mount.id = KREAD32(mount, mnt_id, mount);
	s->mount.parent = kread32(KREAD64(mount, mnt_parent, mount) + WA_OFFSET(mount, mnt_id));
	s->mount.dev = KREAD32(super_block, s_dev, sb);
	s->mount.mnt_flags = KREAD32(vfsmount, mnt_flags, vfsmount);
	s->mount.sb_flags = KREAD32(super_block, s_flags, sb);
	/* A mount that is in no namespace has NULL here, or an error value. */
	s->mount.ns = 0;
	if (ns && ns < (__u64)-4095)
		s->mount.ns = kread32(ns + WA_OFFSET(mnt_namespace, ns) + WA_OFFSET(ns_common, inum));
	s->mount.pad = 0;

	n = bpf_probe_read_kernel_str(&s->head[off], WA_COMPONENT,
				      (void *)KREAD64(file_system_type, name,
						      KREAD64(super_block, s_type, sb)));
	s->mount.fstype_len = n > 0 ? n - 1 : 0;
	off += s->mount.fstype_len;
	n = bpf_probe_read_kernel_str(&s->head[off & WA_MASK], WA_NAME,
				      (void *)KREAD64(mount, mnt_devname, mount));
	s->mount.source_len = n > 0 ? n - 1 : 0;
	off = (off & WA_MASK) + s->mount.source_len;

	start = off;
	walk_begin(&s->walk, vfsmount, KREAD64(vfsmount, mnt_root, vfsmount), off, WA_MOUNT_LIMIT);
	s->walk.to_fs_root = 1;
	walk_run(WA_SLOT_MOUNT);
	s->mount.root_len = s->walk.off - start;
	off = s->walk.off;

	start = off;
	walk_begin(&s->walk, vfsmount, KREAD64(vfsmount, mnt_root, vfsmount), off, 2 * WA_MOUNT_LIMIT);
	walk_run(WA_SLOT_MOUNT);
	s->mount.point_len = s->walk.off - start;
	send(WA_SLOT_MOUNT, s->walk.off, WA_MOUNT, 0);
	return 0;
}

/* Make sure that the host knows a mount. Its address and id may come to stand for another one,
 * but only after a change of some mount table or the making of a mount that is in none, which move
 * the generation on. */
WA_INLINE __u32 note_mount(__u64 mount)
{
	struct wa_config *c = config_get();
	__u32 id = KREAD32(mount, mnt_id, mount);
	struct wa_mount_seen *seen;
	struct wa_mount_seen entry = {};

	if (!c)
		return id;
	seen = mount_of(mount);
	if (seen && seen->id == id && seen->generation == c->mount_generation)
		return id;
	entry.id = id;
	entry.generation = c->mount_generation;
	mount_add(mount, &entry); /* if the table is full the record is sent again: no harm */
	send_mount(mount);
	return id;
}

/* Make sure that the host knows the mounts of a record that is about to be sent. */
WA_FUNC int note_mounts(__u32 slot)
{
	struct wa_scratch *s = scratch_of(slot);

	if (!s)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 2; i++) {
		__u64 mount = s->mounts[i];

		s->mounts[i] = 0;
		if (mount)
			note_mount(mount);
	}
	return 0;
}

#endif
