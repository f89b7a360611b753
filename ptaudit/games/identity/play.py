"""Which record was in the batch?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ptaudit.attacks.observed_density import Effort
from ptaudit.context.epoch_context import EpochContext, groups_of
from ptaudit.context.observations import adaptive, players, under_noise
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.games.game_play import GamePlay
from ptaudit.games.identity import pool
from ptaudit.games.identity.info import IdentityGame
from ptaudit.games.identity.measure import measure, noise_ceiling, targets_of
from ptaudit.spec.catalog import NOISE_HALF
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.foretold import Foretold, bits, never, share
from ptaudit.views import View
from ptaudit.views.knowledge import Asked
from ptaudit.views.records_needed import too_few

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

    def foretell(self, session: Session, game: IdentityGame, view: View | None) -> Iterator[Foretold]:
        """Whether there are enough records; how many of them fill whole sets of candidates."""
        assert view is not None
        n = len(session.members)
        apart = "" if game.knows == "none" or view.linear else NOT_A_SUM.format(f"the {game.knows}")
        seen = view if game.knows != "others" else alone(view)
        if why := apart or too_few(n, seen):
            yield never(why, n)
            return
        k = min(game.candidates, n // 4)
        targets = 4 * (n // 4 if game.knows == "pool" else targets_of(n // 4, k))
        yield bits(targets, math.log2(k))
        yield share("accuracy", 1.0 / k, targets)

    def multiplies_all(self, game: IdentityGame) -> bool:
        """For who knows nothing of the other records."""
        return game.knows == "none"


def _of_sums(sheet: ScoreSheet, game: IdentityGame, view: View) -> list[Scores]:
    """Scores of adversaries who know nothing of the other records, or all."""
    context, groups, found = sheet.context, groups_of(view, len(sheet.places)), []
    sizes = [scope.parameters for scope in sheet.scopes]
    seen = view if game.knows == "none" else alone(view)
    for knowledge, who in players(context, seen, sheet.places):
        name, estimates = measure(who, groups, sizes, Effort(game.candidates, game.fit_batches), context.seed)
        found.append(sheet.scores(Asked(name, knowledge, game.knows), estimates))
        if game.noise_half and knowledge == "adaptive" and seen.linear and seen.noise_std == 0.0:
            noise = {NOISE_HALF: _noise_half(context, game, seen, estimates["bits"])}
            found.append(sheet.scores(Asked("combined", knowledge, game.knows), noise))
    return found


def alone(view: View) -> View:
    """What is left of a view for who knows the other records, and takes them out."""
    return replace(view, batch_size=1, users=1)


def _noise_half(context: EpochContext, game: IdentityGame, view: View, quiet: Sequence[Estimate]) -> list[Estimate]:
    """The noise that halves what is found, for all layers jointly and for each."""
    places = context.places(view)

    def play(sigma: float) -> list[Estimate]:
        who = under_noise(context, view, places, sigma)
        groups = groups_of(who.view, len(places))
        unknown: list[int | None] = [None] * len(groups)
        return measure(who, groups, unknown, Effort(game.candidates, game.fit_batches), context.seed)[1]["bits"]

    return halving_noise(quiet, play)


def _of_pool(sheet: ScoreSheet, game: IdentityGame, view: View) -> list[Scores]:
    """Scores of the adversary that knows all records a batch is drawn from."""
    who = adaptive(sheet.context, view, sheet.places)
    assert who.algebra is not None
    sizes = [scope.parameters for scope in sheet.scopes]
    found = pool.measure(who.algebra, view, sizes, game.candidates, sheet.context.seed)
    return [sheet.scores(Asked(pool.ADVERSARY, knows="pool"), found)]


GRID = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)
"""Standard deviations on every parameter of the sum, in units of the clip, or of the median norm of the gradients."""

FROM = 0.9
"""Share of the ceiling from which on rows count as tied: noise is asked for from there on."""

UnderNoise = Callable[[float], Sequence[Estimate]]
"""Bits of every line under a noise of so many units."""


def halving_noise(quiet: Sequence[Estimate], play: UnderNoise) -> list[Estimate]:
    """The noise that halves the bits of every line.

    Args:
        quiet: bits of every line without noise.
        play: the same game with noise.

    Returns:
        One estimate a line, in the units of `GRID`; its interval is where the interval of the bits is crossed.
        Inconclusive for lines that are far from their ceiling without noise.
    """
    tied = [e.conclusive and e.value >= FROM * e.ceiling for e in quiet]
    if not any(tied):
        return [inconclusive("far from the ceiling without noise", n=e.n) for e in quiet]
    curves = [play(sigma) for sigma in GRID]
    return [
        _crossing(e, [curve[i] for curve in curves]) if tied[i]
        else inconclusive("far from the ceiling without noise", n=e.n)
        for i, e in enumerate(quiet)
    ]  # fmt: skip


def _crossing(quiet: Estimate, curve: Sequence[Estimate]) -> Estimate:
    """Where bits, and both ends of their interval, fall to half of the ceiling without noise."""
    half = quiet.ceiling / 2.0
    value, lo, hi = (_fall([getattr(e, end) for e in curve], half) for end in ("value", "lo", "hi"))
    return Estimate(value, min(lo, value), max(hi, value), 0.0, math.inf, quiet.n)


def _fall(bits: Sequence[float], half: float) -> float:
    """First noise at which bits are at most `half`, interpolated on its logarithm; the ends of the grid bound it."""
    before_sigma, before = GRID[0], math.inf
    for sigma, value in zip(GRID, bits):
        if value <= half:
            if math.isinf(before):
                return sigma
            share = (before - half) / max(before - value, 1e-12)
            return math.exp(math.log(before_sigma) + share * math.log(sigma / before_sigma))
        before_sigma, before = sigma, value
    return GRID[-1]


PLAY = IdentityPlay()
