"""A pytest plugin for the virtual machine: chooses the tests and writes down how each ended."""

from __future__ import annotations

import os
import time

import pytest

from tests.kernels.chosen import is_chosen
from tests.kernels.guest import OUT_OF_TIME, Results


def _key(item: pytest.Function) -> str:
    """Return the name of a test with its parameters, the backend apart."""
    spec = getattr(item, "callspec", None)
    parts = [] if spec is None else [str(part) for part in spec._idlist if part != spec.params["backend"]]
    return f"{item.originalname}|{'-'.join(parts)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the form does not ask for."""
    form, (backend,) = os.environ["KERNELS_FORM"], config.getoption("--backend")
    items[:] = [
        item
        for item in items
        if isinstance(item, pytest.Function)
        and "backend" in item.fixturenames
        and is_chosen(_key(item), form, backend)
    ]
    for item in items:
        assert isinstance(item, pytest.Function)
        item.user_properties.append(("key", _key(item)))
    config.stash[_BACKEND] = backend


_BACKEND = pytest.StashKey[str]()
_results = Results(int(os.environ.get("KERNELS_RESULTS", "-1")))


def pytest_runtest_setup() -> None:
    """Begin no test after the time that this machine was given."""
    if time.monotonic() > float(os.environ["KERNELS_DEADLINE"]):
        pytest.skip(OUT_OF_TIME)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):  # type: ignore[no-untyped-def]
    """Write a line for each test that has run, was skipped or failed at any stage."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.when != "call" and report.passed:
        return
    said = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        said = report.longrepr[2].removeprefix("Skipped: ")
    elif report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = str(report.longrepr if crash is None else crash.message)[:4000]
    _results.add(
        "workload",
        backend=item.config.stash[_BACKEND],
        name=dict(item.user_properties)["key"],
        outcome=report.outcome,
        said=said,
        seconds=round(report.duration, 1),
    )
