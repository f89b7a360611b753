"""Lists in the place of one number: a view, a game or a defense for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from ptaudit.errors import SpecError
from ptaudit.spec.document import Loc, YamlDocument
from ptaudit.spec.registry import DEFENSES, GAMES

_VIEWS = {"batch_size": "m", "rounds": "r", "users": "u", "fixed_batch": "fixed"}


def unfold(document: YamlDocument) -> None:
    """Put an entry for every combination in the place of one with lists; each keeps its place in the file.

    The entries of a view are named by what differs, e.g. `batch-m8-r2`; so are those of a game, by its `id`. Defenses
    are named by their strength anyway.
    """
    values = document.values
    audit = values.get("audit")
    if isinstance(audit, dict):
        _unfold(document, ("audit",), "views", _VIEWS, "name")
        _unfold(document, ("audit",), "games", _of_games(), "id")
    _unfold(document, (), "defenses", _strengths(), None)


def _strengths() -> dict[str, str]:
    """Settings of defenses that say how strong they are; values stand in names as they are."""
    return {part.parameter: "" for part in DEFENSES.classes.values() if part.parameter}


def _of_games() -> dict[str, str]:
    """Settings of games that may be lists."""
    return {key: prefix for game in GAMES.values() for key, prefix in game.lists.items()}


MOST_ENTRIES = 200
"""Most views, games or defenses of a spec, those that lists make counted each."""


def _unfold(document: YamlDocument, above: Loc, key: str, names: Mapping[str, str], title: str | None) -> None:
    part = document.values
    for step in above:
        part = part[step]
    entries = part.get(key)
    if not isinstance(entries, list):
        return
    here = (*above, key)
    _check_count(document, here, entries, names)
    if not any(_has_lists(entry, names) for entry in entries):
        return
    unfolded = [(i, one) for i, entry in enumerate(entries) for one in _each(entry, names, title)]
    old = {loc: where for loc, where in document.places.items() if loc[: len(here)] == here and len(loc) > len(here)}
    for loc in old:
        del document.places[loc]
    for j, (i, _) in enumerate(unfolded):
        for loc, where in old.items():
            if loc[len(here)] == i:
                document.places[(*here, j, *loc[len(here) + 1 :])] = where
    part[key] = [one for _, one in unfolded]


def _check_count(document: YamlDocument, here: Loc, entries: list[Any], names: Mapping[str, str]) -> None:
    counts = [_count(entry, names) for entry in entries]
    if sum(counts) <= MOST_ENTRIES:
        return
    largest = counts.index(max(counts))
    what, remedy = f"{here[-1]} has {len(counts):,} entries (at most {MOST_ENTRIES})", "split it into several specs"
    if counts[largest] > 1:
        what = (
            f"the lists make {counts[largest]:,} entries of this one, {sum(counts):,} in all (at most {MOST_ENTRIES})"
        )
        remedy = "shorten the lists: every combination is played"
    raise SpecError(what, where=document.where((*here, largest)), remedy=remedy)


def _count(entry: Any, names: Mapping[str, str]) -> int:
    """How many entries the lists of one make."""
    if not isinstance(entry, dict):
        return 1
    inside = entry.get("defense")
    lists = [entry[key] for key in _swept(entry, names)]
    lists += [inside[key] for key in _swept(inside, _strengths())] if isinstance(inside, dict) else []
    return math.prod(map(len, lists))


def _has_lists(entry: Any, names: Mapping[str, str]) -> bool:
    inside = entry.get("defense") if isinstance(entry, dict) else None
    return bool(_swept(entry, names) or _swept(inside, _strengths()))


def _swept(entry: Any, names: Mapping[str, str]) -> list[str]:
    """Keys with lists; a list without values is left for the check of types."""
    if not isinstance(entry, dict):
        return []
    return [key for key in names if isinstance(entry.get(key), list) and entry[key]]


def _each(entry: Any, names: Mapping[str, str], title: str | None) -> Iterator[Any]:
    if not isinstance(entry, dict):
        yield entry  # for the check of types
        return
    lists, inside = _swept(entry, names), entry.get("defense")
    for chosen in product(*(entry[key] for key in lists)):
        parts = [_part(names[key], value) for key, value in zip(lists, chosen)]
        # A defense inside a view has lists of its own.
        for defense in _each(inside, _strengths(), None) if isinstance(inside, dict) else [None]:
            one = {**entry, **dict(zip(lists, chosen))} if lists else entry
            strengths = [defense[key] for key in _swept(inside, _strengths())] if defense else []
            one = {**one, "defense": defense} if strengths else one
            base = entry.get(title, entry.get("name")) if title else None
            if isinstance(base, str) and title and (lists or strengths):
                one = {**one, title: "-".join([base, *filter(None, [*parts, *(_part("", s) for s in strengths)])])}
            yield one


def _part(prefix: str, value: Any) -> str:
    """What an entry is called by; nothing for what a flag leaves as it is."""
    if isinstance(value, bool):
        return prefix if value else ""
    return f"{prefix}{'all' if value is None else value}"
