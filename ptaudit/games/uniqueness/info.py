"""`uniqueness`: how much does a record's gradient stand out from those of all others?"""

from __future__ import annotations

from typing import ClassVar, Literal

from ptaudit.spec.game import GameSpec


class UniquenessGame(GameSpec):
    """`uniqueness`: how much does a record's gradient stand out from those of all others?"""

    name: Literal["uniqueness"]
    """Which game."""

    metrics: ClassVar[tuple[str, ...]] = ("top_share",)
    players: ClassVar[tuple[str, ...]] = ("leave-one-out",)
    scores_records: ClassVar[bool] = True

    @property
    def on_views(self) -> bool:
        """It is played on the trained model."""
        return False
