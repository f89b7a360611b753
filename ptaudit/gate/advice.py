"""One line of advice for a gate that failed, and a warning for one that can hardly do what it should."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptaudit.gate.cases import Case, Cases, level_cases
from ptaudit.tables.row import JOINT, Row
from ptaudit.tables.run import Run

if TYPE_CHECKING:
    from ptaudit.gate.select import GateLike

_MANY = 3
"""More layers than this are not worth leaving out."""


def advise(gate: GateLike, cases: Cases, failing: Sequence[Case], run: Run) -> str | None:
    """What this very run measured to stay at or below the `max` of a gate that failed; None if nothing did.

    Another view comes first (the one that gives up least: the largest value that is still allowed), then the same view
    without the layers that failed.
    """
    return _other_view(gate, cases, run) or _fewer_layers(gate, cases, failing)


def reachable(gate: GateLike, *, ceiling: float, null: float = 0.0) -> str | None:
    """Warns of a threshold that a gate can hardly be above, or below.

    Args:
        gate: a gate of the spec.
        ceiling: the largest value that its metric takes in its view (NaN if there is none).
        null: what an adversary scores that only guesses.

    Returns:
        The warning, or None.
    """
    threshold = gate.max if gate.max is not None else gate.max_increase
    if threshold is None:
        return None
    name = "max" if gate.max is not None else "max_increase"
    if math.isfinite(ceiling) and threshold >= ceiling:
        return f"gate {gate.id} can never fail: {name} {threshold:g} is not below the ceiling {ceiling:.3g}"
    if gate.max is not None and threshold <= null:
        return f"gate {gate.id} can hardly pass: mere guessing scores {null:g}, max is {threshold:g}"
    return None


def _other_view(gate: GateLike, cases: Cases, run: Run) -> str | None:
    """The least restrictive other view in which every row of the gate was measured to be allowed."""
    wanted = {_place(case.row) for case in cases.measured} | {_place(row) for row in cases.missing}
    rows = [row for row in run.rows if _place(row) in wanted and row.view != gate.view and row.adaptive]
    rows = [row for row in rows if gate.adversary in (None, row.adversary) and gate.knows in (None, row.knows)]
    allowed = []
    for view in dict.fromkeys(row.view for row in rows):
        there = level_cases([row for row in rows if row.view == view], run)
        complete = {_spot(case.row) for case in there.measured} == {(place[0], place[1]) for place in wanted}
        if complete and not there.missing and all(case.hi <= _threshold(gate) for case in there.measured):
            allowed.append((max(case.value for case in there.measured), view))
    if not allowed:
        return None
    value, view = max(allowed)
    what = "for all its layers jointly" if gate.over == "joint" else "on the same layers"
    return f"view {view} stays at {value:.3g} <= {_threshold(gate):g} {what}"


def _fewer_layers(gate: GateLike, cases: Cases, failing: Sequence[Case]) -> str | None:
    failed = list(dict.fromkeys(case.row.layer for case in failing))
    rest = [case for case in cases.measured if case.row.layer not in failed]
    if JOINT in failed or len(failed) > _MANY or not rest or cases.missing:
        return None
    if not all(case.hi <= _threshold(gate) for case in rest):
        return None
    worst = max(rest, key=lambda case: case.value)
    noun = "layer" if len(failed) == 1 else "layers"
    remaining = f"{worst.row.layer} at {worst.value:.3g} <= {_threshold(gate):g}"
    return f"without {noun} {', '.join(failed)} the worst is {remaining}"


def _threshold(gate: GateLike) -> float:
    return gate.max if gate.max is not None else math.nan


def _place(row: Row) -> tuple[int, str, str, str, str]:
    return (row.epoch, row.layer, row.trained_with, row.game, row.metric)


def _spot(row: Row) -> tuple[int, str]:
    return (row.epoch, row.layer)
