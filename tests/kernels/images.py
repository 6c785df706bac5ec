"""What a virtual machine boots: a kernel, an initial RAM disk, a root file system and this repository."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib.util
import lzma
import os
import platform
import re
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.kernels import ROOT_PACKAGES, Kernel
from tests.kernels.packages import Apt, Unavailable, unpack
from writeaudit.capture.kernel.compiler import BuildError, compile_all, system_clang, target_arch

REPOSITORY = Path(__file__).resolve().parents[2]
_ROOT_PYTHON = "3.11"
"""The Python of the suite that the root comes from."""

_MODULES = (
    "virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "overlay", "loop", "btrfs", "xfs", "fuse",
)  # fmt: skip
"""Loaded before anything else runs, with what they need; one that a kernel has built in is left out."""

_NEEDED_PYTHON = (
    "click", "elftools", "jinja2", "markdown_it", "markupsafe", "mdurl", "pygments", "rich",
    "_hypothesis_globals", "_hypothesis_pytestplugin", "_pytest", "hypothesis", "iniconfig", "packaging",
    "pluggy", "py", "pytest", "sortedcontainers", "typing_extensions",
)  # fmt: skip
"""Python packages that are copied from the running environment. They work without their C parts."""

_COPIED = (
    "writeaudit",
    "probes",
    "reports/templates",
    "docs/rules",
    "tests",
    "hatch_build.py",
    "pyproject.toml",
)

_PROGRAMS = (
    ("compat", "-m32"), ("compat_more", "-m32"), ("int80",), ("thread_exec", "-pthread"),
    ("flood",), ("uring",), ("uring_later",), ("uring_more",),
)  # fmt: skip
"""Workloads in C, with the flags that the tests build them with. The machines have no compiler."""

_FEATURES = "none,has_journal,extent,huge_file,flex_bg,dir_nlink,extra_isize,ext_attr,filetype,sparse_super"
"""Features of ext4 that Linux 5.10 knows, whatever mke2fs there is here."""


@dataclass(frozen=True, slots=True)
class Bootable:
    """A kernel, ready to be booted."""

    release: str
    """As uname(2) says it."""
    version: str
    """Of the Debian package."""
    image: Path
    initrd: Path


def prepare_kernel(kernel: Kernel, apt: Apt, busybox: bytes, place: Path) -> Bootable:
    """Fetch and unpack a kernel and make its initial RAM disk; what is there already is used.

    ``busybox`` is a static one for that processor.
    """
    package, version = apt.kernel(kernel)
    tree = place / f"{package}_{version.replace(':', '%')}"
    marker = tree / ".unpacked"
    if not marker.exists():
        shutil.rmtree(tree, ignore_errors=True)
        unpack(apt.fetch(apt.with_own_parts(package, version)), tree)
        marker.touch()
    (release,) = (path.name for path in (tree / "usr/lib/modules").iterdir())
    image = _image(tree, release, kernel.arch)
    initrd = tree / "initrd"
    script = _INIT.encode()
    stamp = tree / ".initrd"
    wanted = hashlib.sha256(script + repr(_MODULES).encode()).hexdigest()
    if not initrd.exists() or not stamp.exists() or stamp.read_text() != wanted:
        _make_initrd(initrd, tree, release, busybox, script)
        stamp.write_text(wanted)
    return Bootable(release, version, image, initrd)


def _image(tree: Path, release: str, arch: str) -> Path:
    candidates = (tree / f"boot/vmlinuz-{release}", tree / f"usr/lib/modules/{release}/vmlinuz")
    for image in candidates:
        if image.exists():
            return _unpacked_image(image) if arch == "arm64" else image
    raise Unavailable(f"the package of {release} holds no kernel image")


def _unpacked_image(image: Path) -> Path:
    """Return the kernel without the program that unpacks it, which needs UEFI (EFI_ZBOOT)."""
    data = image.read_bytes()
    if data[4:8] == b"zimg":
        offset, size = struct.unpack_from("<II", data, 8)
        kind = data[24:56].partition(b"\\0")[0]
        packed = data[offset : offset + size]
        data = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else b""
        if not data:
            raise Unavailable(f"the kernel image is compressed with {kind!r}, which is not known here")
    elif data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    else:
        return image
    plain = image.with_name(image.name + ".plain")
    plain.write_bytes(data)
    return plain


# The initial RAM disk: loads modules, mounts the root, goes there.

_INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
for module in /modules/*; do $b insmod "$module"; done
tries=0
until [ -b /dev/vda ] || [ $tries -gt 100 ]; do $b sleep 0.2; tries=$((tries + 1)); done
$b mount -t ext4 -o noatime /dev/vda /root || $b poweroff -f
exec $b switch_root /root /guest-init
"""


def _make_initrd(target: Path, tree: Path, release: str, busybox: bytes, script: bytes) -> None:
    entries: list[tuple[str, int, bytes]] = [
        (name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "modules", "root")
    ]
    entries.append(("bin/busybox", stat.S_IFREG | 0o755, busybox))
    entries.append(("init", stat.S_IFREG | 0o755, script))
    for number, module in enumerate(_modules_in_order(tree, release)):
        name = f"modules/{number:03}-{_module_name(module)}.ko"
        entries.append((name, stat.S_IFREG | 0o644, _plain_module(module)))
    target.write_bytes(pack_cpio(entries))


def _modules_in_order(tree: Path, release: str) -> list[Path]:
    """Return the module files that are wanted, each after those that it needs."""
    done = subprocess.run(
        [_program("depmod"), "-b", tree, release], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Unavailable(f"depmod: {done.stderr.strip()}")
    directory = tree / "usr/lib/modules" / release
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _colon, others = line.partition(":")
        needs[_module_name(Path(path))] = path, others.split()
    softly = _soft_needs(directory / "modules.softdep")
    order: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in needs or needs[name][0] in order:
            return
        path, others = needs[name]
        for other in (*softly.get(name, ()), *(_module_name(Path(text)) for text in reversed(others))):
            if other != name and needs.get(other, ("",))[0] not in order:
                add(other)
        order[path] = None

    for name in _MODULES:
        add(name)
    return [directory / path for path in order]


def _soft_needs(file: Path) -> dict[str, list[str]]:
    """Return what modules ask for without using its symbols: checksums, above all."""
    found: dict[str, list[str]] = {}
    if file.exists():
        for name, text in re.findall(r"^softdep (\S+) pre: (.*)$", file.read_text(), re.MULTILINE):
            found.setdefault(_plain_name(name), []).extend(_plain_name(word) for word in text.split())
    return found


def _module_name(path: Path) -> str:
    return _plain_name(path.name.partition(".ko")[0])


def _plain_name(name: str) -> str:
    return name.replace("-", "_")


def _plain_module(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".ko":
        return data
    raise Unavailable(f"{path.name}: modules that are compressed in this way cannot be read here")


def pack_cpio(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return a cpio archive as Documentation/driver-api/early-userspace/buffer-format.rst has it."""
    parts: list[bytes] = []
    for number, (name, mode, data) in enumerate((*entries, ("TRAILER!!!", 0, b"")), start=1):
        text = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(text), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + text
        parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
    return b"".join(parts)


def fetch_busybox(apt: Apt, place: Path) -> bytes:
    """Return the program of the package busybox-static."""
    tree = place / "busybox"
    program = tree / "bin/busybox"
    if not program.exists():
        unpack(apt.fetch(["busybox-static"]), tree)
    return program.read_bytes()


# The root file system.


def prepare_root(apt: Apt, place: Path) -> Path:
    """Return an image of a small Debian with Python, libbpf, bcc and strace."""
    image = place / "root.ext4"
    stamp = place / "root.stamp"
    files = apt.fetch_with_dependencies(ROOT_PACKAGES)
    wanted = hashlib.sha256(
        "\n".join([_GUEST_INIT, sys.version, *(file.name for file in files)]).encode()
    ).hexdigest()
    if image.exists() and stamp.exists() and stamp.read_text() == wanted:
        return image
    tree = place / "root"
    shutil.rmtree(tree, ignore_errors=True)
    unpack(files, tree)
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "mnt", "repo", "home"):
        (tree / name).mkdir(exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    for name in ("passwd", "group"):
        shutil.copy(tree / f"usr/share/base-passwd/{name}.master", tree / "etc" / name)
    (tree / "etc/hostname").write_text("kernels\n")
    (tree / "guest-init").write_text(_GUEST_INIT)
    (tree / "guest-init").chmod(0o755)
    local = tree / f"usr/local/lib/python{_ROOT_PYTHON}/dist-packages"
    local.mkdir(parents=True, exist_ok=True)
    (local / "repo.pth").write_text("/repo\n/repo/site\n")
    _compile_python(tree / f"usr/lib/python{_ROOT_PYTHON}", f"/usr/lib/python{_ROOT_PYTHON}")
    _compile_python(tree / "usr/lib/python3/dist-packages", "/usr/lib/python3/dist-packages")
    make_image(tree, image)
    shutil.rmtree(tree)
    stamp.write_text(wanted)
    return image


_GUEST_INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t securityfs security /sys/kernel/security
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs tracing /sys/kernel/tracing
hostname kernels
mount -o noatime /dev/vdb /repo
cd /repo
python3 -m tests.kernels.guest /dev/vdc
sync
busybox poweroff -f
"""


def prepare_repository(machine: str, place: Path) -> Path:
    """Return an image of this repository as it is now, with compiled workloads and what Python needs."""
    tree = place / "repo"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in _COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        elif source.exists():
            shutil.copy2(source, tree / name)
    _compile_probes(machine, tree)
    for name in _NEEDED_PYTHON:
        for source in _found(name):
            target = tree / "site" / source.name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copy2(source, target)
    (tree / "built").mkdir()
    if machine == platform.machine():
        for program, *flags in _PROGRAMS:
            _build(program, flags, tree / "built")
    _compile_python(tree, "/repo")
    image = place / "repo.ext4"
    make_image(tree, image)
    shutil.rmtree(tree)
    return image


def _compile_probes(machine: str, tree: Path) -> None:
    """Compile the probes into build/, and by each further compiler into a directory of objects/."""
    compilers = _compilers()
    for number, (name, command) in enumerate(compilers.items()):
        target = tree / (f"objects/{name}" if number else "build")
        target.mkdir(parents=True)
        (target / "compiler").write_text(name + "\n")
        if target_arch(machine) is None:
            continue  # doctor says so
        with _environment("WRITEAUDIT_BPF_CC", command):
            try:
                compile_all(REPOSITORY / "probes", target, machine=machine)
            except BuildError as error:
                raise Unavailable(f"the probes cannot be compiled: {error}") from error


def _compilers() -> dict[str, str]:
    """Return the compilers that there are, by name, each as WRITEAUDIT_BPF_CC takes it."""
    found: dict[str, str] = {}
    if (clang := system_clang()) is not None:
        found[_version(clang)] = clang
    if importlib.util.find_spec("ziglang") is not None:
        zig = f"{sys.executable} -m ziglang cc"
        found[f"zig, {_version(*zig.split())}"] = zig
    if not found:
        raise Unavailable("there is neither clang nor the Python package ziglang")
    return found


def compiler_names() -> list[str]:
    """Return the names of the compilers, the one that the workloads run with first."""
    return list(_compilers())


def _version(*command: str) -> str:
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"clang version ([0-9.]*[0-9])", said)
    return f"clang {number[1] if number else '?'}"


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _found(name: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Unavailable(f"the Python package {name} is not installed here")
    origin = Path(spec.origin)
    place = origin.parent if origin.name == "__init__.py" else origin
    yield place
    # pytest asks for its own version and for plugins in there.
    yield from place.parent.glob(f"{name}-*.dist-info")


def _build(program: str, flags: list[str], target: Path) -> None:
    """Compile a workload. One that cannot be compiled is missing there, and its test says so."""
    output = target / "-".join([program, *(flag.strip("-") for flag in flags)])
    source = REPOSITORY / "tests/workloads" / f"{program}.c"
    if (compiler := shutil.which("gcc")) is not None:
        subprocess.run(
            [compiler, "-O1", "-static", *flags, "-o", output, source], check=False, capture_output=True
        )


def _compile_python(tree: Path, name: str) -> None:
    """Compile modules where this Python's code is that of the machines': it takes them very long."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == _ROOT_PYTHON:
        subprocess.run(
            [
                sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash",
                "-x", r"/lib2to3/|/test/", "-s", tree, "-p", name, tree,
            ],
            check=False, capture_output=True,
        )  # fmt: skip


def make_image(tree: Path, image: Path) -> None:
    """Make an ext4 image of a directory, with room to spare."""
    used = sum(path.lstat().st_size + 4096 for path in tree.rglob("*"))
    mebibytes = (used * 5 // 4 >> 20) + 512
    partial = image.with_name(image.name + ".partial")
    partial.unlink(missing_ok=True)
    done = subprocess.run(
        [_program("mke2fs"), "-q", "-t", "ext4", "-O", _FEATURES, "-d", tree, partial, f"{mebibytes}M"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"mke2fs: {done.stderr.strip()}")
    os.replace(partial, image)


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found
