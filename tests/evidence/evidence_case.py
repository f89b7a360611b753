"""A run with gates that pass, fail and wait for a baseline, from hand-made tables."""

from __future__ import annotations

from dataclasses import replace

from report.example_run import example_run

from ptaudit.gate import decide
from ptaudit.gate.own import own_gates
from ptaudit.tables.run import GroupEntry, Run
from ptaudit.tables.spec import gates_digest

SPEC = """\
version: 1
name: digits-lenet
data: {source: sklearn:digits}
train: {epochs: 8, loss: cross_entropy}
audit:
  games: [identity, label, membership]
  views:
  - {name: record, batch_size: 1}
  - {name: batch-8, batch_size: 8}
  - {name: batch-32, batch_size: 32}
  - {name: dp, batch_size: 32, defense: {name: dp, clip: 1.0, noise_multiplier: 1.0}}
gates:
- {id: batch-leak, metric: identity.bits, view: batch-32, over: layers, epoch: last, max: 5.0}
- {id: share, metric: identity.bits, view: record, over: layers, epoch: last, max_share: 0.2}
- {id: no-worse, metric: identity.bits, view: batch-32, epoch: last, max_increase: 0.2, same_weights: true}
"""
HASHES = {f"{name}_sha256": f"{name:0<64}" for name in ("model", "data", "split", "spec")}


def evidence_run(spec: str = SPEC) -> Run:
    """The example run, decided as `ptaudit run` does."""
    run = example_run(verdicts=())
    noted = {"fixed": "2026-01-01T00:00:00+00:00", "sha256": gates_digest(spec)}
    more = {"code_sha256": {"lenet.py": "c" * 64}, "held_out_majority": 0.1, "thresholds": noted}
    place = (8, 0, "none", "membership", "loss", "class")
    groups = tuple(
        GroupEntry(*place, str(k), 1, 50, 50, "auc", value, value - 0.05, value + 0.05, 0.5, "ok")
        for k, value in enumerate((0.55, 0.71, 0.52))
    )
    run = replace(run, spec_text=spec, manifest={**run.manifest, **HASHES, **more}, groups=groups)
    ready = [gate for gate in own_gates(spec, "spec") if gate.kind != "max_increase"]
    return replace(run, verdicts=tuple(decide(ready, run)))
