"""The writable set and its proof as JSON: ``writable[]`` and ``proof`` of the report's schema."""

from __future__ import annotations

import json

from writeaudit import __version__
from writeaudit.audit import RunInfo
from writeaudit.confine.proof import Proof, Trial
from writeaudit.confine.writable import Place, WritableSet
from writeaudit.text import escape_path, escape_text


def render_json(run: RunInfo, writable: WritableSet, proof: Proof | None) -> str:
    """Return the document."""
    places = writable.places if proof is None else (*proof.places, *proof.dropped)
    content = {
        "schema_version": "1.0",
        "tool": {"name": "writeaudit", "version": __version__},
        "writable": [_place(place) for place in (*places, *writable.spared)],
        "proof": None if proof is None else _proof(run, proof),
        "remarks": [*writable.remarks],
    }
    return json.dumps(content, indent=1) + "\n"


def _place(place: Place) -> dict[str, object]:
    return {
        "path": escape_path(place.path),
        "kind": place.kind.value,
        "options": list(place.options()),
        "need": place.need.value,
        "because": list(place.because),
        "note": " ".join(place.notes),
        "exists": place.exists,
        "bytes_written": place.written,
        "operations": place.changes,
        "refused": place.refused,
        "examples": [escape_path(path) for path in place.examples],
    }


def _proof(run: RunInfo, proof: Proof) -> dict[str, object]:
    whole = [trial for trial in proof.trials if not trial.without]
    return {
        "command": [escape_path(word) for word in run.command],
        "proven": proof.proven,
        "status": whole[-1].status if whole else None,
        "expected": list(proof.expected),
        "failure": proof.failure or None,
        "corrections": list(proof.corrections),
        "output": escape_text(proof.output) if proof.output and not proof.proven else None,
        "dropped": [escape_path(place.path) for place in proof.dropped],
        "reruns": [_trial(trial) for trial in proof.trials],
    }


def _trial(trial: Trial) -> dict[str, object]:
    return {
        "without": [escape_path(path) for path in trial.without],
        "status": trial.status,
        "content": trial.content,
        "refusals": [
            {"op": refusal.op, "path": escape_path(refusal.path), "result": refusal.result}
            for refusal in trial.refusals
        ],
    }
