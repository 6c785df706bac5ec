/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The short way for the calls that installers make most: written straight into the buffer, without
 * the path of a directory that the host knows already. Whatever is unusual about a call is left to the
 * long way (syscalls.h), which can do everything; so this returns 0 rather than to think twice.
 */
#ifndef WRITEAUDIT_BRIEF_H
#define WRITEAUDIT_BRIEF_H

#ifdef WA_DIRECT

#define WA_BRIEF_NAME 160 /* a name that was passed, with its zero byte */
#define WA_BRIEF_LAST 32 /* the last component of a path */

struct wa_brief_name {
	struct wa_operand operand;
	char name[WA_BRIEF_NAME];
};

struct wa_brief_names {
	struct wa_event event;
	struct wa_brief_name side[2];
};

struct wa_brief_one {
	struct wa_event event;
	struct wa_brief_name side[1];
};

struct wa_brief_file {
	struct wa_event event;
	struct wa_operand operand;
	char last[WA_BRIEF_LAST];
};

struct wa_brief_open {
	struct wa_event event;
	struct wa_operand operand;
	char name[WA_BRIEF_NAME + WA_BRIEF_LAST];
};

WA_INLINE __u64 register_of(__u64 regs, __u8 index)
{
	switch (index) {
	case 0:
		return WA_REG(WA_ARGUMENT0);
	case 1:
		return WA_REG(WA_ARGUMENT1);
	case 2:
		return WA_REG(WA_ARGUMENT2);
	case 3:
		return WA_REG(WA_ARGUMENT3);
	case 4:
		return WA_REG(WA_ARGUMENT4);
	}
	return 0;
}

WA_INLINE void brief_event(struct wa_event *e, __u64 regs, struct wa_spec *spec, __u32 how, __u32 pid)
{
	head_fill(&e->head, WA_EVENT, pid);
	e->head.op = how >> 16;
	e->head.row = how & 0xffff;
	e->ret = (__s64)WA_REG(WA_RESULT);
	e->key = 0;
	e->arg[0] = register_of(regs, spec->arg[0]);
	e->arg[1] = register_of(regs, spec->arg[1]);
	e->arg[2] = register_of(regs, spec->arg[2]);
}

WA_INLINE void brief_operand(struct wa_operand *o, __u32 flags, __u32 room)
{
	o->ino = 0;
	o->chain = 0;
	o->parent = 0;
	o->dev = 0;
	o->mount = 0;
	o->f_mode = 0;
	o->nlink = 0;
	o->i_mode = 0;
	o->flags = flags;
	o->base_len = 0;
	o->in_mount = 0;
	o->name_len = 0;
	o->skip = 0;
	o->room = room;
	o->pad = 0;
}

WA_INLINE __u64 brief_flags(__u32 size)
{
	struct wa_config *c = config_get();

	return c && fills_up(c, ring_waiting(), size) ? WA_RB_FORCE_WAKEUP : WA_RB_NO_WAKEUP;
}

/* A name that begins at the root or working directory. Returns 0 if it is not as simple as that. */
WA_INLINE int brief_name(struct wa_brief_name *b, __u64 address, int dirfd, int is_text)
{
	struct wa_config *c = config_get();
	struct wa_operand *o = &b->operand;
	__u64 fs, mount, dentry, inode;
	long n;

	brief_operand(o, WA_F_NAME, WA_BRIEF_NAME);
	n = bpf_probe_read_user_str(b->name, WA_BRIEF_NAME, (void *)address);
	if (!c || n <= 1 || n >= WA_BRIEF_NAME)
		return 0;
	o->name_len = n - 1;
	if (is_text) {
		o->flags = WA_F_NAME | WA_F_TEXT;
		return 1;
	}
	fs = KREAD64(task_struct, fs, bpf_get_current_task());
	if (kread64(fs + WA_OFFSET(fs_struct, root)) != c->root_mnt ||
	    kread64(fs + WA_OFFSET(fs_struct, root) + 8) != c->root_dentry)
		return 0;
	if (b->name[0] == '/') {
		/* What may be a link in /proc: see find_base(). */
		if ((b->name[1] == 'p' && b->name[3] == 'o') || (b->name[1] == 'd' && b->name[5] == 'f'))
			return 0;
		o->flags = WA_F_NAME | WA_F_ROOT;
		return 1;
	}
	if (dirfd != WA_AT_FDCWD)
		return 0;
	mount = kread64(fs + WA_OFFSET(fs_struct, pwd)) - WA_OFFSET(mount, mnt);
	dentry = kread64(fs + WA_OFFSET(fs_struct, pwd) + 8);
	o->chain = chain_of(mount, dentry);
	if (!o->chain || !chain_known(o->chain) || is_deleted(dentry))
		return 0;
	o->flags = WA_F_NAME | WA_F_KNOWN | WA_F_BASE;
	inode = KREAD64(dentry, d_inode, dentry);
	o->parent = KREAD64(inode, i_ino, inode);
	o->dev = kread32(KREAD64(inode, i_sb, inode) + WA_OFFSET(super_block, s_dev));
	o->mount = KREAD32(mount, mnt_id, mount);
	return 1;
}

WA_INLINE int dir_of(__u64 regs, __u32 kind, __u8 index)
{
	return kind == WA_ARG_AT || kind == WA_ARG_OPEN_AT ? (int)register_of(regs, index) : WA_AT_FDCWD;
}

WA_FUNC int send_brief_name(__u64 regs, __u32 how, __u32 pid)
{
	struct wa_table *t = table_get();
	struct wa_brief_one *b;
	struct wa_spec *spec;
	__u64 now;

	if (!t)
		return 0;
	spec = &t->spec[WA_ROW(how & 0xffff)];
	now = bpf_ktime_get_ns();
	b = bpf_ringbuf_reserve(WA_REF(events), sizeof(*b), 0);
	if (!b)
		return 0;
	brief_event(&b->event, regs, spec, how, pid);
	b->event.head.time_ns = now;
	b->event.head.operands = 1;
	if (!brief_name(&b->side[0], register_of(regs, spec->a_arg), dir_of(regs, spec->a_kind, spec->a_dir),
			0)) {
		bpf_ringbuf_discard(b, WA_RB_NO_WAKEUP);
		return 0;
	}
	count(WA_N_EMITTED + WA_EVENT);
	bpf_ringbuf_submit(b, brief_flags(sizeof(*b)));
	return 1;
}

WA_FUNC int send_brief_names(__u64 regs, __u32 how, __u32 pid)
{
	struct wa_table *t = table_get();
	struct wa_brief_names *b;
	struct wa_spec *spec;
	__u64 now;

	if (!t)
		return 0;
	spec = &t->spec[WA_ROW(how & 0xffff)];
	now = bpf_ktime_get_ns();
	b = bpf_ringbuf_reserve(WA_REF(events), sizeof(*b), 0);
	if (!b)
		return 0;
	brief_event(&b->event, regs, spec, how, pid);
	b->event.head.time_ns = now;
	b->event.head.operands = 2;
	if (!brief_name(&b->side[0], register_of(regs, spec->a_arg), dir_of(regs, spec->a_kind, spec->a_dir),
			0) ||
	    !brief_name(&b->side[1], register_of(regs, spec->b_arg), dir_of(regs, spec->b_kind, spec->b_dir),
			spec->b_kind == WA_ARG_TEXT)) {
		bpf_ringbuf_discard(b, WA_RB_NO_WAKEUP);
		return 0;
	}
	count(WA_N_EMITTED + WA_EVENT);
	bpf_ringbuf_submit(b, brief_flags(sizeof(*b)));
	return 1;
}

/* What is known of an open file; its last name is put to last. Returns the length of that, 0 for no. */
WA_INLINE __u32 brief_file(struct wa_operand *o, __u64 *last, __u64 file, __u64 chain)
{
	__u64 vfsmount = kread64(file + WA_OFFSET(file, f_path));
	__u64 dentry = kread64(file + WA_OFFSET(file, f_path) + 8);
	__u64 mount = vfsmount - WA_OFFSET(mount, mnt);
	__u32 sequence = KREAD32(dentry, d_seq, dentry);
	__u64 called = dentry + WA_OFFSET(dentry, d_name);
	__u32 length = KREAD32(qstr, len, called);
	__u64 name = KREAD64(qstr, name, called);
	__u64 parent = KREAD64(dentry, d_parent, dentry);
	__u64 inode = KREAD64(dentry, d_inode, parent);

	operand_file(o, file, KREAD64(file, f_inode, file));
	o->parent = KREAD64(inode, i_ino, inode);
	o->chain = chain;
	o->mount = KREAD32(mount, mnt_id, mount);
	o->base_len = length;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < WA_BRIEF_LAST / 8; i++)
		last[i] = kread64(name + 8 * i);
	return length && length < WA_BRIEF_LAST && !(sequence & 1) &&
	       KREAD32(dentry, d_seq, dentry) == sequence;
}

/* The chain of the directory that an open file lies in, if the host knows it and the file is plain. */
WA_INLINE __u64 file_chain(__u64 file)
{
	__u64 vfsmount = kread64(file + WA_OFFSET(file, f_path));
	__u64 dentry = kread64(file + WA_OFFSET(file, f_path) + 8);
	__u64 mount = vfsmount - WA_OFFSET(mount, mnt);
	__u64 ns = KREAD64(mount, mnt_ns, mount);
	__u64 chain;

	if (!ns || ns >= -4095ULL || dentry == KREAD64(vfsmount, mnt_root, vfsmount) || is_deleted(dentry))
		return 0;
	chain = chain_of(mount, KREAD64(dentry, d_parent, dentry));
	return chain && chain_known(chain) ? chain : 0;
}

WA_FUNC int send_brief_file(__u64 regs, __u32 how, __u32 pid)
{
	struct wa_table *t = table_get();
	struct wa_brief_file *b;
	struct wa_spec *spec;
	__u64 file, chain, now;

	if (!t)
		return 0;
	spec = &t->spec[WA_ROW(how & 0xffff)];
	file = fd_file((int)register_of(regs, spec->a_arg));
	if (!file)
		return 0;
	chain = file_chain(file);
	if (!chain)
		return 0;
	now = bpf_ktime_get_ns();
	b = bpf_ringbuf_reserve(WA_REF(events), sizeof(*b), 0);
	if (!b)
		return 0;
	brief_event(&b->event, regs, spec, how, pid);
	b->event.head.time_ns = now;
	b->event.head.operands = 1;
	brief_operand(&b->operand, WA_F_FILE | WA_F_BASE | WA_F_KNOWN, sizeof(b->last));
	if (!brief_file(&b->operand, (__u64 *)b->last, file, chain)) {
		bpf_ringbuf_discard(b, WA_RB_NO_WAKEUP);
		return 0;
	}
	count(WA_N_EMITTED + WA_EVENT);
	bpf_ringbuf_submit(b, brief_flags(sizeof(*b)));
	return 1;
}

/* An open that succeeded: the file, and the name that was passed. */
WA_FUNC int send_brief_open(__u64 regs, __u32 how, __u32 pid)
{
	struct wa_table *t = table_get();
	struct wa_brief_open *b;
	struct wa_spec *spec;
	__u64 file, chain, now;
	long n;

	if (!t)
		return 0;
	spec = &t->spec[WA_ROW(how & 0xffff)];
	file = fd_file((int)WA_REG(WA_RESULT));
	/* A new struct file: whatever had its address before is gone, and its total must be sent. */
	if (!file || file_of(file))
		return 0;
	chain = file_chain(file);
	if (!chain)
		return 0;
	now = bpf_ktime_get_ns();
	b = bpf_ringbuf_reserve(WA_REF(events), sizeof(*b), 0);
	if (!b)
		return 0;
	brief_event(&b->event, regs, spec, how, pid);
	b->event.head.time_ns = now;
	b->event.head.operands = 1;
	brief_operand(&b->operand, WA_F_FILE | WA_F_BASE | WA_F_KNOWN | WA_F_NAME, sizeof(b->name));
	/* The file's own name comes first here: where it lies is known. */
	n = bpf_probe_read_user_str(b->name + WA_BRIEF_LAST, WA_BRIEF_NAME,
				    (void *)register_of(regs, spec->a_arg));
	if (n <= 1 || n >= WA_BRIEF_NAME || !brief_file(&b->operand, (__u64 *)b->name, file, chain)) {
		bpf_ringbuf_discard(b, WA_RB_NO_WAKEUP);
		return 0;
	}
	b->operand.name_len = n - 1;
	b->operand.skip = WA_BRIEF_LAST;
	count(WA_N_EMITTED + WA_EVENT);
	bpf_ringbuf_submit(b, brief_flags(sizeof(*b)));
	return 1;
}

/* Returns whether a call has been settled: how = row | operation << 16; pid as the host numbers it. */
WA_INLINE int send_brief(__u64 regs, __u32 how, __u32 pid)
{
	struct wa_table *t = table_get();
	struct wa_spec *spec;
	__u32 kind;

	if (!t)
		return 0;
	spec = &t->spec[WA_ROW(how & 0xffff)];
	kind = spec->a_kind;
	switch (how >> 16) {
	case WA_OP_OPEN:
		return (__s64)WA_REG(WA_RESULT) < 0 ? send_brief_name(regs, how, pid)
						    : send_brief_open(regs, how, pid);
	case WA_OP_LINK:
	case WA_OP_RENAME:
	case WA_OP_SYMLINK:
		return send_brief_names(regs, how, pid);
	case WA_OP_MKDIR:
	case WA_OP_UNLINK:
	case WA_OP_RMDIR:
	case WA_OP_CHMOD:
	case WA_OP_CHOWN:
	case WA_OP_UTIME:
	case WA_OP_TRUNCATE:
	case WA_OP_FALLOCATE:
		return kind == WA_ARG_FD ? send_brief_file(regs, how, pid) : send_brief_name(regs, how, pid);
	}
	return 0;
}

#endif
#endif
