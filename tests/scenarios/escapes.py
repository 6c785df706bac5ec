"""Ways out of a confinement, tried one after the other. Prints what became of each, as JSON.

Run under `writeaudit confine` with IN (may be written) OUT (may not) PID (a process outside) FD (inherited,
open for writing on a file of OUT) SOCKET (of a process outside that hands out such a descriptor).

"refused: WHY" is an answer of the kernel's, "done" means that the call succeeded, "cannot" that it is not
to be had here.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
INSIDE, OUTSIDE, _PID, _FD, SOCKET = sys.argv[1:] if __name__ == "__main__" else ("", "", "0", "0", "")
PID, FD = int(_PID), int(_FD)
PRECIOUS = f"{OUTSIDE}/precious"
AT_FDCWD = -100
RESULTS: dict[str, str] = {}
X86 = os.uname().machine == "x86_64"
CALLS = {
    "ptrace": 101 if X86 else 117,
    "open_by_handle_at": 304 if X86 else 265,
    "name_to_handle_at": 303 if X86 else 264,
    "memfd_create": 319 if X86 else 279,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "openat2": 437,
    "renameat2": 316 if X86 else 276,
    "move_mount": 429,
    "open_tree": 428,
    "pivot_root": 155 if X86 else 41,
}


def check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def call(name: str, *args: object) -> int:
    return check(LIBC.syscall(ctypes.c_long(CALLS[name]), *args))


def attempt(function: Callable[[], object]) -> None:
    name = function.__name__
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            function()
            said = "done"
        except NotImplementedError as error:
            said = f"cannot: {error}"
        except OSError as error:
            said = f"refused: {errno.errorcode.get(error.errno or 0, error.errno)}"
        except BaseException as error:  # noqa: BLE001
            said = f"broken: {error!r}"
        os.write(writes, said.encode())
        os._exit(0)
    os.close(writes)
    RESULTS[name] = os.read(reads, 4096).decode()
    os.close(reads)
    os.waitpid(child, 0)


def open_for_writing() -> None:
    os.open(PRECIOUS, os.O_WRONLY)


def open_with_truncation() -> None:
    os.open(PRECIOUS, os.O_RDONLY | os.O_TRUNC)


def truncate_by_name() -> None:
    os.truncate(PRECIOUS, 0)


def make_file() -> None:
    os.open(f"{OUTSIDE}/new", os.O_CREAT | os.O_WRONLY)


def make_directory() -> None:
    os.mkdir(f"{OUTSIDE}/new")


def make_fifo() -> None:
    os.mkfifo(f"{OUTSIDE}/new")


def make_symlink() -> None:
    os.symlink("x", f"{OUTSIDE}/new")


def bind_socket() -> None:
    socket.socket(socket.AF_UNIX).bind(f"{OUTSIDE}/new")


def remove_file() -> None:
    os.unlink(PRECIOUS)


def remove_directory() -> None:
    os.rmdir(f"{OUTSIDE}/empty")


def rename_out() -> None:
    open(f"{INSIDE}/mine", "w").close()
    os.rename(f"{INSIDE}/mine", f"{OUTSIDE}/new")


def rename_over() -> None:
    open(f"{INSIDE}/mine", "w").close()
    os.rename(f"{INSIDE}/mine", PRECIOUS)


def rename_in() -> None:
    os.rename(PRECIOUS, f"{INSIDE}/stolen")


def exchange_names() -> None:
    open(f"{INSIDE}/mine", "w").close()
    call("renameat2", AT_FDCWD, f"{INSIDE}/mine".encode(), AT_FDCWD, PRECIOUS.encode(), 2)


def rename_the_directory() -> None:
    os.rename(OUTSIDE, f"{OUTSIDE}.away")


def link_in() -> None:
    os.link(PRECIOUS, f"{INSIDE}/alias")


def link_out() -> None:
    open(f"{INSIDE}/mine", "w").close()
    os.link(f"{INSIDE}/mine", f"{OUTSIDE}/new")


def symlink_to_file() -> None:
    os.symlink(PRECIOUS, f"{INSIDE}/pointer{os.getpid()}")
    os.open(f"{INSIDE}/pointer{os.getpid()}", os.O_WRONLY)


def symlink_to_directory() -> None:
    os.symlink(OUTSIDE, f"{INSIDE}/way{os.getpid()}")
    os.open(f"{INSIDE}/way{os.getpid()}/new", os.O_WRONLY | os.O_CREAT)


def dots() -> None:
    os.open(f"{INSIDE}/../{os.path.basename(OUTSIDE)}/new", os.O_WRONLY | os.O_CREAT)


def through_a_directory_descriptor() -> None:
    where = os.open(OUTSIDE, os.O_RDONLY)
    os.open("precious", os.O_WRONLY, dir_fd=where)


def _link_descriptor(descriptor: int, name: str) -> None:
    source = f"/proc/self/fd/{descriptor}".encode()
    check(LIBC.linkat(AT_FDCWD, source, AT_FDCWD, name.encode(), 0x400))  # AT_SYMLINK_FOLLOW


def nameless_file_out() -> None:
    os.open(OUTSIDE, os.O_TMPFILE | os.O_WRONLY)


def nameless_file_linked_out() -> None:
    made = os.open(INSIDE, os.O_TMPFILE | os.O_WRONLY)
    _link_descriptor(made, f"{OUTSIDE}/new")


def reopen_by_proc_fd() -> None:
    known = os.open(PRECIOUS, os.O_RDONLY)
    os.open(f"/proc/self/fd/{known}", os.O_WRONLY)


def reopen_a_path_descriptor() -> None:
    known = os.open(PRECIOUS, os.O_PATH)
    os.open(f"/proc/self/fd/{known}", os.O_WRONLY)


def by_proc_root() -> None:
    os.open(f"/proc/self/root{PRECIOUS}", os.O_WRONLY)


def by_proc_cwd_of_another() -> None:
    os.open(f"/proc/{PID}/cwd/precious", os.O_WRONLY)


def descriptor_of_another() -> None:
    for name in os.listdir(f"/proc/{PID}/fd"):
        if os.readlink(f"/proc/{PID}/fd/{name}") == PRECIOUS:
            os.open(f"/proc/{PID}/fd/{name}", os.O_WRONLY)
    raise NotImplementedError("no such descriptor")


def memory_of_another() -> None:
    os.open(f"/proc/{PID}/mem", os.O_RDWR)


def trace_another() -> None:
    call("ptrace", 16, PID, 0, 0)


def signal_another() -> None:
    os.kill(PID, signal.SIGUSR1)


def take_descriptor_of_another() -> None:
    held = os.pidfd_open(PID)
    check(LIBC.syscall(ctypes.c_long(438), held, 1, 0))


def by_handle() -> None:
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 120, 0) + bytes(120))
    number = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, PRECIOUS.encode(), handle, ctypes.byref(number), 0)
    call("open_by_handle_at", os.open("/", os.O_RDONLY), handle, os.O_WRONLY)


def by_openat2() -> None:
    call("openat2", AT_FDCWD, PRECIOUS.encode(), struct.pack("=QQQ", os.O_WRONLY, 0, 0), 24)


def by_io_uring() -> None:
    parameters = ctypes.create_string_buffer(120)
    try:
        ring = call("io_uring_setup", 4, parameters)
    except OSError as error:
        raise NotImplementedError(f"io_uring: {errno.errorcode[error.errno or 0]}") from None
    _sq, _cq, _flags, _cpu, _idle, _features, _wq, *_ = struct.unpack_from("=7I", parameters)
    sq = struct.unpack_from("=8I", parameters, 40)  # head tail mask entries flags dropped array
    cq = struct.unpack_from("=6I", parameters, 80)  # head tail mask entries overflow cqes
    rings = mmap.mmap(ring, max(sq[6] + 16, cq[5] + 16 * 8), offset=0)
    entries = mmap.mmap(ring, 64 * 4, offset=0x10000000)
    name = ctypes.create_string_buffer(PRECIOUS.encode())
    entry = struct.pack("=BBHiQQIIQ", 18, 0, 0, AT_FDCWD, 0, ctypes.addressof(name), 0, os.O_WRONLY, 1)
    entries[:64] = entry.ljust(64, b"\0")
    rings[sq[6] : sq[6] + 4] = struct.pack("=I", 0)
    rings[sq[1] : sq[1] + 4] = struct.pack("=I", 1)
    call("io_uring_enter", ring, 1, 1, 1, None, 0)
    (result,) = struct.unpack_from("=i", rings, cq[5] + 8)
    if result < 0:
        raise OSError(-result, "")


def bind_mount() -> None:
    os.makedirs(f"{INSIDE}/mount", exist_ok=True)
    check(LIBC.mount(OUTSIDE.encode(), f"{INSIDE}/mount".encode(), None, 4096, None))


def detached_mount() -> None:
    tree = call("open_tree", AT_FDCWD, OUTSIDE.encode(), 1)
    call("move_mount", tree, b"", AT_FDCWD, f"{INSIDE}/".encode(), 4)


def user_namespace() -> None:
    check(LIBC.unshare(0x10000000 | 0x00020000))
    bind_mount()


def user_namespace_write() -> None:
    check(LIBC.unshare(0x10000000))
    os.open(PRECIOUS, os.O_WRONLY)


def change_the_root() -> None:
    os.chroot(OUTSIDE)
    os.open("/precious", os.O_WRONLY)


def memfd_program() -> None:
    program = call("memfd_create", b"x", 0)
    os.write(program, f"#!/bin/sh\nexec > {OUTSIDE}/new\n".encode())
    done = subprocess.run([f"/proc/self/fd/{program}"], pass_fds=[program], check=False, capture_output=True)
    if done.returncode:
        raise OSError(errno.EACCES, "")


def setuid_program() -> None:
    program = next((p for p in ("/usr/bin/su", "/bin/su", "/usr/bin/passwd") if os.path.exists(p)), None)
    if program is None:
        raise NotImplementedError("no setuid program")
    with open("/proc/self/status") as status:
        if "NoNewPrivs:\t1\n" in status.read():
            raise OSError(errno.EPERM, "")


def device_node() -> None:
    os.mknod(f"{INSIDE}/disk", 0o60600, os.stat("/").st_dev)


def character_device_node() -> None:
    os.mknod(f"{INSIDE}/mem", 0o20600, os.makedev(1, 1))


def inherited_descriptor() -> None:
    os.write(FD, b"written")


def kernel_setting() -> None:
    os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)


def shed_it_in_a_child() -> None:
    done = subprocess.run(["setsid", "sh", "-c", f"echo x >> {PRECIOUS}"], check=False, capture_output=True)
    if done.returncode:
        raise OSError(errno.EACCES, "")


# What Landlock does not cover: docs/howto-confine.md says so.
def change_mode() -> None:
    os.chmod(f"{OUTSIDE}/open", 0o666)


def change_times() -> None:
    os.utime(f"{OUTSIDE}/open", (1, 1))


def set_attribute() -> None:
    try:
        os.setxattr(f"{OUTSIDE}/open", "user.mark", b"1")
    except OSError as error:
        raise NotImplementedError("user.*") if error.errno == errno.EOPNOTSUPP else error  # noqa: B904


def set_flags() -> None:
    """Do as chattr(1) does: FS_IOC_GETFLAGS, and FS_IOC_SETFLAGS with FS_NOATIME_FL."""
    opened = os.open(f"{OUTSIDE}/open", os.O_RDONLY)
    try:
        (flags,) = struct.unpack("=i", fcntl.ioctl(opened, 0x80086601, bytes(4)))
        fcntl.ioctl(opened, 0x40086602, struct.pack("=i", flags | 0x80))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            raise NotImplementedError("no flags") from None
        raise


def change_owner() -> None:
    os.chown(f"{OUTSIDE}/open", os.getuid(), -1)


def read_status() -> None:
    os.stat(PRECIOUS)


def descriptor_from_outside() -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(SOCKET)
        received = array.array("i")
        _data, ancillary, _flags, _from = there.recvmsg(1, socket.CMSG_LEN(4))
        received.frombytes(ancillary[0][2][:4])
        os.write(received[0], b"from inside")


# What has to work.
def write_inside() -> None:
    os.makedirs(f"{INSIDE}/d/e", exist_ok=True)
    with open(f"{INSIDE}/d/f", "w") as file:
        file.write("x")
    os.link(f"{INSIDE}/d/f", f"{INSIDE}/d/e/g")
    os.rename(f"{INSIDE}/d/f", f"{INSIDE}/d/e/f")
    os.truncate(f"{INSIDE}/d/e/f", 0)
    os.symlink("f", f"{INSIDE}/d/e/s")
    os.mkfifo(f"{INSIDE}/d/e/p")
    os.unlink(f"{INSIDE}/d/e/s")


def nameless_file_inside() -> None:
    made = os.open(INSIDE, os.O_TMPFILE | os.O_WRONLY)
    _link_descriptor(made, f"{INSIDE}/named")


def write_to_devices() -> None:
    for name in ("null", "zero", "full"):
        os.close(os.open(f"/dev/{name}", os.O_RDWR))


def open_a_terminal() -> None:
    import pty

    main, terminal = pty.openpty()
    os.close(os.open(os.ttyname(terminal), os.O_RDWR | os.O_NOCTTY))
    os.close(main)


def read_outside() -> None:
    with open(PRECIOUS) as file:
        file.read()
    os.listdir("/")


def reopen_own_stream() -> None:
    reads, writes = os.pipe()
    os.close(os.open(f"/proc/self/fd/{writes}", os.O_WRONLY))
    os.close(reads)


def name_itself() -> None:
    with open("/proc/self/comm", "w") as file:
        file.write("renamed")


def signal_own_child() -> None:
    child = subprocess.Popen(["sleep", "60"])
    child.send_signal(signal.SIGTERM)
    if child.wait() != -signal.SIGTERM:
        raise OSError(errno.EPERM, "")


MUST_FAIL = (
    open_for_writing, open_with_truncation, truncate_by_name, make_file, make_directory, make_fifo,
    make_symlink, bind_socket, remove_file, remove_directory, rename_out, rename_over, rename_in,
    exchange_names,
    rename_the_directory, link_in, link_out, symlink_to_file, symlink_to_directory, dots,
    through_a_directory_descriptor, nameless_file_out, nameless_file_linked_out, reopen_by_proc_fd,
    reopen_a_path_descriptor, by_proc_root, by_proc_cwd_of_another, descriptor_of_another, memory_of_another,
    trace_another, signal_another, take_descriptor_of_another, by_handle, by_openat2, by_io_uring, bind_mount,
    detached_mount, user_namespace, user_namespace_write, change_the_root, memfd_program, setuid_program,
    device_node, character_device_node, inherited_descriptor, kernel_setting, shed_it_in_a_child,
)  # fmt: skip
NOT_COVERED = (
    change_mode, change_times, set_attribute, set_flags, change_owner, read_status, descriptor_from_outside,
)  # fmt: skip
MUST_WORK = (
    write_inside, nameless_file_inside, write_to_devices, open_a_terminal, read_outside, reopen_own_stream,
    signal_own_child,
)  # fmt: skip
ORDINARY_ONLY = (name_itself,)
"""What root may not do, for it would open the kernel's settings."""

if __name__ == "__main__":
    for each in (*MUST_FAIL, *NOT_COVERED, *MUST_WORK, *ORDINARY_ONLY):
        attempt(each)
    sys.stdout.write(json.dumps(RESULTS))
