"""Which record was in the batch?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ptaudit.attacks.observed_density import Effort
from ptaudit.context.epoch_context import EpochContext, groups_of
from ptaudit.context.observations import adaptive, players, under_noise
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.games.game_play import GamePlay
from ptaudit.games.identity import noise_half, pool
from ptaudit.games.identity.info import IdentityGame
from ptaudit.games.identity.measure import measure, noise_ceiling
from ptaudit.spec.catalog import NOISE_HALF
from ptaudit.stats.estimate import Estimate
from ptaudit.views import View
from ptaudit.views.knowledge import Asked

NOT_A_SUM = "an adversary that knows {} needs a view that is a sum of the records' gradients"


class IdentityPlay(GamePlay[IdentityGame]):
    """All layers jointly and each; a static adversary too, where the view has a defense."""

    def on_view(self, context: EpochContext, game: IdentityGame, view: View) -> list[Scores]:
        """Scores on a view."""
        sheet = ScoreSheet.of(context, game, view)
        lost = [Asked(game.adversaries[0], knows=game.knows)]
        why = sheet.why_not()
        if not why and game.knows != "none" and not view.linear:
            why = NOT_A_SUM.format(f"the {game.knows}")
        if why:
            return sheet.lost(lost, why)
        found = _of_pool(sheet, game, view) if game.knows == "pool" else _of_sums(sheet, game, view)
        return found + sheet.not_captured(lost)

    def most_bits(self, session: Session, game: IdentityGame, view: View, parameters: int) -> float | None:
        """All candidates told apart, or what the noise lets through."""
        k = min(game.candidates, len(session.members) // 4)
        return min(math.log2(max(k, 1)), noise_ceiling(view, parameters))

    def multiplies_all(self, game: IdentityGame) -> bool:
        """For who knows nothing of the other records."""
        return game.knows == "none"


def _of_sums(sheet: ScoreSheet, game: IdentityGame, view: View) -> list[Scores]:
    """Scores of adversaries who know nothing of the other records, or all."""
    context, groups, found = sheet.context, groups_of(view, len(sheet.places)), []
    sizes = [scope.parameters for scope in sheet.scopes]
    seen = view if game.knows == "none" else replace(view, batch_size=1, users=1)
    for knowledge, who in players(context, seen, sheet.places):
        name, estimates = measure(who, groups, sizes, Effort(game.candidates, game.fit_batches), context.seed)
        found.append(sheet.scores(Asked(name, knowledge, game.knows), estimates))
        if game.noise_half and knowledge == "adaptive" and seen.linear and seen.noise_std == 0.0:
            noise = {NOISE_HALF: _noise_half(context, game, seen, estimates["bits"])}
            found.append(sheet.scores(Asked("combined", knowledge, game.knows), noise))
    return found


def _noise_half(context: EpochContext, game: IdentityGame, view: View, quiet: Sequence[Estimate]) -> list[Estimate]:
    """The noise that halves what is found, for all layers jointly and for each."""
    places = context.places(view)

    def play(sigma: float) -> list[Estimate]:
        who = under_noise(context, view, places, sigma)
        groups = groups_of(who.view, len(places))
        unknown: list[int | None] = [None] * len(groups)
        return measure(who, groups, unknown, Effort(game.candidates, game.fit_batches), context.seed)[1]["bits"]

    return noise_half.measure(quiet, play)


def _of_pool(sheet: ScoreSheet, game: IdentityGame, view: View) -> list[Scores]:
    """Scores of the adversary that knows all records a batch is drawn from."""
    who = adaptive(sheet.context, view, sheet.places)
    assert who.algebra is not None
    sizes = [scope.parameters for scope in sheet.scopes]
    found = pool.measure(who.algebra, view, sizes, game.candidates, sheet.context.seed)
    return [sheet.scores(Asked(pool.ADVERSARY, knows="pool"), found)]


PLAY = IdentityPlay()
