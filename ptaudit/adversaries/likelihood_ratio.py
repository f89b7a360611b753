"""The white-box adversary of the identity game: a likelihood ratio, calibrated on the adversary's own records.

She knows the weights, so she can compute the token of any candidate, and owns records of the same population. From
these she fits the density of the interference (the other records of the batch, plus noise), chooses a member of her
family and calibrates it by playing the game against herself. She never sees the reporting records before the game.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.adversaries.calibration import (
    COARSE,
    FINE,
    Calibration,
    at,
    calibrate,
    calibrated_gain,
    cautious,
    mean_bits,
    shifted,
    top_hit,
    uniform,
    unseen,
)
from ptaudit.adversaries.interference import Interference, fit_gaussian, fit_noise, fit_student, log_density
from ptaudit.views.aggregate import add_noise, draw_games, draw_others, observe, sums
from ptaudit.views.view import View

SUB_TOKENS = (16, 64)
"""Sizes of the sub-tokens in the family, beside all coordinates."""

FOLD_GAMES = 256
"""Games the adversary plays against herself, per fold and role."""


@dataclass(frozen=True)
class Member:
    """A member of the family: the coordinates of the token it looks at, its fit (by place) and its tail."""

    coordinates: Tensor
    place: int
    nu: float

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.coordinates)

    def scores(self, distances: Sequence[Tensor]) -> Tensor:
        """Log-likelihoods of all candidates, summed over the rounds: `(R, G, K)`."""
        return sum_of(log_density(distance, self.nu, self.dim) for distance in distances)


@dataclass(frozen=True)
class Posterior:
    """A fitted and calibrated adversary for R rows.

    Attributes:
        parts: rows that chose the same member, their member and fitted interference.
        real: calibration on games with the true secret.
        shuffled: calibration of the same member on games with the secret shuffled, for the null.
        fold_bits: mean bits of the choice on the adversary's own folds, `(R,)`.
        full: whether a row chose all coordinates, `(R,)`.
    """

    parts: tuple[tuple[Tensor, Member, Interference], ...]
    real: Calibration
    shuffled: Calibration
    fold_bits: Tensor
    full: Tensor

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
        for part, member, density in self.parts:
            distances = distances_of(density, [view[part] for view in views], candidates[part], member.coordinates)
            scores = member.scores(distances)
            real, null = self.real.at(part), self.shuffled.at(part)
            low = shifted(scores)
            scored[0, part] = calibrated_gain(low, prior, real, secret)
            scored[1, part] = top_hit(low, secret)
            scored[2, part] = calibrated_gain(low, prior, null, wrong)
            rivals[:2, part] = rival_losses(low, secret, real)
        return Outcome(scored, rivals)


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
    p = (low * calibration.slope[:, None, None].float()).softmax(-1)
    mixed = (1.0 - calibration.share)[:, None] * at(p, secret)
    felt = mixed / (mixed + calibration.share[:, None] / k)
    place = secret[None, :, None].expand(len(low), -1, 1)
    # Its own games say nothing of what a candidate takes from others.
    loss = (-p.clamp_max_(1.0 - 1e-6)).log1p_().scatter_(-1, place, 0.0)
    lost_bits = torch.einsum("rgk,rg->rk", loss, felt.float()) / math.log(2.0)
    ahead = low > at(low, secret)[..., None]
    lost_hits = -(ahead & (ahead.sum(-1, keepdim=True) == 1)).float().sum(1)
    return torch.stack([lost_bits, lost_hits]).double() / (len(secret) * (1.0 - 1.0 / k))


def distances_of(
    density: Interference, views: Sequence[Tensor], candidates: Tensor, coordinates: Tensor
) -> list[Tensor]:
    """Squared distances of each round on some coordinates: a list of r tensors `(R, G, K)`."""
    known = candidates[..., coordinates]
    return [density.distances(view[..., coordinates], known) for view in views]


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """Sum without a start value."""
    iterator = iter(terms)
    total = next(iterator)
    for term in iterator:
        total = total + term
    return total


def sub_token(k: int, size: int) -> Tensor:
    """`size` coordinates spread evenly over k. Of a 16x16 token, 16 of them are its diagonal."""
    return torch.linspace(0, k - 1, size).round().long()


def sub_tokens(k: int) -> list[Tensor]:
    """Coordinate sets of the family."""
    return [sub_token(k, size) for size in SUB_TOKENS if size < k] + [torch.arange(k)]


def densities(tokens: Tensor, view: View, generator: torch.Generator) -> list[Interference]:
    """Every density of the family, fitted on the given tokens `(R, n, d)`."""
    if view.others == 0:
        return [fit_noise(tokens, view.noise_std)]
    gaussians = [fit_gaussian(tokens, view.others, view.noise_std, refine) for refine in (False, True)]
    if view.clip is not None:
        return gaussians  # the tails of clipped records are cut
    n = tokens.shape[1]
    drawn = draw_others(n, min(1024, max(256, n)), view.others, generator)
    resampled = add_noise(sums(tokens, drawn), view.noise_std, generator)
    return [*gaussians, *fit_student(resampled)]


@dataclass(frozen=True)
class Rehearsal:
    """Games the adversary plays against herself, with what she fitted on the other fold.

    Attributes:
        fits: every density of the family, for each set of coordinates.
        views: per round, `(R, G, k)`.
        candidates: `(R, K, k)`.
        secret: index of the true candidate, `(G,)`.
        wrong: index of the candidate that shuffling puts in its place, `(G,)`.
    """

    fits: Sequence[tuple[Tensor, Sequence[Interference]]]
    views: Sequence[Tensor]
    candidates: Tensor
    secret: Tensor
    wrong: Tensor

    @property
    def family(self) -> list[Member]:
        """The members, fit by fit."""
        return [Member(c, i, nu) for c, fitted in self.fits for i, d in enumerate(fitted) for nu in d.tails]

    def mean_bits(self) -> Tensor:
        """Mean bits of every member at its best calibration, `(R, members)`."""
        prior = uniform(self.candidates.shape[1], self.candidates)
        found = []
        for coordinates, fitted in self.fits:
            for place, density in enumerate(fitted):
                distances = distances_of(density, self.views, self.candidates, coordinates)
                for nu in density.tails:
                    scores = Member(coordinates, place, nu).scores(distances)
                    found.append(mean_bits(scores, prior, self.secret, COARSE))
        return torch.stack(found, 1)

    def grid(self, rows: Tensor, member: Member) -> list[Tensor]:
        """Mean bits of every calibration, `(R, slopes, shares)`, with the true and with the shuffled secret."""
        fitted = next(f for c, f in self.fits if len(c) == member.dim)[member.place]
        density = Interference(fitted.mean[rows], fitted.factor[rows], fitted.tails)
        known = self.candidates[rows]
        distances = distances_of(density, [view[rows] for view in self.views], known, member.coordinates)
        prior = uniform(known.shape[1], known)
        scores = member.scores(distances)
        return [mean_bits(scores, prior, secret, FINE) for secret in (self.secret, self.wrong)]


def fit(tokens: Tensor, view: View, generator: torch.Generator, candidates: int = 256) -> Posterior:
    """Fit, choose and calibrate on the adversary's records, `(R, n, k)` with n >= 4.

    The records are cut in two folds; the family is fitted on one and plays on the other, and the other way round. The
    chosen member is then fitted again on all records.

    Args:
        tokens: the adversary's records.
        view: batch size, rounds and noise.
        generator: of the games she plays against herself.
        candidates: most candidates in those games.
    """
    rows, n, k = tokens.shape
    rehearsals = _rehearse(tokens, view, generator, candidates)
    family = rehearsals[0].family
    by_member = torch.stack([r.mean_bits() for r in rehearsals]).mean(0).flatten(2).amax(2)
    choice = cautious(by_member, torch.tensor([1.0 / m.nu for m in family], device=tokens.device))
    fold_bits = by_member.gather(1, choice[:, None]).squeeze(1)
    real, null = (Calibration(tokens.new_ones(rows), tokens.new_ones(rows)) for _ in range(2))
    parts = []
    for chosen in sorted(set(choice.tolist())):
        member, mine = family[chosen], (choice == chosen).nonzero().flatten()
        played = [r.grid(mine, member) for r in rehearsals]
        for kept, bits in zip((real, null), zip(*played)):
            found = calibrate(torch.stack(bits, -1), unseen(view.others, n))
            kept.slope[mine], kept.share[mine] = found.slope, found.share
        density = densities(tokens[mine][..., member.coordinates], view, generator)[member.place]
        parts.append((mine, member, density))
    full = torch.tensor([family[c].dim == k for c in choice.tolist()])
    return Posterior(tuple(parts), real, null, fold_bits, full)


def _rehearse(tokens: Tensor, view: View, generator: torch.Generator, most: int) -> list[Rehearsal]:
    """Both folds in both roles: half of a fold holds at most `most` candidates, the other half fills the batches."""
    k = tokens.shape[-1]
    coordinate_sets = sub_tokens(k) if view.others else [torch.arange(k)]
    half = tokens.shape[1] // 2
    quarter = half // 2
    targets = min(quarter, most)
    per_target = max(1, FOLD_GAMES // targets)
    folds = (tokens[:, :half], tokens[:, half : 2 * half])
    found = []
    for known, played in (folds, folds[::-1]):
        fits = [(c, densities(known[..., c], view, generator)) for c in coordinate_sets]
        roles = (played[:, :quarter], played[:, quarter : 2 * quarter])
        for candidates, fillers in (roles, roles[::-1]):
            games = draw_games(targets, quarter, per_target, view.others, view.rounds, generator)
            views = observe(candidates[:, :targets], fillers, games, view.noise_std, generator)
            secret = games.secret.to(tokens.device)
            found.append(Rehearsal(fits, views, candidates[:, :targets], secret, (secret + 1) % targets))
    return found
