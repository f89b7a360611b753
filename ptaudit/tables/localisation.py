"""Which layer carries what: `localisation.csv`, a row for each epoch, layer, localisation game and training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ptaudit.spec.catalog import MODEL_VIEW
from ptaudit.spec.registry import GAMES
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run
from ptaudit.tables.spec import games_of, plain_spec, views_of
from ptaudit.tables.status import worst_status
from ptaudit.tables.wide import Cell, Sheet

LAYER = ("epoch", "layer", "layer_index", "layer_type")
METRICS = GAMES["localisation"].metrics
USABLE = {"usable_linear_bits": "linear", "usable_mlp_bits": "mlp"}
"""Column to the family of predictors whose bits it holds."""

PARTS = ("", "_lo", "_hi", "_null")
COLUMNS = (
    *LAYER,
    "game",
    "trained_with",
    *(f"{name}{part}" for name in (*USABLE, *METRICS) for part in PARTS),
    "view",
    "status",
)


def localisation_sheet(run: Run) -> Sheet:
    """The metrics of each localisation game, beside the usable information of the same secret.

    The latter is that on `view`, the view of the smallest batch, undefended ones first; NaN where no such game was
    played, or the folder has no spec that says which game is about the same secret. `trained_with` is the defense of
    the training, where the spec has several. The status is the one of the localisation metrics that asks for most
    caution. Empty where no localisation game was played.
    """
    groups: dict[tuple[str, str, int, str], list[Row]] = {}
    series: dict[tuple[str, str], UsableRows] = {}
    for row in run.rows.where(metric=METRICS, view=MODEL_VIEW):
        groups.setdefault((row.game, row.trained_with, row.epoch, row.layer), []).append(row)
        if (row.game, row.trained_with) not in series:
            series[row.game, row.trained_with] = _usable(run, row.game, row.trained_with)
    return Sheet(COLUMNS, tuple(tuple(_cells(group, series)) for group in groups.values()))


UsableRows = Mapping[tuple[int, str, str], Row]
"""Rows of usable information by epoch, layer and family."""


def _cells(group: list[Row], series: Mapping[tuple[str, str], UsableRows]) -> Iterator[Cell]:
    first, training = group[0], group[0].trained_with
    yield from (getattr(first, name) for name in LAYER)
    yield from (first.game, training)
    beside = [series[first.game, training].get((first.epoch, first.layer, family)) for family in USABLE.values()]
    by_metric = {row.metric: row for row in group}
    for row in (*beside, *(by_metric.get(metric) for metric in METRICS)):
        yield from (row.value, row.lo, row.hi, row.null) if row and row.measured else (math.nan,) * len(PARTS)
    yield next((row.view for row in beside if row), "")
    yield worst_status(row.status for row in group)


def _usable(run: Run, game: str, training: str) -> UsableRows:
    """Bits of usable-information games about the same secret on the view of the smallest batch."""
    games, views = games_of(run.spec_text), views_of(run.spec_text)
    secret = _secret(run, games.get(game, {}))
    same = [title for title, other in games.items() if _is_usable(other) and _secret(run, other) == secret]
    found: dict[str, list[Row]] = {}
    for row in run.rows.where(game=same, metric="bits", view=views, trained_with=training):
        found.setdefault(row.view, []).append(row)
    if secret is None or not found:
        return {}

    def size(view: str) -> tuple[bool, int]:
        return views[view].get("defense") is not None, int(views[view].get("batch_size", 1))

    return {(row.epoch, row.layer, row.adversary): row for row in found[min(found, key=size)]}


def _is_usable(game: Mapping[str, Any]) -> bool:
    return game.get("name") == "usable-information"


def _secret(run: Run, game: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a game is about, e.g. `("attribute", "sex")`; None where the spec does not say."""
    settings = GAMES.get(str(game.get("name")))
    if settings is None or "secret" not in settings.model_fields:
        return None
    if (kind := game.get("secret", settings.model_fields["secret"].default)) == "label":
        return "label", ""
    attributes = (plain_spec(run.spec_text).get("data") or {}).get("attributes") or [""]
    return kind, str(game.get("attribute") or attributes[0])
