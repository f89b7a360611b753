"""Whole counts behind a posterior: of the m records of a batch n have a value, all n are whole, and they add up to m.

The target is any of the m records, so what there is to know of its value is n / m. Log-ratios that are added up know
nothing of that: where they all but tell the counts, they leave a little of every value that no record has. How likely
each count is, given what a posterior says of a value, is learned on games that no classifier was fitted to: the chance
of at least j records rises with it (isotonic regression, as in Zadrozny and Elkan, KDD 2002), the same for all values.
Then the counts of a batch are taken together, given that they add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from ptaudit.attacks.calibration import cautious_share, log_prior
from ptaudit.attacks.stacking import FittedStack, fit_stack

MOST = 64
"""Most records of a batch whose counts are looked at: of more, a sum tells no single one."""

FOLDS = 2
"""Parts of the games: what is read of one was learned from the others."""

REPEATS = 4
"""Members of a batch whose values stand for its secret when posteriors are weighed, where all members are alike."""

LEAST_SHARE = 1e-4

_CELLS = 1 << 22
"""Most numbers that are taken together at once."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CountDecoder:
    """Posteriors of batches as means over whole counts.

    Attributes:
        told: probabilities that posteriors gave to a value, ascending, `(T,)`.
        at_least: chance of at least 1, 2, ..., m records with it, `(m, T)`.
        least: what every count keeps, however unlikely.
    """

    told: Array
    at_least: Array
    least: float

    @classmethod
    def fit(cls, q: Tensor, counts: Tensor, size: int) -> CountDecoder:
        """Learn from probabilities and counts of every value, `(G, K)` each, of batches of so many records."""
        told, place, weight = np.unique(q.flatten().cpu().numpy(), return_inverse=True, return_counts=True)
        truth = counts.flatten().cpu().numpy()
        means = (np.bincount(place.ravel(), truth >= j, len(told)) / weight for j in range(1, size + 1))
        curves = [isotonic_regression(mean, sample_weight=weight.astype(np.float64)) for mean in means]
        return cls(told, np.stack(curves), 1.0 / (len(q) + 1.0))

    def shares(self, q: Tensor) -> Tensor:
        """Expected share of every value among the records, of probabilities `(G, K)`, float64."""
        cells = 4 * q.shape[1] * (len(self.at_least) + 1)
        return torch.cat([_expected(self._chances(some)) for some in torch.split(q, max(1, _CELLS // cells))])

    def _chances(self, q: Tensor) -> Tensor:
        """Chance of 0, 1, ..., m records with each value, `(K, m + 1, G)`: games lie in memory side by side."""
        place = np.searchsorted(self.told, q.T.contiguous().cpu().numpy()).clip(max=len(self.told) - 1)
        beyond = q.new_zeros(q.shape[1], len(self.at_least) + 2, len(q))
        beyond[:, 0] = 1.0
        for j, curve in enumerate(self.at_least, start=1):
            beyond[:, j] = torch.from_numpy(curve[place])
        return (beyond[:, :-1] - beyond[:, 1:]).clamp_min_(0.0).add_(self.least)


def _expected(chances: Tensor) -> Tensor:
    """Mean counts of those that add up to m, over m: `(K, m + 1, G)` -> `(G, K)`."""
    values, width, games = chances.shape
    nobody = chances.new_zeros(width, games)
    nobody[0] = 1.0
    before, after = [nobody], [nobody]
    for value in range(values - 1):
        before.append(_added(before[-1], chances[value]))
        after.append(_added(after[-1], chances[values - 1 - value]))
    found = []
    for mine, one, two in zip(chances, before, reversed(after)):
        weight = mine * _added(one, two).flip(0)
        found.append((torch.arange(width).to(weight) @ weight) / weight.sum(0))
    mean = torch.stack(found, 1)
    return mean / mean.sum(1, keepdim=True)


def _added(one: Tensor, other: Tensor) -> Tensor:
    """Distribution up to m of the sum of two counts, `(m + 1, G)` each; in units of its largest chance."""
    found, width = one * other[0], len(one)
    for count in range(1, width):
        found[count:].addcmul_(one[: width - count], other[count])
    return found / found.amax(0)


@dataclass(frozen=True)
class KnownBatches:
    """Games whose batches are known: G batches of `size` records, any of which is the target.

    Attributes:
        share: of every value, whole counts over `size`, `(G, K)` float64.
        secret: value of the target, `(G,)`.
        prior: of the values, the same for all games, `(K,)`.
        size: records of a batch.
        least: smallest share of the prior in a posterior.
    """

    share: Tensor
    secret: Tensor
    prior: Tensor
    size: int
    least: float

    @property
    def counts(self) -> Tensor:
        """Records with every value, `(G, K)`."""
        return (self.share * self.size).round()

    @property
    def targets(self) -> Tensor:
        """Values of the target and of other members in its place, game by game, `(REPEATS * G,)`."""
        generator = torch.Generator().manual_seed(len(self.secret))
        others = torch.multinomial(self.share.cpu(), REPEATS - 1, replacement=True, generator=generator)
        return torch.cat([self.secret, *others.T.to(self.secret.device)])

    def out_of_fold(self, q: Tensor) -> Tensor:
        """What decoders that were fitted on other games make of posteriors `(G, K)`."""
        fold, found, counts = torch.arange(len(q), device=q.device) % FOLDS, torch.empty_like(q), self.counts
        for part in range(FOLDS):
            mine = fold == part
            found[mine] = CountDecoder.fit(q[~mine], counts[~mine], self.size).shares(q[mine])
        return found


@dataclass(frozen=True)
class Decoded:
    """Whole counts as several posteriors tell them, weighed, and read once more from what they say together.

    Attributes:
        first: decoders of the posteriors.
        stack: their weights.
        last: decoder of the stack.
        prior: `(K,)`.
        share: of the prior.
    """

    first: tuple[CountDecoder, ...]
    stack: FittedStack
    last: CountDecoder
    prior: Tensor
    share: float

    def log_posterior(self, q: Tensor) -> Tensor:
        """Log-posteriors, natural, `(G, K)`, from the posteriors that know nothing of counts, `(J, G, K)`."""
        scores = torch.stack([_ratios(one.shares(some), self.prior) for one, some in zip(self.first, q)])
        return _mixed(self.last.shares(_together(self.stack, scores, self.prior)), self.prior, self.share)


def decoded(q: Tensor, known: KnownBatches) -> Decoded | None:
    """What reads whole counts from posteriors; None where that is not better by more than one standard error.

    Args:
        q: posteriors of the known games, `(J, G, K)` float64; the first is the one to be better than.
        known: these games.
    """
    scores = torch.stack([_ratios(known.out_of_fold(some), known.prior) for some in q])
    before = known.prior.expand(REPEATS * q.shape[1], -1)
    stack = fit_stack(scores.repeat(1, REPEATS, 1), known.targets, before, known.least)
    if stack.share == 1.0:
        return None
    together = _together(stack, scores, known.prior)
    told = known.out_of_fold(together)
    ratio = (log_prior(told) - log_prior(known.prior)).repeat(REPEATS, 1)
    share = cautious_share(ratio.gather(1, known.targets[:, None]).squeeze(1), known.least)
    gain = (known.share * (_mixed(told, known.prior, share) - log_prior(q[0]))).sum(1)
    if not bool(gain.mean() > gain.std() / len(gain) ** 0.5):
        return None
    first = tuple(CountDecoder.fit(some, known.counts, known.size) for some in q)
    return Decoded(first, stack, CountDecoder.fit(together, known.counts, known.size), known.prior, share)


def _ratios(share: Tensor, prior: Tensor) -> Tensor:
    return share.clamp_min(LEAST_SHARE).log() - log_prior(prior)


def _together(stack: FittedStack, scores: Tensor, prior: Tensor) -> Tensor:
    return torch.softmax(stack.combined(scores) + log_prior(prior), -1)


def _mixed(q: Tensor, prior: Tensor, share: float) -> Tensor:
    return log_prior((1.0 - share) * q + share * prior)
