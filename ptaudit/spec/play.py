"""What all games of the spec share: a name, and another where one game is played twice."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from ptaudit.spec.base import Label, Part, fault
from ptaudit.spec.catalog import GAMES


class GameSpec(Part):
    """A game that is played; a bare name will do."""

    name: str
    """Which game."""

    uses_held_out: ClassVar[bool] = False
    """Whether it has a use for the tokens of held-out records."""

    needs_encoder: ClassVar[bool] = False
    """Whether it is played on the tokens of `audit.tokens.encoder`; the others need tokens that can be added up."""

    @property
    def title(self) -> str:
        """Name in the tables."""
        return self.name

    @property
    def adversaries(self) -> tuple[str, ...] | None:
        """Those that play it; None for all that the catalog lists."""
        return None


class Titled(GameSpec):
    """A game that may be played twice."""

    id: Label | None = None
    """Name in the tables and gates, without a dot; default the game's name. Needed where a game is played twice."""

    @property
    def title(self) -> str:
        """Name in the tables."""
        return self.id or self.name

    @model_validator(mode="after")
    def _id_is_free(self) -> Titled:
        if self.id is not None and "." in self.id:
            what = f"the id `{self.id}` of a game has a dot in it"
            raise fault(what, at=("id",), remedy="a gate's metric is `game.metric`: use `-` or `_`")
        if self.id in GAMES and self.id != self.name:
            raise fault(f"the id `{self.id}` is the name of another game", at=("id",), remedy="choose another")
        return self
