"""The games of the spec: whatever is in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from ptaudit.games.registry import GAMES
from ptaudit.spec.base import fault
from ptaudit.spec.game import GameSpec
from ptaudit.spec.one_of import OneOf


def _asked_for() -> dict[str, type[GameSpec]]:
    """Games that `audit.games` may have."""
    return {name: game for name, game in GAMES.items() if not game.of_part}


def _refuse(value: Mapping[str, Any]) -> None:
    """Refuses games that another part of the spec asks for."""
    name = value.get("name")
    part = GAMES[name].of_part if isinstance(name, str) and name in GAMES else ""
    if part:
        raise fault(f"`{name}` is played where the spec has `{part}`", at=("name",), remedy=f"add {part}: {{...}}")


Game = Annotated[GameSpec, OneOf(_asked_for, "game", "the name of a game, or {name: ...}", bare=True, refuse=_refuse)]
"""Any of the games."""


def make_game(name: str) -> GameSpec:
    """A game with its defaults."""
    return GAMES[name](name=name)


def default_games() -> list[GameSpec]:
    """What is played where the spec does not say."""
    return [make_game(name) for name in ("identity", "label", "membership")]
