"""Runs in the virtual machine: ``python3 -m tests.kernels.guest RESULTS``.

Tries doctor, each backend and the workloads, and writes a line of JSON for each outcome to the file
(a disk, in fact). The kernel's command line says which form is wanted (``kernels.form=full``).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.kernels.chosen import FILES, PATTERNS

_REPOSITORY = Path(__file__).resolve().parents[2]
_WORK = Path("/var/tmp/kernels")
BACKENDS = ("ebpf", "bcc", "strace")
_SHELLS, _CHANGES = 6, 120

OUT_OF_TIME = "no time left"

Record = dict[str, object]

_SMOKE = """
echo 1 >made; mkdir d; mv made d/moved; ln d/moved linked; ln -s d s; chmod 600 linked
mkdir d; sleep 1; rm linked; rmdir nowhere; : >d/moved; true
"""
_EXPECTED = (
    ("open", "made", "ok"), ("mkdir", "d", "ok"), ("rename", "d/moved", "ok"), ("link", "linked", "ok"),
    ("symlink", "s", "ok"), ("chmod", "linked", "ok"), ("mkdir", "d", "EEXIST"), ("unlink", "linked", "ok"),
    ("rmdir", "nowhere", "ENOENT"), ("open", "d/moved", "ok"),
)  # fmt: skip

_BUSY = f"""
for shell in $(seq {_SHELLS}); do (
    for change in $(seq {_CHANGES}); do : >"made-$shell-$change"; done
) & done
wait
"""


class Results:
    """The disk that the host reads; what is written counts even if the machine dies at once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def add(self, kind: str, **fields: object) -> None:
        """Write a line. Paths that are no text are shown as Python shows them."""
        line = json.dumps({"kind": kind, **fields}) + "\n"
        data = line.encode("ascii")
        while data:
            data = data[os.write(self._fd, data) :]
        os.fsync(self._fd)


def main() -> int:
    """Try everything that the form asks for."""
    fd = os.open(sys.argv[1], os.O_RDWR)
    results = Results(fd)
    words = dict(word.split("=", 1) for word in Path("/proc/cmdline").read_text().split() if "=" in word)
    form = words["kernels.form"]
    deadline = time.monotonic() + float(words["kernels.seconds"])
    backends = words.get("kernels.backends", ",".join(BACKENDS)).split(",")
    results.add("start", release=platform.release(), build=platform.version(), machine=platform.machine())
    os.environ["XDG_STATE_HOME"] = "/var/tmp/state"
    os.environ["WRITEAUDIT_BUILT"] = str(_REPOSITORY / "built")
    os.environ["WRITEAUDIT_PATIENCE"] = "10"
    _WORK.mkdir(parents=True)
    _attempt(results, "doctor", "", _ask_doctor)
    able = [backend for backend in backends if _attempt(results, "smoke", backend, _smoke)]
    if "ebpf" in backends:
        _try_other_compilers(results)
    for backend in able:
        if backend != "strace":
            _attempt(results, "attach", backend, _attach)
    for backend in able:
        if PATTERNS[form][backend]:
            _attempt(results, "busy", backend, _busy)
    for backend in able:
        if PATTERNS[form][backend]:
            _run_workloads(results, fd, form, backend, deadline)
    results.add("end")
    return 0


def _attempt(results: Results, kind: str, backend: str, attempt: Callable[[str], Record]) -> bool:
    """Write down what came of an attempt. Returns whether it is worth going on with that backend."""
    begun = time.monotonic()
    try:
        record = attempt(backend)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError):
        record = {"outcome": "failed", "said": traceback.format_exc()}
    results.add(kind, backend=backend, seconds=round(time.monotonic() - begun, 1), **record)
    return record["outcome"] in {"works", "wrong"}


def _try_other_compilers(results: Results) -> None:
    """Try the objects that another compiler made, in the place of the repository's own."""
    for objects in sorted((_REPOSITORY / "objects").glob("*")):
        subprocess.run(["mount", "--bind", objects, _REPOSITORY / "build"], check=True)
        _attempt(results, "smoke", f"ebpf, {objects.name}", lambda _name: _smoke("ebpf"))
        subprocess.run(["umount", _REPOSITORY / "build"], check=True)


def _writeaudit(*args: str | Path, cwd: Path = _WORK) -> subprocess.CompletedProcess[str]:
    start = f"import sys; sys.path.insert(0, {str(_REPOSITORY)!r}); from writeaudit.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", start, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        timeout=600,
    )


def _ask_doctor(_backend: str) -> Record:
    done = _writeaudit("doctor", "--json")
    said = json.loads(done.stdout)
    works = {entry["name"]: entry["works"] for entry in said["backends"]}
    reasons = {entry["name"]: entry["reason"] for entry in said["backends"] if not entry["works"]}
    return {"outcome": "works", "said": "", "works": works, "reasons": reasons, "facts": said["facts"]}


def _audited(backend: str, name: str, script: str) -> tuple[subprocess.CompletedProcess[str], Path, Path]:
    place = Path(tempfile.mkdtemp(prefix=f"{name}-{backend}-", dir=_WORK))
    ground, report = place / "ground", place / "report.json"
    ground.mkdir()
    done = _writeaudit(
        "run", "--backend", backend, "--json", report, "-o", place / "run.wa",
        "--zone", f"here={ground}:rw", "--", "sh", "-c", script,
        cwd=ground,
    )  # fmt: skip
    return done, ground, report


def _outcome(done: subprocess.CompletedProcess[str]) -> Record | None:
    """Return what there is to say of a run that has no report."""
    if done.returncode == 125:
        return {"outcome": "refused", "said": done.stderr.strip()}
    if done.returncode not in (0, 101):
        return {"outcome": "failed", "said": f"status {done.returncode}: {done.stderr.strip()}"}
    return None


def _smoke(backend: str) -> Record:
    done, ground, report = _audited(backend, "smoke", _SMOKE)
    if (bad := _outcome(done)) is not None:
        return bad
    told = json.loads(report.read_text())
    found = {(event["op"], event["path"], event["result"]) for event in told["events"]}
    missing = [
        f"{op} {path} {result}"
        for op, path, result in _EXPECTED
        if (op, f"{ground}/{path}", result) not in found
    ]
    if missing or not told["completeness"]["complete"]:
        vague = [
            f"{event['op']} {event['path']} {event['result']}"
            for event in told["events"]
            if event["certainty"] == "lexical" and (event["op"], event["access"]) != ("open", "r")
        ]
        said = (
            f"not recorded: {', '.join(missing) or 'nothing'}; uncertain: {', '.join(vague) or 'nothing'}; "
            f"{_gaps(told['completeness'])}"
        )
        return {"outcome": "wrong", "said": said}
    return {"outcome": "works", "said": ""}


def _attach(backend: str) -> Record:
    """Join a cgroup that is made, and that a process which runs already is moved into."""
    place = Path(tempfile.mkdtemp(prefix=f"attach-{backend}-", dir=_WORK))
    groups, report = place / "groups", place / "report.json"
    groups.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", groups], check=True)
    says = subprocess.Popen(["sh", "-c", f"while :; do echo x >{place}/written; sleep 0.1; done"])
    enter = f"echo {says.pid} >{groups}/wa/cgroup.procs; sleep 3; echo {says.pid} >{groups}/cgroup.procs"
    try:
        done = _writeaudit(
            "attach", "--backend", backend, "--json", report, "-o", place / "run.wa",
            "--cgroup", f"new:{groups}/wa", "--", "sh", "-c", enter,
        )  # fmt: skip
    finally:
        says.kill()
        says.wait()
    if (bad := _outcome(done)) is not None:
        return bad
    told = json.loads(report.read_text())
    written = {event["path"] for event in told["events"] if event["op"] == "write"}
    if f"{place}/written" not in written or not told["completeness"]["complete"]:
        return {"outcome": "wrong", "said": f"{sorted(written)}; {_gaps(told['completeness'])}"}
    return {"outcome": "works", "said": ""}


def _gaps(completeness: dict[str, object]) -> str:
    """Return what a report says of its own gaps, without the counters that are zero."""
    told = {name: value for name, value in completeness.items() if value not in (0, [], {})}
    for name in ("emitted", "received"):
        told.pop(name, None)
    return json.dumps(told)


def _busy(backend: str) -> Record:
    """Shells that write at the same time: all of it is recorded, or else the report owns up."""
    done, ground, report = _audited(backend, "busy", _BUSY)
    if (bad := _outcome(done)) is not None:
        return bad
    told = json.loads(report.read_text())
    made = {
        event["path"]
        for event in told["events"]
        if event["op"] == "open" and event["result"] == "ok" and event["path"].startswith(f"{ground}/made-")
    }
    completeness = told["completeness"]
    numbers: Record = {"recorded": len(made), "of": _SHELLS * _CHANGES, "complete": completeness["complete"]}
    if len(made) == _SHELLS * _CHANGES and completeness["complete"]:
        return {"outcome": "works", "said": "", **numbers}
    wrong = completeness["complete"] or len(made) > _SHELLS * _CHANGES
    return {"outcome": "wrong" if wrong else "incomplete", "said": _gaps(completeness), **numbers}


def _run_workloads(results: Results, fd: int, form: str, backend: str, deadline: float) -> None:
    files = [str(_REPOSITORY / "tests/conformance" / name) for name in FILES]
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.kernels.reporting",
            "--basetemp", f"/var/tmp/pytest-{backend}", "--backend", backend, *files,
        ],
        cwd=_REPOSITORY,
        env={
            **os.environ,
            "KERNELS_FORM": form,
            "KERNELS_RESULTS": str(fd),
            "KERNELS_DEADLINE": str(deadline),
        },
        pass_fds=(fd,),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = (done.stdout + done.stderr)[-4000:]
    results.add("workloads", backend=backend, status=done.returncode, said=said)


if __name__ == "__main__":
    sys.exit(main())
