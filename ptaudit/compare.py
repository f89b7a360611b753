"""What changed between two runs, and whether the change is more than noise. Higher is worse for every metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import false_discovery_control

from ptaudit.tables.pairs import Differences, Pair, mismatch, same_records, sample_differences, seed_differences
from ptaudit.tables.row import Key, Row
from ptaudit.tables.run import Run

FALSE_DISCOVERIES = 0.05
"""Share of the rows marked as changed that may be noise (Benjamini and Hochberg 1995)."""

ONE_SEED = "one seed: retraining noise not included"

ChangeVerdict = Literal["worse", "better", "worse?", "better?", "within noise", "not comparable"]
_Adversaries = dict[tuple[object, ...], list[str]]


@dataclass(frozen=True)
class Change:
    """One row of two runs.

    Attributes:
        epoch: audited epoch; with all up to `metric` what the rows are joined on.
        layer: name of the layer.
        view: name of the view.
        game: name of the game.
        adversary: name of the adversary.
        knowledge: adaptive, static or late.
        knows: what it knows of the records.
        trained_with: the defense of the training, or none.
        metric: name of the metric.
        before: value in the first run, NaN where it has none.
        after: value in the second run.
        difference: after minus before, NaN if not comparable.
        lo: lower end of its pointwise 95 % interval.
        hi: upper end.
        verdict: worse, better (with a question mark where retraining noise is unknown), within noise, not comparable.
        reason: why it is not comparable, else empty.
    """

    epoch: int
    layer: str
    view: str
    game: str
    adversary: str
    knowledge: str
    knows: str
    trained_with: str
    metric: str
    before: float
    after: float
    difference: float
    lo: float
    hi: float
    verdict: ChangeVerdict
    reason: str = ""

    @property
    def changed(self) -> bool:
        """Whether it is marked as worse or better, with or without a question mark."""
        return self.verdict not in ("within noise", "not comparable")


@dataclass(frozen=True)
class Comparison:
    """All rows of two runs, in the order of the first, and what holds for all of them."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    before: str = ""
    after: str = ""


def compare(before: Run, after: Run) -> Comparison:
    """Compares two runs row by row, joined on epoch, layer, view, game, adversary with what it knows, and metric.

    With two or more seeds on both sides a change is judged by Welch's t between seeds (plus the variance of record
    sampling if the records differ); with one, by record sampling alone and marked with a question mark. Changes are
    then marked at a false discovery rate of 5 % over all compared rows.

    Args:
        before: the first run.
        after: the second run.

    Returns:
        Every row of either run.
    """
    alike = same_records(before, after)
    seeded = len(before.seeds) > 1 and len(after.seeds) > 1
    ours, theirs = ({row.key: row for row in run.rows} for run in (before, after))
    keys = list(dict.fromkeys([*ours, *theirs]))
    others = _adversaries(before), _adversaries(after)
    reasons = {key: _obstacle(ours.get(key), theirs.get(key), before, after, others) for key in keys}
    pairs = [(ours[key], theirs[key]) for key in keys if reasons[key] is None]
    judged: dict[Key, Change] = {}
    if pairs:
        if seeded:
            differences = seed_differences(pairs, before, after, with_records=alike is not True)
        else:
            differences = sample_differences(pairs, paired=alike is True)
        judged = _judge(pairs, differences, certain=seeded)
    changes = [judged.get(key) or _not_comparable(key, ours, theirs, reasons[key] or "") for key in keys]
    return Comparison(tuple(changes), _notes(before, after, changes, seeded), before.name, after.name)


def _judge(pairs: Sequence[Pair], differences: Differences, certain: bool) -> dict[Key, Change]:
    adjusted = false_discovery_control(differences.p)
    worse, better = ("worse", "better") if certain else ("worse?", "better?")
    changes: dict[Key, Change] = {}
    for k, (first, second) in enumerate(pairs):
        difference = float(differences.value[k])
        verdict: ChangeVerdict = "within noise"
        if adjusted[k] <= FALSE_DISCOVERIES and difference != 0:
            verdict = worse if difference > 0 else better  # type: ignore[assignment]
        lo, hi = float(differences.lo[k]), float(differences.hi[k])
        changes[first.key] = Change(*first.key, first.value, second.value, difference, lo, hi, verdict)
    return changes


def _obstacle(
    first: Row | None, second: Row | None, before: Run, after: Run, others: tuple[_Adversaries, _Adversaries]
) -> str | None:
    """Why two rows cannot be compared, or None."""
    if first is None or second is None:
        row, run, there = (second, before, others[0]) if first is None else (first, after, others[1])
        same = there.get(_without_adversary(row), ()) if row is not None else ()
        return f"another adversary in {run.name}: {', '.join(same)}" if same else f"not in {run.name}"
    for row, run in ((first, before), (second, after)):
        if not row.measured:
            return f"{run.name}: {row.status if row.status != 'ok' else 'not a number'}"
    return mismatch((first, second), before, after)


def _without_adversary(row: Row) -> tuple[object, ...]:
    return (row.epoch, row.layer, row.view, row.game, row.knowledge, row.knows, row.trained_with, row.metric)


def _adversaries(run: Run) -> _Adversaries:
    """Who plays each game: by the key of a row without its adversary."""
    found: _Adversaries = {}
    for row in run.rows:
        found.setdefault(_without_adversary(row), []).append(row.adversary)
    return found


def _not_comparable(key: Key, ours: dict[Key, Row], theirs: dict[Key, Row], reason: str) -> Change:
    nan = math.nan
    first, second = (rows[key].value if key in rows else nan for rows in (ours, theirs))
    return Change(*key, first, second, nan, nan, nan, "not comparable", reason)


def _notes(before: Run, after: Run, changes: Sequence[Change], seeded: bool) -> tuple[str, ...]:
    notes = []
    if not seeded:
        notes.append(ONE_SEED)
    alike = same_records(before, after)
    if alike is False:
        notes.append("the runs split the data in different ways: the noise of record sampling is included")
    elif alike is None:
        notes.append("a manifest does not say which records were audited: they are taken to differ")
    for key in ("ptaudit", "torch", "device"):
        values = [str(run.manifest.get(key, "")) for run in (before, after)]
        if all(values) and values[0] != values[1]:
            notes.append(f"{key} differs: {values[0]} and {values[1]}")
    unlike = sum(change.verdict == "not comparable" for change in changes)
    if unlike:
        notes.append(f"{unlike} of {len(changes)} rows are not comparable")
    return tuple(notes)
