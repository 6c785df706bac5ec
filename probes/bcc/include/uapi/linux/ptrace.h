/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* bcc's headers include this one; nothing of it is needed. */
