/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * ioctl(2): which of its commands change files. The numbers are those that user space passes (ABI).
 */
#ifndef WRITEAUDIT_IOCTLS_H
#define WRITEAUDIT_IOCTLS_H

#define WA_FICLONE 0x40049409
#define WA_FICLONERANGE 0x4020940d
#define WA_FIDEDUPERANGE 0xc0189436
#define WA_BTRFS_SNAP_CREATE 0x50009401
#define WA_BTRFS_SUBVOL_CREATE 0x5000940e
#define WA_BTRFS_SNAP_DESTROY 0x5000940f
#define WA_BTRFS_SNAP_CREATE_V2 0x50009417
#define WA_BTRFS_SUBVOL_CREATE_V2 0x50009418
#define WA_BTRFS_SNAP_DESTROY_V2 0x5000943f
#define WA_BTRFS_NAME 8 /* where the name is in struct btrfs_ioctl_vol_args */
#define WA_BTRFS_FLAGS_V2 16
#define WA_BTRFS_NAME_V2 56
#define WA_BTRFS_BY_ID (1 << 4)
#define WA_FS_IOC_SETFLAGS 0x40086602
#define WA_FS_IOC32_SETFLAGS 0x40046602
#define WA_FS_IOC_FSSETXATTR 0x401c5820
#define WA_FS_IOC_SETVERSION 0x40087602
#define WA_FS_IOC32_SETVERSION 0x40047602
#define WA_EXT4_IOC_SETVERSION 0x40086604
#define WA_EXT4_IOC32_SETVERSION 0x40046604
#define WA_FS_IOC_SETFSLABEL 0x41009432
#define WA_BTRFS_SUBVOL_SETFLAGS 0x4008941a
#define WA_FS_IOC_RESVSP 0x40305828
#define WA_FS_IOC_UNRESVSP 0x40305829
#define WA_FS_IOC_RESVSP64 0x4030582a
#define WA_FS_IOC_UNRESVSP64 0x4030582b
#define WA_FS_IOC_ZERO_RANGE 0x40305839
#define WA_FS_IOC32_SPACE 0x00040000 /* struct space_resv of 32-bit programs is 4 bytes shorter */

/* Which ioctl is it? Returns the operation, or WA_OP_NONE; puts the source's descriptor or the
 * address of the name, where there is one, into arg[5]. */
WA_FUNC int ioctl_op(__u32 command)
{
	struct wa_scratch *s = scratch_of(WA_SLOT_SYSCALL);
	__u64 flags = 0;
	__s64 fd = -1;

	if (!s)
		return WA_OP_NONE;
	switch (command) {
	case WA_BTRFS_SUBVOL_CREATE:
	case WA_BTRFS_SUBVOL_CREATE_V2:
		s->arg[5] =
			s->arg[2] + (command == WA_BTRFS_SUBVOL_CREATE ? WA_BTRFS_NAME : WA_BTRFS_NAME_V2);
		return WA_OP_SUBVOL_CREATE;
	case WA_BTRFS_SNAP_CREATE:
	case WA_BTRFS_SNAP_CREATE_V2:
		s->arg[5] = s->arg[2] + (command == WA_BTRFS_SNAP_CREATE ? WA_BTRFS_NAME : WA_BTRFS_NAME_V2);
		return WA_OP_SUBVOL_SNAPSHOT;
	case WA_BTRFS_SNAP_DESTROY:
		s->arg[5] = s->arg[2] + WA_BTRFS_NAME;
		return WA_OP_SUBVOL_DESTROY;
	case WA_BTRFS_SNAP_DESTROY_V2:
		if (bpf_probe_read_user(&flags, sizeof(flags), (void *)(s->arg[2] + WA_BTRFS_FLAGS_V2)) < 0)
			count(WA_N_FAULT);
		s->arg[5] = flags & WA_BTRFS_BY_ID ? 0 : s->arg[2] + WA_BTRFS_NAME_V2;
		return WA_OP_SUBVOL_DESTROY;
	case WA_FICLONE:
		s->arg[5] = (int)s->arg[2];
		return WA_OP_CLONE;
	case WA_FICLONERANGE:
		if (bpf_probe_read_user(&fd, sizeof(fd), (void *)s->arg[2]) < 0)
			fd = -1;
		s->arg[5] = fd;
		return WA_OP_CLONE;
	case WA_FIDEDUPERANGE:
		return WA_OP_DEDUPE;
	case WA_FS_IOC_SETFLAGS:
	case WA_FS_IOC32_SETFLAGS:
	case WA_FS_IOC_FSSETXATTR:
	case WA_FS_IOC_SETVERSION:
	case WA_FS_IOC32_SETVERSION:
	case WA_EXT4_IOC_SETVERSION:
	case WA_EXT4_IOC32_SETVERSION:
	case WA_FS_IOC_SETFSLABEL:
	case WA_BTRFS_SUBVOL_SETFLAGS:
		return WA_OP_SETFLAGS;
	case WA_FS_IOC_RESVSP:
	case WA_FS_IOC_UNRESVSP:
	case WA_FS_IOC_RESVSP64:
	case WA_FS_IOC_UNRESVSP64:
	case WA_FS_IOC_ZERO_RANGE:
	case WA_FS_IOC_RESVSP - WA_FS_IOC32_SPACE:
	case WA_FS_IOC_UNRESVSP - WA_FS_IOC32_SPACE:
	case WA_FS_IOC_RESVSP64 - WA_FS_IOC32_SPACE:
	case WA_FS_IOC_UNRESVSP64 - WA_FS_IOC32_SPACE:
	case WA_FS_IOC_ZERO_RANGE - WA_FS_IOC32_SPACE:
		return WA_OP_FALLOCATE;
	}
	return WA_OP_NONE;
}

#endif
