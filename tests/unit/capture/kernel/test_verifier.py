"""The verifier's own sentence, out of all that is printed around it."""

from __future__ import annotations

import pytest

from writeaudit.capture.kernel.verifier import verifier_sentence, verifier_sentence_in

_LOG = """func#0 @0
0: R1=ctx(off=0,imm=0) R10=fp0
combined stack size of 7 calls is 544. Too large
verification time 25 usec
stack depth 96+0+32
processed 123 insns (limit 1000000) max_states_per_insn 0 total_states 9
"""


def test_statistics_follow_the_sentence() -> None:
    assert verifier_sentence(_LOG) == "combined stack size of 7 calls is 544. Too large"
    assert verifier_sentence("") == ""


@pytest.mark.parametrize(
    "printed",
    [
        (
            "libbpf: prog 'x': BPF program load failed: Permission denied\n"
            f"libbpf: prog 'x': -- BEGIN PROG LOAD LOG --\n{_LOG}-- END PROG LOAD LOG --\n"
            "libbpf: prog 'x': failed to load: -13\nlibbpf: failed to load object 'y'\n"
        ),
        f"libbpf: -- BEGIN DUMP LOG ---\nlibbpf: \n{_LOG}\nlibbpf: -- END LOG --\nlibbpf: failed\n",
    ],
    ids=["libbpf 1", "libbpf 0.5"],
)
def test_sentence_is_found_in_what_libbpf_prints(printed: str) -> None:
    assert verifier_sentence_in(printed) == "combined stack size of 7 calls is 544. Too large"


def test_refusal_before_the_verifier_has_no_sentence() -> None:
    assert verifier_sentence_in("libbpf: Error in bpf_object__probe_loading(): …\n") is None
