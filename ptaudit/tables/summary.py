"""What is worth reading first: the content of `summary.json`, and of the terminal summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ptaudit.spec.catalog import JOINT, NOISE_HALF
from ptaudit.tables.ranking import LeakKey, noise_halves, noise_of, rank
from ptaudit.tables.row import COLUMNS, Row
from ptaudit.tables.run import Run
from ptaudit.tables.status import first_word
from ptaudit.tables.table import Table, best_adversary
from ptaudit.tables.verdict import Verdict
from ptaudit.tables.wide import primary_rows

TOP = 5
_NOT_IN_SUMMARY = ("epoch", "step", "layer_index", "layer_type", "parameters")


def overall(verdicts: Sequence[Verdict]) -> str:
    """`fail` if a gate failed, else `inconclusive` if one is, else `pass`; `no gates` without any."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return next((outcome for outcome in ("fail", "inconclusive", "pass") if outcome in outcomes), "no gates")


def joint_rows(run: Run) -> Table:
    """The rows `*` of the last audited epoch: every game's primary metric in every view, all adversaries."""
    return _last_epoch(run).where(layer=JOINT)


def most_leaking(run: Run, top: int = TOP) -> list[Row]:
    """Layers of the last audited epoch, the most leaking first; at most `top` per game, view and training.

    Where several adversaries play, a layer counts with the strongest; of several estimators with the first.
    """
    rows, noises = _last_epoch(run), _noises(run)
    of_layers = rows.take(~rows.are(layer=JOINT))
    best = list(best_adversary(of_layers, "game", "view", "trained_with", "layer"))
    found = {(row.view, row.trained_with, row.game, row.layer): row for row in best}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in best:
        groups.setdefault((row.view, row.trained_with, row.game), []).append(row)

    def leak(row: Row) -> tuple[float, ...]:
        same = [game for view, training, game in groups if (view, training) == (row.view, row.trained_with)]
        others = [found.get((row.view, row.trained_with, game, row.layer)) for game in same if game != row.game]
        return rank(row, noise_of(row, noises), others)

    return [row for group in groups.values() for row in sorted(group, key=leak, reverse=True)[:top]]


def status_counts(run: Run) -> dict[str, int]:
    """Number of rows by the first word of their status (`ok`, `dim-limited`, `inconclusive`, `not captured`, ...)."""
    found: Counter[str] = Counter()
    for status, rows in run.rows.text("status").counts().items():
        found[first_word(status)] += rows
    return dict(sorted(found.items()))


def summary(run: Run) -> dict[str, Any]:
    """The content of `summary.json`."""
    noises = _noises(run)
    return {
        "name": run.name,
        "status": run.manifest.get("status", ""),
        "verdict": overall(run.verdicts),
        "epoch": run.rows.last_epoch if len(run.rows) else None,
        "joint": [_entry(row, noises) for row in joint_rows(run)],
        "most_leaking": [_entry(row, noises) for row in most_leaking(run)],
        "gates": [asdict(verdict) for verdict in run.verdicts],
        "rows_by_status": status_counts(run),
        "not_captured": {layer.name: layer.reason for layer in run.layers if layer.capture == "none"},
        "warnings": list(run.manifest.get("warnings", ())),
    }


def _last_epoch(run: Run) -> Table:
    return primary_rows(run.rows.where(epoch=run.rows.last_epoch))


def _noises(run: Run) -> Mapping[LeakKey, Row]:
    return noise_halves(run.rows.where(epoch=run.rows.last_epoch))


def _entry(row: Row, noises: Mapping[LeakKey, Row]) -> dict[str, Any]:
    noise = noise_of(row, noises)
    beside = {} if noise is None else {NOISE_HALF: noise.value}
    return {name: getattr(row, name) for name in COLUMNS if name not in _NOT_IN_SUMMARY} | beside
