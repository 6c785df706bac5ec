"""What the dialects share: comments, names, sizes, and what a syntax cannot say."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from writeaudit.audit import RunInfo
from writeaudit.confine.proof import Proof
from writeaudit.confine.writable import Kind, Place, WritableSet
from writeaudit.text import escape_path, plural, shell_word, size

_WIDTH = 100
_MIB = 1 << 20


class Subject(NamedTuple):
    """What is rendered."""

    run: RunInfo
    writable: WritableSet
    proof: Proof | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """The places to be made writable."""
        return self.writable.places if self.proof is None else self.proof.places

    @property
    def name(self) -> str:
        """A short name for containers and volumes, from that of the program: ``nginx``."""
        program = os.path.basename(self.run.command[0]) if self.run.command else b""
        return plain_name(program) or "run"


class Sorted(NamedTuple):
    """The places that a syntax can say, and sentences about those that it cannot."""

    places: tuple[Place, ...]
    refused: tuple[str, ...]


def plain_name(raw: bytes) -> str:
    """Return what every tool takes for a name: small letters, digits and dashes, 40 of them at most."""
    text = re.sub(r"[^a-z0-9]+", "-", raw.decode("ascii", "ignore").lower()).strip("-")
    return text[:40].strip("-")


def volume_names(subject: Subject) -> dict[bytes, str]:
    """Return a name of its own for each place: ``nginx-var-lib-nginx``."""
    names: dict[bytes, str] = {}
    for place in subject.places:
        base = plain_name(place.path)[:50] or "root"
        # Names begin with a letter everywhere.
        wanted = f"{base}" if base[0].isalpha() else f"v-{base}"
        name, number = wanted, 2
        while name in names.values():
            name, number = f"{wanted}-{number}", number + 1
        names[place.path] = name
    return names


def sort_places(places: Iterable[Place], tool: str, forbidden: str = "", *, why: str = "") -> Sorted:
    """Set aside the places whose names a tool cannot take: no UTF-8, and characters of its own syntax."""
    fine: list[Place] = []
    refused: list[str] = []
    for place in places:
        try:
            text = place.path.decode("utf-8")
        except UnicodeDecodeError:
            refused.append(_cannot(place, f"{tool} takes no names that are not UTF-8"))
            continue
        found = next((char for char in forbidden if char in text), None)
        if found is not None:
            shown = {"\n": "a newline", ":": "a colon", ",": "a comma"}.get(found, repr(found))
            refused.append(_cannot(place, f"{tool} takes no name with {shown} here{why}"))
            continue
        fine.append(place)
    return Sorted(tuple(fine), tuple(refused))


def _cannot(place: Place, why: str) -> str:
    return f"NOT INCLUDED: {escape_path(place.path)}, as {why}. Let the program write elsewhere."


def comments(subject: Subject, target: str, extra: Iterable[str] = ()) -> list[str]:
    """Return comment lines: what this is, why each place is in it, and how far it is proven."""
    lines = [f"Made by `writeaudit suggest`: what must be writable for {target}."]
    command = " ".join(shell_word(word) for word in subject.run.command)
    lines.append(f"The run: {command if len(command) <= 200 else command[:200] + ' …'}")
    lines += _proof_lines(subject)
    for place in subject.places:
        lines.append(_about(place))
        lines += [f"  {note}" for note in place.notes]
    if subject.proof is not None:
        lines += [
            f"Left out, for the command is content without: {escape_path(place.path)} ({place.need.value})."
            for place in subject.proof.dropped
        ]
    for place in subject.writable.spared:
        lines.append(
            f"Left out: {escape_path(place.path)}, where {plural(place.refused, 'attempt')} to change "
            "something "
            "were refused in the recording, and the command succeeded."
        )
    lines += subject.writable.remarks
    lines += extra
    return [wrapped for line in lines for wrapped in _wrap(line)]


def _proof_lines(subject: Subject) -> list[str]:
    proof = subject.proof
    if proof is None:
        return ["Not proven: --prove runs the command again with this set, and without each part of it."]
    if not proof.proven:
        return [f"NOT PROVEN. {proof.failure}", *proof.corrections]
    whole = sum(trial.content and not trial.without for trial in proof.trials)
    proven = (
        "Proven: with a read-only root and this set the command ended as expected "
        f"({plural(whole, 'rerun')}); "
        f"{plural(len(proof.trials) - whole, 'other')} tried it without parts of the set."
    )
    return [proven, *proof.corrections]


def _about(place: Place) -> str:
    need, count = place.need.value.replace("_", " "), plural(place.changes, "operation")
    text = f"{escape_path(place.path)}: {need}; {count}"
    if place.refused:
        text += f", {place.refused:,} of them refused"
    text += f", {size(place.written)} written"
    if place.examples:
        text += f", such as {escape_path(place.examples[0])}"
    return text + "."


def _wrap(line: str) -> list[str]:
    indent = "  " if line.startswith("  ") else ""
    out, current = [], ""
    for word in line.split():
        if current and len(current) + len(word) >= _WIDTH:
            out.append(current)
            current = f"{indent}  {word}"
        else:
            current = f"{current} {word}" if current else indent + word
    return [*out, current] if current else out


def hash_comments(lines: Sequence[str]) -> str:
    """Return lines as comments of a shell, YAML, TOML or unit file."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def yaml_text(text: str) -> str:
    """Return a YAML double-quoted scalar: JSON's strings are among them (YAML 1.2, 1.3 and 5.1)."""
    # Beyond ASCII everything is escaped; a pair of surrogates would be no character in YAML.
    return "".join(
        f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else json.dumps(char)[1:-1] for char in text
    ).join('""')


def mebibytes(count: int) -> str:
    """Return a size for mount options: ``3m``."""
    return f"{-(-count // _MIB)}m"


def tmpfs_options(place: Place) -> list[str]:
    """Return the options of a tmpfs that docker, podman and compose share."""
    options = ["rw", "exec" if place.executed else "noexec", "nosuid", "nodev"]
    if place.mode is not None:
        options.append(f"mode={place.mode:04o}")
    if place.size is not None:
        options.append(f"size={mebibytes(place.size)}")
    return options


def is_plain_tmpfs(place: Place) -> bool:
    """Whether an empty tmpfs is all that a place asks for."""
    return place.kind is Kind.TMPFS and not place.copy_up


def shell_command(words: Sequence[Sequence[str]]) -> str:
    """Return one command of a shell, with one group of words a line."""
    return " \\\n  ".join(" ".join(group) for group in words) + "\n"
