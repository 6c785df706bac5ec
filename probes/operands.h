/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The paths of a system call: an open file by its own path, a name together with the path
 * of the directory that it is relative to. Read at the exit of the call, when the strings
 * are in memory because the kernel has just read them.
 */
#ifndef WRITEAUDIT_OPERANDS_H
#define WRITEAUDIT_OPERANDS_H

#define WA_AT_FDCWD (-100)
#define WA_RESOLVE_IN_ROOT 0x10
#define WA_AF_UNIX 1
#define WA_S_IFMT 0170000
#define WA_S_IFREG 0100000
#define WA_S_IFBLK 0060000

/* Bases may fill the buffer up to here, so that the name after each still fits. */
#define WA_LIMIT_A 11000
#define WA_LIMIT_B 27000

WA_INLINE __u64 task_file(__u64 task, int fd)
{
	__u64 fdt = KREAD64(files_struct, fdt, KREAD64(task_struct, files, task));

	if (fd < 0 || (__u32)fd >= KREAD32(fdtable, max_fds, fdt))
		return 0;
	return kread64(KREAD64(fdtable, fd, fdt) + 8 * (__u64)fd);
}

WA_INLINE __u64 fd_file(int fd)
{
	return task_file(bpf_get_current_task(), fd);
}

/* struct path is {vfsmount, dentry}, in this order since it exists. */
WA_INLINE void load_path(struct wa_found *f, __u64 address)
{
	f->vfsmount = kread64(address);
	f->dentry = kread64(address + 8);
	f->walk = 1;
}

/* Fill in what is known of an open file; its path is written by the caller's walk. */
WA_INLINE void operand_file(struct wa_operand *o, __u64 file, __u64 inode)
{
	o->ino = KREAD64(inode, i_ino, inode);
	o->dev = kread32(KREAD64(inode, i_sb, inode) + WA_OFFSET(super_block, s_dev));
	o->i_mode = KREAD32(inode, i_mode, inode);
	o->nlink = KREAD32(inode, i_nlink, inode);
	o->f_mode = file ? KREAD32(file, f_mode, file) : 0;
}

/* The directory that a file lies in; 0 for the root of a mount: what it lies in is elsewhere. */
WA_INLINE __u64 parent_of(__u64 vfsmount, __u64 dentry)
{
	__u64 parent = KREAD64(dentry, d_parent, dentry);

	if (parent == dentry || dentry == KREAD64(vfsmount, mnt_root, vfsmount))
		return 0;
	parent = KREAD64(dentry, d_inode, parent);
	return KREAD64(inode, i_ino, parent);
}

/* Copy the name that was passed to off. It is looked at here and nowhere else again: what
 * another thread writes over it meanwhile changes nothing that is decided from it. */
WA_FUNC __u32 put_name(__u32 off, __u32 how, __u64 name)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	long n;

	if (!s)
		return 0;
	off &= WA_MASK;
	n = how & WA_ARG_KERNEL ? bpf_probe_read_kernel_str(&s->head[off], WA_NAME + 1, (void *)name)
				: bpf_probe_read_user_str(&s->head[off], WA_NAME + 1, (void *)name);
	if (n < 0) {
		s->found.flags |= WA_F_FAULT;
		return 0;
	}
	if (!n) { /* what an empty string gives before Linux 6.13 */
		s->head[off] = 0;
		n = 1;
	}
	s->found.flags |= WA_F_NAME;
	if (n > WA_NAME)
		s->found.flags |= WA_F_TRUNCATED;
	/* sun_path need not end in a zero byte: its length says where it ends. */
	if ((how & 0x7f) == WA_ARG_SOCKADDR) {
		__u32 room = (__u32)s->arg[((how >> 16) + 1) & 7] - 2;

		if (n - 1 > room) {
			n = (room & 127) + 1;
			s->head[(off + n - 1) & WA_MASK] = 0;
		}
	}
	s->found.name_len = n - 1;
	return n;
}

/* Is the directory of an open the root directory for it, too (openat2)? */
WA_INLINE int in_root(struct wa_scratch *s)
{
	__u32 op = s->event.head.op;

	return (op == WA_OP_OPENAT2 || op == WA_OP_OPEN) && s->event.arg[2] & WA_RESOLVE_IN_ROOT;
}

/* Where is the name at start relative to? Puts into found the file, or the directory's path. */
WA_FUNC int find_base(__u32 start)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_config *c = config_get();
	struct wa_found *f;
	__u64 task, fs, magic = (__u32)WA_MAGIC_NONE;
	int dirfd;

	if (!s || !c)
		return 0;
	f = &s->found;
	dirfd = f->dirfd;
	task = bpf_get_current_task();
	fs = KREAD64(task_struct, fs, task);
	if (WA_CHAR(0) != '/' || in_root(s)) {
		__u64 root = fs + WA_OFFSET(fs_struct, root);

		if (kread64(root) != c->root_mnt || kread64(root + 8) != c->root_dentry)
			f->flags |= WA_F_ELSEWHERE;
		if (dirfd == WA_AT_FDCWD) {
			load_path(f, fs + WA_OFFSET(fs_struct, pwd));
			if (!WA_CHAR(0)) {
				f->inode = KREAD64(dentry, d_inode, f->dentry);
				f->flags |= WA_F_FILE;
			}
			return 0;
		}
		f->file = fd_file(dirfd);
		if (!f->file)
			f->flags |= WA_F_NOFD;
		else if (!WA_CHAR(0))
			f->flags |= WA_F_FILE; /* AT_EMPTY_PATH */
		return 0;
	}
	if ((WA_CHAR(1) == 'p' && WA_CHAR(3) == 'o') || (WA_CHAR(1) == 'd' && WA_CHAR(5) == 'f'))
		magic = magic_link(start);
	if ((int)magic != WA_MAGIC_NONE && !is_magic(start))
		magic = (__u32)WA_MAGIC_NONE;
	/* But for /proc/thread-self they are those of the first thread, which may have its own. */
	if ((int)magic != WA_MAGIC_NONE && !(WA_CHAR(1) == 'p' && WA_CHAR(6) == 't')) {
		task = KREAD64(task_struct, group_leader, task);
		fs = KREAD64(task_struct, fs, task);
	}
	if ((int)magic == WA_MAGIC_CWD) {
		load_path(f, fs + WA_OFFSET(fs_struct, pwd));
		f->flags |= WA_F_MAGIC;
	} else if ((int)magic < 0) {
		load_path(f, fs + WA_OFFSET(fs_struct, root));
		f->flags |= WA_F_ROOT;
		f->walk = f->vfsmount != c->root_mnt || f->dentry != c->root_dentry;
	} else {
		f->file = task_file(task, (int)magic);
		f->flags |= f->file ? WA_F_MAGIC : WA_F_NOFD;
	}
	f->skip = magic >> 32;
	/* Only the link itself: the file is the operand. */
	if (f->file && !WA_CHAR(f->skip))
		f->flags |= WA_F_FILE;
	return 0;
}

/* Is a mount one of the kernel's own? Nobody has it in a namespace: MNT_NS_INTERNAL, an error pointer. */
WA_INLINE int is_internal(__u64 mount)
{
	return KREAD64(mount, mnt_ns, mount) >= -4095ULL;
}

/* Write the path of what was found at off; returns where it ends. */
WA_INLINE __u32 put_base(__u32 off, __u32 limit)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_found *f;
	__u64 from;
#ifdef WA_DIRECT
	__u64 from_chain;
#endif

	if (!s)
		return off;
	f = &s->found;
	from = f->vfsmount - WA_OFFSET(mount, mnt);
	if (is_internal(from)) {
		__u64 called = f->dentry + WA_OFFSET(dentry, d_name);
		long n;

		off &= WA_MASK;
		n = bpf_probe_read_kernel_str(&s->head[off], WA_COMPONENT,
					      (void *)KREAD64(qstr, name, called));
		f->flags |= n > 0 ? WA_F_BASE | WA_F_INTERNAL : WA_F_FAULT;
		f->base_len = n > 0 ? n : 0;
		return off + f->base_len;
	}
#ifdef WA_DIRECT
	/* The directory, of an open file the one that it lies in, if it is on the same mount. */
	from_chain = f->dentry;
	if (f->flags & WA_F_FILE)
		from_chain = f->dentry == KREAD64(vfsmount, mnt_root, f->vfsmount)
				     ? 0
				     : KREAD64(dentry, d_parent, f->dentry);
	f->chain = from_chain ? chain_of(from, from_chain) : 0;
#endif
	walk_begin(&s->walk, f->vfsmount, f->dentry, off, limit);
	walk_run(WA_SLOT_SYSCALL);
	f->flags |= s->walk.flags | WA_F_BASE;
	if (is_deleted(f->dentry))
		f->flags |= WA_F_DELETED;
	if (!KREAD64(mount, mnt_ns, from))
		f->flags |= WA_F_DETACHED;
#ifdef WA_DIRECT
	/* Whatever was renamed meanwhile: then the number may not be that of what was written down. */
	if (f->chain &&
	    (f->flags & (WA_F_TRUNCATED | WA_F_FAULT | WA_F_UNREACHABLE | WA_F_DETACHED) ||
	     (f->flags & WA_F_DELETED && !(f->flags & WA_F_FILE)) || chain_of(from, from_chain) != f->chain))
		f->chain = 0;
	s->chains[s->event.head.operands & 1] = f->chain;
#endif
	f->base_len = s->walk.off - off;
	f->in_mount = s->walk.in_mount ? s->walk.in_mount - off : f->base_len;
	f->mount = KREAD32(mount, mnt_id, from);
	s->mounts[s->event.head.operands & 1] = from;
	return s->walk.off;
}

WA_INLINE void found_nothing(struct wa_found *f)
{
	f->file = 0;
	f->inode = 0;
	f->flags = 0;
	f->walk = 0;
	f->skip = 0;
	f->mount = 0;
	f->name_len = 0;
	f->base_len = 0;
	f->in_mount = 0;
	f->seek = 0;
	f->chain = 0;
}

/* Write an operand at start, whose name ends at off, for what was found. Returns where it ends. */
WA_FUNC __u32 put_found(__u32 start, __u32 off, __u32 limit)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_found *f;
	struct wa_operand *o;

	if (!s)
		return 0;
	f = &s->found;
	start &= WA_MASK;
	if (f->file) {
		load_path(f, f->file + WA_OFFSET(file, f_path));
		f->inode = KREAD64(file, f_inode, f->file);
	}
	if (f->walk)
		off = put_base(off, limit);

	o = (struct wa_operand *)&s->head[start];
	o->ino = 0;
	o->dev = 0;
	o->i_mode = 0;
	o->f_mode = 0;
	o->nlink = 0;
	o->parent = 0;
	o->room = 0;
	o->pad = 0;
	o->chain = f->chain;
	if (f->flags & WA_F_FILE && f->inode) {
		operand_file(o, f->file, f->inode);
		o->parent = parent_of(f->vfsmount, f->dentry);
	} else if (f->walk) {
		__u64 inode = KREAD64(dentry, d_inode, f->dentry);

		o->parent = KREAD64(inode, i_ino, inode);
		o->dev = kread32(KREAD64(inode, i_sb, inode) + WA_OFFSET(super_block, s_dev));
	}
	o->mount = f->mount;
	o->flags = f->flags;
	o->base_len = f->base_len;
	o->in_mount = f->in_mount;
	o->name_len = f->name_len;
	o->skip = f->skip;
	return off;
}

/* Write an operand at off for an open file. Returns where it ends. */
WA_INLINE __u32 put_file(struct wa_scratch *s, __u32 off, __u64 file)
{
	found_nothing(&s->found);
	s->found.file = file;
	s->found.flags = WA_F_FILE;
	return put_found(off, off + sizeof(struct wa_operand), WA_LIMIT_A);
}

/*
 * Copy the name of one operand to where it belongs and see what it stands for: how = kind | index
 * of the directory argument << 8 | index of the path argument << 16. Returns where the name ends,
 * 0 if the call is of no interest after all. Calls nothing that calls much: see put_operand().
 */
WA_FUNC __u32 look_at(__u32 off, __u32 how, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_found *f;
	__u32 kind = how & 0x7f;
	__u64 name;

	if (!s)
		return 0;
	f = &s->found;
	found_nothing(f);
	name = s->arg[(how >> 16) & 7];
	f->dirfd = WA_AT_FDCWD;
	if (kind == WA_ARG_AT || kind == WA_ARG_OPEN_AT)
		f->dirfd = (int)s->arg[(how >> 8) & 7];
	off = (off & WA_MASK) + sizeof(struct wa_operand);
	if (kind == WA_ARG_SOCKADDR) {
		__u16 family = 0;

		if (bpf_probe_read_user(&family, sizeof(family), (void *)name) < 0 || family != WA_AF_UNIX)
			return 0;
		name += 2;
	}
	if ((kind == WA_ARG_OPEN_AT || kind == WA_ARG_OPEN_CWD) && ret >= 0) {
		f->file = fd_file((int)ret);
		f->flags = f->file ? WA_F_FILE : WA_F_NOFD;
	} else if (kind == WA_ARG_ROOT) {
		load_path(f, KREAD64(task_struct, fs, bpf_get_current_task()) + WA_OFFSET(fs_struct, root));
		f->inode = KREAD64(dentry, d_inode, f->dentry);
		f->flags = WA_F_FILE;
	} else if (kind == WA_ARG_FILE) {
		f->file = name;
		f->flags = f->file ? WA_F_FILE : WA_F_NOFD;
		name = 0;
	} else if (kind == WA_ARG_FD || (kind == WA_ARG_AT && !name)) {
		/* utimensat(fd, NULL, …) means the descriptor itself. */
		f->file = fd_file(kind == WA_ARG_FD ? (int)name : f->dirfd);
		f->flags = f->file ? WA_F_FILE : WA_F_NOFD;
		name = 0;
	}
	if (name && put_name(off, how, name)) {
		if (kind == WA_ARG_SOCKADDR && !f->name_len)
			return 0; /* the abstract namespace is no file system */
		if (kind == WA_ARG_TEXT)
			f->flags |= WA_F_TEXT;
		else if (!(f->flags & WA_F_FILE))
			f->seek = 1;
		off += f->name_len;
	}
	return off;
}

/*
 * Write one operand at off: how as look_at() takes it, | 1 << 24 for the second operand. Returns
 * where it ends, 0 if the call is of no interest after all.
 * The steps are called one after the other, not by one another: the stack of a chain of calls may
 * take 512 bytes in all (before Linux 6.13), see tests/unit/capture/kernel/test_bpf_stack.py.
 */
WA_INLINE __u32 put_operand(struct wa_scratch *s, __u32 off, __u32 how, __s64 ret)
{
	__u32 end = look_at(off, how, ret);

	if (!end)
		return 0;
	if (s->found.seek)
		find_base(off + sizeof(struct wa_operand));
	return put_found(off, end, how >> 24 ? WA_LIMIT_B : WA_LIMIT_A);
}

#endif
