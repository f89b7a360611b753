"""What games found of groups of records: `groups.csv`, a row for each epoch, training, group and number."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path

from ptaudit.errors import RunFolderError
from ptaudit.spec.catalog import JOINT, NO_DEFENSE
from ptaudit.tables.formats import read_records
from ptaudit.tables.row import Row
from ptaudit.tables.run import GroupEntry, Run
from ptaudit.tables.status import is_known
from ptaudit.tables.wide import Sheet

COLUMNS = tuple(field.name for field in fields(GroupEntry))
_KEY = COLUMNS[: COLUMNS.index("groups")]
_ROUNDING = 1e-9


def groups_sheet(run: Run) -> Sheet:
    """`groups.csv`; empty where no game looks at groups."""
    return Sheet(COLUMNS, tuple(astuple(entry) for entry in run.groups))


def read_groups(path: Path) -> tuple[GroupEntry, ...]:
    """Reads `groups.csv`; nothing where there is none.

    Raises:
        RunFolderError: a row is malformed, stands twice or cannot be true, with its line.
    """
    if not path.is_file():
        return ()
    found, seen = [], set()
    for where, entry in read_records(GroupEntry, path, COLUMNS):
        key = (*(getattr(entry, name) for name in _KEY), entry.metric)
        if what := "stands twice" if key in seen else _problem(entry):
            raise RunFolderError(f"this row {what}", where=where, remedy="write or fetch the run again")
        seen.add(key)
        found.append(entry)
    return tuple(found)


def _problem(entry: GroupEntry) -> str:
    """What cannot be true of a row; empty if nothing."""
    if not is_known(entry.status):
        return f"has an unknown status {entry.status!r}"
    if min(entry.groups, entry.members, entry.others) < 0:
        return "counts less than nothing"
    in_order = entry.lo <= entry.value + _ROUNDING and entry.value <= entry.hi + _ROUNDING
    return "has no number within its interval" if entry.measured and not in_order else ""


def last_groups(run: Run, metric: str) -> list[GroupEntry]:
    """One number of every group at the last audited epoch, of the training as the spec has it, and its first seed."""
    entries = [entry for entry in run.groups if entry.trained_with == NO_DEFENSE and entry.metric == metric]
    last = max((entry.epoch for entry in entries), default=0)
    return [entry for entry in entries if (entry.epoch, entry.seed) == (last, entries[0].seed)]


def of_all_records(run: Run, entry: GroupEntry) -> Row | None:
    """The same adversary's number over all records, in the same training."""
    table = run.seeds[0] if run.seeds else run.rows
    place = {"epoch": entry.epoch, "layer": JOINT, "game": entry.game, "metric": entry.metric}
    rows = table.as_trained.where(**place, adversary=entry.adversary)
    return next(iter(rows), None)


def worst_group(run: Run, metric: str) -> GroupEntry | None:
    """The group with the highest lower end; None where none was measured."""
    measured = [entry for entry in last_groups(run, metric) if entry.measured]
    return max(measured, key=lambda entry: entry.lo, default=None)
