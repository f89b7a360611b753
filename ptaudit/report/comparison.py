"""The page of `ptaudit compare`: which numbers changed, and whether by more than noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.compare import is_change
from ptaudit.report import Page
from ptaudit.report.document import Cell, Column, Document, Grid, Lines, Tone, drop_blank_columns
from ptaudit.report.words import adversary_text, bounds_text, digits_for, number, plural, view_text
from ptaudit.tables.columns import first_of, keys

if TYPE_CHECKING:
    from ptaudit.compare import Change, Comparison
    from ptaudit.tables.columns import Columns

ORDER = ("worse", "worse?", "better", "better?", "not comparable", "within noise")
_TONE: dict[str, Tone] = {
    "worse": "bad",
    "worse?": "warn",
    "better": "good",
    "better?": "good",
    "not comparable": "warn",
    "within noise": "dim",
}
_MOST_REASONS = 5
_MOST_NAMES = 3


def comparison_page(comparison: Comparison, page: Page, most: int | None = None) -> Document:
    """Counts, the rows that changed (all with `page.all_rows`; `most` at most), why rows are not comparable, notes."""
    changes = shown_changes(comparison, all_rows=page.all_rows)
    title = "All rows" if page.all_rows else "Rows that changed"
    return Document(
        f"ptaudit compare: {comparison.before} to {comparison.after}",
        (
            Lines("verdict", "", (Cell(count_line(comparison), "strong"),)),
            _grid(changes, title, most),
            Lines("incomparable", "Not comparable", _obstacles(comparison), bullets=True),
            Lines("note", "Notes", tuple(Cell(note) for note in comparison.notes), bullets=True),
        ),
    )


def shown_changes(comparison: Comparison, *, all_rows: bool) -> Columns[Change]:
    """The changes to list: worst first, then the latest epoch, then the table's order."""
    changes = comparison.changes
    wanted = changes.take(changes.text("verdict").where(lambda verdict: all_rows or is_change(verdict)))
    verdict = wanted.text("verdict")
    severity = np.array([ORDER.index(text) for text in verdict.texts], dtype=np.int8)[verdict.codes]
    return wanted.take(np.lexsort((-wanted.number("epoch"), severity)))


def counts(comparison: Comparison) -> dict[str, int]:
    """How many rows got each verdict, in the order of severity."""
    found = comparison.changes.text("verdict").counts()
    return {verdict: found[verdict] for verdict in ORDER if verdict in found}


def count_line(comparison: Comparison) -> str:
    """One line: `46 rows compared: 3 worse, 40 within noise, 3 not comparable`."""
    texts = ", ".join(f"{n} {verdict}" for verdict, n in counts(comparison).items())
    return f"{plural(len(comparison.changes), 'row')} compared" + (f": {texts}" if texts else "")


def obstacles(comparison: Comparison) -> dict[str, int]:
    """Why rows are not comparable, the most frequent reason first."""
    found = comparison.changes.text("reason").counts()
    return dict(Counter({reason: rows for reason, rows in found.items() if reason}).most_common())


def _obstacles(comparison: Comparison) -> tuple[Cell, ...]:
    reasons = obstacles(comparison)
    shown = [
        Cell(f"{plural(n, 'row')}: {reason} ({_which(comparison.changes.where(reason=reason))})")
        for reason, n in list(reasons.items())[:_MOST_REASONS]
    ]
    rest = len(reasons) - len(shown)
    return (*shown, *([Cell(f"… and {plural(rest, 'more reason')}: --all", "dim")] if rest else []))


def _which(changes: Columns[Change]) -> str:
    """The rows in words: every column that tells them apart, and the first of its texts."""
    scores = [f"{game}.{metric}" for game, metric in changes.distinct("game", "metric")]
    nouns = ("view", "layer", "epoch")
    texts = [_some("", scores)] + [_some(noun, [str(one) for (one,) in changes.distinct(noun)]) for noun in nouns]
    return "; ".join(texts)


def _some(noun: str, names: list[str]) -> str:
    shown, more = names[:_MOST_NAMES], len(names) - _MOST_NAMES
    listed = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"{noun if len(names) == 1 else noun + 's'} {listed}" if noun else listed


def _grid(changes: Columns[Change], title: str, most: int | None) -> Grid:
    columns = (
        Column("verdict"),
        Column("layer", elastic=28),
        Column("epoch", right=True),
        Column("view", elastic=16),
        Column("score", elastic=24),
        Column("adversary", elastic=18),
        Column("before", right=True, minor=1),
        Column("after", right=True),
        Column("difference [95 %]", right=True),
        Column("reason", minor=2, elastic=20),
    )
    shown = changes[:most]
    hidden = len(changes) - len(shown)
    more = f"… and {plural(hidden, 'more row')}: --format md" if hidden else ""
    return drop_blank_columns(Grid("change", title, columns, _rows(shown), more))


def _rows(changes: Columns[Change]) -> tuple[tuple[Cell, ...], ...]:
    """Cells of all changes; rows that say the same in a column share the cell."""

    def shared(make: Callable[[Change], Cell], *names: str) -> Iterator[Cell]:
        first, group = first_of(keys(names, changes)[0])
        made = list(map(make, changes.take(first)))
        return map(made.__getitem__, group.tolist())

    def adversary(change: Change) -> Cell:
        return Cell(adversary_text(change.adversary, change.knowledge, change.knows))

    return tuple(
        zip(
            shared(lambda change: Cell(change.verdict, _TONE[change.verdict]), "verdict"),
            shared(lambda change: Cell(change.layer, "strong"), "layer"),
            shared(lambda change: Cell(str(change.epoch)), "epoch"),
            shared(lambda change: Cell(view_text(change.view, change.trained_with)), "view", "trained_with"),
            shared(lambda change: Cell(f"{change.game}.{change.metric}"), "game", "metric"),
            shared(adversary, "adversary", "knowledge", "knows"),
            *_number_cells(changes),
            shared(lambda change: Cell(change.reason, "dim"), "reason"),
        )
    )


def _number_cells(changes: Columns[Change]) -> list[list[Cell]]:
    """The three columns of numbers, without an object for each change."""
    metric, before, after = (changes.columns[name].tolist() for name in ("metric", "before", "after"))
    digits = list(map(digits_for, metric, before, after))
    ends = (changes.number(name).tolist() for name in ("difference", "lo", "hi"))
    texts = map(number, before, digits), map(number, after, digits), map(bounds_text, *ends, digits)
    return [list(map(Cell, column)) for column in texts]
