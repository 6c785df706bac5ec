"""Cheap ways to change a protected file past the audit: none of them ends in "clean"."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scenarios.conftest import Audit, Audited, Mounts
from writeaudit.capture.interface import Backend

_NOT_CLEAN = (100, 101)


@pytest.fixture
def prot(tmp_path: Path) -> Path:
    """A protected directory, two levels below one that may be written to."""
    directory = tmp_path / "work" / "above" / "prot"
    directory.mkdir(parents=True)
    for name in ("victim", "Other"):
        (directory / name).write_text("as it was\n")
    return directory


def _work(prot: Path) -> Path:
    return prot.parent.parent


def _attack(audit: Audit, prot: Path, command: Sequence[str | Path]) -> Audited:
    """Run a command in the directory above, which it may write to; the protected one it may not."""
    work = _work(prot)
    zones = ("--zone", f"work={work}:rw", "--zone", f"prot={prot}:ro")
    audited = audit(command, *zones, cwd=work)
    assert audited.report["run"]["exit_status"] == 0, audited.stderr
    return audited


def _shell(script: str) -> list[str]:
    return ["sh", "-ec", script]


def _python(script: str) -> list[str]:
    return [sys.executable, "-c", f"import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n{script}"]


_EXCHANGE = (
    "mkdir -p other/prot; python3 -c 'import ctypes; assert not ctypes.CDLL(None).syscall("
    '316, -100, b"above", -100, b"other", 2)\'; rm other/prot/victim'
)


@pytest.mark.parametrize(
    "script",
    [
        "mv above away; echo x >away/prot/victim; mv away above",
        "mv above away; rm away/prot/victim; mkdir above; cp -r away/prot above/prot",
        "mv above away; ln -s away above; echo x >>above/prot/victim",
        _EXCHANGE,
        "cd above; mv ../above ../away; echo x >prot/victim; mv ../away ../above",
    ],
)
def test_directory_above_is_moved(audit: Audit, prot: Path, script: str) -> None:
    audited = _attack(audit, prot, _shell(script))
    assert audited.status == 100
    assert audited.rules & {"WA201", "WA301"}


@pytest.mark.requires_root
@pytest.mark.parametrize(
    "script",
    [
        "mount --bind above/prot m; rm m/victim; umount -l m",
        "mount --bind above m; rm m/prot/victim; umount -l m",
        "mount --bind / m; rm m$PWD/above/prot/victim; umount -l m",
        "mount --bind above/prot m; mount --bind m n; rm n/victim; umount -l n; umount -l m",
        "touch f; mount --bind above/prot/victim f; truncate -s 0 f; umount -l f",
    ],
)
def test_protected_place_is_mounted_elsewhere(audit: Audit, prot: Path, mounts: Mounts, script: str) -> None:
    work = _work(prot)
    mounts.tmpfs(work.parent / "private")  # so that what is mounted goes with the test
    for name in ("m", "n"):
        (work / name).mkdir()
    private = f"unshare -m true; {script}"
    audited = _attack(audit, prot, _shell(private))
    assert audited.status in _NOT_CLEAN, audited.stderr
    for name in ("n", "m", "f"):
        subprocess.run(["umount", "-l", work / name], check=False, capture_output=True)


@pytest.mark.requires_root
@pytest.mark.requires_program("mkfs.vfat")
def test_spelling_that_the_file_system_does_not_mind(audit: Audit, tmp_path: Path, mounts: Mounts) -> None:
    image, work = tmp_path / "image", tmp_path / "fat"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
    try:
        mounts.mount("-o", "loop", image, work)
    except subprocess.CalledProcessError:
        pytest.skip("vfat cannot be mounted here")
    prot = work / "prot"
    prot.mkdir()
    for name in ("victim", "second"):
        (prot / name).touch()
    zones = ("--zone", f"work={work}:rw", "--zone", f"prot={prot}:ro")
    audited = audit(_shell("rm Prot/Victim; mv PROT/second ."), *zones, cwd=work)
    assert not (prot / "victim").exists()
    assert audited.status == 100, audited.stderr
    assert audited.rules & {"WA201", "WA301"}


def test_hole_through_a_mapping(audit: Audit, prot: Path) -> None:
    """MADV_REMOVE: the mapping is read-only, the descriptor is not."""
    target = prot / "victim"
    target.write_bytes(b"x" * 8192)
    hole = "import mmap; mmap.mmap(3, 8192, mmap.MAP_SHARED, mmap.PROT_READ).madvise(9)"
    holding = f"exec 3<>{target}; exec {sys.executable} -c '{hole}'"
    audited = _attack(audit, prot, _shell(holding))
    assert target.read_bytes() in (b"\0" * 8192, b"x" * 8192)
    if target.read_bytes()[:1] == b"x":
        pytest.skip("this file system has no holes")
    assert audited.events("fallocate", path=str(target)), audited.stderr
    assert audited.status == 100


def _blind(audited: Audited) -> set[str]:
    return {spot["kind"] for spot in audited.report["completeness"]["blind_spots"]}


@pytest.fixture
def outsider() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not part of the run."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


_VM_WRITE = (
    "here = (ctypes.c_ulong * 2)(ctypes.addressof(ctypes.create_string_buffer(b'x')), 1)\n"
    "maps = [line.split('-') for line in open('/proc/%d/maps' % PID) if ' rw-p ' in line]\n"
    "there = (ctypes.c_ulong * 2)(int(maps[-1][0], 16), 1)\n"
    "assert libc.syscall(311, PID, here, 1, there, 1, 0) == 1, ctypes.get_errno()"
)


@pytest.mark.requires_root
@pytest.mark.parametrize(
    "reach",
    [
        "open('/proc/%d/mem' % PID, 'r+b', buffering=0)",
        _VM_WRITE,
        "pidfd = os.pidfd_open(PID)\nassert libc.syscall(438, pidfd, 0, 0) >= 0",
        "assert libc.ptrace(0x4206, PID, 0, 0) == 0\nos.kill(PID, 9)",
    ],
)
def test_reaching_into_another_process(
    audit: Audit, backend: Backend, prot: Path, outsider: subprocess.Popen[bytes], reach: str
) -> None:
    audited = _attack(audit, prot, _python(reach.replace("PID", str(outsider.pid))))
    assert "other_process" in _blind(audited), audited.stderr
    assert audited.status in _NOT_CLEAN


def test_reaching_into_a_process_of_the_run(audit: Audit, prot: Path) -> None:
    script = (
        "import time\npid = os.fork()\n"
        "if not pid:\n time.sleep(20); os._exit(0)\n"
        "open('/proc/%d/mem' % pid, 'r+b', buffering=0)\nopen('/proc/self/mem', 'r+b', buffering=0)\n"
        "os.kill(pid, 9); os.wait()"
    )
    audited = _attack(audit, prot, _python(script))
    assert _blind(audited) == set()
    assert audited.status == 0, audited.stderr


@pytest.mark.parametrize("name", ["docker.sock", "containerd.sock", "podman/podman.sock", "systemd/private"])
def test_engine_that_is_asked(audit: Audit, prot: Path, name: str) -> None:
    path = Path(tempfile.mkdtemp(dir="/tmp"), name)
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        ask = f"import socket\nsocket.socket(socket.AF_UNIX).connect({str(path)!r})"
        audited = _attack(audit, prot, _python(ask))
    shutil.rmtree(path.parents[len(Path(name).parts) - 1])
    assert "delegated" in _blind(audited), audited.stderr
    assert audited.status == 101


def test_socket_of_nobody_that_matters(audit: Audit, prot: Path) -> None:
    path = Path(tempfile.mkdtemp(dir="/tmp"), "some.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        ask = f"import socket\nsocket.socket(socket.AF_UNIX).connect({str(path)!r})"
        audited = _attack(audit, prot, _python(ask))
    shutil.rmtree(path.parent)
    assert audited.status == 0, audited.stderr


@pytest.mark.requires_root
def test_page_faults_of_its_own(audit: Audit, prot: Path) -> None:
    audited = _attack(audit, prot, _python("assert libc.syscall(323, 0) >= 0, 'no userfaultfd'"))
    assert "userfaultfd" in _blind(audited), audited.stderr
    assert audited.status == 101


_HELD_BACK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static int uffd;
static char *page;
static void *serve(void *unused)
{
	struct uffd_msg message;
	char *filled = aligned_alloc(4096, 4096);
	struct uffdio_copy copy = { (unsigned long)page, (unsigned long)filled, 4096, 0, 0 };
	read(uffd, &message, sizeof message);
	/* a call that strace wants to see, before it can have the page */
	close(open("served", O_CREAT | O_WRONLY, 0600));
	strcpy(filled, "made");
	return (void *)(long)ioctl(uffd, UFFDIO_COPY, &copy);
}
int main(void)
{
	pthread_t thread;
	struct uffdio_api api = { UFFD_API, 0, 0 };
	struct uffdio_register range = { { 0, 4096 }, UFFDIO_REGISTER_MODE_MISSING, 0 };
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		return 77;
	page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	range.range.start = (unsigned long)page;
	if (ioctl(uffd, UFFDIO_REGISTER, &range))
		return 78;
	pthread_create(&thread, 0, serve, 0);
	int made = open(page, O_CREAT | O_WRONLY, 0600);
	pthread_join(thread, 0);
	close(open("after", O_CREAT | O_WRONLY, 0600));
	return made < 0 ? 79 : 0;
}
"""


@pytest.mark.requires_root
@pytest.mark.requires_gcc
def test_tracer_that_waits_for_memory_which_waits_for_the_tracer(
    audit: Audit, backend: Backend, prot: Path, tmp_path: Path
) -> None:
    program = tmp_path / "held"
    subprocess.run(
        ["gcc", "-w", "-pthread", "-xc", "-", "-o", program], input=_HELD_BACK.encode(), check=True
    )
    audited = _attack(audit, prot, [program])  # ends, and does all that it would do unaudited
    assert {"made", "served", "after"} <= set(os.listdir(_work(prot)))
    assert audited.status == 101
    assert _blind(audited) >= ({"userfaultfd", "tracer"} if backend.name == "strace" else {"userfaultfd"})
    if backend.name == "strace":
        assert "strace was given up" in audited.stderr.replace("\n    ", " ")


_CLOSED = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static int out, into[2];
static void *close_it(void *unused)
{
	usleep(300000);
	close(out);
	write(into[1], "x", 1);
	return unused;
}
int main(int argc, char **argv)
{
	pthread_t thread;
	out = open(argv[1], O_WRONLY);
	pipe(into);
	if (argc < 2 || out < 0 || pthread_create(&thread, 0, close_it, 0))
		return 1;
	if (splice(into[0], 0, out, 0, 1, 0) != 1)
		return 1;
	pthread_join(thread, 0);
	return 0;
}
"""


@pytest.mark.requires_gcc
def test_descriptor_that_is_closed_while_it_is_written_to(
    audit: Audit, backend: Backend, prot: Path, tmp_path: Path
) -> None:
    program = tmp_path / "closed"
    subprocess.run(["gcc", "-pthread", "-xc", "-", "-o", program], input=_CLOSED.encode(), check=True)
    target = _work(prot) / "plain"
    target.touch()
    audited = _attack(audit, prot, [program, target])
    assert target.read_bytes() == b"x"
    if backend.name == "strace":  # which reads the descriptor when the call begins
        assert audited.events("copy", path=str(target)) or audited.status in _NOT_CLEAN
    else:
        assert "closed_descriptor" in _blind(audited), audited.stderr


@pytest.mark.requires_root
def test_accounting(audit: Audit, prot: Path) -> None:
    script = f"assert libc.acct({str(prot / 'victim')!r}.encode()) == 0\nassert libc.acct(None) == 0"
    audited = audit(
        _python(script), "--zone", f"work={_work(prot)}:rw", "--zone", f"prot={prot}:ro", cwd=_work(prot)
    )
    if audited.report["run"]["exit_status"] != 0:
        pytest.skip("this kernel keeps no accounts")
    assert audited.status == 100, audited.stderr


@pytest.mark.requires_root
@pytest.mark.parametrize(
    ("kind", "script"),
    [
        ("mqueue", "touch fs/queue; rm fs/queue"),
        ("tracefs", "mkdir fs/instances/wa; echo 0 >fs/instances/wa/tracing_on; rmdir fs/instances/wa"),
        ("debugfs", "echo 1 >fs/clear_warn_once"),
    ],
)
def test_file_systems_that_the_kernel_mounts_for_itself_too(
    audit: Audit, tmp_path: Path, mounts: Mounts, kind: str, script: str
) -> None:
    work = tmp_path / "work"
    try:
        mounts.mount("-t", kind, "none", work / "fs")
    except subprocess.CalledProcessError:
        pytest.skip(f"{kind} cannot be mounted here")
    audited = audit(_shell(script), "--zone", f"work={work}:ro", cwd=work)
    if audited.report["run"]["exit_status"] != 0:
        pytest.skip(f"this {kind} is another one")
    changed = {event["op"] for event in audited.report["events"] if event["verdict"] == "violation"}
    assert "write" in changed or kind != "tracefs"
    assert changed >= ({"unlink"} if kind == "mqueue" else {"open"})
    assert audited.status == 100


_IN_A_CHROOT = """
set -e
for name in bin lib lib64 usr etc proc sys dev opt root work home; do
	[ -d /$name ] || continue
	mkdir -p $ROOT/$name
	mount --rbind /$name $ROOT/$name
done
mkdir -p $ROOT$CODE $ROOT$PYTHON
mount --bind $CODE $ROOT$CODE
mount --bind $PYTHON $ROOT$PYTHON
cd /
exec chroot $ROOT sh -c 'cd /var/work && exec "$@"' sh "$@"
"""


@pytest.mark.requires_root
@pytest.mark.requires_program("unshare")
@pytest.mark.requires_program("chroot")
def test_writeaudit_in_a_chroot(backend: Backend, tmp_path: Path) -> None:
    """Names begin at writeaudit's own root, whether the kernel or the program says them."""
    root = tmp_path / "root"
    for directory in ("var/work", "var/prot", "tmp"):
        (root / directory).mkdir(parents=True)
    (root / "var/prot/victim").touch()
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"
    change = (
        "echo x >a; echo y >/var/prot/new; cd ../prot; echo z >there; rm victim; ln /var/work/a ../prot/link"
    )
    done = subprocess.run(
        [
            *("unshare", "-m", "sh", "-c", _IN_A_CHROOT, "sh", sys.executable, "-c", start),
            *("run", "--backend", backend.name, "-o", "/tmp/r.wa", "--json", "/tmp/r.json"),
            *("--zone", "prot=/var/prot:ro", "--zone", "w=/var/work:rw", "--", "sh", "-ec", change),
        ],
        env={**os.environ, "ROOT": str(root), "CODE": str(ROOT), "PYTHON": sys.base_prefix},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if not (root / "tmp/r.json").exists():
        pytest.skip(f"writeaudit does not start in that chroot: {done.stderr}")
    report = json.loads((root / "tmp/r.json").read_bytes())
    forbidden = {event["path"] for event in report["events"] if event["verdict"] == "violation"}
    assert forbidden == {f"/var/prot/{name}" for name in ("new", "there", "victim", "link")}
    assert done.returncode == 100
    assert report["completeness"]["complete"], done.stderr
