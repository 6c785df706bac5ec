"""Boots a virtual machine and takes down what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.images import Bootable
from tests.kernels.kernels import Kernel
from tests.kernels.packages import Unavailable

_QEMU = {
    "amd64": ("qemu-system-x86_64", "-machine", "q35", "-cpu", "max"),
    # The addresses of a kernel that signs them (pauth) cost much under emulation: a processor without.
    "arm64": ("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72"),
}
_CONSOLE = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
_RESULT_BYTES = 16 << 20

Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one machine."""

    records: tuple[Record, ...]
    """What the program in the machine said, in its order."""
    console: str
    """What the kernel said."""
    timed_out: bool

    @property
    def booted(self) -> bool:
        """Whether the kernel came so far that a program of ours ran."""
        return bool(self.records)

    @property
    def ended(self) -> bool:
        """Whether that program came to its end."""
        return bool(self.records) and self.records[-1].get("kind") == "end"


def lacking(arch: str) -> str | None:
    """Return why no machine of a processor can be run here; None if one can."""
    program = _QEMU[arch][0]
    return None if shutil.which(program) else f"{program} is not installed"


def boot(
    kernel: Kernel, bootable: Bootable, root: Path, repository: Path, options: Sequence[str], seconds: float
) -> Run:
    """Run a machine until it switches itself off, or for so many seconds.

    ``options`` are words for the kernel's command line, where the program in the machine finds them.
    """
    if (reason := lacking(kernel.arch)) is not None:
        raise Unavailable(reason)
    with tempfile.TemporaryDirectory(prefix="kernels-") as directory:
        results, console = Path(directory, "results"), Path(directory, "console")
        with results.open("wb") as file:
            file.truncate(_RESULT_BYTES)
        words = [f"console={_CONSOLE[kernel.arch]}", "panic=-1", "mitigations=off", *options]
        argv: list[str | Path] = [
            *_QEMU[kernel.arch], *_accelerated(),
            "-smp", "2", "-m", "2G", "-display", "none", "-nic", "none", "-no-reboot", "-monitor", "none",
            "-serial", f"file:{console}", "-kernel", bootable.image, "-initrd", bootable.initrd,
            "-append", " ".join(words),
            *_disk(root, throwaway=True), *_disk(repository, throwaway=True),
            *_disk(results, throwaway=False),
        ]  # fmt: skip
        timed_out = False
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as machine:
            try:
                _out, said = machine.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                timed_out = True
                machine.kill()
                _out, said = machine.communicate()
            except BaseException:
                machine.kill()
                raise
        if machine.returncode not in (0, -9):
            raise Unavailable(f"qemu: {said.decode(errors='replace').strip()}")
        text = console.read_text(errors="replace") if console.exists() else ""
        return Run(tuple(_parse(results)), text, timed_out)


def _accelerated() -> tuple[str, ...]:
    """Emulation works everywhere; KERNELS_ACCEL=kvm is for those whose KVM does."""
    return ("-accel", os.environ.get("KERNELS_ACCEL", "tcg,thread=multi"))


def _disk(image: Path, *, throwaway: bool) -> tuple[str, str]:
    rule = "snapshot=on" if throwaway else "cache=writethrough"
    return "-drive", f"file={image},if=virtio,format=raw,{rule}"


def _parse(results: Path) -> list[Record]:
    with results.open("rb") as file:
        text = file.read().partition(b"\0")[0]
    records: list[Record] = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            break  # the machine was stopped while it wrote
        records.append(record)
    return records
