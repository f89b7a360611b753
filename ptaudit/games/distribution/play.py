"""With which share of records with a property was the batch drawn?"""

from __future__ import annotations

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.session import Session
from ptaudit.games.common.batch_secret import FoundByAdversary
from ptaudit.games.common.batch_secret_play import ProbedPlay
from ptaudit.games.common.column import check_values, with_property
from ptaudit.games.common.observed_view import ObservedView
from ptaudit.games.distribution.info import DistributionGame
from ptaudit.games.distribution.measure import measure


class DistributionPlay(ProbedPlay[DistributionGame]):
    """All layers jointly and each, by every adversary."""

    def measure(self, context: EpochContext, game: DistributionGame, observed: ObservedView) -> FoundByAdversary:
        """What every family finds."""
        has, others = with_property(context.session, game)
        return measure(has, game.ratios, observed.beside(others), game.adversary)

    def check(self, session: Session, game: DistributionGame) -> None:
        """Refuses properties that do not divide the records."""
        super().check(session, game)
        check_values(session, game)


PLAY = DistributionPlay()
