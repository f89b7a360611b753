"""Class likelihoods of a batch: a linear discriminant with the other records and the noise in its scatter.

The sum of a batch whose target has class y is located at mean_y + (m-1) * mean and scatters by the within-class scatter
of one token, the whole scatter of m-1 others, and the noise. Heavy radial tails and tokens of unit length (their
direction names the class when their size varies by orders of magnitude) are in the family, chosen and calibrated on the
adversary's own records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.adversaries.calibration import (
    COARSE,
    FINE,
    Calibration,
    calibrate,
    calibrated_gain,
    cautious,
    mean_bits,
    shifted,
    top_hit,
    unseen,
)
from ptaudit.adversaries.interference import (
    RADIAL_DEGREES,
    cholesky,
    ledoit_wolf,
    log_density,
    squared_distances,
    whitened,
)
from ptaudit.adversaries.likelihood_ratio import sub_tokens, sum_of
from ptaudit.views.aggregate import draw_games, observe
from ptaudit.views.view import View

FOLD_GAMES = 256
"""Games the adversary plays against herself, per fold and role."""


@dataclass(frozen=True)
class Look:
    """What is looked at: some coordinates of the token, as they are or brought to unit length."""

    coordinates: Tensor
    unit: bool

    def __call__(self, tokens: Tensor) -> Tensor:
        """Tokens or sums as they are looked at, `(R, n, k)` -> `(R, n, d)`."""
        seen = tokens[..., self.coordinates]
        return to_unit(seen) if self.unit else seen


@dataclass(frozen=True)
class Discriminant:
    """Class centres and common scatter: `centres` `(R, C, d)`, lower Cholesky factor of the scatter `(R, d, d)`."""

    centres: Tensor
    factor: Tensor

    def distances(self, views: Tensor) -> Tensor:
        """Squared Mahalanobis distances to the class centres, `(R, G, d)` -> `(R, G, C)`."""
        return squared_distances(whitened(self.factor, views), whitened(self.factor, self.centres))


@dataclass(frozen=True)
class ClassPosterior:
    """A fitted and calibrated adversary for R rows; see `likelihood_ratio.Posterior`."""

    parts: tuple[tuple[Tensor, Look, float, Discriminant], ...]
    prior: Tensor
    real: Calibration
    shuffled: Calibration
    fold_bits: Tensor

    def play(self, views: Sequence[Tensor], secret: Tensor, wrong: Tensor) -> Tensor:
        """Bits over the prior, hits and null bits of each game: `(3, R, G)`."""
        rows, games = len(self.fold_bits), len(secret)
        out = self.prior.new_zeros(3, rows, games)
        for part, look, nu, model in self.parts:
            scores = _scores(_distances(look, model, [view[part] for view in views]), look, nu)
            low = shifted(scores)
            out[0, part] = calibrated_gain(low, self.prior, self.real.at(part), secret)
            out[1, part] = top_hit(scores + self.prior.log(), secret)
            out[2, part] = calibrated_gain(low, self.prior, self.shuffled.at(part), wrong)
        return out


def to_unit(points: Tensor) -> Tensor:
    """Points of unit length; zero stays zero."""
    size: Tensor = torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    return points / size.clamp_min(1e-200)


def class_prior(labels: Tensor, classes: int) -> Tensor:
    """Class frequencies with one pseudo-count each, so that a class the adversary never saw is possible."""
    count = torch.bincount(labels, minlength=classes).double() + 1.0
    return count / count.sum()


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
    looks = _looks(k, view)
    family = [(look, nu) for look in looks for nu in RADIAL_DEGREES]
    half = n // 2
    folds = (torch.arange(half), torch.arange(half, 2 * half))
    rehearsals = [
        rehearsal
        for known, played in (folds, folds[::-1])
        for rehearsal in _rehearse(looks, tokens, labels, classes, view, known, played, generator)
    ]
    by_member = torch.stack([r.mean_bits() for r in rehearsals]).mean(0).flatten(2).amax(2)
    choice = cautious(by_member, torch.tensor([1.0 / nu for _, nu in family], device=tokens.device))
    fold_bits = by_member.gather(1, choice[:, None]).squeeze(1)
    real, null = (Calibration(tokens.new_ones(rows), tokens.new_ones(rows)) for _ in range(2))
    parts = []
    for chosen in sorted(set(choice.tolist())):
        (look, nu), mine = family[chosen], (choice == chosen).nonzero().flatten()
        played = [r.grid(mine, chosen) for r in rehearsals]
        for kept, bits in zip((real, null), zip(*played)):
            found = calibrate(torch.stack(bits, -1), unseen(view.others, n))
            kept.slope[mine], kept.share[mine] = found.slope, found.share
        parts.append((mine, look, nu, _fitted(look, tokens[mine], labels, classes, view)))
    return ClassPosterior(tuple(parts), class_prior(labels, classes), real, null, fold_bits)


def _looks(k: int, view: View) -> list[Look]:
    """Directions are tried only where a view is one record without noise: a sum has no direction of its own."""
    alone = view.others == 0 and view.noise_std == 0.0
    return [Look(coordinates, unit) for coordinates in sub_tokens(k) for unit in ((False, True) if alone else (False,))]


def _fitted(look: Look, tokens: Tensor, labels: Tensor, classes: int, view: View) -> Discriminant:
    return fit_discriminant(look(tokens), labels, classes, view.others, view.noise_std)


def _distances(look: Look, model: Discriminant, views: Sequence[Tensor]) -> list[Tensor]:
    return [model.distances(look(view)) for view in views]


def _scores(distances: Sequence[Tensor], look: Look, nu: float) -> Tensor:
    """Log-likelihoods of the classes, summed over the rounds."""
    return sum_of(log_density(distance, nu, len(look.coordinates)) for distance in distances)


@dataclass(frozen=True)
class Rehearsal:
    """Games the adversary plays against herself on one fold, fitted on the other.

    Attributes:
        low: shifted scores of each member, `(R, G, C)`.
        prior: class frequencies of the other fold.
        secret: class of the target, `(G,)`.
        wrong: class that shuffling puts in its place, `(G,)`.
    """

    low: Sequence[Tensor]
    prior: Tensor
    secret: Tensor
    wrong: Tensor

    def mean_bits(self) -> Tensor:
        """Mean bits of every member and calibration, `(R, members, slopes, shares)`."""
        return torch.stack([mean_bits(low, self.prior, self.secret, COARSE) for low in self.low], 1)

    def grid(self, rows: Tensor, member: int) -> list[Tensor]:
        """Mean bits of every calibration, `(R, slopes, shares)`, with the true and with the shuffled secret."""
        return [mean_bits(self.low[member][rows], self.prior, secret, FINE) for secret in (self.secret, self.wrong)]


def _rehearse(
    looks: Sequence[Look],
    tokens: Tensor,
    labels: Tensor,
    classes: int,
    view: View,
    known: Tensor,
    played: Tensor,
    generator: torch.Generator,
) -> Iterator[Rehearsal]:
    """Both roles: half of the played fold are the targets, the other half fills the batches."""
    quarter = len(played) // 2
    per_target = max(1, FOLD_GAMES // quarter)
    prior = class_prior(labels[known], classes)
    models = [_fitted(look, tokens[:, known], labels[known], classes, view) for look in looks]
    halves = (played[:quarter], played[quarter : 2 * quarter])
    for targets, fillers in (halves, halves[::-1]):
        games = draw_games(quarter, quarter, per_target, view.others, view.rounds, generator)
        views = observe(tokens[:, targets], tokens[:, fillers], games, view.noise_std, generator)
        low = [
            shifted(_scores(distances, look, nu))
            for look, model in zip(looks, models)
            for distances in [_distances(look, model, views)]
            for nu in RADIAL_DEGREES
        ]
        wrong = labels[targets][(games.secret + 1) % quarter]
        yield Rehearsal(low, prior, labels[targets][games.secret], wrong)
