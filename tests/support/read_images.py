"""Reads images that were made by hand, and says what was found in few words."""

from __future__ import annotations

from pathlib import Path

from tests.support.container_images import Layer, Made, layout_files, make, write_layout
from writeaudit.container_image import FactKind
from writeaudit.image.findings import list_findings
from writeaudit.image.limits import Limits
from writeaudit.image.reading import ReadImage, read_image
from writeaudit.judgement import Finding

Told = tuple[str, str, int | None]


def read_layers(tmp_path: Path, *layers: Layer | bytes, **more: object) -> ReadImage:
    return read_made(tmp_path, make(*layers, **more))  # type: ignore[arg-type]  # handed on


def read_made(tmp_path: Path, made: Made, limits: Limits | None = None) -> ReadImage:
    return read_image(write_layout(tmp_path / "layout", layout_files(made)), None, limits)


def tell(read: ReadImage, *kinds: FactKind) -> list[Told]:
    """Return (kind, path, layer) of the facts, of all kinds if none is named."""
    return [
        (str(fact.kind), (fact.path or b"").decode("utf-8", "backslashreplace"), fact.layer)
        for fact in read.image.facts
        if not kinds or fact.kind in kinds
    ]


def find(read: ReadImage, rule: str, kind: str | None = None) -> list[Finding]:
    return [
        each for each in list_findings(read) if each.rule == rule and kind in (None, each.details["kind"])
    ]
