"""Whether noise with known parameters stands between a secret and a row: only then is a small number more than the
score of one adversary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptaudit.spec.catalog import MODEL_VIEW, NO_DEFENSE
from ptaudit.spec.defenses import settings_of
from ptaudit.tables.columns import Mask
from ptaudit.tables.defenses import title_of
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run
from ptaudit.tables.spec import games_of, plain_spec, views_of
from ptaudit.tables.status import ATTACK_LIMITED, LIMITED
from ptaudit.tables.table import Table


def is_mechanism(defense: object, game: Mapping[str, Any]) -> bool:
    """Whether a defense is noise of known size on what a game is about; both as the spec has them, in plain values.

    Gaussian noise on clipped gradients is, for every secret; randomised labels are for games about the label alone.
    """
    settings = settings_of(defense)
    about_label = game.get("name") == "label" or game.get("secret", "") == "label"
    return settings is not None and settings.is_mechanism(about_label)


def has_mechanism(run: Run, row: Row) -> bool:
    """Whether a row of a run has a mechanism; False where the folder has no spec that says so."""
    spec, game = plain_spec(run.spec_text), games_of(run.spec_text).get(row.game, {"name": row.game})
    if row.trained_with != NO_DEFENSE:
        listed = spec.get("defenses") or ()
        return any(is_mechanism(each, game) for each in listed if title_of(each) == row.trained_with)
    if row.view == MODEL_VIEW:
        train = spec.get("train")
        return isinstance(train, Mapping) and is_mechanism(train.get("defense"), game)
    return is_mechanism(views_of(run.spec_text).get(row.view, {}).get("defense"), game)


def only_by_adversary(run: Run, row: Row) -> bool:
    """Whether nothing but its adversary limits what a row shows."""
    return row.status == ATTACK_LIMITED or (row.status in LIMITED and not has_mechanism(run, row))


def protected(run: Run, rows: Table) -> Mask:
    """Which rows have a mechanism."""
    return rows.ask(lambda row: has_mechanism(run, row), "view", "game", "trained_with")


def limited(run: Run, rows: Table) -> Mask:
    """Which rows nothing but their adversary limits."""
    return rows.ask(lambda row: only_by_adversary(run, row), "view", "game", "trained_with", "status")
