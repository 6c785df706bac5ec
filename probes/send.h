/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How records leave: every one is counted before it is sent, and counted again if the
 * ring buffer had no room for it, so that emitted = received + lost holds exactly.
 */
#ifndef WRITEAUDIT_SEND_H
#define WRITEAUDIT_SEND_H

#define WA_RB_NO_WAKEUP 1
#define WA_RB_FORCE_WAKEUP 2
#define WA_RECORD_HEADER 8

/* The pid of a task as writeaudit's own pid namespace numbers it. */
WA_INLINE __u32 pid_of(__u64 task, __u32 global)
{
	struct wa_config *c = config_get();
	__u64 pid;

	if (!c || !c->pid_level)
		return global;
	pid = KREAD64(task_struct, thread_pid, task);
	/* struct upid is an int and a pointer: 16 bytes. */
	return kread32(pid + WA_OFFSET(pid, numbers) + 16 * (__u64)c->pid_level);
}

/* Tell the host that something was needed that this kernel does not have. */
WA_INLINE void miss_feature(__u32 which)
{
	struct wa_config *c = config_get();

	if (c && !(c->lacks & which))
		c->lacks |= which;
}

WA_INLINE void head_fill(struct wa_head *h, __u16 kind, __u32 pid)
{
	__u64 id = bpf_get_current_pid_tgid();

	h->time_ns = 0; /* see send() */
	h->pid = pid;
	h->tid = (__u32)id;
	h->kind = kind;
	h->flags = 0;
	h->op = 0;
	h->operands = 0;
	h->row = 0;
}

#ifdef WA_DIRECT
/*
 * Since Linux 6.15 the buffer's lock gives up when it is contended, though there is room. So a
 * record that was refused is offered again until it is taken, or the buffer is really full.
 * (The build for older kernels needs none of this: they wait for the lock.)
 */
#define WA_TRIES 100000

struct wa_offer {
	__u32 slot;
	__u32 size;
	__u64 flags;
	__u32 ring_bytes;
	__u32 taken;
};

static long offer_again(__u64 index, void *context)
{
	struct wa_offer *offer = context;
	struct wa_scratch *s = scratch_of(offer->slot);
	__u64 waiting;

	if (!s)
		return 1;
	if (ring_send(s->head, offer->size & WA_MASK, offer->flags) >= 0) {
		offer->taken = 1;
		return 1;
	}
	/* A value beyond the size comes of reading two positions while they move: no answer. */
	waiting = ring_waiting();
	return waiting <= offer->ring_bytes && waiting + offer->size + 16 > offer->ring_bytes;
}

/* Returns whether the record was taken. */
WA_INLINE int insist(__u32 slot, __u32 size, __u64 flags, __u32 ring_bytes)
{
	struct wa_offer offer = {
		.slot = slot,
		.size = size,
		.flags = flags,
		.ring_bytes = ring_bytes,
	};

	bpf_loop(WA_TRIES, offer_again, &offer, 0);
	return offer.taken;
}

#elif defined(WA_BCC)
/* The same on any kernel, without the helper of Linux 5.17. */
#define WA_OFFERS 64 /* in a row: few, for the verifier looks at each */
#define WA_OFFER_ROWS 256

#define WA_TAKEN 1
#define WA_FULL 2

WA_FUNC int offer_again(__u32 slot, __u32 size, __u64 flags)
{
	struct wa_scratch *s = scratch_of(slot);
	struct wa_config *c = config_get();
	__u64 waiting;

	if (!s || !c)
		return WA_FULL;
	size &= WA_MASK;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_OFFERS; i++) {
		if (ring_send(s->head, size, flags) >= 0)
			return WA_TAKEN;
		/* A value beyond the size comes of reading two positions while they move: no answer. */
		waiting = ring_waiting();
		if (waiting <= c->ring_bytes && waiting + size + 16 > c->ring_bytes)
			return WA_FULL;
	}
	return 0;
}

WA_INLINE int insist(__u32 slot, __u32 size, __u64 flags, __u32 ring_bytes)
{
	int answer = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_OFFER_ROWS && !answer; i++)
		answer = offer_again(slot, size, flags);
	return answer == WA_TAKEN;
}

#else
WA_INLINE int insist(__u32 slot, __u32 size, __u64 flags, __u32 ring_bytes)
{
	return 0;
}
#endif

/* Wakes the host each time that so much more is waiting: a wake-up costs more than all the rest of it. */
WA_INLINE int fills_up(struct wa_config *c, __u64 waiting, __u32 size)
{
	return ((waiting ^ (waiting + size + WA_RECORD_HEADER)) & ~(__u64)(c->wake_bytes - 1)) != 0;
}

/* Send the first size bytes. The host looks by itself, in pauses of the command; it is woken
 * only by what cannot wait, and when the buffer fills up. Returns whether the record was taken. */
WA_FUNC int send(__u32 slot, __u32 size, __u32 kind, __u32 urgent)
{
	struct wa_scratch *s = scratch_of(slot);
	struct wa_config *c = config_get();
	__u64 flags = WA_RB_NO_WAKEUP;
	__u64 waiting;

	if (!s || !c || kind >= WA_KINDS)
		return 0;
	count(WA_N_EMITTED + kind);
	size &= WA_MASK;
	/* As late as can be: a virtual processor may stand still at any moment, and records are to
	 * come in the order of their times. */
	s->event.head.time_ns = bpf_ktime_get_ns();
	waiting = ring_waiting();
	if (urgent || fills_up(c, waiting, size))
		flags = WA_RB_FORCE_WAKEUP;
	if (ring_send(s->head, size, flags) < 0 && !insist(slot, size, flags, c->ring_bytes)) {
		count(WA_N_LOST + kind);
		return 0;
	}
	return 1;
}

#define WA_TASK_TRIES 128 /* in a row, where the buffer's lock gives up */

#ifdef WA_DIRECT
struct wa_task_offer {
	struct wa_task_event task;
	__u64 flags;
	__u32 ring_bytes;
	__u32 taken;
};

static long offer_task_again(__u64 index, void *context)
{
	struct wa_task_offer *offer = context;
	__u64 waiting;

	if (ring_send(&offer->task, sizeof(offer->task), offer->flags) >= 0) {
		offer->taken = 1;
		return 1;
	}
	waiting = ring_waiting();
	return waiting <= offer->ring_bytes && waiting + sizeof(offer->task) + 16 > offer->ring_bytes;
}
#endif

/* The same for a record that lies on the stack: a program that can be preempted has no other memory. */
WA_INLINE void send_task(struct wa_task_event *task, __u32 urgent)
{
	struct wa_config *c = config_get();
	__u64 flags = WA_RB_NO_WAKEUP;
	__u64 waiting;

	if (!c)
		return;
	count(WA_N_EMITTED + WA_FORK);
	task->head.time_ns = bpf_ktime_get_ns();
	waiting = ring_waiting();
	if (urgent || fills_up(c, waiting, sizeof(*task)))
		flags = WA_RB_FORCE_WAKEUP;
	if (ring_send(task, sizeof(*task), flags) >= 0)
		return;
#ifdef WA_DIRECT
	struct wa_task_offer offer = {
		.task = *task,
		.flags = flags,
		.ring_bytes = c->ring_bytes,
	};

	bpf_loop(WA_TRIES, offer_task_again, &offer, 0);
	if (offer.taken)
		return;
#elif defined(WA_BCC)
#pragma clang loop unroll(disable)
	for (int i = 0; i < WA_TASK_TRIES; i++) {
		if (ring_send(task, sizeof(*task), flags) >= 0)
			return;
		waiting = ring_waiting();
		if (waiting <= c->ring_bytes && waiting + sizeof(*task) + 16 > c->ring_bytes)
			break;
	}
#endif
	count(WA_N_LOST + WA_FORK);
}

#endif
