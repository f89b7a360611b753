"""How a game is played, and what its records must be like: one subclass in each `games/NAME/play.py`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.groups import GroupScore
from ptaudit.context.scores import Scores
from ptaudit.context.session import Session
from ptaudit.spec.game import GameSpec
from ptaudit.stats.estimate import Estimate
from ptaudit.stats.foretold import Foretold
from ptaudit.threads import one_thread
from ptaudit.views import View

G = TypeVar("G", bound=GameSpec)

Epochs = Mapping[str, Mapping[int, Estimate]]
"""Metric to epoch to estimate."""


class GamePlay(Generic[G]):
    """Plays one game; its file holds an instance as `PLAY`. What is not overridden needs nothing and says nothing."""

    def on_view(self, context: EpochContext, game: G, view: View) -> list[Scores]:
        """Scores on a view, of games that are played on views."""
        raise NotImplementedError

    def on_model(self, context: EpochContext, game: G) -> list[Scores]:
        """Scores on the model, of games that are played once an epoch."""
        raise NotImplementedError

    def groups(self, context: EpochContext, game: G) -> list[GroupScore]:
        """Numbers of groups of records, of a game on the model that was just played."""
        return []

    def check(self, session: Session, game: G) -> None:
        """Refuses records that the game does not fit.

        Raises:
            PtauditError: what is wrong with them, or with settings that they leave without use.
        """

    def over_epochs(self, game: G, found: Epochs) -> Epochs:
        """What follows from the numbers of single epochs for the training as a whole, up to each of them.

        Args:
            game: its settings.
            found: metric to audited epoch to estimate, of one adversary on one layer of one view.
        """
        return {}

    def foretell(self, session: Session, game: G, view: View | None) -> Iterator[Foretold]:
        """What its numbers on a view, or on the model, will be able to show, and which will be inconclusive, from the
        spec and the numbers of records alone; nothing, where that is only known after the run."""
        return iter(())

    def trials(self, session: Session, game: G) -> Sequence[tuple[G, float]]:
        """Games that are played to see how long it takes: their seconds, each so many times, add up to its own."""
        return [(game, 1.0)]

    def most_bits(self, session: Session, game: G, view: View, parameters: int) -> float | None:
        """The ceiling of its bits on a view of so many parameters; None where it is not known beforehand."""
        return None

    def tried_inputs(self, session: Session, game: G) -> int:
        """How many copies of every record it holds, each with another value of an input."""
        return 0

    def learns_from_held_out(self, session: Session, game: G) -> bool:
        """Whether its adversary learns from the gradients of held-out records beside those of members."""
        return False

    def multiplies_all(self, game: G) -> bool:
        """Whether its adversary takes the inner products of the gradients of all records."""
        return False


def play_of(game: GameSpec) -> GamePlay[Any]:
    """How a game is played; its file is imported when it is first needed: some bring large libraries along."""
    package = type(game).__module__.rpartition(".")[0]
    found: GamePlay[Any] = importlib.import_module(f"{package}.play").PLAY
    return found


def run_game(context: EpochContext, game: GameSpec, view: View | None = None) -> Sequence[Scores]:
    """Scores of a game on a view, or on the model, computed on one thread."""
    play = play_of(game)
    with one_thread():
        return play.on_model(context, game) if view is None else play.on_view(context, game, view)
