/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel's own structures: only the fields that are read, in any order. libbpf finds
 * where each lies in the running kernel; for bcc the host passes WA_OFF_<struct>_<field>.
 * writeaudit/capture/kernel/bcc/source.py reads the list of fields from this file, and
 * writeaudit/capture/kernel/btf.py looks up their offsets.
 */
#ifndef WRITEAUDIT_KERNEL_H
#define WRITEAUDIT_KERNEL_H

#ifdef WA_BCC
#define WA_OFFSET(type, field) WA_OFF_##type##_##field
#else
#define WA_CORE __attribute__((preserve_access_index))

/* Pointers are declared as such: CO-RE matches a field by name and by kind of type. */
struct wa_path {
	void *mnt;
	void *dentry;
};
struct hlist_bl_node {
	void *next;
	void *pprev;
} WA_CORE;
struct qstr {
	__u32 len;
	void *name;
} WA_CORE;
struct wa_seqcount {
	__u32 sequence;
};
struct dentry {
	struct wa_seqcount d_seq;
	struct hlist_bl_node d_hash;
	void *d_parent;
	struct qstr d_name;
	void *d_inode;
} WA_CORE;
struct file_system_type {
	void *name;
} WA_CORE;
struct super_block {
	__u32 s_dev;
	unsigned long s_flags;
	void *s_type;
	unsigned long s_magic;
	void *s_root;
	void *s_fs_info;
} WA_CORE;
struct proc_fs_info {
	void *pid_ns;
} WA_CORE;
struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
	unsigned int i_nlink;
	void *i_sb;
} WA_CORE;
struct vfsmount {
	void *mnt_root;
	void *mnt_sb;
	int mnt_flags;
} WA_CORE;
struct wa_list {
	void *next, *prev;
};
struct mount {
	void *mnt_parent;
	void *mnt_mountpoint;
	struct vfsmount mnt;
	void *mnt_devname;
	void *mnt_ns;
	int mnt_id;
	struct wa_list mnt_mounts;
	struct wa_list mnt_child;
} WA_CORE;
struct ns_common {
	unsigned int inum;
} WA_CORE;
struct mnt_namespace {
	struct ns_common ns;
} WA_CORE;
struct file {
	struct wa_path f_path;
	void *f_inode;
	unsigned int f_mode;
} WA_CORE;
struct fdtable {
	unsigned int max_fds;
	void *fd;
} WA_CORE;
struct files_struct {
	void *fdt;
} WA_CORE;
struct fs_struct {
	struct wa_path root;
	struct wa_path pwd;
} WA_CORE;
struct nsproxy {
	void *mnt_ns;
	void *pid_ns_for_children;
} WA_CORE;
struct pid_namespace {
	unsigned int level;
} WA_CORE;
struct upid {
	int nr;
} WA_CORE;
struct pid {
	unsigned int level;
	struct upid numbers[1];
} WA_CORE;
struct wa_atomic {
	int counter;
};
struct signal_struct {
	struct wa_atomic live;
	int group_exit_code;
} WA_CORE;
struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	void *exe_file;
} WA_CORE;
struct thread_info {
	unsigned long flags;
	__u32 status; /* of x86 alone */
} WA_CORE;
/* Control groups, for what joins them alone (join.h): no ordinary run needs any of this. */
struct kernfs_node {
	__u64 id;
} WA_CORE;
struct cgroup_subsys_state {
	void *cgroup;
	void *parent;
} WA_CORE;
struct cgroup_root {
	int hierarchy_id;
} WA_CORE;
struct cgroup {
	struct cgroup_subsys_state self;
	void *kn;
	void *root;
} WA_CORE;
struct css_set {
	struct wa_list cgrp_links;
} WA_CORE;
struct cgrp_cset_link {
	void *cgrp;
	struct wa_list cgrp_link;
} WA_CORE;
struct task_struct {
	struct thread_info thread_info;
	int pid;
	int tgid;
	int exit_code;
	void *group_leader;
	void *real_parent;
	struct wa_list children;
	struct wa_list sibling;
	void *cgroups;
	void *files;
	void *fs;
	void *nsproxy;
	void *thread_pid;
	void *signal;
	void *mm;
} WA_CORE;

struct filename {
	void *name;
} WA_CORE;
struct open_how {
	__u64 flags;
	__u64 mode;
} WA_CORE;
struct io_cqe {
	__s32 res;
	int fd;
} WA_CORE;
struct io_cmd_data {
	void *file;
} WA_CORE;
struct io_kiocb {
	void *file;
	__u8 opcode;
	unsigned int flags;
	struct io_cqe cqe;
} WA_CORE;
struct io_open {
	int dfd;
	__u32 file_slot;
	void *filename;
	struct open_how how;
} WA_CORE;
struct io_rename {
	int old_dfd;
	int new_dfd;
	void *oldpath;
	void *newpath;
	int flags;
} WA_CORE;
struct io_link {
	int old_dfd;
	int new_dfd;
	void *oldpath;
	void *newpath;
	int flags;
} WA_CORE;
struct io_unlink {
	int dfd;
	int flags;
	void *filename;
} WA_CORE;
struct io_mkdir {
	int dfd;
	unsigned short mode;
	void *filename;
} WA_CORE;
struct kernel_xattr_ctx {
	void *kname;
} WA_CORE;
struct xattr_ctx { /* the name of kernel_xattr_ctx before Linux 6.13 */
	void *kname;
} WA_CORE;
struct io_xattr {
	struct kernel_xattr_ctx ctx;
	void *filename;
} WA_CORE;

/*
 * Since Linux 7.0 io_uring keeps its names in a structure, a pointer alone. A field is found by its
 * name and its kind of type, so these stand for the same structures there; the part from ___ on is
 * not part of the name.
 */
struct wa_delayed {
	void *name;
};
struct io_open___delayed {
	struct wa_delayed filename;
} WA_CORE;
struct io_rename___delayed {
	struct wa_delayed oldpath, newpath;
} WA_CORE;
struct io_link___delayed {
	struct wa_delayed oldpath, newpath;
} WA_CORE;
struct io_unlink___delayed {
	struct wa_delayed filename;
} WA_CORE;
struct io_mkdir___delayed {
	struct wa_delayed filename;
} WA_CORE;
struct io_xattr___delayed {
	struct wa_delayed filename;
} WA_CORE;

#define WA_OFFSET(type, field) __builtin_preserve_field_info(((struct type *)0)->field, 0)
#define WA_EXISTS(type, field) __builtin_preserve_field_info(((struct type *)0)->field, 2)
#endif

/* A field that only one kind of processor has, in code that is compiled for no other. */
#define WA_FIND_NATIVE(type, field) WA_OFFSET(type, field)

/*
 * A field that some kernel does not have: where it lies, or WA_NOWHERE. What needs it is left out then,
 * and the host is told by missed_feature(). Nothing may be worked out before it is known that the field
 * is there: libbpf leaves an instruction that cannot be carried out in its place.
 */
#define WA_NOWHERE (~0ULL)
#ifdef WA_BCC
#define WA_FIND(type, field) ((__u64)(__s64)WA_OFFSET(type, field)) /* what is not there is at -1 */
#define WA_FIND_NAME WA_FIND
#else
#define WA_FIND(type, field)                            \
	({                                              \
		__u64 wa_at = WA_NOWHERE;               \
		if (WA_EXISTS(type, field)) {           \
			wa_at = WA_OFFSET(type, field); \
			asm volatile("" : "+r"(wa_at)); \
		}                                       \
		wa_at;                                  \
	})
#define WA_FIND_NAME(type, field)                                   \
	({                                                          \
		__u64 wa_name = WA_FIND(type, field);               \
		if (wa_name == WA_NOWHERE)                          \
			wa_name = WA_FIND(type##___delayed, field); \
		wa_name;                                            \
	})
#endif

/* io_uring keeps its requests like this since Linux 6.0; before, they are a blind spot. */
#ifdef WA_BCC
#define WA_HAS_URING (WA_OFFSET(io_cmd_data, file) >= 0) /* what is not there is at -1 */
#else
#define WA_HAS_URING __builtin_preserve_type_info(*(struct io_cmd_data *)0, 0)
#endif

#ifdef WA_DIRECT
/*
 * A read of kernel memory through a helper costs some 40 ns, and an event takes dozens. Since
 * Linux 6.2 any address can be made a pointer that is read by a plain load; a load from memory
 * that is not there gives 0, which live objects never need. The host loads the object without
 * this where the kernel or libbpf does not know it.
 */
struct timespec64 {
	__s64 tv_sec; /* any structure of the kernel that begins with 64 bits would do */
} WA_CORE;
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) SEC(".ksyms");
#define WA_DIRECT_AT(address)                    \
	bpf_rdonly_cast((const void *)(address), \
			__builtin_btf_type_id(*(struct timespec64 *)0, 1 /* the kernel's own id */))

WA_INLINE __u64 kread64(__u64 address)
{
	return *(volatile __u64 *)WA_DIRECT_AT(address);
}

WA_INLINE __u32 kread32(__u64 address)
{
	return *(volatile __u32 *)WA_DIRECT_AT(address);
}
#else
/* Both fail only for memory that is not there, which live objects never are. */
WA_INLINE __u64 kread64(__u64 address)
{
	__u64 value = 0;

	if (bpf_probe_read_kernel(&value, sizeof(value), (void *)address) < 0) {
		count(WA_N_FAULT);
		return 0;
	}
	return value;
}

WA_INLINE __u32 kread32(__u64 address)
{
	__u32 value = 0;

	if (bpf_probe_read_kernel(&value, sizeof(value), (void *)address) < 0) {
		count(WA_N_FAULT);
		return 0;
	}
	return value;
}
#endif

#define KREAD64(type, field, pointer) kread64((pointer) + WA_OFFSET(type, field))
#define KREAD32(type, field, pointer) kread32((pointer) + WA_OFFSET(type, field))

#endif
