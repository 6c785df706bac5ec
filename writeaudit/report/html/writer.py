"""The HTML report: one file that needs nothing else and trusts nothing that it shows.

Its Content-Security-Policy admits the one style sheet and the one script that this module
put in, by their hashes, and no network at all. Every name comes through `text.show`, is
escaped by Jinja2, and stands in an element of its own direction (``<bdi>``), so that
neither markup nor bidirectional text in a file's name can change what a reader sees.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from writeaudit import resources
from writeaudit.report.html.pack import describe_shape, pack_report, ranked_files
from writeaudit.report.html.page import build_page
from writeaudit.report.html.rule_pages import read_sources
from writeaudit.report.json.writer import timestamp
from writeaudit.report.view import Report
from writeaudit.report.wording import code_spans
from writeaudit.text import escape_path, escape_text, format_device, size

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_ESCAPE = re.compile(r"(\\\\|(?:\\x[0-9a-f]{2})+)")


SCRIPTS = (
    "decode.js", "query.js", "filter.js", "tree.js", "nodes.js", "pictures.js", "explorer.js", "main.js"
)  # fmt: skip
"""Below reports/templates/js, in the order in which they become one script."""


def render(report: Report) -> Iterator[str]:
    """Yield the page, piece by piece. Raises `resources.ResourceMissing` without the templates."""
    # 60 ms to import, and a run without --html must not pay for it.
    from markupsafe import Markup  # noqa: PLC0415

    css, script = read_style(), read_script()
    template = environment().get_template("report.html.j2")
    packed = pack_report(report)
    yield from template.generate(
        page=build_page(report, packed, ranked_files(report)),
        css=Markup(css),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own files
        tables=Markup(packed.tables),  # noqa: S704 - escaped by pack_report
        data=(Markup(piece) for piece in packed.columns),  # noqa: S704 - base64
        csp=content_security_policy(css, script),
    )


def read_script() -> str:
    """Return the page's script, out of its modules."""
    sources = template_sources()
    modules = (shorten(sources[f"js/{name}"]) for name in SCRIPTS)
    return '"use strict";\n(() => {\n' + "\n".join(modules) + "})();\n"


def read_style() -> str:
    """Return the page's style sheet, without comments and without spaces that mean nothing."""
    css = re.sub(r"(?s)/\*.*?\*/", "", template_sources()["report.css"])
    css = re.sub(r"\s*([{};])\s*", r"\1", css)
    return re.sub(r"([:,])\s+", r"\1", css).replace(";}", "}").strip() + "\n"


def shorten(source: str) -> str:
    """Return a script without what only its writers need: lines of comment, indentation."""
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("// ")) + "\n"


def content_security_policy(css: str, script: str) -> str:
    """Return the policy that admits exactly this style sheet and this script."""
    return (
        "default-src 'none'; "
        f"style-src '{_hash(css)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@functools.cache
def template_sources() -> Mapping[str, str]:
    """Return the files of the templates, by their names. Read once: see `commands.users.become`."""
    read_sources()  # the rules' pages, for the same reason
    directory = resources.templates_directory()
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8") for path in files}


def environment() -> Environment:
    """Return the Jinja2 environment of the reports: everything is escaped, undefined names are errors."""
    from jinja2 import DictLoader, Environment, StrictUndefined  # noqa: PLC0415

    env = Environment(
        loader=DictLoader(template_sources()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        path=path,
        text=escapes,
        safe_text=escape_text,
        prose=_prose,
        codes=_codes,
        size=size,
        count=_count,
        device=format_device,
        when=timestamp,
        ops=_ops,
    )
    env.globals["shape"] = describe_shape
    return env


def path(raw: bytes | str) -> Markup:
    """Return a path (bytes, or text that `show` made) as markup: isolated, its last part emphasised."""
    from markupsafe import Markup  # noqa: PLC0415

    shown = escape_path(raw) if isinstance(raw, bytes) else raw
    directory, slash, name = shown.rpartition("/")
    if shown.isascii():
        head, tail = escapes(directory + slash), escapes(name)
    else:
        # Each component by itself: right-to-left names would otherwise pull their neighbours
        # over the slash between them.
        head = Markup("/").join(_isolated(part) for part in (directory + slash).split("/"))
        tail = _isolated(name)
    return Markup('<bdi class="path" dir="ltr"><span class="dir">{}</span>{}</bdi>').format(head, tail)


def _isolated(part: str) -> Markup:
    from markupsafe import Markup  # noqa: PLC0415

    return Markup('<bdi dir="ltr">{}</bdi>').format(escapes(part)) if part else Markup("")


def escapes(shown: str) -> Markup:
    r"""Return shown text as markup in which ``\xNN`` and ``\\`` are set apart from the name itself."""
    from markupsafe import Markup, escape  # noqa: PLC0415

    if "\\" not in shown:
        return escape(shown)
    parts = _ESCAPE.split(shown)
    return Markup("").join(
        Markup('<span class="esc">{}</span>').format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def _prose(text: str) -> Markup:
    from markupsafe import Markup  # noqa: PLC0415

    return Markup("").join(
        Markup("<code>{}</code>").format(escapes(part)) if is_code else escapes(part)
        for is_code, part in code_spans(text)
    )


def _codes(text: str) -> list[str]:
    """Return the pieces of a sentence that are worth copying: code that holds a space or ``=``."""
    return [part for is_code, part in code_spans(text) if is_code and (" " in part or "=" in part)]


def _count(number: int) -> str:
    return f"{number:,}"


def _ops(ops: dict[str, int]) -> str:
    return " · ".join(f"{op} {count:,}" for op, count in sorted(ops.items(), key=lambda item: -item[1]))
