"""The white-box adversary of the identity game: a likelihood ratio, calibrated on the adversary's own records.

She knows the weights, so she can compute the token of any candidate, and owns records of the same population. From
these she fits the density of the interference (the other records of the batch, plus noise), chooses a member of her
family and calibrates it by playing the game against herself. She never sees the reporting records before the game.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.adversaries.calibration import Calibration, at, calibrated_gain, shifted, top_hit, uniform, unseen
from ptaudit.adversaries.interference import (
    GAUSSIAN,
    PLAIN_DEGREES,
    RADIAL_DEGREES,
    STUDENT_DEGREES,
    Interference,
    fit_gaussian,
    fit_noise,
    next_student,
)
from ptaudit.adversaries.rehearsal import (
    FOLD_GAMES,
    Member,
    Rehearsal,
    Rows,
    coordinates_of,
    prepare,
    roles,
    rows_of,
)
from ptaudit.adversaries.sighted import TAILS, Gained, Window, doubled, draw
from ptaudit.adversaries.sighted import fits as fits_on_sight
from ptaudit.views.aggregate import add_noise, draw_others, observe, sums
from ptaudit.views.view import View

SUB_TOKENS = (16, 64)
"""Sizes of the sub-tokens in the family, beside all coordinates."""

_GAUSSIANS = 2

Density = Interference | Gained


@dataclass(frozen=True)
class Posterior:
    """A fitted and calibrated adversary for R rows.

    Attributes:
        parts: rows that chose the same member, that member, its coordinates and its fitted interference.
        real: calibration on games with the true secret.
        shuffled: calibration of the same member on games with the secret shuffled, for the null.
        fold_bits: mean bits of the choice on the adversary's own folds, `(R,)`.
        full: whether a row chose all coordinates, `(R,)`.
        trials: the games that it was calibrated on, scored by the chosen members.
    """

    parts: tuple[tuple[Rows, Member, Tensor, Density], ...]
    real: Calibration
    shuffled: Calibration
    fold_bits: Tensor
    full: Tensor
    trials: tuple[Trial, ...] = ()

    def scores(self, views: Sequence[Tensor], candidates: Tensor) -> Tensor:
        """Log-likelihoods of every candidate under the chosen members, less the largest: `(R, G, K)` float32.

        Args:
            views: per round, `(R, G, k)`.
            candidates: `(R, K, k)`.
        """
        low = candidates.new_empty(len(candidates), views[0].shape[1], candidates.shape[1], dtype=torch.float32)
        for mine, member, coordinates, density in self.parts:
            some = [rows_of(view, mine) for view in views]
            distances = distances_of(density, some, rows_of(candidates, mine), coordinates)
            low[list(mine)] = shifted(member.scores(distances))
        return low

    def play(self, views: Sequence[Tensor], candidates: Tensor, secret: Tensor, wrong: Tensor) -> Outcome:
        """Name the posterior of every game and score it.

        Args:
            views: per round, `(R, G, k)`.
            candidates: `(R, K, k)`.
            secret: index of the true candidate, `(G,)`.
            wrong: index of the candidate that shuffling puts in its place, `(G,)`.
        """
        rows, games, k = len(candidates), len(secret), candidates.shape[1]
        scored = candidates.new_zeros(3, rows, games)
        rivals = candidates.new_zeros(3, rows, k)
        prior = uniform(k, candidates)
        for mine, member, coordinates, density in self.parts:
            part, some = list(mine), [rows_of(view, mine) for view in views]
            low = shifted(member.scores(distances_of(density, some, rows_of(candidates, mine), coordinates)))
            real, null = self.real.at(part), self.shuffled.at(part)
            scored[0, part] = calibrated_gain(low, prior, real, secret)
            scored[1, part] = top_hit(low, secret)
            scored[2, part] = calibrated_gain(low, prior, null, wrong)
            rivals[:2, part] = rival_losses(low, secret, real)
        return Outcome(scored, rivals)


@dataclass(frozen=True)
class Trial:
    """Games that an adversary has played against itself with records on which its densities were not fitted.

    Attributes:
        candidates: indices of the candidates among its records, `(K,)`.
        members: records of each batch, `(r, G, m)`.
        secret: index of the true candidate, `(G,)`.
        scores: log-likelihoods of the chosen members, `(R, G, K)` float32.
    """

    candidates: Tensor
    members: Tensor
    secret: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Outcome:
    """Scores of G games among K candidates, for R rows; the first axis is bits, hits, null bits.

    Attributes:
        scored: score of each game, `(3, R, G)`.
        rivals: mean change of the score of the other candidates' games through this candidate's presence, `(3, R, K)`;
            0 for the null.
    """

    scored: Tensor
    rivals: Tensor


def rival_losses(low: Tensor, secret: Tensor, calibration: Calibration) -> Tensor:
    """What each candidate takes from the games of the others, in bits and in hits: `(2, R, K)`, from shifted scores.

    Without candidate j the posterior of the target would be larger by 1 / (1 - p_j); a hit is lost where j alone comes
    before the target.
    """
    k = low.shape[-1]
    place = secret[None, :, None].expand(len(low), -1, 1)
    p = (low * calibration.slope[:, None, None].float()).exp_()
    p /= (p @ p.new_ones(k))[..., None]
    mixed = (1.0 - calibration.share)[:, None] * at(p, secret)
    felt = mixed / (mixed + calibration.share[:, None] / k)
    # Its own games say nothing of what a candidate takes from others.
    kept = p.scatter_(-1, place, 0.0).clamp_max_(1.0 - 1e-6).neg_().add_(1.0).log_()
    lost_bits = (felt.float()[:, None] @ kept).squeeze(1) / math.log(2.0)
    ahead = (low > at(low, secret)[..., None]).float()
    alone = ahead @ ahead.new_ones(k) == 1.0
    lost_hits = -(alone.float()[:, None] @ ahead).squeeze(1)
    return torch.stack([lost_bits, lost_hits]).double() / (len(secret) * (1.0 - 1.0 / k))


def distances_of(density: Density, views: Sequence[Tensor], candidates: Tensor, coordinates: Tensor) -> list[Tensor]:
    """Squared distances of each round on some coordinates: a list of r tensors `(R, G, K)`."""
    known = coordinates_of(candidates, coordinates)
    return [density.distances(coordinates_of(view, coordinates), known) for view in views]


def sub_token(k: int, size: int) -> Tensor:
    """`size` coordinates spread evenly over k. Of a 16x16 token, 16 of them are its diagonal."""
    return torch.linspace(0, k - 1, size).round().long()


def sub_tokens(k: int) -> list[Tensor]:
    """Coordinate sets of the family."""
    return [sub_token(k, size) for size in SUB_TOKENS if size < k] + [torch.arange(k)]


def fits(tokens: Tensor, view: View, sets: Sequence[Tensor], seed: int) -> Callable[[int, Rows], Interference]:
    """Densities fitted on the given tokens `(R, n, k)` when they are first asked for, by place and rows.

    Places are set by set of coordinates; within a set, see `_tails`. A Student-t starts from the one before it.
    """
    kinds = len(_tails(view))

    @functools.cache
    def seen(place: int, rows: Rows) -> Tensor:
        return coordinates_of(rows_of(tokens, rows), sets[place // kinds])

    @functools.cache
    def resampled(place: int, rows: Rows) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        n = tokens.shape[1]
        drawn = draw_others(n, min(1024, max(256, n)), view.others, generator)
        return add_noise(sums(seen(place, rows), drawn), view.noise_std, generator)

    @functools.cache
    def fitted(place: int, rows: Rows) -> Interference:
        if view.others == 0:
            return fit_noise(rows_of(tokens, rows), view.noise_std)
        kind = place % kinds
        first = place - kind
        if kind < _GAUSSIANS:
            return fit_gaussian(seen(first, rows), view.others, view.noise_std, refine=kind == 1)
        before = fitted(place - 1, rows) if kind > _GAUSSIANS else None
        return next_student(resampled(first, rows), before, STUDENT_DEGREES[kind - _GAUSSIANS])

    return fitted


def _tails(view: View) -> list[tuple[float, ...]]:
    """The tails to try on each density of a set of coordinates: two Gaussians, then the Student-t."""
    if view.others == 0:
        return [(GAUSSIAN,)]
    gaussians = [PLAIN_DEGREES, RADIAL_DEGREES]
    if view.clip is not None:
        return gaussians  # the tails of clipped records are cut
    return [*gaussians, *((nu,) for nu in STUDENT_DEGREES)]


def fit(
    tokens: Tensor, view: View, generator: torch.Generator, candidates: int = 256, window: Window | None = None
) -> Posterior:
    """Fit, choose and calibrate on the adversary's records, `(R, n, k)` with n >= 4; see `rehearsal`.

    The chosen member is then fitted again on all records.

    Args:
        tokens: the adversary's records; with a window their pictures, see `sighted`.
        view: batch size, rounds and noise.
        generator: of the games she plays against herself.
        candidates: most candidates in those games.
        window: what she sees of her own records, where a view is more than the sum of tokens and noise.
    """
    rows, n, k = tokens.shape
    sets = _sets(k, view, window)
    tails = _tails(view) if window is None else TAILS
    family = [
        Member(i * len(tails) + j, len(c), nu) for i, c in enumerate(sets) for j, t in enumerate(tails) for nu in t
    ]
    seeds = torch.randint(2**62, (3,), generator=generator).tolist()
    half = n // 2
    places = slice(half), slice(half, 2 * half)
    whole, chosen = (_fits(tokens, view, sets, seed, window, place) for place, seed in zip(places, seeds))
    every = tuple(range(rows))
    some = [None if window is None else window.at(place) for place in places]
    first = _rehearse(
        lambda place, asked: whole(place, every).at(asked),
        tokens[:, places[1]], view, sets, tails, generator, candidates, some[1],
    )  # fmt: skip
    second = _rehearse(chosen, tokens[:, places[0]], view, sets, tails, generator, candidates, some[0])
    prepared = prepare(first, second, family, rows, unseen(view.others, n))
    final = _fits(tokens, view, sets, seeds[2], window, slice(n))
    parts = [
        (mine, member, sets[member.place // len(tails)], final(member.place, mine)) for mine, member in prepared.parts
    ]
    trials = tuple(
        _trial(rehearsal, start, prepared.parts, tokens) for rehearsal, start in _starts(first, second, half)
    )
    full = torch.zeros(rows, dtype=torch.bool)
    for mine, member in prepared.parts:
        full[list(mine)] = member.dim == max(map(len, sets))
    return Posterior(tuple(parts), prepared.real, prepared.shuffled, prepared.bits, full, trials)


def _starts(first: Sequence[Rehearsal], second: Sequence[Rehearsal], half: int) -> list[tuple[Rehearsal, int]]:
    """All rehearsals, those of one fold alternating with those of the other, and where their fold begins."""
    return [pair for one, two in zip(first, second) for pair in ((one, half), (two, 0))]


def _trial(rehearsal: Rehearsal, start: int, parts: Sequence[tuple[Rows, Member]], tokens: Tensor) -> Trial:
    """The games of a rehearsal as the chosen members score them."""
    assert rehearsal.candidates is not None
    assert rehearsal.members is not None
    shape = len(tokens), len(rehearsal.secret), len(rehearsal.candidates)
    low = torch.empty(shape, dtype=torch.float32, device=tokens.device)
    for mine, member in parts:
        low[list(mine)] = shifted(member.scores(rehearsal.distances(member.place, mine)))
    return Trial(rehearsal.candidates + start, rehearsal.members + start, rehearsal.secret, low)


def _sets(k: int, view: View, window: Window | None) -> list[Tensor]:
    """Coordinates to look at; of pictures those of the one, then those of the other."""
    if window is not None:
        return [c + start for start in (0, k // 2) for c in sub_tokens(k // 2)]
    return sub_tokens(k) if view.others else [torch.arange(k)]


def _fits(
    tokens: Tensor, view: View, sets: Sequence[Tensor], seed: int, window: Window | None, places: slice
) -> Callable[[int, Rows], Density]:
    """Densities fitted on some of the records."""
    if window is None:
        return fits(tokens[:, places], view, sets, seed)
    adds_up = fits(tokens[:, places], replace(view, clip=None, noise_std=0.0), sets, seed) if view.others else None
    return fits_on_sight(tokens[:, places], window.at(places), view, sets, seed, adds_up)


def _rehearse(
    density: Callable[[int, Rows], Density],
    played: Tensor,
    view: View,
    sets: Sequence[Tensor],
    tails: Sequence[tuple[float, ...]],
    generator: torch.Generator,
    most: int,
    window: Window | None,
) -> list[Rehearsal]:
    """Both roles: half of the played fold holds at most `most` candidates, the other half fills the batches."""
    quarter = played.shape[1] // 2
    targets = min(quarter, most)
    per_target = max(1, FOLD_GAMES // targets)
    kinds = len(tails)
    found = []
    for known, fillers in roles(torch.arange(quarter), torch.arange(quarter, 2 * quarter)):
        mine = known[:targets]
        candidates = played[:, mine]
        games = draw(targets, quarter, per_target, view, generator)
        if window is None:
            views = observe(candidates, played[:, fillers], games, view.noise_std, generator)
        else:
            views = doubled(window.games(mine, fillers, games, generator))

        def distances(
            place: int, rows: Rows, views: Sequence[Tensor] = views, candidates: Tensor = candidates
        ) -> list[Tensor]:
            some = [rows_of(view, rows) for view in views]
            return distances_of(density(place, rows), some, rows_of(candidates, rows), sets[place // kinds])

        secret = games.secret.to(played.device)
        members = torch.cat([mine[games.secret].expand(len(games.others), -1)[..., None], fillers[games.others]], -1)
        wrong = (secret + 1) % targets
        found.append(Rehearsal(distances, uniform(targets, played), secret, wrong, mine, members))
    return found
