// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The kernel side of writeaudit: follows a process tree and reports what it does to files.
 *
 * Built once into a CO-RE object for libbpf, or compiled on the spot by bcc (WA_BCC). It
 * needs raw tracepoints, BPF ring buffers and BTF (Linux 5.8), no kprobes, no fentry.
 * It keeps no policy: what is allowed is for the host to say.
 */
#include "portable.h"
#include "kernel.h"
#include "walk.h"
#include "send.h"
#include "mounts.h"
#include "magic.h"
#include "operands.h"
#include "tasks.h"
#include "join.h"
#include "ioctls.h"
#include "registers.h"
#include "brief.h"
#include "syscalls.h"
#include "uring.h"

#ifndef WA_BCC
char LICENSE[] SEC("license") = "GPL";
#endif
