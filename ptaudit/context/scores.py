"""What a game found on a view: numbers for each adversary, and reasons where there are none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ptaudit.context.epoch_context import EpochContext, Scope, layer_scope
from ptaudit.context.layer_patterns import audited, shared
from ptaudit.context.observations import why_not_seen
from ptaudit.spec.catalog import MODEL_VIEW, NOISE_HALF
from ptaudit.spec.game import GameSpec
from ptaudit.stats.estimate import Estimate, inconclusive, not_captured
from ptaudit.views import View
from ptaudit.views.knowledge import Asked

Found = Mapping[str, Sequence[Estimate]]
"""Metric to one estimate for each scope."""


@dataclass(frozen=True)
class Scores:
    """What one adversary found.

    Attributes:
        view: name of the view.
        adversary: who, and what it knows.
        scopes: what the estimates are about.
        found: metric to one estimate for each scope.
    """

    view: str
    adversary: Asked
    scopes: Sequence[Scope]
    found: Found


@dataclass(frozen=True)
class ScoreSheet:
    """A game on a view of an epoch, or on the model: makes its scores.

    Attributes:
        context: the epoch.
        game: the game.
        view: the view; None for the model.
        places: captured layers that are seen, as rows of the tokens.
    """

    context: EpochContext
    game: GameSpec
    view: View | None
    places: list[int]

    @classmethod
    def of(cls, context: EpochContext, game: GameSpec, view: View | None = None) -> ScoreSheet:
        """The sheet of a view, or of the model."""
        places = list(range(len(context.inside.layers))) if view is None else context.places(view)
        return cls(context, game, view, places)

    @property
    def scopes(self) -> list[Scope]:
        """All layers jointly, then each."""
        return self.context.scopes(self.places)

    @property
    def name(self) -> str:
        """Name of the view."""
        return MODEL_VIEW if self.view is None else self.view.name

    def why_not(self, late: bool = False) -> str:
        """Why nothing can be said of the view, or not with late weights; empty if something can."""
        if self.view is None:
            return "" if self.places else "no layer is captured"
        return self.context.why_not(self.view, self.places) or why_not_seen(self.context, self.view, late)

    def scores(self, adversary: str | Asked, found: Found, scopes: Sequence[Scope] | None = None) -> Scores:
        """What an adversary found, of all scopes or some; by name alone it knows the view as it is, and no record."""
        who = adversary if isinstance(adversary, Asked) else Asked(adversary)
        return Scores(self.name, who, self.scopes if scopes is None else scopes, found)

    def lost(self, adversaries: Iterable[str | Asked], why: str, metrics: Sequence[str] | None = None) -> list[Scores]:
        """Scores of a game that could not be played at all, those of layers that are not captured included.

        Args:
            adversaries: who would play.
            why: why nobody can.
            metrics: what they would report; default the first two of the game.
        """
        players, unknown = list(adversaries), inconclusive(why)
        found = {metric: [unknown] * len(self.scopes) for metric in metrics or self.game.metrics[:2]}
        return [self.scores(adversary, found) for adversary in players] + self.not_captured(players, metrics)

    def not_captured(self, adversaries: Iterable[str | Asked], metrics: Sequence[str] | None = None) -> list[Scores]:
        """Scores for each layer whose gradient could not be read: it leaks, nobody knows how much.

        Args:
            adversaries: who plays.
            metrics: what they report; default all but those that are no score of an adversary.
        """
        players = list(adversaries)
        named = [m for m in self.game.metrics if m not in ("upper_bits", NOISE_HALF)] if metrics is None else metrics
        found = []
        for layer in self.context.layers:
            seen = self.view is None or shared(self.view, layer.name)
            if layer.capture == "none" and seen and audited(self.context.session.spec, layer.name):
                why = [not_captured(layer.reason)]
                each = dict.fromkeys(named, why)
                found += [self.scores(adversary, each, [layer_scope(layer)]) for adversary in players]
        return found
