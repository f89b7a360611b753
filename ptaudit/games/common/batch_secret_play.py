"""What the games about a secret of a batch share: which views they are played on, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TypeVar

from ptaudit.context.epoch_context import EpochContext, groups_of
from ptaudit.context.observations import observations, undefended, wider
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.errors import SpecError
from ptaudit.games.common.batch_secret import FoundByAdversary
from ptaudit.games.common.observed_view import FIT_GAMES, ObservedView, asked
from ptaudit.games.common.settings import BatchSecretGame, ProbedGame
from ptaudit.games.game_play import GamePlay
from ptaudit.views import View
from ptaudit.views.knowledge import Asked, Knows

G = TypeVar("G", bound=ProbedGame)


def observed_by(
    sheet: ScoreSheet, late: bool = False, own: int | None = None, batches: int = FIT_GAMES
) -> ObservedView:
    """What is observed of a view, by whom; unless it has late weights, or so many records of its own, the adversary may
    learn from held-out records too.
    """
    context, view, places = sheet.context, sheet.view, sheet.places
    assert view is not None
    seen = observations(context, view, places, late)
    more = None if late or own is not None else cache(partial(wider, context, view, places))
    return ObservedView(
        view, seen.now, seen.known, seen.plain, groups_of(view, len(places)), context.seed, late, own, batches, more
    )


def players_of(game: BatchSecretGame, view: View, families: Sequence[str], knows: Knows = "none") -> list[Asked]:
    """Every family, as an adversary who knows the view and as one who does not, where it has a defense."""
    return asked(families, None if undefended(view) == view else view, game.weights == "late", knows)


def play(
    sheet: ScoreSheet, players: Sequence[Asked], late: bool, measure: Callable[[], FoundByAdversary]
) -> list[Scores]:
    """Scores of all layers jointly and of each, by every player; static ones too where the view has a defense.

    Args:
        sheet: the game on a view.
        players: who plays.
        late: whether they know the weights of the epoch before alone.
        measure: what each finds.
    """
    if why := sheet.why_not(late):
        return sheet.lost(players, why)
    by_key = {who.key: who for who in players}
    return [sheet.scores(by_key[key], each) for key, each in measure().items()] + sheet.not_captured(players)


class ProbedPlay(GamePlay[G]):
    """A game that is played by classifiers of what is seen."""

    def check(self, session: Session, game: G) -> None:
        """Refuses more records of its own than there are."""
        most = len(session.members) // 2
        if game.own_records is not None and game.own_records > most:
            what = f"own_records {game.own_records} is more than half of the {len(session.members)} audited records"
            raise SpecError(what, where=f"game {game.title}", remedy=f"at most {most}, or audit more records")

    def learns_from_held_out(self, session: Session, game: G) -> bool:
        """Unless the spec says how many records it has."""
        return game.own_records is None

    def on_view(self, context: EpochContext, game: G, view: View) -> list[Scores]:
        """Scores on a view."""
        sheet, late = ScoreSheet.of(context, game, view), game.weights == "late"
        players = players_of(game, view, game.adversary)

        def found() -> FoundByAdversary:
            return self.measure(context, game, observed_by(sheet, late, game.own_records, game.fit_batches))

        return play(sheet, players, late, found)

    def measure(self, context: EpochContext, game: G, observed: ObservedView) -> FoundByAdversary:
        """What every family finds."""
        raise NotImplementedError
