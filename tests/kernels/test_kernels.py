"""The kernels that users have, booted in virtual machines: the short form of `make kernels`.

A kernel that cannot be fetched or booted here is skipped, in capitals; one that boots must pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kernels.kernels import KERNELS
from tests.kernels.trial import Trials

_FIRST = [kernel for kernel in KERNELS if kernel.first]
_SECONDS = 15 * 60


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    """Begin with all of them at once: they take turns, two at a time. No thread is left for later tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("THE KERNELS ARE NOT BOOTED BY SEVERAL TEST RUNNERS AT ONCE: RUN PYTEST WITHOUT -n")
    begun = Trials(_FIRST, "short", _SECONDS)
    yield begun
    begun.close()


@pytest.mark.parametrize("name", [kernel.name for kernel in _FIRST])
def test_a_kernel(name: str, trials: Trials) -> None:
    (kernel,) = (kernel for kernel in _FIRST if kernel.name == name)
    trial = trials.result(kernel)
    if trial.skipped is not None:
        pytest.skip(trial.skipped.upper())
    complaints = trial.complaints()
    if complaints and kernel.unfixed:
        pytest.xfail(kernel.unfixed)
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)
