"""The forms of a report: what each is called on the command line, what renders it, and how it is packed.

Adding a form takes a module with ``render(report)`` and a line here.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from writeaudit.errors import OutputError
from writeaudit.report.image.view import ImageReport, redact_image
from writeaudit.report.view import Report


class Form(NamedTuple):
    """One form of the report."""

    name: str
    """Of its option, without the dashes."""
    module: str
    summary: str
    """What the option's help says it writes."""
    redacted: bool = False
    """Whether what identifies people and machines is left out unless --no-redact says otherwise."""
    binary: bool = False
    """Whether it is no text."""
    image_module: str | None = None
    """What renders an image's report; None: there is no such form of it."""


FORMS = (
    Form(
        "html",
        "writeaudit.report.html.writer",
        "the HTML report",
        image_module="writeaudit.report.image.html",
    ),
    Form(
        "json",
        "writeaudit.report.json.writer",
        "the JSON report (FILE.gz and FILE.zst are compressed)",
        image_module="writeaudit.report.image.json",
    ),
    Form(
        "markdown",
        "writeaudit.report.markdown",
        "Markdown for an issue or a pull request",
        redacted=True,
        image_module="writeaudit.report.image.markdown",
    ),
    Form(
        "sarif",
        "writeaudit.report.sarif",
        "SARIF 2.1.0 for code scanning",
        image_module="writeaudit.report.image.sarif",
    ),
    Form(
        "junit",
        "writeaudit.report.junit",
        "JUnit XML for CI services",
        image_module="writeaudit.report.image.junit",
    ),
    Form("sqlite", "writeaudit.report.sqlite", "a SQLite database, to be asked in SQL", binary=True),
)
"""In the order of the help."""

GITHUB = Form(
    "github",
    "writeaudit.report.github",
    "annotations of GitHub Actions",
    redacted=True,
    image_module="writeaudit.report.image.github",
)
"""Written in a job of its own accord, and by --format alone."""
_BY_NAME = {form.name: form for form in (*FORMS, GITHUB)}
_GZIP = 16 + zlib.MAX_WBITS


def render_form(
    name: str,
    report: Report | ImageReport,
    path: str,
    *,
    redact: bool | None = None,
    with_events: bool = True,
) -> Iterable[str] | Iterable[bytes]:
    """Return the pieces of one form, compressed if the name of the file asks for it.

    ``redact``: None for what is usual of the form. ``with_events``: whether JSON lists them.
    Raises `OutputError` where a compressor is missing.
    """
    form = _BY_NAME[name]
    redacts = form.redacted if redact is None else redact
    if isinstance(report, ImageReport):
        if form.image_module is None:
            raise OutputError(f"--{name} holds the events of a run, and an image that was not run has none")
        image = redact_image(report) if redacts else report
        return _pack(importlib.import_module(form.image_module).render(image), path)
    if redacts:
        from writeaudit.report.redact import redact_report  # noqa: PLC0415 - start-up

        report = redact_report(report)
    options = {} if with_events or name != "json" else {"with_events": False}
    chunks: Iterable[str] | Iterable[bytes] = importlib.import_module(form.module).render(report, **options)
    return _pack(chunks, path)


def _pack(chunks: Iterable[str] | Iterable[bytes], path: str) -> Iterable[str] | Iterable[bytes]:
    if path.endswith(".gz"):
        return _gzip(chunks)
    if path.endswith(".zst"):
        return _zstd(chunks)
    return chunks


def check_compressors(paths: Iterable[str]) -> None:
    """Raise `OutputError` if one of these files asks for a compressor that is not here."""
    if any(path.endswith(".zst") for path in paths):
        _zstd_compressor()


def _gzip(chunks: Iterable[str] | Iterable[bytes]) -> Iterator[bytes]:
    # Not the module gzip: that writes the time of day into the file, and equal reports are to be equal.
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    for chunk in chunks:
        yield packer.compress(chunk.encode("utf-8") if isinstance(chunk, str) else chunk)
    yield packer.flush()


def _zstd(chunks: Iterable[str] | Iterable[bytes]) -> Iterator[bytes]:
    packer = _zstd_compressor()
    for chunk in chunks:
        yield packer.compress(chunk.encode("utf-8") if isinstance(chunk, str) else chunk)
    yield packer.flush()


class _Compressor:
    def __init__(self, made: object) -> None:
        self._made = made

    def compress(self, data: bytes) -> bytes:
        return bytes(self._made.compress(data))  # type: ignore[attr-defined]  # either library's

    def flush(self) -> bytes:
        return bytes(self._made.flush())  # type: ignore[attr-defined]


def _zstd_compressor() -> _Compressor:
    for module, attribute in (("compression.zstd", "ZstdCompressor"), ("zstandard", "ZstdCompressor")):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        made = getattr(found, attribute)()
        return _Compressor(made if module == "compression.zstd" else made.compressobj())
    raise OutputError(
        "cannot write .zst: this Python has no zstd (3.14 has it)",
        hint="install the package zstandard beside writeaudit, or name the file .gz",
    )
