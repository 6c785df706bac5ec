"""An image as annotations of a GitHub Actions job (`report.github`)."""

from __future__ import annotations

from collections.abc import Iterator

from writeaudit.report.github import annotate
from writeaudit.report.image.view import ImageReport, list_image_gaps, sum_up


def render(report: ImageReport) -> Iterator[str]:
    """Yield the annotations: that not all of it was read, then the findings, worst first."""
    gap = ("writeaudit: not all of the image was read", sum_up(report))
    yield from annotate(report.findings, gap if list_image_gaps(report.completeness) else None)
