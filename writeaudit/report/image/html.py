"""An image as one HTML file, under the same strict policy as the report of a run (`report.html.writer`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from writeaudit.container_image import Fact, FactKind
from writeaudit.report.html.writer import content_security_policy, environment, template_sources
from writeaudit.report.image.view import (
    ImageReport,
    changed_later,
    describe_hardening,
    describe_image,
    describe_waste,
    list_image_gaps,
    list_layers,
    sum_up,
)
from writeaudit.text import plural, size

_ROWS = 4000
"""Paths of a list; the JSON report has them all."""
_SCRIPT = "js/image.js"


class _Tile(NamedTuple):
    question: str
    answer: str
    more: str
    tone: str
    target: str


def render(report: ImageReport) -> Iterator[str]:
    """Yield the page, piece by piece. Raises `resources.ResourceMissing` without the templates."""
    from markupsafe import Markup  # noqa: PLC0415 - start-up

    sources = template_sources()
    css, script = sources["report.css"], sources[_SCRIPT]
    history = changed_later(report.image)
    attention = [fact for fact in report.image.facts if fact.kind in _ATTENTION]
    yield from (
        environment()
        .get_template("image.html.j2")
        .generate(
            report=report,
            image=report.image,
            sentence=sum_up(report),
            about=describe_image(report.image),
            told=[text for text in (describe_waste(report.image), describe_hardening(report.image)) if text],
            gaps=list_image_gaps(report.completeness),
            layers=list_layers(report.image),
            tiles=_make_tiles(report),
            history=history[:_ROWS],
            history_total=len(history),
            attention=attention[:_ROWS],
            attention_total=len(attention),
            kinds=sorted({str(fact.kind) for fact in attention[:_ROWS]}),
            css=Markup(css),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            csp=content_security_policy(css, script),
        )
    )


_ATTENTION = frozenset(
    {
        FactKind.SETUID,
        FactKind.SETGID,
        FactKind.CAPS,
        FactKind.WORLD_WRITABLE,
        FactKind.DEVICE,
        FactKind.SECRET_VISIBLE,
        FactKind.SECRET_IN_LOWER_LAYER,
        FactKind.SECRET_IN_ENVIRONMENT,
        FactKind.EXECSTACK,
        FactKind.RPATH,
        FactKind.MACHINE,
        FactKind.NO_PIE,
        FactKind.NO_RELRO,
        FactKind.RUNS_AS_ROOT,
        FactKind.TRAVERSAL,
    }
)
"""What a reviewer goes through one by one."""


def _make_tiles(report: ImageReport) -> list[_Tile]:
    image = report.image
    secrets = _count(image.of(FactKind.SECRET_VISIBLE, FactKind.SECRET_IN_ENVIRONMENT))
    lower = _count(image.of(FactKind.SECRET_IN_LOWER_LAYER))
    rights = _count(image.of(FactKind.SETUID, FactKind.SETGID, FactKind.CAPS))
    as_root = any(True for _ in image.of(FactKind.RUNS_AS_ROOT))
    share = 100 * image.waste.total / max(sum(layer.content for layer in image.layers), 1)
    return [
        _Tile(
            "Does it hold secrets?",
            f"{secrets + lower:,}" if secrets + lower else "none found",
            f"{lower:,} of them in lower layers" if lower else "in files, environment, layers",
            "bad" if secrets + lower else "good",
            "findings",
        ),
        _Tile(
            "Who does it run as?",
            "unknown" if image.user is None else "root" if as_root else image.user,
            plural(rights, "file") + " with rights of their own",
            "warn" if as_root or rights else "good",
            "attention",
        ),
        _Tile(
            "How much is of no use?",
            size(image.waste.total),
            f"{share:.0f}% of what its layers hold",
            "warn" if share >= 10 else "plain",
            "layers",
        ),
        _Tile(
            "Can I believe it?",
            "yes" if report.completeness.complete else "no",
            "every entry was read"
            if report.completeness.complete
            else plural(len(list_image_gaps(report.completeness)), "gap"),
            "good" if report.completeness.complete else "warn",
            "completeness",
        ),
    ]


def _count(facts: Iterator[Fact]) -> int:
    return sum(1 for _ in facts)
