"""How each game of the spec is played in an audit: one file each, from a scene to rows."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ptaudit.context.epoch_context import Scene
from ptaudit.spec.catalog import TOKEN_GAMES
from ptaudit.spec.model import Spec
from ptaudit.spec.play import GameSpec
from ptaudit.tables.row import Row
from ptaudit.threads import one_thread
from ptaudit.views import View

__all__ = ["on_model", "on_view"]

OnView = Callable[[Scene, GameSpec, View], list[Row]]
OnModel = Callable[[Scene, GameSpec], list[Row]]


def on_view(game: GameSpec) -> OnView | None:
    """How a game is played on a view; None for one on the model."""
    return _play(game) if game.name in TOKEN_GAMES else None


def on_model(game: GameSpec, spec: Spec) -> OnModel | None:
    """How a game is played on the model, once an epoch; None for one on views. Canaries are both, if they are trained
    on."""
    if game.name == "canary":
        return one_thread()(_file("canary").play_planted) if spec.canaries is not None and spec.canaries.train else None
    return None if game.name in TOKEN_GAMES else _play(game)


def _play(game: GameSpec) -> Any:
    return one_thread()(_file(game.name).play)


def _file(game: str) -> Any:
    """The game's file, imported when it is first needed: some bring large libraries along."""
    return importlib.import_module(f"ptaudit.games.{game.replace('-', '_')}.play")
