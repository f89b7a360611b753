# ruff: noqa: E501 - a table is easier to read with one row in a line
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptaudit.errors import SpecError
from ptaudit.spec.load import load

Write = Callable[..., Path]

AUDIT = """\
audit:
  epochs: [1, 3]
  games: [identity, membership]
  views:
    - {name: one, batch_size: 1}
    - {name: batch-8, batch_size: 8}
    - {name: noisy, batch_size: 1, defense: {name: dp, clip: 1, noise_multiplier: 1}}
    - {name: clipped, batch_size: 1, defense: {name: dp, clip: 1, noise_multiplier: 0}}
gates:
"""
LINE = 15  # of the first gate, after the minimal spec and AUDIT

WRONG = [
    ("metric: identity.bitz, view: one, max: 1", "unknown metric `identity.bitz` (did you mean `identity.bits`?)"),
    ("metric: bits, view: one, max: 1", "unknown metric `bits`"),
    ("metric: membership.tpr_at_fpr_0.1, view: model, max: 1", "unknown metric `membership.tpr_at_fpr_0.1` (did you mean"),
    ("metric: label.bits, view: one, max: 1", "gate `g` is on game `label`, which is not played (add it to audit.games; played:"),
    ("metric: identity.bits, view: batch8, max: 1", "gate `g` is on view `batch8`, on which game `identity` is not played (did you mean `batch-8`?)"),
    ("metric: identity.bits, view: model, max: 1", "gate `g` is on view `model`, on which game `identity` is not played"),
    ("metric: membership.auc, view: one, max: 1", "gate `g` is on view `one`, on which game `membership` is not played"),
    ("metric: identity.bits, view: one, epoch: 2, max: 1", "gate `g` is on epoch 2, which is not audited (audited: 1, 3)"),
    ("metric: identity.bits, view: one, epoch: lst, max: 1", "`gates.0.epoch`: expected `last`, `first`, `all`, `max` or an audited epoch"),
    ("metric: identity.bits, view: one, epoch: 1.5, max: 1", "`gates.0.epoch`: expected a whole number, given 1.5"),
    ("metric: identity.bits, view: one, adversary: loss, max: 1", "game `identity` has no adversary `loss` (known: exact, combined, likelihood-ratio, least-squares)"),
    ("metric: membership.auc, view: model, adversary: los, max: 1", "game `membership` has no adversary `los` (did you mean `loss`?)"),
    ("metric: identity.bits, view: batch-8, adversary: exact, max: 1", "gate `g`: adversary `exact` cannot play on view `batch-8`"),
    ("metric: identity.bits, view: noisy, adversary: exact, max: 1", "gate `g`: adversary `exact` cannot play on view `noisy`"),
    ("metric: identity.bits, view: one, adversary: combined, max: 1", "gate `g`: adversary `combined` does not play on view `one`"),
    ("metric: membership.auc, view: model, over: layers, adversary: loss, max: 1", "gate `g`: adversary `loss` plays on the whole model, not on layers (set over: joint)"),
    ("metric: identity.bits, view: one", "gate `g` needs exactly one of `max`, `max_share` and `max_increase`"),
    ("metric: identity.bits, view: one, max: 1, max_increase: 1", "gate `g` needs exactly one of `max`, `max_share` and `max_increase`"),
    ("metric: identity.bits, view: one, max: 1, max_share: 0.5", "gate `g` needs exactly one of `max`, `max_share` and `max_increase`"),
    ("metric: identity.noise_half, view: one, max_share: 0.5", "metric `identity.noise_half` has no ceiling to have a share of (use max)"),
    ("metric: identity.bits, view: one, max_share: 20", "`gates.0.max_share`: expected at most 1"),
    ("metric: identity.bits, view: one, max_share: 0.2, same_weights: true", "`same_weights` is not used by a gate on `max_share`"),
    ("metric: identity.bits, view: one, max: .nan", "`gates.0.max`: expected a finite number, given nan"),
    ("metric: identity.bits, view: one, max: low", "`gates.0.max`: expected a number, given the text 'low'"),
    ("metric: identity.bits, view: one, max: 1, same_weights: true", "`same_weights` is not used by a gate on `max`"),
    ("metric: identity.bits, view: one, max: 1, needs: noise", "`gates.0.needs`: expected 'mechanism'"),
    ("metric: identity.bits, view: one, max: 1, knows: all", "`gates.0.knows`: expected 'none', 'others', 'pool', 'rest' or 'batch_norm'"),
    ("metric: identity.bits, view: one, max: 1, trained_with: sign", "gate `g` is on a training with `sign`, which is not in `defenses` (known: none)"),
    ("metric: identity.bits, max: 1", "`gates.0.view` is missing"),
    ("metric: identity.bits, view: one, maximum: 1", "unknown key `maximum` in `gates.0` (did you mean `max`?)"),
]  # fmt: skip

RIGHT = [
    "metric: identity.bits, view: one, max: 1",
    "metric: identity.bits, view: one, max_share: 0.2",
    "metric: identity.accuracy, view: noisy, over: joint, epoch: all, max: 1e-1",
    "metric: identity.bits, view: one, adversary: exact, epoch: 3, max: 1",
    "metric: identity.bits, view: clipped, adversary: exact, max: 1",
    "metric: identity.bits, view: batch-8, over: 'conv*', adversary: combined, epoch: max, max_increase: 0",
    "metric: identity.bits, view: noisy, adversary: combined, max: 1",
    "metric: membership.auc, view: model, over: joint, adversary: loss, max: 1",
    "metric: identity.bits, view: noisy, needs: mechanism, knows: others, trained_with: none, max: 1",
    "metric: membership.tpr_at_fpr_0.001, view: model, adversary: gradient-norm, epoch: first, max: 0.1",
]


@pytest.mark.parametrize(("gate", "expected"), WRONG, ids=[gate for gate, _ in WRONG])
def test_gate_that_can_match_no_row(write: Write, gate: str, expected: str) -> None:
    path = write(extra=f"{AUDIT}  - {{id: g, {gate}}}\n")
    with pytest.raises(SpecError) as caught:
        load(path)
    assert f"{path}:{LINE}: {expected}" in str(caught.value)


@pytest.mark.parametrize("gate", RIGHT)
def test_gate_that_can_match(write: Write, gate: str) -> None:
    assert load(write(extra=f"{AUDIT}  - {{id: g, {gate}}}\n")).gates[0].id == "g"


def test_gate_ids_differ(write: Write) -> None:
    gate = "  - {id: g, metric: identity.bits, view: one, max: 1}\n"
    path = write(extra=AUDIT + gate + gate)
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:{LINE + 1}: gate id `g` is used twice (each must differ)"


@pytest.mark.parametrize(
    ("metric", "view", "over"), [("identity.bits", "one", "layers"), ("membership.auc", "model", "joint")]
)
def test_default_rows(write: Write, metric: str, view: str, over: str) -> None:
    extra = f"{AUDIT}  - {{id: g, metric: {metric}, view: {view}, max: 1}}\n"
    assert load(write(extra=extra)).gates[0].over == over
    assert load(write(extra=extra), ["gates.0.over=all"]).gates[0].over == "all"
