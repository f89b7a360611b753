"""Which rows a gate looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from ptaudit.errors import PtauditError
from ptaudit.tables.row import JOINT, Row


class GateLike(Protocol):
    """A gate of the spec (`spec.GateSpec`)."""

    @property
    def id(self) -> str:
        """Name of the gate."""

    @property
    def metric(self) -> str:
        """`game.metric`."""

    @property
    def view(self) -> str:
        """Name of the view."""

    @property
    def over(self) -> str:
        """`layers`, `joint`, `all` or a glob pattern of layer names."""

    @property
    def epoch(self) -> str | int:
        """`last`, `first`, `all`, `max` or an audited epoch."""

    @property
    def adversary(self) -> str | None:
        """Only this adversary; None for all, and of estimators for the first of the game."""

    @property
    def knows(self) -> str | None:
        """Only adversaries who know this of the records; None for all."""

    @property
    def trained_with(self) -> str:
        """The training: `none`, or with one of the spec's `defenses`."""

    @property
    def max(self) -> float | None:
        """Largest value allowed."""

    @property
    def max_increase(self) -> float | None:
        """Largest increase over the baseline allowed."""

    @property
    def needs(self) -> str | None:
        """`mechanism`: rows without noise of known size cannot pass."""

    @property
    def same_weights(self) -> bool:
        """Whether the baseline audits the very same weights."""


def select(gate: GateLike, rows: Sequence[Row]) -> list[Row]:
    """The rows that a gate looks at. Static adversaries and layers without a gradient never feed one.

    Of several estimators the first one of the game speaks, unless the gate names another: they are readings of one
    quantity, and the worst of them is no worse leak.

    Raises:
        PtauditError: if there is none, naming what there is instead.
    """
    game, _, metric = gate.metric.partition(".")
    audited = sorted({row.epoch for row in rows})
    kept = [row for row in rows if row.adaptive and not row.silent]
    kept = _narrow(gate, kept, "metric", gate.metric, _metric, lambda row: (row.game, row.metric) == (game, metric))
    trained = gate.trained_with
    kept = _narrow(
        gate, kept, "training", trained, lambda row: row.trained_with, lambda row: row.trained_with == trained
    )
    kept = _narrow(gate, kept, "view", gate.view, lambda row: row.view, lambda row: row.view == gate.view)
    if gate.adversary is not None:
        named = gate.adversary
        kept = _narrow(gate, kept, "adversary", named, lambda row: row.adversary, lambda row: row.adversary == named)
    else:
        first = next((row.adversary for row in rows if row.game == game and row.instrument), None)
        kept = [row for row in kept if not row.instrument or row.adversary == first]
    if gate.knows is not None:
        kept = _narrow(gate, kept, "knowledge", gate.knows, lambda row: row.knows, lambda row: row.knows == gate.knows)
    if gate.epoch not in ("all", "max"):
        wanted = {"last": audited[-1], "first": audited[0]}.get(str(gate.epoch), gate.epoch)
        kept = _narrow(gate, kept, "epoch", wanted, lambda row: str(row.epoch), lambda row: row.epoch == wanted)
    return _narrow(gate, kept, "layer", gate.over, lambda row: row.layer, lambda row: _covers(gate.over, row.layer))


def _covers(over: str, layer: str) -> bool:
    if over in ("joint", "layers", "all"):
        return over == "all" or (layer == JOINT) == (over == "joint")
    return layer != JOINT and fnmatchcase(layer, over)


def _narrow(
    gate: GateLike,
    rows: Iterable[Row],
    noun: str,
    wanted: object,
    name: Callable[[Row], str],
    keep: Callable[[Row], bool],
) -> list[Row]:
    rows = list(rows)
    kept = [row for row in rows if keep(row)]
    if not kept:
        there = ", ".join(dict.fromkeys(name(row) for row in rows)) or "none"
        raise PtauditError(f"no {noun} matches `{wanted}`", where=f"gate {gate.id}", remedy=f"there are: {there}")
    return kept


def _metric(row: Row) -> str:
    return f"{row.game}.{row.metric}"
