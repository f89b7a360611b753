"""One line of advice for a gate that failed, and a warning for one that can hardly do what it should."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.errors import PtauditError
from ptaudit.gate.cases import Cases, level_cases, select
from ptaudit.spec.catalog import JOINT, NO_DEFENSE
from ptaudit.tables.columns import Mask, keys
from ptaudit.tables.run import Run
from ptaudit.tables.spec import views_of

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec

_MANY = 3
"""More layers than this are not worth leaving out."""
_LARGER_BATCH, _OTHER_VIEW, _FEWER_LAYERS, _DEFENDED_TRAINING = range(4)
"""Kinds of change, the least costly first: a larger batch gives up nothing of the model; another view shows the
adversary less; a layer that is not shared is not learned together; a defended training costs accuracy."""


@dataclass(frozen=True)
class _Step:
    """A change that this very run measured.

    Attributes:
        name: what to change.
        cost: its kind, and what tells dear from cheap among changes of that kind.
        cases: what the gate would look at then.
        where: what that is, in words.
    """

    name: str
    cost: tuple[int, float]
    cases: Cases
    where: str

    def outcome(self, limit: float) -> str:
        """Whether it keeps to the limit: empty if it does, else how not."""
        if (self.cases.lo > limit).any():
            return f"fails at {self.cases.value.max():.3g}"
        if (self.cases.hi <= limit).all():
            return ""
        return f"is undecided at {self.cases.value.max():.3g}"


def advise(gate: GateSpec, cases: Cases, failing: Mask, run: Run) -> str | None:
    """What this very run measured to keep to the limit of a gate that failed; None if nothing did.

    The least costly change is named, with what became of the next cheaper one that was measured. Larger batches come
    first, smallest first; then other views, by how little they give up (the largest value that is still allowed);
    the same view without the layers that failed; trainings with a defense, by the accuracy that they cost.
    """
    steps = [*_other_views(gate, cases, run), *_without_layers(cases, failing), *_trainings(gate, cases, run)]
    measured = [step for step in steps if not (len(step.cases.missing) or step.cases.saturated.any())]
    cheaper = ""
    for step in sorted(measured, key=lambda step: step.cost):
        lack = step.outcome(gate.limit)
        if not lack:
            unit = " of the ceiling" if gate.kind == "max_share" else ""
            value = f"{step.cases.value.max():.3g} <= {gate.limit:g}{unit}"
            return f"{step.name} stays at {value} {step.where}{cheaper}"
        cheaper = f"; {step.name}, the next cheaper step that was measured, {lack}"
    return None


def reachable(gate: GateSpec, *, ceiling: float, null: float = 0.0) -> str | None:
    """Warns of a threshold that a gate can hardly be above, or below.

    Args:
        gate: a gate of the spec.
        ceiling: the largest value that its metric takes in its view (NaN if there is none).
        null: what an adversary scores that only guesses.

    Returns:
        The warning, or None.
    """
    share = null / ceiling if ceiling > 0 else math.nan
    top, least = (1.0, share) if gate.kind == "max_share" else (ceiling, null)
    if math.isfinite(top) and gate.limit >= top:
        what = "all of the ceiling" if gate.kind == "max_share" else f"not below the ceiling {ceiling:.3g}"
        return f"gate {gate.id} can never fail: {gate.kind} {gate.limit:g} is {what}"
    if gate.kind != "max_increase" and gate.limit <= least:
        return f"gate {gate.id} can hardly pass: mere guessing scores {least:g}, {gate.kind} is {gate.limit:g}"
    return None


def _other_views(gate: GateSpec, cases: Cases, run: Run) -> Iterator[_Step]:
    """All other views in which every row of the gate has a counterpart."""
    where = "for all its layers jointly" if gate.over == "joint" else "on the same layers"
    views = views_of(run.spec_text)
    for (view,) in run.rows.where(trained_with=gate.trained_with).distinct("view"):
        others = None if view == gate.view else _elsewhere(gate, cases, run, view, gate.trained_with)
        if others is None:
            continue
        own, other = (dict(views.get(name, {})) for name in (gate.view, view))
        records, more = (settings.pop("batch_size", None) for settings in (own, other))
        cost = _OTHER_VIEW, -float(others.value.max(initial=-np.inf))
        larger = isinstance(records, int) and isinstance(more, int) and more > records
        if larger and {**own, "name": ""} == {**other, "name": ""}:
            cost = _LARGER_BATCH, float(more)
        yield _Step(f"view {view}", cost, others, where)


def _without_layers(cases: Cases, failing: Mask) -> Iterator[_Step]:
    failed = list(cases.measured.take(failing).text("layer").counts())
    rest = ~cases.measured.are(layer=failed)
    if JOINT in failed or len(failed) > _MANY or not rest.any():
        return
    left = Cases(cases.measured.take(rest), cases.value[rest], cases.lo[rest], cases.hi[rest], cases.missing)
    worst = left.measured[int(np.argmax(left.value))].layer
    name = f"{'layer' if len(failed) == 1 else 'layers'} {', '.join(failed)}"
    yield _Step(f"sharing all but {name}", (_FEWER_LAYERS, len(failed)), left, f"(worst: {worst})")


def _trainings(gate: GateSpec, cases: Cases, run: Run) -> Iterator[_Step]:
    """Trainings with a defense whose accuracy is known, on the gate's view."""
    usual = run.epochs[-1].held_out_accuracy if run.epochs else math.nan
    for entry in run.defenses:
        lost = usual - entry.held_out_accuracy
        if entry.title == gate.trained_with or entry.status != "ok" or math.isnan(lost):
            continue
        others = _elsewhere(gate, cases, run, gate.view, entry.title)
        if others is not None:
            name = f"training with {entry.title}"
            where = f"at an accuracy of {entry.held_out_accuracy:.3g}, {usual:.3g} without"
            yield _Step(name, (_DEFENDED_TRAINING, lost), others, where)


def _elsewhere(gate: GateSpec, cases: Cases, run: Run, view: str, trained_with: str) -> Cases | None:
    """What the gate would look at in another view or training; None if that has other layers or epochs."""
    try:
        others = level_cases(gate, select(gate, run.rows, view=view, trained_with=trained_with or NO_DEFENSE), run)
    except PtauditError:
        return None
    there, asked = (
        np.unique(np.concatenate(one))
        for one in _halves(keys(("epoch", "layer"), others.measured, others.missing, cases.measured, cases.missing))
    )
    return others if np.array_equal(there, asked) else None


def _halves(found: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return found[:2], found[2:]
