/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Included before everything else; bcc refuses a kernel that is configured without BPF. */
#define CONFIG_BPF_SYSCALL 1
