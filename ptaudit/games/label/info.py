"""`label`: of which class is a record of the batch?"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ptaudit.spec.attack_classes import AttackClass
from ptaudit.spec.base import Count
from ptaudit.spec.game import GameSpec


class LabelGame(GameSpec):
    """`label`: of which class is a record of the batch?"""

    name: Literal["label"]
    """Which game."""
    fit_batches: Annotated[Count, Field(ge=512)] = 1024
    """Most batches of its own records that the adversary learns from; more tell more, and take longer."""

    attack_classes: ClassVar[tuple[AttackClass, ...]] = ("attribute inference",)
    finds: ClassVar[str] = "tells the class of a record"
    metrics: ClassVar[tuple[str, ...]] = ("bits", "accuracy")
    players: ClassVar[tuple[str, ...]] = ("likelihood-ratio", "combined")
    uses_held_out: ClassVar[bool] = True
