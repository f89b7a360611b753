"""`distribution`: with which share of records with the property was the batch drawn?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ptaudit.games.common.settings import AboutValues
from ptaudit.spec.base import unique

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec


class DistributionGame(AboutValues):
    """`distribution`: with which share of records with the property was the batch drawn?"""

    name: Literal["distribution"]
    """Which game."""
    ratios: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2)] = [0.2, 0.8]  # noqa: RUF012
    """The shares in question."""

    finds: ClassVar[str] = "tells with which share of such records it was drawn"

    def wants(self, spec: Spec) -> str:
        """The share."""
        shares = ", ".join(f"{ratio:g}" for ratio in self.ratios)
        return f"guesses which share of the batch has {self.having(spec)} ({shares})"

    @model_validator(mode="after")
    def _ratios_differ(self) -> DistributionGame:
        unique(self.ratios, "ratio", lambda index: ("ratios", index))
        return self
