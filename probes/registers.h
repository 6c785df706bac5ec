/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where a processor keeps the arguments of a system call: the one thing here that differs between
 * processors. struct pt_regs begins as ptrace(2) shows it to users, which is ABI.
 */
#ifndef WRITEAUDIT_REGISTERS_H
#define WRITEAUDIT_REGISTERS_H

#if defined(__TARGET_ARCH_arm64)

struct wa_regs {
	__u64 x0, x1, x2, x3, x4, x5, others[25], sp, pc, pstate, orig_x0;
	__u32 number, pad;
};
#define WA_ARGUMENT0 orig_x0 /* x0 holds the result by now */
#define WA_ARGUMENT1 x1
#define WA_ARGUMENT2 x2
#define WA_ARGUMENT3 x3
#define WA_ARGUMENT4 x4
#define WA_ARGUMENT5 x5
/* No 32-bit call of this processor is known: they are a blind spot. */
#define WA_COMPAT0 orig_x0
#define WA_COMPAT1 x1
#define WA_COMPAT2 x2
#define WA_COMPAT3 x3
#define WA_COMPAT4 x4
#define WA_COMPAT5 x5
#define WA_RESULT x0
#define WA_REG_NUMBER number
#define WA_NR_PRCTL 167
#define WA_TIF_32BIT (1 << 22)
#define WA_X32_BIT 0

WA_INLINE __u32 is_compat(void)
{
	return KREAD32(task_struct, thread_info, bpf_get_current_task() + WA_OFFSET(thread_info, flags)) &
	       WA_TIF_32BIT;
}

#else /* x86-64 */

struct wa_regs {
	__u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax;
};
#define WA_ARGUMENT0 di
#define WA_ARGUMENT1 si
#define WA_ARGUMENT2 dx
#define WA_ARGUMENT3 r10
#define WA_ARGUMENT4 r8
#define WA_ARGUMENT5 r9
#define WA_COMPAT0 bx
#define WA_COMPAT1 cx
#define WA_COMPAT2 dx
#define WA_COMPAT3 si
#define WA_COMPAT4 di
#define WA_COMPAT5 bp
#define WA_RESULT ax
#define WA_REG_NUMBER orig_ax
#define WA_NR_PRCTL 157
#define WA_TS_COMPAT 2 /* thread_info.status: in a 32-bit system call */
#define WA_X32_BIT 0x40000000

WA_INLINE __u32 is_compat(void)
{
	return KREAD32(task_struct, thread_info,
		       bpf_get_current_task() + WA_FIND_NATIVE(thread_info, status)) &
	       WA_TS_COMPAT;
}

#endif

#define WA_REG_NR __builtin_offsetof(struct wa_regs, WA_REG_NUMBER)
#define WA_REG_ARG0 __builtin_offsetof(struct wa_regs, WA_ARGUMENT0)
#define WA_REG_ARG1 __builtin_offsetof(struct wa_regs, WA_ARGUMENT1)

/* Take up the arguments out of the saved registers. Returns 0 if they could be read. */
#ifdef WA_DIRECT
#define WA_REG(name) kread64(regs + __builtin_offsetof(struct wa_regs, name))
#else
#define WA_REG(name) r->name
#endif

#ifdef WA_PERF
/*
 * The saved registers (Linux 5.15), as a number: the verifier lets no pointer be handed to functions
 * that are checked by themselves, but the distance of two pointers is a number.
 */
WA_INLINE __u64 own_registers(void)
{
	void *task = bpf_get_current_task_btf();
	__u64 distance = bpf_task_pt_regs(task) - (__u64)task;

	asm volatile("" : "+r"(distance));
	return bpf_get_current_task() + distance;
}
#endif

WA_INLINE int load_registers(__u64 regs, __u32 compat)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);

	if (!s)
		return -1;
#ifndef WA_DIRECT
	/* They are put where the record's data will be: the stack has no room for them. */
	struct wa_regs *r = (struct wa_regs *)s->slack;

	if (bpf_probe_read_kernel(r, sizeof(*r), (void *)regs) < 0) {
		count(WA_N_FAULT);
		return -1;
	}
#endif
	if (compat) {
		s->arg[0] = (__u32)WA_REG(WA_COMPAT0);
		s->arg[1] = (__u32)WA_REG(WA_COMPAT1);
		s->arg[2] = (__u32)WA_REG(WA_COMPAT2);
		s->arg[3] = (__u32)WA_REG(WA_COMPAT3);
		s->arg[4] = (__u32)WA_REG(WA_COMPAT4);
		s->arg[5] = (__u32)WA_REG(WA_COMPAT5);
	} else {
		s->arg[0] = WA_REG(WA_ARGUMENT0);
		s->arg[1] = WA_REG(WA_ARGUMENT1);
		s->arg[2] = WA_REG(WA_ARGUMENT2);
		s->arg[3] = WA_REG(WA_ARGUMENT3);
		s->arg[4] = WA_REG(WA_ARGUMENT4);
		s->arg[5] = WA_REG(WA_ARGUMENT5);
	}
	return 0;
}

#endif
