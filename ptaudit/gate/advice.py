"""One line of advice for a gate that failed, and a warning for one that can hardly do what it should."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.gate.cases import Cases, level_cases
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.columns import Mask, keys
from ptaudit.tables.run import Run
from ptaudit.tables.table import Table

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec

_OF_LAYER = ("epoch", "layer")
_ALIKE = (*_OF_LAYER, "trained_with", "game", "metric")
_MANY = 3
"""More layers than this are not worth leaving out."""


def advise(gate: GateSpec, cases: Cases, failing: Mask, run: Run) -> str | None:
    """What this very run measured to stay at or below the `max` of a gate that failed; None if nothing did.

    Another view comes first (the one that gives up least: the largest value that is still allowed), then the same view
    without the layers that failed.
    """
    return _other_view(gate, cases, run) or _without_layers(gate, cases, failing)


def reachable(gate: GateSpec, *, ceiling: float, null: float = 0.0) -> str | None:
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


def _other_view(gate: GateSpec, cases: Cases, run: Run) -> str | None:
    """The least restrictive other view in which every row of the gate was measured to be allowed."""
    rows = run.rows.take(run.rows.adaptive & ~run.rows.are(view=gate.view))
    rows = rows.take(_where_asked(gate, rows))
    there, *asked = keys(_ALIKE, rows, cases.measured, cases.missing)
    rows = rows.take(np.isin(there, np.concatenate(asked)))
    allowed = []
    for (view,) in rows.distinct("view"):
        others = level_cases(rows.where(view=view), run)
        found, *wanted = keys(_OF_LAYER, others.measured, cases.measured, cases.missing)
        complete = np.array_equal(np.unique(found), np.unique(np.concatenate(wanted)))
        if complete and not len(others.missing) and (others.hi <= _threshold(gate)).all():
            allowed.append((float(others.value.max()), view))
    if not allowed:
        return None
    value, view = max(allowed)
    what = "for all its layers jointly" if gate.over == "joint" else "on the same layers"
    return f"view {view} stays at {value:.3g} <= {_threshold(gate):g} {what}"


def _where_asked(gate: GateSpec, rows: Table) -> Mask:
    asked = {"adversary": gate.adversary, "knows": gate.knows}
    return rows.are(**{name: wanted for name, wanted in asked.items() if wanted is not None})


def _without_layers(gate: GateSpec, cases: Cases, failing: Mask) -> str | None:
    failed = list(cases.measured.take(failing).text("layer").counts())
    rest = ~cases.measured.are(layer=failed)
    if JOINT in failed or len(failed) > _MANY or not rest.any() or len(cases.missing):
        return None
    if not (cases.hi[rest] <= _threshold(gate)).all():
        return None
    worst = int(np.argmax(np.where(rest, cases.value, -np.inf)))
    noun = "layer" if len(failed) == 1 else "layers"
    remaining = f"{cases.measured[worst].layer} at {cases.value[worst]:.3g} <= {_threshold(gate):g}"
    return f"without {noun} {', '.join(failed)} the worst is {remaining}"


def _threshold(gate: GateSpec) -> float:
    return gate.max if gate.max is not None else math.nan
