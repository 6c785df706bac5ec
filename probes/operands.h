/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The paths of a system call: an open file by its own path, a name together with the path
 * of the directory that it is relative to. Read at the exit of the call, when the strings
 * are in memory because the kernel has just read them.
 */
#ifndef WRITEAUDIT_OPERANDS_H
#define WRITEAUDIT_OPERANDS_H

#define WA_AT_FDCWD (-100)
#define WA_AF_UNIX 1
#define WA_S_IFMT 0170000
#define WA_S_IFREG 0100000
#define WA_S_IFBLK 0060000
#define WA_SB_KERNMOUNT (1 << 22)

/* Bases may fill the buffer up to here, so that the name after each still fits. */
#define WA_LIMIT_A 11000
#define WA_LIMIT_B 27000

/* Where a magic link leads, other than to a descriptor (>= 0). */
#define WA_MAGIC_NONE (-1)
#define WA_MAGIC_CWD (-2)
#define WA_MAGIC_ROOT (-3)

WA_INLINE __u64 fd_file(int fd)
{
	__u64 fdt = KREAD64(files_struct, fdt, KREAD64(task_struct, files, bpf_get_current_task()));

	if (fd < 0 || (__u32)fd >= KREAD32(fdtable, max_fds, fdt))
		return 0;
	return kread64(KREAD64(fdtable, fd, fdt) + 8 * (__u64)fd);
}

WA_INLINE int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Does a name begin with /proc/self/fd/N, /proc/thread-self/fd/N, /proc/PID/fd/N of this
 * process, /dev/fd/N, /proc/self/cwd or /proc/self/root? The host cannot follow these once
 * the process is gone. Returns the descriptor or WA_MAGIC_*, with the length of the prefix
 * in the upper half.
 */
#define AT(i) text[(i) & 63]

WA_FUNC __u64 magic_link(__u64 name, __u32 pid, __u32 in_kernel)
{
	char text[64] = {};
	__u32 at = 0, number = 0, digits = 0;

	if ((in_kernel ? bpf_probe_read_kernel_str(text, 48, (void *)name)
		       : bpf_probe_read_user_str(text, 48, (void *)name)) < 0)
		return (__u32)WA_MAGIC_NONE;
	if (text[1] == 'd' && text[2] == 'e' && text[3] == 'v' && text[4] == '/') {
		at = 4; /* /dev/fd is a link to /proc/self/fd */
	} else if (text[1] == 'p' && text[2] == 'r' && text[3] == 'o' && text[4] == 'c' && text[5] == '/') {
		if (text[6] == 's' && text[7] == 'e' && text[8] == 'l' && text[9] == 'f') {
			at = 10;
		} else if (text[6] == 't' && text[7] == 'h' && text[12] == '-' && text[13] == 's' &&
			   text[16] == 'f') {
			at = 17; /* /proc/thread-self */
		} else {
#pragma clang loop unroll(disable)
			for (__u32 i = 6; i < 14; i++) {
				char c = AT(i);

				if (!is_digit(c))
					break;
				number = number * 10 + (c - '0');
				at = i + 1;
			}
			if (!at || number != pid)
				return (__u32)WA_MAGIC_NONE;
		}
		if (AT(at) == '/' && AT(at + 1) == 'c' && AT(at + 2) == 'w' && AT(at + 3) == 'd' &&
		    (!AT(at + 4) || AT(at + 4) == '/'))
			return (__u64)(at + 4) << 32 | (__u32)WA_MAGIC_CWD;
		if (AT(at) == '/' && AT(at + 1) == 'r' && AT(at + 2) == 'o' && AT(at + 3) == 'o' &&
		    AT(at + 4) == 't' && (!AT(at + 5) || AT(at + 5) == '/'))
			return (__u64)(at + 5) << 32 | (__u32)WA_MAGIC_ROOT;
	}
	if (!at || AT(at) != '/' || AT(at + 1) != 'f' || AT(at + 2) != 'd' || AT(at + 3) != '/')
		return (__u32)WA_MAGIC_NONE;
	at += 4;
	number = 0;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < 8; i++) {
		char c = AT(at + i);

		if (!is_digit(c))
			break;
		number = number * 10 + (c - '0');
		digits++;
	}
	at += digits;
	if (!digits || (AT(at) && AT(at) != '/'))
		return (__u32)WA_MAGIC_NONE;
	return (__u64)at << 32 | (number & 0x7fffffff);
}

#undef AT

/* Fill in what is known of an open file; its path is written by the caller's walk. */
WA_INLINE void operand_file(struct wa_operand *o, __u64 file, __u64 inode)
{
	o->ino = KREAD64(inode, i_ino, inode);
	o->dev = kread32(KREAD64(inode, i_sb, inode) + WA_OFFSET(super_block, s_dev));
	o->i_mode = KREAD32(inode, i_mode, inode);
	o->f_mode = file ? KREAD32(file, f_mode, file) : 0;
}

/*
 * Write one operand at off: how = kind | index of the directory argument << 8 | index of the
 * path argument << 16 | 1 << 24 for the second operand. Returns where it ends.
 */
WA_FUNC __u32 put_operand(__u32 off, __u32 how, __s64 ret)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	struct wa_config *c = config_get();
	__u64 task = bpf_get_current_task();
	struct wa_operand *o;
	struct wa_path path = {};
	__u32 kind = how & 0x7f, flags = 0, base_len = 0, in_mount = 0, name_len = 0, mount = 0;
	__u32 start = off & WA_MASK;
	__u64 file = 0, inode = 0, name = 0, fs;
	char first[8] = {};
	int dirfd = WA_AT_FDCWD;
	int walk = 0;
	int in_kernel = how & WA_ARG_KERNEL;
	long n;

	if (!s || !c)
		return off;
	fs = KREAD64(task_struct, fs, task);
	name = s->arg[(how >> 16) & 7];
	if (kind == WA_ARG_AT || kind == WA_ARG_OPEN_AT)
		dirfd = (int)s->arg[(how >> 8) & 7];
	if ((kind == WA_ARG_OPEN_AT || kind == WA_ARG_OPEN_CWD) && ret >= 0) {
		file = fd_file((int)ret);
		flags |= file ? WA_F_FILE : WA_F_NOFD;
	} else if (kind == WA_ARG_FILE) {
		file = name;
		flags |= file ? WA_F_FILE : WA_F_NOFD;
		name = 0;
	} else if (kind == WA_ARG_FD || (kind == WA_ARG_AT && !name)) {
		/* utimensat(fd, NULL, …) means the descriptor itself. */
		file = fd_file(kind == WA_ARG_FD ? (int)name : dirfd);
		flags |= file ? WA_F_FILE : WA_F_NOFD;
		name = 0;
	}
	if (kind == WA_ARG_SOCKADDR) {
		__u16 family = 0;

		bpf_probe_read_user(&family, sizeof(family), (void *)name);
		if (family != WA_AF_UNIX)
			return 0;
		name += 2;
	}
	if (kind == WA_ARG_TEXT)
		flags |= WA_F_TEXT;

	if (name && kind != WA_ARG_TEXT && !(flags & WA_F_FILE)) {
		n = in_kernel ? bpf_probe_read_kernel_str(first, sizeof(first), (void *)name)
			      : bpf_probe_read_user_str(first, sizeof(first), (void *)name);
		if (n < 0) {
			flags |= WA_F_FAULT;
			name = 0;
		} else if (kind == WA_ARG_SOCKADDR && !first[0]) {
			return 0; /* the abstract namespace is no file system */
		} else if (first[0] == '/') {
			__u64 magic = (__u32)WA_MAGIC_NONE;

			if ((first[1] == 'p' && first[2] == 'r' && first[3] == 'o' && first[4] == 'c') ||
			    (first[1] == 'd' && first[2] == 'e' && first[3] == 'v' && first[5] == 'f'))
				magic = magic_link(name, s->event.head.pid, in_kernel);
			if ((int)magic == WA_MAGIC_CWD) {
				bpf_probe_read_kernel(&path, sizeof(path), (void *)(fs + WA_OFFSET(fs_struct, pwd)));
				flags |= WA_F_MAGIC;
				walk = 1;
			} else if ((int)magic == WA_MAGIC_NONE || (int)magic == WA_MAGIC_ROOT) {
				bpf_probe_read_kernel(&path, sizeof(path), (void *)(fs + WA_OFFSET(fs_struct, root)));
				flags |= WA_F_ROOT;
				walk = (__u64)path.mnt != c->root_mnt || (__u64)path.dentry != c->root_dentry;
			} else {
				file = fd_file((int)magic);
				flags |= file ? WA_F_MAGIC : WA_F_NOFD;
			}
			if ((int)magic != WA_MAGIC_NONE) {
				name += magic >> 32;
				/* Only the link itself: the file is the operand. */
				first[0] = 0;
				if (in_kernel)
					bpf_probe_read_kernel(first, 1, (void *)name);
				else
					bpf_probe_read_user(first, 1, (void *)name);
				if (file && !first[0])
					flags |= WA_F_FILE;
			}
		} else if (dirfd == WA_AT_FDCWD) {
			bpf_probe_read_kernel(&path, sizeof(path), (void *)(fs + WA_OFFSET(fs_struct, pwd)));
			walk = 1;
			if (!first[0]) {
				inode = KREAD64(dentry, d_inode, (__u64)path.dentry);
				flags |= WA_F_FILE;
			}
		} else {
			file = fd_file(dirfd);
			if (!file)
				flags |= WA_F_NOFD;
			else if (!first[0])
				flags |= WA_F_FILE; /* AT_EMPTY_PATH */
		}
	}

	off = start + sizeof(struct wa_operand);
	if (file) {
		bpf_probe_read_kernel(&path, sizeof(path), (void *)(file + WA_OFFSET(file, f_path)));
		inode = KREAD64(file, f_inode, file);
		walk = 1;
	}
	if (walk) {
		__u64 from = (__u64)path.mnt - WA_OFFSET(mount, mnt);

		walk_begin(&s->walk, (__u64)path.mnt, (__u64)path.dentry, off,
			   how >> 24 ? WA_LIMIT_B : WA_LIMIT_A);
		walk_run(s, WA_SLOT_SYSCALL);
		flags |= s->walk.flags | WA_F_BASE;
		if (is_deleted((__u64)path.dentry))
			flags |= WA_F_DELETED;
		if (!KREAD64(mount, mnt_ns, from))
			flags |= WA_F_DETACHED;
		base_len = s->walk.off - off;
		in_mount = s->walk.in_mount ? s->walk.in_mount - off : base_len;
		off = s->walk.off;
		mount = note_mount(from);
	}
	if (name) {
		off &= WA_MASK;
		n = in_kernel ? bpf_probe_read_kernel_str(&s->head[off], WA_NAME + 1, (void *)name)
			      : bpf_probe_read_user_str(&s->head[off], WA_NAME + 1, (void *)name);
		if (n > 0) {
			flags |= WA_F_NAME;
			if (n > WA_NAME)
				flags |= WA_F_TRUNCATED;
			name_len = n - 1;
			/* sun_path need not end in a zero byte: its length says where it ends. */
			if (kind == WA_ARG_SOCKADDR) {
				__u32 room = (__u32)s->arg[((how >> 16) + 1) & 7] - 2;

				if (name_len > room)
					name_len = room & 127;
			}
			off += name_len;
		} else {
			flags |= WA_F_FAULT;
		}
	}

	o = (struct wa_operand *)&s->head[start];
	o->ino = 0;
	o->dev = 0;
	o->i_mode = 0;
	o->f_mode = 0;
	if (inode)
		operand_file(o, file, inode);
	o->mount = mount;
	o->flags = flags;
	o->base_len = base_len;
	o->in_mount = in_mount;
	o->name_len = name_len;
	o->pad = 0;
	return off;
}

#endif
