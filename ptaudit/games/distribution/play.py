"""With which share of records with a property was the batch drawn?"""

from __future__ import annotations

from collections.abc import Iterator

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.session import Session
from ptaudit.games.common.batch_secret import FoundByAdversary
from ptaudit.games.common.batch_secret_play import ProbedPlay
from ptaudit.games.common.column import check_values, with_property
from ptaudit.games.common.observed_view import ObservedView
from ptaudit.games.distribution.info import DistributionGame
from ptaudit.games.distribution.measure import ceiling, measure, why_not
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View


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

    def foretell(self, session: Session, game: DistributionGame, view: View | None) -> Iterator[Foretold]:
        """Whether enough records have the property, and enough have not; and what the batches themselves tell."""
        assert view is not None
        has, _ = with_property(session, game)
        if why := why_not(has, game.ratios, view, game.own_records):
            yield never(why, len(has))
        else:
            yield Foretold("bits", ceiling=ceiling(game.ratios, view.records * view.batches))


PLAY = DistributionPlay()
