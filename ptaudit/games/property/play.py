"""Does the batch hold a record with the property?"""

from __future__ import annotations

from collections.abc import Iterator

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.session import Session
from ptaudit.games.common.batch_secret import FoundByAdversary
from ptaudit.games.common.batch_secret_play import ProbedPlay
from ptaudit.games.common.column import check_values, with_property
from ptaudit.games.common.observed_view import ObservedView
from ptaudit.games.property.info import PropertyGame
from ptaudit.games.property.measure import LEAST_WITH, measure


class PropertyPlay(ProbedPlay[PropertyGame]):
    """All layers jointly and each, by every adversary."""

    def measure(self, context: EpochContext, game: PropertyGame, observed: ObservedView) -> FoundByAdversary:
        """What every family finds."""
        has, others = with_property(context.session, game)
        return measure(has, observed.beside(others), game.adversary)

    def check(self, session: Session, game: PropertyGame) -> None:
        """Refuses properties that do not divide the records."""
        super().check(session, game)
        check_values(session, game)

    def inconclusive(self, session: Session, game: PropertyGame) -> Iterator[str]:
        """Whether enough records have the property."""
        many = int(with_property(session, game)[0].sum())
        if many < LEAST_WITH:
            yield (
                f"Game {game.title} will be inconclusive: it needs {LEAST_WITH} audited records with the property, "
                f"there are {many}."
            )


PLAY = PropertyPlay()
