"""WA501 to WA507, and WA306 for images: facts become findings, each with its cause and its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from writeaudit.audit import BlindSpot, Completeness
from writeaudit.container_image import Fact, FactKind, Image
from writeaudit.elf import ELF_ADVICE, ELF_CAUSE
from writeaudit.image.reading import Problem, ReadImage
from writeaudit.image.review import UnsafeElf
from writeaudit.judgement import Finding, Severity
from writeaudit.rules import rule
from writeaudit.text import BACKTICK, escape_path, plural, quote_name, shell_word, size

MOST_EXAMPLES = 100
_NAMED = 3
_LARGE_DELETED = 1 << 20
_LARGE_WASTE = 10 << 20
_ROOT_WRITES = 0o022
_CLIMBS = "a symlink that climbs"
_LAYER_CAUSE = (
    "A layer is never changed by those above it: what a later step deletes or overwrites is hidden in a "
    "running "
    "container, and stays in the image for everybody who has it."
)


def list_findings(read: ReadImage) -> list[Finding]:
    """Return what was found, in the order of the rules."""
    image = read.image
    found = [
        *_elf_findings(read.review.unsafe),
        *_rights_findings(read),
        *_writable_findings(image),
        *_secret_findings(read),
        *_deleted_findings(read),
        *_waste_findings(image),
        *_root_findings(image),
        *_refusal_findings(read),
    ]
    return sorted(found, key=lambda finding: finding.rule)


def judge_completeness(problems: Iterable[Problem]) -> Completeness:
    """Return whether all of the image was looked at; what was not is a blind spot."""
    return Completeness(
        blind_spots=tuple(
            BlindSpot(problem.kind, f"{_place(problem)}{problem.message}")
            for problem in problems
            if problem.hides
        )
    )


def _place(problem: Problem) -> str:
    return "" if problem.layer is None else f"layer {problem.layer}: "


def _make_finding(
    rule_id: str,
    facts: Sequence[Fact],
    message: str,
    cause: str,
    *advice: str,
    title: str = "",
    severity: Severity | None = None,
    **details: object,
) -> Finding:
    registered = rule(rule_id)
    examples = [_show_example(fact) for fact in facts[:MOST_EXAMPLES] if fact.path is not None]
    return Finding(
        rule=rule_id,
        title=f"{registered.title}{f': {title}' if title else ''}",
        severity=severity or registered.severity,
        message=message,
        count=max(len(facts), 1),
        bytes=sum(fact.bytes for fact in facts),
        files=len({fact.path for fact in facts if fact.path is not None}),
        cause=cause,
        advice=advice,
        details={"examples": examples, **details} if examples else details,
    )


def _show_example(fact: Fact) -> dict[str, object]:
    return {
        "path": escape_path(fact.path or b""),
        "layer": fact.layer,
        "detail": fact.detail,
        **({"bytes": fact.bytes} if fact.bytes else {}),
    }


def name_facts(facts: Sequence[Fact], detail: bool = False) -> str:
    """Return ``/a, /b, /c and 7 more``; with ``detail`` each with what it is, in brackets."""
    shown = []
    for fact in facts[:_NAMED]:
        layer = "" if fact.layer is None else f"layer {fact.layer}"
        told = fact.detail.replace("`", BACKTICK)
        about = f" ({', '.join(part for part in (told, layer) if part)})" if detail else ""
        shown.append(f"{quote_name(fact.path or b'')}{about}")
    more = len(facts) - _NAMED
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _elf_findings(unsafe: Sequence[UnsafeElf]) -> list[Finding]:
    groups: dict[tuple[str, str], list[UnsafeElf]] = {}
    for each in unsafe:
        groups.setdefault((each.kind, each.what), []).append(each)
    found = []
    for (kind, what), files in groups.items():
        facts = [Fact(FactKind.RPATH, each.path, each.layer, each.detail) for each in files]
        found.append(
            _make_finding(
                "WA306",
                facts,
                f"{plural(len(facts), 'ELF file')} {what}: {name_facts(facts)} ({files[0].detail}).",
                ELF_CAUSE,
                ELF_ADVICE,
                title=what,
                severity=Severity.NOTE if kind in {"damaged", "machine"} else None,
                kind=kind,
            )
        )
    return found


def _rights_findings(read: ReadImage) -> list[Finding]:
    found = []
    for kind, what, command in (
        (FactKind.SETUID, "setuid", "chmod u-s"),
        (FactKind.SETGID, "setgid", "chmod g-s"),
        (FactKind.CAPS, "file capabilities", "setcap -r"),
    ):
        facts = list(read.image.of(kind))
        if not facts:
            continue
        open_ = [fact for fact in facts if _others_write(read, fact)]
        worse = ""
        if open_:
            can = "Others than root can change" if len(open_) == 1 else "Others than root can change each of"
            worse = f" {can} {name_facts(open_)}: whoever does runs code with its rights."
        paths = " ".join(shell_word(fact.path or b"") for fact in facts[:_NAMED])
        found.append(
            _make_finding(
                "WA501",
                facts,
                f"{plural(len(facts), 'file')} with {what}: "
                f"{name_facts(facts, detail=kind is FactKind.CAPS)}."
                f"{worse}",
                "Who runs such a file gets rights that the process did not have. A container whose process "
                "is not "
                "root seldom needs one of them.",
                f"Take the rights away in the build: `RUN {command} {paths}`.",
                "Or let them have no effect: `docker run --security-opt no-new-privileges`.",
                title=what,
                severity=Severity.ERROR if open_ else None,
                kind=str(kind),
            )
        )
    return found


def _others_write(read: ReadImage, fact: Fact) -> bool:
    uid, mode = read.review.owners.get(fact.path or b"", (0, 0))
    return bool(mode & 0o002 or (uid == 0 and fact.kind is not FactKind.SETGID and mode & _ROOT_WRITES))


def _writable_findings(image: Image) -> list[Finding]:
    found = []
    facts = list(image.of(FactKind.WORLD_WRITABLE))
    if facts:
        found.append(
            _make_finding(
                "WA502",
                facts,
                f"{plural(len(facts), 'path')} that every user can write to: "
                f"{name_facts(facts, detail=True)}.",
                "Every process in the container can change them, whatever user it runs as: configuration "
                "that "
                "others read, programs that others run. Of directories those with the sticky bit (1777, as "
                "/tmp) "
                "are left out.",
                "Give them an owner instead: `COPY --chown=app:app --chmod=755 …`, or `chmod o-w` in the "
                "step that "
                "makes them.",
                title="every user can write",
                kind="world-writable",
            )
        )
    facts = list(image.of(FactKind.DEVICE))
    if facts:
        found.append(
            _make_finding(
                "WA502",
                facts,
                f"{plural(len(facts), 'device node')}: {name_facts(facts, detail=True)}.",
                "A container gets its devices from the runtime. One in the image is left over from a "
                "build, or is "
                "there to reach a disk of the host once the container has the right to.",
                "Leave out /dev when the file system is packed: `tar --exclude=./dev/*`.",
                title="device node",
                kind="device",
            )
        )
    return found


def _secret_findings(read: ReadImage) -> list[Finding]:
    image, found = read.image, []
    facts = list(image.of(FactKind.SECRET_VISIBLE))
    for group, severity, what in _by_weight(read, facts):
        found.append(
            _make_finding(
                "WA503",
                group,
                f"{plural(len(group), 'secret')}{what}: {name_facts(group, detail=True)}.",
                "Whoever can pull the image has it. It is recognised by what the file holds, not by its "
                "name.",
                "Give it to the build as a secret, which no layer keeps: `RUN --mount=type=secret,id=key "
                "…`; to the "
                "container as a mount when it runs.",
                "Take a secret that was published for lost: revoke it, and make a new one.",
                title="file",
                severity=severity,
                kind="file",
            )
        )
    facts = list(image.of(FactKind.SECRET_IN_ENVIRONMENT))
    if facts:
        by_form = any("form of a token" in fact.detail for fact in facts)
        names = ", ".join(
            "`" + fact.detail.partition(":")[0].replace("`", BACKTICK) + "`" for fact in facts[:_NAMED]
        )
        more = f" and {len(facts) - _NAMED:,} more" if len(facts) > _NAMED else ""
        found.append(
            _make_finding(
                "WA503",
                facts,
                f"{plural(len(facts), 'variable')} of the environment that "
                f"{'is' if len(facts) == 1 else 'are'} "
                f"a secret by name or form: {names}{more}.",
                "The environment stands in the image's configuration, in the clear: `docker inspect` shows "
                "it.",
                "Set it when the container runs, from a secret, and leave `ENV` and `ARG` out of the "
                "Dockerfile.",
                title="environment",
                severity=Severity.ERROR if by_form else Severity.WARNING,
                kind="environment",
                variables=[fact.detail for fact in facts[:MOST_EXAMPLES]],
            )
        )
    if read.secret_steps:
        steps = ", ".join(map(str, read.secret_steps[:10]))
        found.append(
            _make_finding(
                "WA503",
                (),
                f"{plural(len(read.secret_steps), 'build step')} whose text holds a token: step {steps} of "
                "the "
                "history.",
                "The history keeps the text of each step, and the value of each ARG that it used.",
                "Give it to the build as a secret: `RUN --mount=type=secret,id=token …`; revoke this one.",
                title="build step",
                kind="history",
                steps=list(read.secret_steps[:MOST_EXAMPLES]),
            )
        )
    return found


def _by_weight(read: ReadImage, facts: Sequence[Fact]) -> list[tuple[list[Fact], Severity, str]]:
    """Return those that matter, and apart from them those that likely matter less."""
    weak = read.review.weak_secrets
    strong = [fact for fact in facts if (fact.layer, fact.path) not in weak]
    rest = [fact for fact in facts if (fact.layer, fact.path) in weak]
    less = " of tests or documentation, or under a passphrase"
    groups = [(strong, Severity.ERROR, ""), (rest, Severity.NOTE, less)]
    return [group for group in groups if group[0]]


def _deleted_findings(read: ReadImage) -> list[Finding]:
    image, found = read.image, []
    facts = list(image.of(FactKind.SECRET_IN_LOWER_LAYER))
    for group, severity, what in _by_weight(read, facts):
        found.append(
            _make_finding(
                "WA504",
                group,
                f"{plural(len(group), 'secret')}{what} that a later layer deletes or overwrites: "
                f"{name_facts(group, detail=True)}. Who has the image can read it.",
                _LAYER_CAUSE,
                "Never let it come into a layer: `RUN --mount=type=secret,id=key …`, or a stage of the "
                "build that "
                "is not the last.",
                "Take a secret that was published for lost: revoke it, and make a new one.",
                title="secret",
                severity=severity,
                kind="secret",
            )
        )
    deleted = {fact.path for fact in image.of(FactKind.DELETED, FactKind.OVERWRITTEN, FactKind.REPLACED)}
    told = {(fact.layer, fact.path) for fact in facts}
    facts = [
        fact
        for fact in image.of(FactKind.WASTED)
        if fact.path in deleted and (fact.layer, fact.path) not in told
    ]
    facts.sort(key=lambda fact: -fact.bytes)
    total = sum(fact.bytes for fact in facts)
    if facts:
        found.append(
            _make_finding(
                "WA504",
                facts,
                f"{plural(len(facts), 'file')} ({size(total)}) that a later layer deletes or overwrites, "
                "and that every "
                "pull "
                f"brings along: {_with_sizes(facts)}.",
                _LAYER_CAUSE,
                "Delete in the step that made it: `RUN apt-get install … && rm -rf /var/lib/apt/lists/*`, "
                "or make it in "
                "a cache: `RUN --mount=type=cache,target=/root/.cache …`.",
                title="files",
                severity=Severity.WARNING if total >= _LARGE_DELETED else Severity.NOTE,
                kind="files",
            )
        )
    return found


def _with_sizes(facts: Sequence[Fact]) -> str:
    named = ", ".join(f"{quote_name(fact.path or b'')} ({size(fact.bytes)})" for fact in facts[:_NAMED])
    more = len(facts) - _NAMED
    return named + (f" and {more:,} more" if more > 0 else "")


def _waste_findings(image: Image) -> list[Finding]:
    found = []
    largest: Callable[[Fact], int] = lambda fact: -fact.bytes  # noqa: E731 - a key, used twice
    facts = sorted((fact for fact in image.of(FactKind.BYTES_AGAIN) if fact.bytes), key=largest)
    if facts:
        total = sum(fact.bytes for fact in facts)
        found.append(
            _make_finding(
                "WA505",
                facts,
                f"{plural(len(facts), 'file')} ({size(total)}) stored again with the same bytes, because a "
                "later "
                f"layer changed mode, owner or time: {_with_sizes(facts)}.",
                "A layer holds whole files: to change a file's mode or owner is to store all of it again.",
                "Set both when it comes: `COPY --chown=app:app --chmod=755 …`; in a `RUN` step change them "
                "where they "
                "are made.",
                title="changed mode or owner",
                severity=Severity.WARNING if total >= _LARGE_WASTE else None,
                kind="metadata-only",
            )
        )
    facts = sorted((fact for fact in image.of(FactKind.SAME_BYTES) if fact.bytes), key=largest)
    if facts:
        found.append(
            _make_finding(
                "WA505",
                facts,
                f"{plural(len(facts), 'file')} ({size(sum(map(_bytes_of, facts)))}) with the bytes of "
                "another one: "
                f"{_with_sizes(facts)}. What of it the finished image has twice: "
                f"{size(image.waste.repeated)}.",
                "The file was copied where a hard link or a symlink would do: from another layer there is no "
                "linking, within one there is.",
                "Copy into its final place once; within a step link instead (`ln`, `cp -l`, "
                "`UV_LINK_MODE=hardlink` with the cache in the same layer).",
                title="copied",
                severity=Severity.WARNING if image.waste.repeated >= _LARGE_WASTE else None,
                kind="copied",
            )
        )
    return found


def _bytes_of(fact: Fact) -> int:
    return fact.bytes


def _root_findings(image: Image) -> list[Finding]:
    return [
        _make_finding(
            "WA506",
            (),
            f"The container's process runs as root: {fact.detail}.",
            "Whatever takes over the process can change every file of the container, and is one mistake of "
            "the "
            "kernel or of a mount away from the host.",
            "Make a user and name it last in the Dockerfile: `RUN useradd --system app` and `USER app`.",
            kind="user",
        )
        for fact in image.of(FactKind.RUNS_AS_ROOT)
    ]


def _refusal_findings(read: ReadImage) -> list[Finding]:
    found = []
    climbing = [fact for fact in read.refused if fact.detail.startswith(_CLIMBS)]
    others = [fact for fact in read.refused if not fact.detail.startswith(_CLIMBS)]
    cause = (
        "An archive can hold any name. Who unpacks it carelessly, as root, writes where the name leads: "
        "into the "
        "host's /etc, say."
    )
    if others:
        found.append(
            _make_finding(
                "WA507",
                others,
                f"{plural(len(others), 'entry', 'entries')} of its layers refused: "
                f"{name_facts(others, detail=True)}.",
                cause,
                "Trust nothing of this image until it is known who made it: no ordinary build writes such "
                "names.",
                title="refused",
                kind="refused",
            )
        )
    if climbing:
        found.append(
            _make_finding(
                "WA507",
                climbing,
                f"{plural(len(climbing), 'symlink')} out of the image: {name_facts(climbing, detail=True)}.",
                f"{cause} In a container the root directory stops it.",
                "Let it lead to a place in the image.",
                title="symlink",
                severity=Severity.WARNING,
                kind="symlink",
            )
        )
    found += [_problem_finding(problem) for problem in read.problems if problem.kind not in _HARMLESS]
    return found


def _problem_finding(problem: Problem) -> Finding:
    return _make_finding(
        "WA507",
        (),
        f"{_capital(_place(problem))}{problem.message}.",
        _WHY.get(problem.kind, "The image was damaged on its way, or made so on purpose."),
        "Fetch it again, from where it came; if that changes nothing, do not use it.",
        title=_TITLES.get(problem.kind, "damaged"),
        kind=problem.kind,
        layer=problem.layer,
    )


_HARMLESS = frozenset({"unread", "left-out"})
_TITLES = {"bomb": "too large", "digest": "digest", "truncated": "cut off", "trailing": "hidden bytes"}
_WHY = {
    "bomb": "A small archive can become endless when it is decompressed, and fill whoever unpacks it. It was "
    "read up to there.",
    "digest": "The digest is what the image is known and signed by: its content is another one now.",
    "trailing": "What stands there is in the image, and no tool shows it.",
}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
