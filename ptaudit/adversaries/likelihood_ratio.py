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
    Calibration,
    best,
    calibrated_gain,
    calibration_tables,
    cautious,
    top_hit,
    uniform,
)
from ptaudit.adversaries.interference import Interference, fit_gaussian, fit_noise, fit_student, log_density
from ptaudit.views.aggregate import add_noise, draw_games, draw_others, observe, sums
from ptaudit.views.view import View

SUB_TOKENS = (16, 64)
"""Sizes of the sub-tokens in the family, beside all coordinates."""

FOLD_GAMES = 512
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
            scored[0, part] = calibrated_gain(scores, prior, real, secret)
            scored[1, part] = top_hit(scores, secret)
            scored[2, part] = calibrated_gain(scores, prior, null, wrong)
            rivals[:2, part] = rival_losses(scores, secret, real)
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


def rival_losses(scores: Tensor, secret: Tensor, calibration: Calibration) -> Tensor:
    """What each candidate takes from the games of the others, in bits and in hits: `(2, R, K)`.

    Without candidate j the posterior of the target would be larger by 1 / (1 - p_j); a hit is lost where j comes first.
    """
    logits = (scores - scores.amax(-1, keepdim=True)) * calibration.slope[:, None, None]
    p = logits.float().softmax(-1)
    place = secret[None, :, None].expand(len(scores), -1, 1)
    mixed = (1.0 - calibration.share)[:, None, None] * p.gather(-1, place)
    felt = mixed / (mixed + (calibration.share / scores.shape[-1])[:, None, None])
    loss = felt * torch.log1p(-p.clamp_max(1.0 - 1e-6)) / math.log(2.0)
    first = -(scores == scores.amax(-1, keepdim=True)).to(loss.dtype)
    both = torch.stack([loss, first.to(loss)])
    own = place[None].expand(2, -1, -1, -1)
    both = both.scatter(-1, own, 0.0)
    foreign = len(secret) * (1.0 - 1.0 / scores.shape[-1])
    return both.sum(-2) / foreign


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
    gaussian = fit_gaussian(tokens, view.others, view.noise_std)
    n = tokens.shape[1]
    drawn = draw_others(n, min(1024, max(256, 2 * n)), view.others, generator)
    resampled = add_noise(sums(tokens, drawn), view.noise_std, generator)
    return [gaussian, *fit_student(resampled)]


def fit(tokens: Tensor, view: View, generator: torch.Generator) -> Posterior:
    """Fit, choose and calibrate on the adversary's records, `(R, n, k)` with n >= 4.

    The records are cut in two folds; the family is fitted on one and plays on the other, and the other way round. The
    chosen member is then fitted again on all records.
    """
    rows, n, k = tokens.shape
    coordinate_sets = sub_tokens(k) if view.others else [torch.arange(k)]
    table, null_table, family = _fold_tables(tokens, view, coordinate_sets, generator)
    by_member = table.flatten(2).amax(2)
    choice = cautious(by_member, torch.tensor([1.0 / m.nu for m in family], device=tokens.device))
    index = torch.arange(rows, device=tokens.device)
    fold_bits = by_member[index, choice]
    real, _ = best(table[index, choice])
    shuffled, _ = best(null_table[index, choice])
    parts = []
    for chosen in choice.unique().tolist():
        member = family[chosen]
        mine = (choice == chosen).nonzero().flatten()
        density = densities(tokens[mine][..., member.coordinates], view, generator)[member.place]
        parts.append((mine, member, density))
    full = torch.tensor([family[c].dim == k for c in choice.tolist()])
    return Posterior(tuple(parts), real, shuffled, fold_bits, full)


def _fold_tables(
    tokens: Tensor, view: View, coordinate_sets: list[Tensor], generator: torch.Generator
) -> tuple[Tensor, Tensor, list[Member]]:
    """Mean bits of every member and calibration on the folds, real and shuffled, `(R, members, slopes, shares)`."""
    half = tokens.shape[1] // 2
    folds = (tokens[:, :half], tokens[:, half : 2 * half])
    real: list[list[Tensor]] = []
    null: list[list[Tensor]] = []
    family: list[Member] = []
    for known, played in (folds, folds[::-1]):
        quarter = half // 2
        roles = (played[:, :quarter], played[:, quarter : 2 * quarter])
        fits = [(c, densities(known[..., c], view, generator)) for c in coordinate_sets]
        family = [Member(c, i, nu) for c, fitted in fits for i, d in enumerate(fitted) for nu in d.tails]
        for candidates, pool in (roles, roles[::-1]):
            per_target = max(1, FOLD_GAMES // quarter)
            games = draw_games(quarter, pool.shape[1], per_target, view.others, view.rounds, generator)
            secret = games.secret.to(tokens.device)
            wrong = (secret + 1) % quarter
            views = observe(candidates, pool, games, view.noise_std, generator)
            tables = [
                calibration_tables(Member(c, i, nu).scores(distances), uniform(quarter, tokens), secret, wrong)
                for c, fitted in fits
                for i, density in enumerate(fitted)
                for distances in [distances_of(density, views, candidates, c)]
                for nu in density.tails
            ]
            real.append([table[0] for table in tables])
            null.append([table[1] for table in tables])
    return _averaged(real), _averaged(null), family


def _averaged(tables: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(t, 1) for t in tables]).mean(0)
