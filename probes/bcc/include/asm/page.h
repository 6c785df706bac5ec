/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* bcc gives the size of a ring buffer in pages. */
#define PAGE_SIZE 4096UL
