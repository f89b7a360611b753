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
from ptaudit.games.property.measure import measure, why_not
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View


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

    def foretell(self, session: Session, game: PropertyGame, view: View | None) -> Iterator[Foretold]:
        """Whether enough records have the property, and enough have not. Many games of each record are averaged: how
        much is left for chance is only known after the run."""
        assert view is not None
        has, _ = with_property(session, game)
        if why := why_not(has, view, game.own_records):
            yield never(why, len(has))


PLAY = PropertyPlay()
