/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The oldest kernel that the probes run on: bcc asks in order to avoid what is newer. */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
