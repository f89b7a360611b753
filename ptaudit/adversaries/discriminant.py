"""Class likelihoods of a batch: a linear discriminant with the other records and the noise in its scatter.

The sum of a batch whose target has class y is located at mean_y + (m-1) * mean and scatters by the within-class scatter
of one token, the whole scatter of m-1 others, and the noise. Heavy radial tails and tokens of unit length (their
direction names the class when their size varies by orders of magnitude) are in the family, chosen and calibrated on the
adversary's own records.
"""

from __future__ import annotations

from collections.abc import Sequence
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
)
from ptaudit.adversaries.interference import (
    RADIAL_DEGREES,
    cholesky,
    ledoit_wolf,
    log_density,
    squared_distances,
)
from ptaudit.adversaries.likelihood_ratio import sub_tokens
from ptaudit.views.aggregate import draw_games, observe
from ptaudit.views.view import View

FOLD_GAMES = 1024
"""Games the adversary plays against herself, per fold."""


@dataclass(frozen=True)
class Member:
    """A member of the family: coordinates of the token, whether it is brought to unit length, and the tail."""

    coordinates: Tensor
    unit: bool
    nu: float

    def look(self, tokens: Tensor) -> Tensor:
        """What the member sees of tokens or sums, `(R, n, k)` -> `(R, n, d)`."""
        seen = tokens[..., self.coordinates]
        return to_unit(seen) if self.unit else seen


@dataclass(frozen=True)
class Discriminant:
    """Class centres and common scatter: `centres` `(R, C, d)`, lower Cholesky factor of the scatter `(R, d, d)`."""

    centres: Tensor
    factor: Tensor

    def distances(self, views: Tensor) -> Tensor:
        """Squared Mahalanobis distances to the class centres, `(R, G, d)` -> `(R, G, C)`."""

        def whiten(points: Tensor) -> Tensor:
            return torch.linalg.solve_triangular(self.factor, points.mT, upper=False).mT

        return squared_distances(whiten(views), whiten(self.centres))


@dataclass(frozen=True)
class ClassPosterior:
    """A fitted and calibrated adversary for R rows; see `likelihood_ratio.Posterior`."""

    parts: tuple[tuple[Tensor, Member, Discriminant], ...]
    log_prior: Tensor
    real: Calibration
    shuffled: Calibration
    fold_bits: Tensor

    def play(self, views: Sequence[Tensor], secret: Tensor, wrong: Tensor) -> Tensor:
        """Bits over the prior, hits and null bits of each game: `(3, R, G)`."""
        rows, games = len(self.fold_bits), len(secret)
        out = self.log_prior.new_zeros(3, rows, games)
        for part, member, model in self.parts:
            scores = _scores(member, model, [view[part] for view in views])
            out[0, part] = calibrated_gain(scores, self.log_prior, self.real.at(part), secret)
            out[1, part] = top_hit(scores + self.log_prior, secret)
            out[2, part] = calibrated_gain(scores, self.log_prior, self.shuffled.at(part), wrong)
        return out


def to_unit(points: Tensor) -> Tensor:
    """Points of unit length; zero stays zero."""
    return points / torch.linalg.vector_norm(points, dim=-1, keepdim=True).clamp_min(1e-200)


def log_prior(labels: Tensor, classes: int) -> Tensor:
    """Log class frequencies with one pseudo-count each, so that a class the adversary never saw is possible."""
    count = torch.bincount(labels, minlength=classes).double() + 1.0
    return (count / count.sum()).log()


def fit_discriminant(tokens: Tensor, labels: Tensor, classes: int, others: int, noise: float) -> Discriminant:
    """Centres and scatter of the sum of a target of each class and `others` records of any class, plus noise.

    A class with few records is drawn toward the mean of all, as if it had one record more at that mean.
    """
    mean = tokens.mean(1, keepdim=True)
    one_hot = torch.nn.functional.one_hot(labels, classes).to(tokens)
    count = one_hot.sum(0)[:, None]
    centres = (one_hot.T @ tokens + mean) / (count + 1.0)
    scatter = ledoit_wolf(tokens - centres[:, labels]) + others * ledoit_wolf(tokens - mean)
    scatter.diagonal(dim1=-2, dim2=-1).add_(noise * noise)
    return Discriminant(centres + others * mean, cholesky(scatter))


def fit(tokens: Tensor, labels: Tensor, classes: int, view: View, generator: torch.Generator) -> ClassPosterior:
    """Fit, choose and calibrate on the adversary's records.

    Args:
        tokens: `(R, n, k)`.
        labels: class of each record, `(n,)`.
        classes: number of classes C.
        view: batch size, rounds and noise.
        generator: of the games she plays against herself.
    """
    rows, n, k = tokens.shape
    family = _family(k, view)
    half = n // 2
    folds = (torch.arange(half), torch.arange(half, 2 * half))
    tables = [
        _fold(family, tokens, labels, classes, view, known, played, generator)
        for known, played in (folds, folds[::-1])
    ]
    real_table, null_table = (torch.stack([t[i] for t in tables]).mean(0) for i in range(2))
    tails = torch.tensor([1.0 / member.nu for member in family], device=tokens.device)
    choice = cautious(real_table.flatten(2).amax(2), tails)
    index = torch.arange(rows, device=tokens.device)
    real, fold_bits = best(real_table[index, choice])
    shuffled, _ = best(null_table[index, choice])
    parts = []
    for chosen in choice.unique().tolist():
        mine, member = (choice == chosen).nonzero().flatten(), family[chosen]
        parts.append((mine, member, _fitted(member, tokens[mine], labels, classes, view)))
    return ClassPosterior(tuple(parts), log_prior(labels, classes), real, shuffled, fold_bits)


def _family(k: int, view: View) -> list[Member]:
    """Directions are tried only where a view is one record without noise: a sum has no direction of its own."""
    alone = view.others == 0 and view.noise_std == 0.0
    return [
        Member(coordinates, unit, nu)
        for coordinates in sub_tokens(k)
        for unit in ((False, True) if alone else (False,))
        for nu in RADIAL_DEGREES
    ]


def _fitted(member: Member, tokens: Tensor, labels: Tensor, classes: int, view: View) -> Discriminant:
    return fit_discriminant(member.look(tokens), labels, classes, view.others, view.noise_std)


def _scores(member: Member, model: Discriminant, views: Sequence[Tensor]) -> Tensor:
    d = len(member.coordinates)
    total = log_density(model.distances(member.look(views[0])), member.nu, d)
    for view in views[1:]:
        total = total + log_density(model.distances(member.look(view)), member.nu, d)
    return total


def _fold(
    family: Sequence[Member],
    tokens: Tensor,
    labels: Tensor,
    classes: int,
    view: View,
    known: Tensor,
    played: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Mean bits of every member and calibration, `(R, members, slopes, shares)`, real and with shuffled labels."""
    quarter = len(played) // 2
    targets, fillers = played[:quarter], played[quarter : 2 * quarter]
    games = draw_games(quarter, quarter, max(1, FOLD_GAMES // quarter), view.others, view.rounds, generator)
    views = observe(tokens[:, targets], tokens[:, fillers], games, view.noise_std, generator)
    secret = labels[targets][games.secret]
    wrong = labels[targets][(games.secret + 1) % quarter]
    prior = log_prior(labels[known], classes)
    tables = []
    for member in family:
        model = _fitted(member, tokens[:, known], labels[known], classes, view)
        tables.append(calibration_tables(_scores(member, model, views), prior, secret, wrong))
    real, null = (torch.stack([table[i] for table in tables], 1) for i in range(2))
    return real, null
