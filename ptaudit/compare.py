"""What changed between two runs, and whether the change is more than noise. Higher is worse for every metric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from ptaudit.stats.estimate import OK
from ptaudit.tables.columns import Columns, Places, Remarks, Words, keys, places_of, stacked
from ptaudit.tables.pairs import (
    NUMBERS,
    Differences,
    PairedTables,
    mismatch,
    same_records,
    sample_differences,
    seed_differences,
)
from ptaudit.tables.row import KEY_COLUMNS
from ptaudit.tables.run import Run
from ptaudit.tables.table import Table

FALSE_DISCOVERIES = 0.05
"""Share of the rows marked as changed that may be noise (Benjamini and Hochberg 1995)."""

_AT_ONCE = 100_000
"""Rows that are judged at a time."""
ONE_SEED = "one seed: retraining noise not included"

ChangeVerdict = Literal["worse", "better", "worse?", "better?", "within noise", "not comparable"]


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
        return is_change(self.verdict)


def is_change(verdict: str) -> bool:
    """Whether a verdict marks a row as worse or better."""
    return verdict not in ("within noise", "not comparable")


@dataclass(frozen=True)
class Comparison:
    """All rows of two runs, in the order of the first, and what holds for all of them."""

    changes: Columns[Change]
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
    joined = _join(before.rows, after.rows)
    reason = _reasons(joined, before, after)
    fine = np.flatnonzero(reason.codes[joined.shared] == 0)
    numbers, verdict = _judged(joined, fine, before, after)
    key = stacked(KEY_COLUMNS, before.rows, after.rows.take(joined.new))
    changes = Columns(Change, {**key, **numbers, "verdict": verdict, "reason": reason})
    return Comparison(changes, _notes(before, after, changes), before.name, after.name)


@dataclass(frozen=True)
class _Joined:
    """Two tables row by row: all rows of the first, then those that only the second has.

    Attributes:
        shared: places of the rows that both have, in the first table.
        partners: their places in the second.
        gone: places of the rows that only the first has.
        new: places, in the second table, of those that only it has.
        pairs: the shared rows of both.
        size: number of rows.
    """

    shared: Places
    partners: Places
    gone: Places
    new: Places
    pairs: PairedTables
    size: int

    @property
    def added(self) -> Places:
        """Where the new rows stand."""
        return np.arange(self.size - len(self.new), self.size)


def _join(first: Table, second: Table) -> _Joined:
    """By what tells rows apart; of runs that end at different epochs, the last with the last, as gates do."""
    ours, theirs = keys(KEY_COLUMNS, _with_last(first), _with_last(second))
    places = places_of(ours, theirs)
    shared, new = np.flatnonzero(places >= 0), np.flatnonzero(places_of(theirs, ours) < 0)
    partners = places[shared]
    pairs = first.take(shared), second.take(partners)
    return _Joined(shared, partners, np.flatnonzero(places < 0), new, pairs, len(first) + len(new))


_LAST = 2**31 - 1
"""Stands for the last audited epoch where rows are joined."""


def _with_last(rows: Table) -> Table:
    epochs = rows.number("epoch")
    last = np.where(epochs == rows.last_epoch, _LAST, epochs)
    return Table({**rows.only(*KEY_COLUMNS).columns, "epoch": last})


def _reasons(joined: _Joined, before: Run, after: Run) -> Words:
    """Why rows cannot be compared, empty where they can."""
    reasons = Remarks(joined.size)
    reasons.add(joined.gone, _absent(before.rows.take(joined.gone), before, after))
    reasons.add(joined.added, _absent(after.rows.take(joined.new), after, before))
    for rows, run in zip(joined.pairs, (before, after)):
        lost = ~rows.measured
        status = rows.text("status")[lost]
        said = tuple(f"{run.name}: {text if text != OK else 'not a number'}" for text in status.texts)
        reasons.add(joined.shared[lost], Words(status.codes, said))
    reasons.add(joined.shared, mismatch(joined.pairs, before, after))
    return reasons.words


def _absent(rows: Table, run: Run, other: Run) -> Words:
    """Why another run does not have rows: it has none of their kind or epoch, or one of another adversary."""
    wanted, there = keys([name for name in KEY_COLUMNS if name != "adversary"], rows, other.rows)
    ends = run.rows.last_epoch, other.rows.last_epoch
    alike = np.flatnonzero(np.isin(there, wanted) & ((ends[0] == ends[1]) | (other.rows.number("epoch") != ends[1])))
    played: dict[int, list[str]] = {}
    for key, adversary in zip(there[alike].tolist(), other.rows.text("adversary")[alike].tolist()):
        played.setdefault(key, []).append(adversary)
    said = {key: f"another adversary in {other.name}: {', '.join(names)}" for key, names in played.items()}
    audited = set(np.unique(other.rows.number("epoch")).tolist())

    def gone(epoch: int) -> str:
        if epoch == ends[1] and ends[0] != ends[1]:
            return f"not in {other.name}, whose epoch {epoch} is compared with epoch {ends[0]} of {run.name}"
        return f"not in {other.name}" if epoch in audited else f"epoch {epoch} is not audited in {other.name}"

    return Words.of(said.get(key) or gone(epoch) for key, epoch in zip(wanted.tolist(), rows.number("epoch").tolist()))


def _judged(joined: _Joined, fine: Places, before: Run, after: Run) -> tuple[dict[str, NDArray[np.float64]], Words]:
    """Values, differences and verdicts of all rows; `fine` are those of the shared ones that can be compared."""
    numbers = {name: np.full(joined.size, np.nan) for name in ("before", "after", "difference", "lo", "hi")}
    numbers["before"][: len(before.rows)] = before.rows.number("value")
    numbers["after"][joined.shared] = joined.pairs[1].number("value")
    numbers["after"][joined.added] = after.rows.number("value")[joined.new]
    verdict, p = np.zeros(joined.size, dtype=np.int8), np.empty(len(fine))
    for some, found in _differences(joined.pairs, fine, before, after):
        judged, p[some] = joined.shared[fine[some]], found.p
        for name, column in (("difference", found.value), ("lo", found.lo), ("hi", found.hi)):
            numbers[name][judged] = column
        verdict[judged] = np.where(found.value == 0, 1, np.where(found.value > 0, 2, 3))
    unchanged = ~(false_discovery_control(p) <= FALSE_DISCOVERIES) if len(p) else np.empty(0, dtype=np.bool_)
    verdict[joined.shared[fine[unchanged]]] = 1
    marks = ("worse", "better") if _seeded(before, after) else ("worse?", "better?")
    return numbers, Words(verdict, ("not comparable", "within noise", *marks))


def _seeded(before: Run, after: Run) -> bool:
    """Whether the noise of retraining is known on both sides."""
    return len(before.seeds) > 1 and len(after.seeds) > 1


def _differences(pairs: PairedTables, fine: Places, before: Run, after: Run) -> Iterator[tuple[slice, Differences]]:
    """Differences of some of the pairs, by the noise between seeds where it is known; else part after part."""
    alike = same_records(before, after)
    if _seeded(before, after):
        first, second = (table.only(*KEY_COLUMNS, *NUMBERS).take(fine) for table in pairs)
        if len(fine):
            yield slice(None), seed_differences((first, second), before, after, with_records=alike is not True)
        return
    first, second = (table.only(*NUMBERS) for table in pairs)
    draws = {table.only("n").take(fine).draws_each for table in pairs}
    if len(draws) > 1 or 0 in draws:  # where a row has none, all are judged by their intervals
        first, second = Table(first.columns), Table(second.columns)
    for start in range(0, len(fine), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        yield some, sample_differences((first.take(fine[some]), second.take(fine[some])), paired=alike is True)


def _notes(before: Run, after: Run, changes: Columns[Change]) -> tuple[str, ...]:
    notes = []
    if not _seeded(before, after):
        notes.append(ONE_SEED)
    ends = before.rows.last_epoch, after.rows.last_epoch
    if ends[0] != ends[1] and len(before.rows) and len(after.rows):
        notes.append(f"the last epoch of {before.name}, {ends[0]}, is compared with that of {after.name}, {ends[1]}")
    alike = same_records(before, after)
    if alike is False:
        notes.append("the runs split the data in different ways: the noise of record sampling is included")
    elif alike is None:
        notes.append("a manifest does not say which records were audited: they are taken to differ")
    for key in ("ptaudit", "torch", "device"):
        values = [str(run.manifest.get(key, "")) for run in (before, after)]
        if all(values) and values[0] != values[1]:
            notes.append(f"{key} differs: {values[0]} and {values[1]}")
    unlike = int(changes.are(verdict="not comparable").sum())
    if unlike:
        notes.append(f"{unlike} of {len(changes)} rows are not comparable")
    return tuple(notes)
