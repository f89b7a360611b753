"""Which rows a gate looks at."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ptaudit.errors import PtauditError
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.status import is_silent
from ptaudit.tables.table import Table

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec


def select(gate: GateSpec, rows: Table) -> Table:
    """The rows that a gate looks at. Static adversaries and layers without a gradient never feed one.

    Of several estimators the first one of the game speaks, unless the gate names another: they are readings of one
    quantity, and the worst of them is no worse leak.

    Raises:
        PtauditError: if there is none, naming what there is instead.
    """
    kept = rows.take(rows.adaptive & ~rows.text("status").where(is_silent))
    kept = _narrow(gate, kept, "metric", gate.metric, {"game": gate.game, "metric": gate.measure})
    kept = _narrow(gate, kept, "training", gate.trained_with, {"trained_with": gate.trained_with})
    kept = _narrow(gate, kept, "view", gate.view, {"view": gate.view})
    if gate.adversary is not None:
        kept = _narrow(gate, kept, "adversary", gate.adversary, {"adversary": gate.adversary})
    else:
        readings = rows.where(game=gate.game, adversary=ESTIMATORS)[:1].text("adversary").tolist()
        kept = kept.take(~kept.instrument | kept.are(adversary=readings))
    if gate.knows is not None:
        kept = _narrow(gate, kept, "knowledge", gate.knows, {"knows": gate.knows})
    if gate.epoch not in ("all", "max"):
        ends = {"last": rows.number("epoch").max, "first": rows.number("epoch").min}
        wanted = int(ends[str(gate.epoch)]()) if gate.epoch in ends else gate.epoch
        kept = _narrow(gate, kept, "epoch", wanted, {"epoch": wanted})
    over = [layer for layer in kept.text("layer").counts() if _covers(gate.over, layer)]
    return _narrow(gate, kept, "layer", gate.over, {"layer": over})


def _covers(over: str, layer: str) -> bool:
    if over in ("joint", "layers", "all"):
        return over == "all" or (layer == JOINT) == (over == "joint")
    return layer != JOINT and fnmatchcase(layer, over)


def _narrow(gate: GateSpec, rows: Table, noun: str, wanted: object, columns: Mapping[str, object]) -> Table:
    """The rows with these values in these columns."""
    kept = rows.where(**columns)
    if not len(kept):
        there = ", ".join(".".join(map(str, names)) for names in rows.distinct(*columns)) or "none"
        raise PtauditError(f"no {noun} matches `{wanted}`", where=f"gate {gate.id}", remedy=f"there are: {there}")
    return kept
