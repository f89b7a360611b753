"""Groups of the audited records: by class, by each attribute, by user; and what a game found of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptaudit.context.session import Session
from ptaudit.data.attribute_encoding import attribute_secret, is_known
from ptaudit.stats.estimate import Estimate

Codes = NDArray[np.int64]

FEWEST_NAMED = 5
"""Fewest audited members of a group that is called by its name."""

CLASS, USER = "class", "user"
_QUARTERS = (0.25, 0.5, 0.75)
_DIGITS, _ALL_DIGITS = 6, 17


@dataclass(frozen=True)
class Grouping:
    """One way to group the audited records.

    Attributes:
        title: `class`, `attribute NAME` or `user`.
        names: of the groups; empty for those together that have too few members to be named.
        sizes: how many groups each name stands for.
        inside: group of each audited member, -1 for a record without one.
        outside: of each audited held-out record.
    """

    title: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    inside: Codes
    outside: Codes


@dataclass(frozen=True)
class GroupScore:
    """One number of one group.

    Attributes:
        adversary: whose scores it is of.
        grouping: title of the grouping.
        group: name of the group; empty for small ones together.
        groups: how many groups it is of: 1; the small ones; the users of whom this is the worst.
        members: of the group, in the audit.
        others: held-out records of it.
        metric: which number.
        estimate: with an interval that holds for all groups of the grouping at once.
    """

    adversary: str
    grouping: str
    group: str
    groups: int
    members: int
    others: int
    metric: str
    estimate: Estimate


def groupings(session: Session) -> Iterator[Grouping]:
    """By class and by each attribute; numbers with many values in four groups of about one size."""
    records, index = session.records, np.concatenate([session.members, session.others])
    if records.classes is not None:
        called = records.class_names or [str(code) for code in range(records.classes)]
        yield _grouping(CLASS, called, records.targets.cpu().numpy()[index], len(session.members))
    for name in session.spec.data.attributes or ():
        names, codes = _values(records.columns[name][index])
        if names:
            yield _grouping(f"attribute {name}", names, codes, len(session.members))


def users(session: Session) -> Grouping | None:
    """By user, under names that only who has the data can undo; None where no column says whose a record is."""
    if session.spec.data.user is None:
        return None
    column = session.records.columns[session.spec.data.user][np.concatenate([session.members, session.others])]
    known = is_known(column)
    names, of_known = np.unique(column[known].astype(str), return_inverse=True)
    codes = np.full(len(column), -1)
    codes[known] = of_known
    called, members = tuple(session.name_of(name, USER) for name in names.tolist()), len(session.members)
    return Grouping(USER, called, (1,) * len(called), codes[:members], codes[members:])


def _values(column: NDArray[Any]) -> tuple[Sequence[str], Codes]:
    """What the values of an attribute are called, and which one each record has."""
    secret = attribute_secret(column)
    if secret.names is not None:
        return secret.names, np.where(secret.known, secret.values, -1)
    cuts = np.unique(np.quantile(secret.values[secret.known], _QUARTERS))
    ends = _called(cuts, secret.values[secret.known])
    between = [f"above {low}, at most {high}" for low, high in pairwise(ends)]
    names = [f"at most {ends[0]}", *between, f"above {ends[-1]}"]
    return names, np.where(secret.known, np.searchsorted(cuts, secret.values), -1)


def _called(cuts: NDArray[np.float64], values: NDArray[Any]) -> list[str]:
    """Cuts in as few digits, 6 at least, as say of every value on which side of them it is."""
    code = np.searchsorted(cuts, values)
    for digits in range(_DIGITS, _ALL_DIGITS):
        called = [f"{cut:.{digits}g}" for cut in cuts.tolist()]
        if np.array_equal(np.searchsorted(np.array([*map(float, called)]), values), code):
            return called
    return [repr(cut) for cut in cuts.tolist()]


def _grouping(title: str, names: Sequence[str], codes: Codes, members: int) -> Grouping:
    """Groups of one name are one; those with too few members come last, together and without a name."""
    shown = [name or "(empty)" for name in names]
    called = list(dict.fromkeys(shown))
    code = np.array([*map(called.index, shown), -1])[np.where((codes >= 0) & (codes < len(names)), codes, len(names))]
    count, there = (np.bincount(some[some >= 0], minlength=len(called)) for some in (code[:members], code))
    named = np.flatnonzero(count >= FEWEST_NAMED)
    small = int(((there > 0) & (count < FEWEST_NAMED)).sum())
    place = np.full(len(called) + 1, len(named))
    place[named], place[-1] = np.arange(len(named)), -1
    listed = [called[one] for one in named.tolist()] + [""] * (small > 0)
    sizes = [1] * len(named) + [small] * (small > 0)
    code = place[code]
    return Grouping(title, tuple(listed), tuple(sizes), code[:members], code[members:])
