"""`property`: does the batch hold a record with the property?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ptaudit.games.common.settings import AboutValues

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec


class PropertyGame(AboutValues):
    """`property`: does the batch hold a record with the property?"""

    name: Literal["property"]
    """Which game."""

    finds: ClassVar[str] = "tells whether a record with the property is in it"

    def wants(self, spec: Spec) -> str:
        """Whether it is there."""
        return f"guesses whether one record of the batch has {self.having(spec)}"
