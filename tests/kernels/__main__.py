"""``python -m tests.kernels``: try every kernel, print what came of it, write docs/kernels.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.kernels import images
from tests.kernels.kernels import KERNELS
from tests.kernels.page import page, summary, table, with_summary
from tests.kernels.trial import Trial, Trials, load_trial

_README = images.REPOSITORY / "README.md"
_PAGE = images.REPOSITORY / "docs" / "kernels.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 1 if a kernel was booted and something failed there."""
    parser = argparse.ArgumentParser(prog="make kernels", description=__doc__)
    parser.add_argument("--kernels", default="", help="names, with commas between them (all)")
    parser.add_argument("--short", action="store_true", help="what `make test` tries")
    parser.add_argument("--minutes", type=float, default=40, help="for each kernel (40)")
    options = parser.parse_args(arguments)
    names = options.kernels.split(",") if options.kernels else [kernel.name for kernel in KERNELS]
    if unknown := set(names) - {kernel.name for kernel in KERNELS}:
        parser.error(f"no kernel is called {', '.join(sorted(unknown))}")
    chosen = [kernel for kernel in KERNELS if kernel.name in names]
    trials = Trials(chosen, "short" if options.short else None, options.minutes * 60 * len(chosen))
    done: list[Trial] = []
    for kernel in chosen:
        trial = trials.result(kernel)
        done.append(trial)
        trial.save()
        lines = [*table([trial]), *(f"    {text}" for text in trial.complaints())]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    trials.close()
    write_page()
    return 1 if any(trial.complaints() for trial in done) else 0


def write_page() -> None:
    """Write docs/kernels.md and what the README says of it, once every kernel has had its turn."""
    known = [trial for kernel in KERNELS if (trial := load_trial(kernel)) is not None]
    if len(known) < len(KERNELS):
        sys.stdout.write("docs/kernels.md stays as it is: not every kernel has been tried here\n")
        return
    _PAGE.write_text(page(known, images.compiler_names()))
    _README.write_text(with_summary(_README.read_text(), summary(known)))


if __name__ == "__main__":
    sys.exit(main())
