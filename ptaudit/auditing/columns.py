"""What became of each column of a table: for `check`, and where held-out records have what no member has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.context.session import Session
from ptaudit.data.preprocess import ColumnCode, LevelCode, unseen
from ptaudit.data.records import ColumnUse
from ptaudit.data.tensors import MISSING
from ptaudit.errors import listed
from ptaudit.report.columns import ColumnEntry
from ptaudit.spec.data import DataSpec

UNSEEN_LEVELS = 0.01
"""Share of the held-out records with levels that no member has, from which on it is worth a warning."""

_NAMED = 4


def column_entries(session: Session) -> tuple[ColumnEntry, ...]:
    """All columns of the table that the records come from; none for what is no table."""
    return tuple(_entry(session, use) for use in session.records.uses)


def unseen_levels(session: Session) -> Iterator[str]:
    """A warning where many held-out records have categories that no member has: these tell members apart."""
    found = []
    for use in session.records.uses:
        share = _other(session, use, session.split.held_out)
        inside = _other(session, use, session.split.members) or 0
        if share is not None and share >= UNSEEN_LEVELS and share > 2 * inside:
            found.append(f"{use.name} {share:.0%}")
    if found:
        yield (
            f"Held-out records have categories that hardly a member has ({listed(found, _NAMED)}): they tell "
            "members apart, whatever was trained."
        )


def _entry(session: Session, use: ColumnUse) -> ColumnEntry:
    records, data = session.records, session.spec.data
    code = records.preprocessing.get(use.name)
    words = [_becomes(code, data)] if code is not None else []
    if code is not None and _is_constant(session, use):
        words = [f"{words[0]}, the same for all members"]
    for role in use.roles:
        words += [] if role == "input" else [_label(session)] if role == "label" else [_ROLES.get(role, role)]
    return ColumnEntry(
        use.name,
        use.kind,
        _levels(session, use),
        use.missing,
        "; ".join(words),
        0 if use.places is None else use.places.stop - use.places.start,
        _other(session, use, session.split.held_out),
    )


_ROLES = {"drop": "dropped"}


def _becomes(code: ColumnCode, data: DataSpec) -> str:
    if isinstance(code, LevelCode):
        return f"one-hot, {code.width} {'input' if code.width == 1 else 'inputs'}"
    if data.preprocess == "none":
        return "as it stands"
    return "standardised" if data.preprocess_file is None else "scaled as the file says"


def _label(session: Session) -> str:
    classes = session.records.classes
    return "label, numbers" if classes is None else f"label, {classes} classes"


def _levels(session: Session, use: ColumnUse) -> int | None:
    if use.levels is not None or use.kind == "" or "drop" in use.roles:
        return use.levels
    if "label" in use.roles:
        return len(np.unique(session.records.targets.cpu().numpy()))
    kept = session.records.columns.get(use.name)
    return None if kept is None else len(np.unique(kept[~_missing(kept)]))


def _missing(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.isnan(values) if values.dtype.kind == "f" else np.asarray(values == np.array(MISSING))


def _is_constant(session: Session, use: ColumnUse) -> bool:
    assert use.places is not None
    inside = _inputs(session, use, session.split.members)
    return bool((inside == inside[:1]).all())


def _other(session: Session, use: ColumnUse, index: NDArray[np.int64]) -> float | None:
    code = session.records.preprocessing.get(use.name)
    if not isinstance(code, LevelCode):
        return None
    return float(unseen(_inputs(session, use, index), code).mean())


def _inputs(session: Session, use: ColumnUse, index: NDArray[np.int64]) -> NDArray[np.float32]:
    inputs = session.records.inputs
    assert isinstance(inputs, Tensor)
    assert use.places is not None
    values: NDArray[np.float32] = inputs[:, use.places].cpu().numpy()[index]
    return values
