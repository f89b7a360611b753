"""What the games about a secret of a batch share: which views they are played on, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

from torch import Tensor

from ptaudit.context.epoch_context import EpochContext, groups_of
from ptaudit.context.observations import Observations, observations, undefended, wider
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.errors import SpecError
from ptaudit.games.common.batch_secret import Found
from ptaudit.games.common.observed_view import HeldOut, ObservedView, asked
from ptaudit.games.common.settings import BatchSecretGame, ProbedGame
from ptaudit.games.game_play import GamePlay
from ptaudit.views import View
from ptaudit.views.knowledge import Asked, Knows
from ptaudit.views.observation import Observation

G = TypeVar("G", bound=ProbedGame)


@dataclass(frozen=True)
class ViewGame:
    """What a game is played with on one view.

    Attributes:
        places: the layers that the view shares, as rows of the tokens.
        observations: what is seen of batches.
        groups: for each scope the rows its adversary may choose from.
        late: whether its weights are those of the epoch before.
        wider: what is seen of members and of held-out records after them, see `observations.wider`.
    """

    places: list[int]
    observations: Observations
    groups: list[list[int]]
    late: bool
    wider: Callable[[], Observation | None]

    def observed(self, view: View, game: ProbedGame, seed: int, others: Tensor | None = None) -> ObservedView:
        """What is observed, by whom; with the secret of held-out records, unless the spec says how many records of its
        own the adversary has."""
        alone = self.late or game.own_records is not None or others is None or len(others) == 0
        held_out = None if alone or others is None else HeldOut(others, self.wider)
        seen = self.observations
        return ObservedView(
            view, seen.now, seen.known, seen.plain, self.groups, seed, self.late, game.own_records, game.fit_batches,
            held_out,
        )  # fmt: skip


def players_of(game: BatchSecretGame, view: View, families: Sequence[str], knows: Knows = "none") -> list[Asked]:
    """Every family, as an adversary who knows the view and as one who does not, where it has a defense."""
    return asked(families, None if undefended(view) == view else view, game.weights == "late", knows)


def play(
    sheet: ScoreSheet, game: BatchSecretGame, view: View, players: Sequence[Asked], measure: Callable[[ViewGame], Found]
) -> list[Scores]:
    """Scores of all layers jointly and of each, by every player; static ones too where the view has a defense."""
    context, places, late = sheet.context, sheet.places, game.weights == "late"
    if why := sheet.why_not(late):
        return sheet.lost(players, why)
    more = cache(partial(wider, context, view, places))
    found = measure(
        ViewGame(places, observations(context, view, places, late), groups_of(view, len(places)), late, more)
    )
    by_key = {who.key: who for who in players}
    return [sheet.scores(by_key[key], each) for key, each in found.items()] + sheet.not_captured(players)


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
        sheet = ScoreSheet.of(context, game, view)
        players = players_of(game, view, game.adversary)
        return play(sheet, game, view, players, lambda board: self.measure(context, game, view, board))

    def measure(self, context: EpochContext, game: G, view: View, board: ViewGame) -> Found:
        """What every family finds."""
        raise NotImplementedError
