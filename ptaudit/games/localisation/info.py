"""`localisation`: which layer depends most on a secret and on the input?"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ptaudit.games.common.settings import AboutColumn
from ptaudit.spec.base import Count, Text


class LocalisationGame(AboutColumn):
    """`localisation`: which layer depends most on a secret and on the input?"""

    name: Literal["localisation"]
    """Which game."""
    secret: Literal["label", "attribute"] = "attribute"
    """Whose groups are told apart: by the `label`, or an `attribute` of `data.attributes`."""
    attribute: Text | None = None
    """Which attribute; may be left out where there is one only."""
    records: Count = 200
    """Records whose sensitivity is measured."""
    probes: Annotated[Count, Field(ge=2)] = 8
    """Random directions for each record."""

    metrics: ClassVar[tuple[str, ...]] = ("sensitivity", "input_sensitivity", "subspace_distance", "js_distance")
    players: ClassVar[tuple[str, ...]] = ("hutchinson", "principal-angles", "classifier")

    @property
    def on_views(self) -> bool:
        """It is about the model."""
        return False
