"""Class likelihoods of a batch: a linear discriminant with the other records and the noise in its scatter.

The sum of a batch whose target has class y is located at mean_y + (m-1) * mean and scatters by the within-class scatter
of one token, the whole scatter of m-1 others, and the noise. Heavy radial tails and tokens of unit length (their
direction names the class when their size varies by orders of magnitude) are in the family, chosen and calibrated on the
adversary's own records.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.calibration import calibrated_gain, shifted, top_hit, unseen
from ptaudit.attacks.densities import sub_tokens
from ptaudit.attacks.model_selection import FittedMembers, FoldGames, Member, Rows, choose, coordinates_of, rows_of
from ptaudit.attacks.nuisance_density import RADIAL_DEGREES, NuisanceDensity, cholesky, ledoit_wolf, refined
from ptaudit.attacks.observed_density import (
    Effort,
    ObservedRecords,
    ShownRecords,
    SummedRecords,
    fit_games,
    gain_of,
    in_both_roles,
)
from ptaudit.views.aggregate import draw_others
from ptaudit.views.view import View

CENTRES = ("seen", "token", "alone", "sums")
"""Ways to fit what an observation shows, see `observed_density`: class means of what is shown; a gain times the class
means of either feature, placed and scattered as what is shown; all as the tokens add up, but for the gain."""


@dataclass(frozen=True)
class TokenMap:
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
    around: NuisanceDensity

    def distances(self, views: Tensor) -> Tensor:
        """Squared Mahalanobis distances to the class centres, `(R, G, d)` -> `(R, G, C)`, float32."""
        return self.around.distances(views, self.centres)

    def at(self, rows: Rows) -> Discriminant:
        """The model of some rows."""
        return Discriminant(rows_of(self.centres, rows), self.around.at(rows))


@dataclass(frozen=True)
class ClassPosterior:
    """A fitted and calibrated adversary for R rows: chosen members with what they look at, and class
    frequencies."""

    fitted: FittedMembers[tuple[TokenMap, Discriminant]]
    prior: Tensor

    def play(self, views: Sequence[Tensor], secret: Tensor, wrong: Tensor) -> Tensor:
        """Bits over the prior, hits and null bits of each game: `(3, R, G)`."""
        fitted = self.fitted
        out = self.prior.new_zeros(3, len(fitted.bits), len(secret))
        for mine, member, (feature_map, model) in fitted.parts:
            part = list(mine)
            scores = member.scores([model.distances(feature_map(rows_of(view, mine))) for view in views])
            low = shifted(scores)
            out[0, part] = calibrated_gain(low, self.prior, fitted.real.at(part), secret)
            out[1, part] = top_hit(scores + self.prior.log(), secret)
            out[2, part] = calibrated_gain(low, self.prior, fitted.shuffled.at(part), wrong)
        return out


@dataclass(frozen=True)
class Labelled:
    """Records whose class the adversary knows.

    Attributes:
        tokens: `(R, n, k)`; where they are observed their features, `(R, n, 2k)`, see `observed_density`.
        labels: class of each record, `(n,)`.
        classes: number of classes C.
        observed: the same records as batches of them are shown, where a view is more than the sum of tokens and noise.
    """

    tokens: Tensor
    labels: Tensor
    classes: int
    observed: ObservedRecords | None = None

    def at(self, part: slice) -> Labelled:
        """Some of them."""
        observed = None if self.observed is None else self.observed.at(part)
        return replace(self, tokens=self.tokens[:, part], labels=self.labels[part], observed=observed)

    @property
    def prior(self) -> Tensor:
        """Class frequencies."""
        return class_prior(self.labels, self.classes)

    def records(self, noise: float) -> ShownRecords:
        """As batches of them are shown."""
        return SummedRecords(self.tokens, noise) if self.observed is None else self.observed


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
    centres, mean = _class_means(tokens, labels, classes)
    scatter = ledoit_wolf(tokens - centres[:, labels]) + others * ledoit_wolf(tokens - mean)
    scatter.diagonal(dim1=-2, dim2=-1).add_(noise * noise)
    around = NuisanceDensity(torch.zeros_like(mean[:, 0]), cholesky(scatter), RADIAL_DEGREES)
    return Discriminant(centres + others * mean, around)


def _class_means(tokens: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mean of each class, `(R, C, k)`, with one record more at the mean of all, `(R, 1, k)`."""
    mean = tokens.mean(1, keepdim=True)
    one_hot = torch.nn.functional.one_hot(labels, classes).to(tokens)
    return (one_hot.T @ tokens + mean) / (one_hot.sum(0)[:, None] + 1.0), mean


def discriminants(own: Labelled, view: View, maps: Sequence[TokenMap]) -> Callable[[int, Rows], Discriminant]:
    """Models fitted on the given records when they are first asked for, by feature map and rows."""

    @functools.cache
    def fitted(place: int, rows: Rows) -> Discriminant:
        seen = maps[place](rows_of(own.tokens, rows))
        return fit_discriminant(seen, own.labels, own.classes, view.others, view.noise_std)

    return fitted


def observed_fits(
    own: Labelled, records: ObservedRecords, view: View, maps: Sequence[TokenMap], seed: int
) -> Callable[[int, Rows], Discriminant]:
    """Models fitted on batches of the given records as they are shown; feature maps come in fours, one for each of
    `CENTRES`.

    Args:
        own: the records, as features.
        records: the same ones as batches of them are shown.
        view: batch size.
        maps: each once for every one of `CENTRES`.
        seed: of the batches.
    """
    tokens, labels, classes = own.tokens, own.labels, own.classes
    generator = torch.Generator().manual_seed(seed)
    members = draw_others(tokens.shape[1], fit_games(tokens.shape[1], 1.0), view.records, generator)
    (shown,) = records.batches(members[None], generator)
    about = labels[members[:, 0].to(labels.device)]

    @functools.cache
    def fitted(place: int, rows: Rows) -> Discriminant:
        seen, kind = maps[place](rows_of(shown, rows)), CENTRES[place % len(CENTRES)]
        if kind == "seen":
            return fit_discriminant(seen, about, classes, 0, 0.0)
        feature = maps[place](rows_of(tokens.chunk(2, -1)[kind == "alone"], rows))
        gain = gain_of(feature[:, members[:, 0].to(feature.device)], seen)[:, None, None]
        sums = fit_discriminant(feature, labels, classes, view.others, 0.0)
        centres, factor = gain * sums.centres, gain.abs().clamp_min(1e-200) * sums.around.factor
        if kind != "sums":
            centres = centres + (seen - centres[:, about]).mean(1, keepdim=True)
            factor = refined(factor, seen - centres[:, about])
        return Discriminant(centres, NuisanceDensity(torch.zeros_like(centres[:, 0]), factor, RADIAL_DEGREES))

    return fitted


def fit_class_posterior(own: Labelled, view: View, generator: torch.Generator) -> ClassPosterior:
    """Fit, choose and calibrate on the adversary's records; see `model_selection`.

    Args:
        own: its records.
        view: batch size, rounds and noise.
        generator: of the games it plays against itself.
    """
    rows, n, k = own.tokens.shape
    maps = _token_maps(k, view) if own.observed is None else [one for one in _token_maps(k // 2, view) for _ in CENTRES]
    family = [
        Member(i, len(feature_map.coordinates), nu) for i, feature_map in enumerate(maps) for nu in RADIAL_DEGREES
    ]
    half = n // 2
    folds = own.at(slice(half)), own.at(slice(half, 2 * half))

    def fitted(some: Labelled) -> Callable[[int, Rows], Discriminant]:
        if some.observed is None:
            return discriminants(some, view, maps)
        return observed_fits(some, some.observed, view, maps, int(torch.randint(2**62, (), generator=generator)))

    def games(model: Callable[[int, Rows], Discriminant], known: Labelled, played: Labelled) -> list[FoldGames]:
        found, labels = [], played.labels
        for role in in_both_roles(played.records(view.noise_std), Effort(n), view, generator):

            def distances(place: int, rows: Rows, views: Sequence[Tensor] = role.views) -> list[Tensor]:
                discriminant = model(place, rows)
                return [discriminant.distances(maps[place](rows_of(view, rows))) for view in views]

            mine, secret = labels[role.targets], role.games.secret
            found.append(FoldGames(distances, known.prior, mine[secret], mine[(secret + 1) % len(mine)]))
        return found

    def refit() -> Callable[[int, Rows], tuple[TokenMap, Discriminant]]:
        final = fitted(own)
        return lambda place, rows: (maps[place], final(place, rows))

    every = tuple(range(rows))
    whole, chosen = map(fitted, folds)
    first = games(lambda place, some: whole(place, every).at(some), *folds)
    second = games(chosen, *folds[::-1])
    return ClassPosterior(choose((first, second), family, rows, unseen(view.others, n), refit), own.prior)


def _token_maps(k: int, view: View) -> list[TokenMap]:
    """Directions are tried only where a view is one record without noise: a sum has no direction of its own."""
    alone = view.others == 0 and view.noise_std == 0.0
    return [
        TokenMap(coordinates, unit) for coordinates in sub_tokens(k) for unit in ((False, True) if alone else (False,))
    ]
