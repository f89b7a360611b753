"""Class likelihoods of a batch: a linear discriminant with the other records and the noise in its scatter.

The sum of a batch whose target has class y is located at mean_y + (m-1) * mean and scatters by the within-class scatter
of one token, the whole scatter of m-1 others, and the noise. Heavy radial tails and tokens of unit length (their
direction names the class when their size varies by orders of magnitude) are in the family, chosen and calibrated on the
adversary's own records.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.adversaries.calibration import Calibration, calibrated_gain, shifted, top_hit, unseen
from ptaudit.adversaries.interference import RADIAL_DEGREES, Interference, cholesky, ledoit_wolf
from ptaudit.adversaries.likelihood_ratio import sub_tokens
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
from ptaudit.views.aggregate import draw_games, observe
from ptaudit.views.view import View


@dataclass(frozen=True)
class Look:
    """What is looked at: some coordinates of the token, as they are or brought to unit length."""

    coordinates: Tensor
    unit: bool

    def __call__(self, tokens: Tensor) -> Tensor:
        """Tokens or sums as they are looked at, `(R, n, k)` -> `(R, n, d)`."""
        seen = coordinates_of(tokens, self.coordinates)
        return to_unit(seen) if self.unit else seen


@dataclass(frozen=True)
class Discriminant:
    """Class centres `(R, C, d)` and the common scatter around them."""

    centres: Tensor
    around: Interference

    def distances(self, views: Tensor) -> Tensor:
        """Squared Mahalanobis distances to the class centres, `(R, G, d)` -> `(R, G, C)`, float32."""
        return self.around.distances(views, self.centres)

    def at(self, rows: Rows) -> Discriminant:
        """The model of some rows."""
        return Discriminant(rows_of(self.centres, rows), self.around.at(rows))


@dataclass(frozen=True)
class ClassPosterior:
    """A fitted and calibrated adversary for R rows; see `likelihood_ratio.Posterior`."""

    parts: tuple[tuple[Rows, Member, Look, Discriminant], ...]
    prior: Tensor
    real: Calibration
    shuffled: Calibration
    fold_bits: Tensor

    def play(self, views: Sequence[Tensor], secret: Tensor, wrong: Tensor) -> Tensor:
        """Bits over the prior, hits and null bits of each game: `(3, R, G)`."""
        rows, games = len(self.fold_bits), len(secret)
        out = self.prior.new_zeros(3, rows, games)
        for mine, member, look, model in self.parts:
            part = list(mine)
            scores = member.scores([model.distances(look(rows_of(view, mine))) for view in views])
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
    around = Interference(torch.zeros_like(mean[:, 0]), cholesky(scatter), RADIAL_DEGREES)
    return Discriminant(centres + others * mean, around)


def fits(
    tokens: Tensor, labels: Tensor, classes: int, view: View, looks: Sequence[Look]
) -> Callable[[int, Rows], Discriminant]:
    """Models fitted on the given records when they are first asked for, by look and rows."""

    @functools.cache
    def fitted(place: int, rows: Rows) -> Discriminant:
        seen = looks[place](rows_of(tokens, rows))
        return fit_discriminant(seen, labels, classes, view.others, view.noise_std)

    return fitted


def fit(tokens: Tensor, labels: Tensor, classes: int, view: View, generator: torch.Generator) -> ClassPosterior:
    """Fit, choose and calibrate on the adversary's records; see `rehearsal`.

    Args:
        tokens: `(R, n, k)`.
        labels: class of each record, `(n,)`.
        classes: number of classes C.
        view: batch size, rounds and noise.
        generator: of the games she plays against herself.
    """
    rows, n, k = tokens.shape
    looks = _looks(k, view)
    family = [Member(i, len(look.coordinates), nu) for i, look in enumerate(looks) for nu in RADIAL_DEGREES]
    half = n // 2
    folds = [(tokens[:, part], labels[part]) for part in (slice(half), slice(half, 2 * half))]
    whole, chosen = (fits(*fold, classes, view, looks) for fold in folds)
    every = tuple(range(rows))
    priors = [class_prior(known, classes) for _, known in folds]
    first = _rehearse(lambda place, some: whole(place, every).at(some), priors[0], *folds[1], looks, view, generator)
    second = _rehearse(chosen, priors[1], *folds[0], looks, view, generator)
    prepared = prepare(first, second, family, rows, unseen(view.others, n))
    final = fits(tokens, labels, classes, view, looks)
    parts = [(mine, member, looks[member.place], final(member.place, mine)) for mine, member in prepared.parts]
    return ClassPosterior(tuple(parts), class_prior(labels, classes), prepared.real, prepared.shuffled, prepared.bits)


def _looks(k: int, view: View) -> list[Look]:
    """Directions are tried only where a view is one record without noise: a sum has no direction of its own."""
    alone = view.others == 0 and view.noise_std == 0.0
    return [Look(coordinates, unit) for coordinates in sub_tokens(k) for unit in ((False, True) if alone else (False,))]


def _rehearse(
    model: Callable[[int, Rows], Discriminant],
    prior: Tensor,
    tokens: Tensor,
    labels: Tensor,
    looks: Sequence[Look],
    view: View,
    generator: torch.Generator,
) -> list[Rehearsal]:
    """Both roles: half of the played records are the targets, the other half fills the batches."""
    quarter = tokens.shape[1] // 2
    per_target = max(1, FOLD_GAMES // quarter)
    found = []
    for targets, fillers in roles(slice(quarter), slice(quarter, 2 * quarter)):
        games = draw_games(quarter, quarter, per_target, view.others, view.rounds, generator)
        views = observe(tokens[:, targets], tokens[:, fillers], games, view.noise_std, generator)

        def distances(place: int, rows: Rows, views: Sequence[Tensor] = views) -> list[Tensor]:
            fitted = model(place, rows)
            return [fitted.distances(looks[place](rows_of(view, rows))) for view in views]

        mine = labels[targets]
        found.append(Rehearsal(distances, prior, mine[games.secret], mine[(games.secret + 1) % quarter]))
    return found
