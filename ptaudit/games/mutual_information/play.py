"""How much do the data of a record and the gradient of its batch have in common?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.games.common.observed_view import encoded_view, left_to_games, too_few_encoded, why_not_encoded
from ptaudit.games.game_play import GamePlay
from ptaudit.games.identity.measure import noise_ceiling
from ptaudit.games.mutual_information.info import MutualInformationGame
from ptaudit.games.mutual_information.measure import measure, upper
from ptaudit.spec.catalog import CHANNEL
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View


class MutualInformationPlay(GamePlay[MutualInformationGame]):
    """All layers jointly and each, by every estimator; the upper bound where the view has noise."""

    def on_view(self, context: EpochContext, game: MutualInformationGame, view: View) -> list[Scores]:
        """Scores on a view."""
        sheet = ScoreSheet.of(context, game, view)
        if why := why_not_encoded(context, view, sheet.places):
            return sheet.lost(game.estimator, why)
        seen = encoded_view(context, view, sheet.places)
        # The joint row of the sketches is its last one: all layers side by side, or with noise the whole gradient's.
        order = [group[-1] for group in seen.groups]
        options: dict[str, dict[str, int | str]] = {name: _options(game, name) for name in game.estimator}
        sizes = [scope.parameters for scope in sheet.scopes]
        encoded = replace(seen, encode=lambda views: seen.encode(views)[order])
        most = [noise_ceiling(view, size) for size in sizes]
        found = measure(encoded, context.features(game.features), most, options, context.seed)
        scores = [sheet.scores(name, found[name]) for name in game.estimator]
        if view.noise_std > 0.0:
            scores.append(sheet.scores(CHANNEL, {"upper_bits": upper(view, sizes)}))
        return scores + sheet.not_captured(game.estimator)

    def foretell(self, session: Session, game: MutualInformationGame, view: View | None) -> Iterator[Foretold]:
        """Whether there are enough records; the error of an estimator is only known after the run."""
        assert view is not None
        if why := too_few_encoded(session, view):
            yield never(why, left_to_games(session))


def _options(game: MutualInformationGame, estimator: str) -> dict[str, int | str]:
    """What the spec says of an estimator's options; the others are as the estimator has them."""
    return {name: getattr(game, name) for name in ESTIMATORS[estimator].options if hasattr(game, name)}


PLAY = MutualInformationPlay()
