/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the two loaders do differently, and nothing else: types, maps, reads of kernel
 * fields, how a program is declared. Everything above this file is the same source for
 * both. bcc (WA_BCC) gets field offsets from the host as WA_OFF_<struct>_<field>; libbpf
 * relocates them when it loads the object (CO-RE).
 */
#ifndef WRITEAUDIT_PORTABLE_H
#define WRITEAUDIT_PORTABLE_H

#ifdef WA_BCC
#define WA_INLINE static inline __attribute__((always_inline))
/* WA_FUNC: the host makes a program of each such function and links them (bcc_source.py). */
#else
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
#define WA_INLINE static inline __attribute__((always_inline))
/* Global functions are verified once, whoever calls them (Linux 5.6). */
#define WA_FUNC __attribute__((noinline))
#endif

#include "events.h"

#define WA_DATA 32768 /* a power of two; room for two paths and the longest names */
#define WA_NAME 4096 /* PATH_MAX */
#define WA_COMPONENT 256 /* NAME_MAX and the zero byte */

/* A walk from a directory entry up to the root of the mount namespace. */
struct wa_walk {
	__u64 stop, stop_mount; /* writeaudit's own root directory */
	__u64 dentry;
	__u64 mount;
	__u64 root; /* root directory of mount */
	__u32 off; /* where the next component goes */
	__u32 limit;
	__u32 flags; /* WA_F_* */
	__u32 in_mount; /* off at the first crossing of a mount; 0 before */
	__u32 done;
	__u32 to_fs_root; /* walk on to the root of the file system, past that of the mount */
};

/* What an operand stands for, while it is written. */
struct wa_found {
	__u64 file; /* the open file that it is, or that its directory is */
	__u64 inode;
	__u64 vfsmount, dentry; /* where the walk begins */
	__u32 flags; /* WA_F_* */
	__u32 walk;
	__u32 mount;
	__u32 name_len;
	__u32 skip;
	__u32 base_len;
	__u32 in_mount;
	__s32 dirfd; /* the directory that the name is relative to */
	__u64 chain;
	__u32 seek; /* the name has to be looked at to tell what it is relative to */
	__u32 pad;
};

/* The search for the mount at /proc (magic.h). */
struct wa_search {
	__u64 mount; /* the mounts on this one are looked through */
	__u64 dentry;
	__u64 at; /* the next of them in the kernel's list */
	__u32 step;
	__u32 pad;
};

/*
 * Where a program puts a record together: too large for its stack, and for a per-processor
 * array (32 KiB), so an ordinary array has WA_SLOTS entries for each processor.
 */
struct wa_scratch {
	union {
		struct wa_event event;
		struct wa_total total;
		struct wa_task_event task;
		struct wa_mount_event mount;
		char head[WA_DATA];
	};
	char slack[WA_NAME + 64]; /* a read that begins near the end of head runs on into here */
	__u64 arg[8]; /* of the system call; the last two stay 0 */
	struct wa_walk walk;
	struct wa_found found;
	struct wa_search search;
	__u64 chains[2]; /* of the operands: directories that the host knows once the record is sent */
	__u64 mounts[2]; /* of the operands: the host is told of them before the record is sent */
};

/*
 * What the names of a request to io_uring begin at may change while it is under way: when it did
 * last is kept for descriptors by the last bits of their numbers, and for directories.
 */
#define WA_MOVED_FD(fd) ((fd) & 255)
#define WA_MOVED_FDS 256 /* any descriptor */
#define WA_MOVED_PLACE 257 /* a working or root directory */
#define WA_MOVED 258

/* wa_task.armed: armed, and the process maps a file that mprotect can make writable. A fork
 * inherits it with the mappings, an exec sets it back. */
#define WA_ARMED_MAPS 2

/* wa_task.rings */
#define WA_RINGS_USED 1
#define WA_RINGS_CHAINS 4 /* it has had requests carried out one after the other */
#define WA_RINGS_APART 2 /* its threads, io_uring's among them, may have different directories */

/* One for each program that another one may interrupt. */
enum wa_slot { WA_SLOT_SYSCALL, WA_SLOT_TASK, WA_SLOT_MOUNT, WA_SLOT_URING, WA_SLOTS };

struct wa_task {
	__u32 armed; /* 0 until the announced process runs its program; or WA_ARMED_MAPS */
	__u32 pid; /* in writeaudit's pid namespace */
	__u32 rings; /* it uses io_uring, or shares descriptors or directories with one that may: WA_RINGS_*
		      */
};

/* A request to io_uring that is under way. */
struct wa_request {
	__u64 since; /* when it was submitted */
	__u64 fs, files; /* of the task that did */
	__u32 row;
	__s32 dir[2]; /* the descriptors that its names are relative to */
	__u32 pad;
};

struct wa_file {
	__u64 key;
	__u64 ino;
	__u64 bytes;
	__u64 calls;
	__u32 dev;
	__u32 pad;
};

struct wa_mount_seen {
	__u64 generation;
	__u32 id;
	__u32 pad;
};

struct wa_table {
	struct wa_spec spec[WA_SPECS];
};

#ifdef WA_BCC

/* Under their own names bcc would look for these two among all the kernel's symbols, at every call. */
static long (*read_user)(void *dst, __u32 size, const void *src) = (void *)112;
static long (*read_user_str)(void *dst, __u32 size, const void *src) = (void *)114;
#define bpf_probe_read_user read_user
#define bpf_probe_read_user_str read_user_str

/* Maps, too, are made by the host, which finds their sizes in what this returns. */
#define WA_MAP(kind, name, key_type, value_type, entries)                    \
	__u64 wa_map_##name(void)                                            \
	{                                                                    \
		return (__u64)(kind) << 56 | (__u64)sizeof(key_type) << 48 | \
		       (__u64)sizeof(value_type) << 24 | (entries);          \
	}
#define WA_SHARED_MAP WA_MAP
#define WA_REF(name) ((void *)bpf_pseudo_fd(1 /* BPF_PSEUDO_MAP_FD */, WA_REF_##name))

/* Names that bcc does not attach by itself. */
#define WA_RAW_TP(name, copy) int wa_tp_##name##copy(struct bpf_raw_tracepoint_args *ctx)
#define WA_PERF_TP(category, name) int wa_tp_##name(__u64 *ctx)

static __u64 (*task_registers)(void *task) = (void *)175;
static void *(*this_task)(void) = (void *)158;
#define bpf_task_pt_regs task_registers
#define bpf_get_current_task_btf this_task

#else /* libbpf */

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
};

struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

/* Helper numbers: the kernel's stable ABI (enum bpf_func_id in its uapi header). */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static __u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static __u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_user)(void *dst, __u32 size, const void *src) = (void *)112;
static long (*bpf_probe_read_kernel)(void *dst, __u32 size, const void *src) = (void *)113;
static long (*bpf_probe_read_user_str)(void *dst, __u32 size, const void *src) = (void *)114;
static long (*bpf_probe_read_kernel_str)(void *dst, __u32 size, const void *src) = (void *)115;
static long (*bpf_ringbuf_output)(void *ring, void *data, __u64 size, __u64 flags) = (void *)130;
static long (*bpf_loop)(__u32 times, void *callback, void *context, __u64 flags) = (void *)181;
static void *(*bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static void (*bpf_ringbuf_discard)(void *data, __u64 flags) = (void *)133;
static __u64 (*bpf_ringbuf_query)(void *ring, __u64 flags) = (void *)134;
static void *(*bpf_get_current_task_btf)(void) = (void *)158;
static __u64 (*bpf_task_pt_regs)(void *task) = (void *)175;

#define WA_MAP(kind, name, key_type, value_type, entries) \
	struct {                                          \
		__uint(type, kind);                       \
		__uint(max_entries, entries);             \
		__type(key, key_type);                    \
		__type(value, value_type);                \
	} name SEC(".maps")
#define WA_SHARED_MAP(kind, name, key_type, value_type, entries) \
	struct {                                                 \
		__uint(type, kind);                              \
		__uint(max_entries, entries);                    \
		__uint(map_flags, 1 << 10 /* BPF_F_MMAPABLE */); \
		__type(key, key_type);                           \
		__type(value, value_type);                       \
	} name SEC(".maps")
#define WA_REF(name) (&name)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20); /* the host sets the size before it loads the object */
} events SEC(".maps");

#define WA_RAW_TP(name, copy) SEC("raw_tp/" #name) int wa_tp_##name##copy(struct bpf_raw_tracepoint_args *ctx)
#define WA_PERF_TP(category, name) SEC("tp/" #category "/" #name) int wa_tp_##name(__u64 *ctx)

#endif

/*
 * How programs are attached. Up to Linux 6.x raw tracepoints cannot be preempted: a program has its
 * processor, and with it the per-processor memory, for itself until it ends. From 7.0 on they can be:
 * another process may run the same program on the same processor meanwhile, and the kernel skips a
 * program that is at work there already. The tracepoints of perf still cannot be preempted, so there
 * (WA_PERF) all programs but one are attached to these. They pass values where raw ones pass pointers,
 * see each program; WA_PASSED is one of them, by its offset (the event's file "format" in tracefs;
 * the host compares).
 */
#define WA_PASSED(offset) ctx[(offset) / 8]
#define WA_PASSED32(offset) ((__u32 *)ctx)[(offset) / 4]

WA_MAP(BPF_MAP_TYPE_ARRAY, scratch, __u32, struct wa_scratch, WA_SLOTS); /* times processors: the host */
WA_MAP(BPF_MAP_TYPE_HASH, tasks, __u32, struct wa_task, 65536);
WA_MAP(BPF_MAP_TYPE_HASH, files, __u64, struct wa_file, 65536);
WA_MAP(BPF_MAP_TYPE_HASH, mounts, __u64, struct wa_mount_seen, 4096);
WA_MAP(BPF_MAP_TYPE_HASH, requests, __u64, struct wa_request, 16384);
WA_MAP(BPF_MAP_TYPE_ARRAY, moved, __u32, __u64, WA_MOVED); /* when, by WA_MOVED_* */
WA_MAP(BPF_MAP_TYPE_HASH, births, __u32, __u32, 1); /* the host makes it larger for those who join */
WA_MAP(BPF_MAP_TYPE_ARRAY, table, __u32, struct wa_table, 1);
/* The host maps it into its memory: a system call that reads a map would keep programs from running. */
WA_SHARED_MAP(BPF_MAP_TYPE_ARRAY, config, __u32, struct wa_config, 1);
WA_MAP(BPF_MAP_TYPE_PERCPU_ARRAY, counters, __u32, __u64, WA_COUNTERS);

WA_INLINE struct wa_scratch *scratch_of(__u32 slot)
{
	slot += WA_SLOTS * bpf_get_smp_processor_id();
	return bpf_map_lookup_elem(WA_REF(scratch), &slot);
}
WA_INLINE struct wa_task *task_of(__u32 pid)
{
	return bpf_map_lookup_elem(WA_REF(tasks), &pid);
}
WA_INLINE long task_add(__u32 pid, struct wa_task *task)
{
	return bpf_map_update_elem(WA_REF(tasks), &pid, task, 0);
}
WA_INLINE void task_remove(__u32 pid)
{
	bpf_map_delete_elem(WA_REF(tasks), &pid);
}
WA_INLINE struct wa_file *file_of(__u64 file)
{
	return bpf_map_lookup_elem(WA_REF(files), &file);
}
/* Fails if another processor was first. */
WA_INLINE long file_add(__u64 file, struct wa_file *entry)
{
	return bpf_map_update_elem(WA_REF(files), &file, entry, 1 /* BPF_NOEXIST */);
}
WA_INLINE void file_remove(__u64 file)
{
	bpf_map_delete_elem(WA_REF(files), &file);
}
WA_INLINE struct wa_mount_seen *mount_of(__u64 mount)
{
	return bpf_map_lookup_elem(WA_REF(mounts), &mount);
}
WA_INLINE long mount_add(__u64 mount, struct wa_mount_seen *seen)
{
	return bpf_map_update_elem(WA_REF(mounts), &mount, seen, 0);
}
WA_INLINE struct wa_request *request_of(__u64 request)
{
	return bpf_map_lookup_elem(WA_REF(requests), &request);
}
WA_INLINE long request_add(__u64 request, struct wa_request *entry)
{
	return bpf_map_update_elem(WA_REF(requests), &request, entry, 0);
}
WA_INLINE void request_remove(__u64 request)
{
	bpf_map_delete_elem(WA_REF(requests), &request);
}
WA_INLINE __u64 *moved_of(__u32 which)
{
	return bpf_map_lookup_elem(WA_REF(moved), &which);
}
/* Keeps the compiler from proving away a bound that the verifier wants to see. */
#define WA_ROW(slot)                             \
	({                                       \
		__u32 wa_row = (slot);           \
		asm volatile("" : "+r"(wa_row)); \
		wa_row &(WA_SPECS - 1);          \
	})

WA_INLINE struct wa_table *table_get(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(WA_REF(table), &zero);
}
WA_INLINE struct wa_config *config_get(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(WA_REF(config), &zero);
}
WA_INLINE __u64 *counter_of(__u32 which)
{
	return bpf_map_lookup_elem(WA_REF(counters), &which);
}
WA_INLINE long ring_send(void *data, __u64 size, __u64 flags)
{
	return bpf_ringbuf_output(WA_REF(events), data, size, flags);
}
WA_INLINE __u64 ring_waiting(void)
{
	return bpf_ringbuf_query(WA_REF(events), 0 /* BPF_RB_AVAIL_DATA */);
}

#ifdef WA_DIRECT
/* Directories that the host knows, by their chains. Once it is full, others are sent each time. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, 1 /* BPF_F_NO_PREALLOC */);
	__type(key, __u64);
	__type(value, __u32);
} chains SEC(".maps");

WA_INLINE void *chain_known(__u64 chain)
{
	return bpf_map_lookup_elem(WA_REF(chains), &chain);
}
WA_INLINE void chain_add(__u64 chain)
{
	__u32 one = 1;

	bpf_map_update_elem(WA_REF(chains), &chain, &one, 0);
}
#endif

WA_INLINE void count(__u32 which)
{
	__u64 *value = counter_of(which);

	if (value) {
#ifdef WA_PERF
		__sync_fetch_and_add(value, 1); /* the program at sched_process_fork can be preempted */
#else
		*value += 1; /* one array per processor, no other writer */
#endif
	}
}

#endif
