"""What an adversary of each knowledge finds out: `threats.csv`, one row for each view, game and number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from ptaudit.spec.registry import GAMES
from ptaudit.tables.defenses import title_of
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run
from ptaudit.tables.spec import games_of, views_of
from ptaudit.tables.wide import Cell, Sheet

KNOWLEDGE = (
    "batch_size", "rounds", "fixed_batch", "users", "layers", "local_steps", "defense", "weights", "own_records",
)  # fmt: skip
"""What differs between adversaries, as the spec says it."""

_OF_ROW = (
    "trained_with", "view", "game", "layer", "adversary", "knowledge", "knows", "metric", "value", "lo", "hi", "null",
    "ceiling", "detectable", "n", "status",
)  # fmt: skip
COLUMNS = (*KNOWLEDGE, *_OF_ROW)


@dataclass(frozen=True)
class Threat:
    """A number and what its adversary knew."""

    knows: Mapping[str, Cell]
    row: Row


def threats(run: Run) -> list[Threat]:
    """Every row of the last audited epoch of the games about a secret of a batch."""
    views, games = views_of(run.spec_text), games_of(run.spec_text)
    asked = [title for title, game in games.items() if (known := GAMES.get(str(game.get("name")))) and known.has_static]
    rows = run.rows.where(epoch=run.rows.last_epoch, game=asked)
    return [Threat(_knows(views.get(row.view, {}), games[row.game]), row) for row in rows]


def threats_sheet(run: Run) -> Sheet:
    """`threats.csv`."""
    of_row = attrgetter(*_OF_ROW)
    cells = ((*(threat.knows[name] for name in KNOWLEDGE), *of_row(threat.row)) for threat in threats(run))
    return Sheet(COLUMNS, tuple(cells))


def _knows(view: Mapping[str, Any], game: Mapping[str, Any]) -> dict[str, Cell]:
    update, settings = view.get("update") or {}, GAMES[str(game.get("name"))].model_fields
    patterns = view.get("layers") or ["all"]
    return {
        "batch_size": view.get("batch_size", math.nan),
        "rounds": view.get("rounds", 1),
        "fixed_batch": str(bool(view.get("fixed_batch", False))).lower(),
        "users": view.get("users", 1),
        "layers": " ".join(map(str, patterns)),
        "local_steps": update.get("local_steps", math.nan),
        "defense": title_of(view.get("defense")),
        "weights": str(game.get("weights", "exact")),
        "own_records": game.get("own_records") or ("half" if "own_records" in settings else ""),
    }


def swept(run: Run) -> Iterator[str]:
    """What differs between the adversaries of a run."""
    found = [threat.knows for threat in threats(run)]
    for name in KNOWLEDGE:
        if len({str(knows[name]) for knows in found}) > 1:
            yield name
