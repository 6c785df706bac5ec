"""What the kernel's verifier says of a program that it refuses."""

from __future__ import annotations

_ENDS = ("-- END PROG LOAD LOG", "libbpf: -- END LOG")
"""What libbpf prints after the verifier's words: since 0.7, and before."""
_BEGINNINGS = ("BEGIN PROG LOAD LOG --", "-- BEGIN DUMP LOG ---")
_STATISTICS = ("processed ", "verification time", "stack depth", "max_states_per_insn")


def verifier_sentence(log: str) -> str:
    """Return the line of a verifier's log that says what is wrong; statistics follow it."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith(_STATISTICS)), "")


def verifier_sentence_in(printed: str) -> str | None:
    """Return that line out of what libbpf printed; None if the verifier did not speak."""
    for end, beginning in zip(_ENDS, _BEGINNINGS, strict=True):
        log, found, _rest = printed.rpartition(end)
        if found:
            return verifier_sentence(log.rpartition(beginning)[2].replace("libbpf: \n", "\n")) or None
    return None
