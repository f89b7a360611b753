"""What a family of predictors is: how tokens look to it, and a path of fits from cautious to bold.

Gradients' lengths spread over orders of magnitude, and few predictors bear that. Whatever is estimated of tokens here
(typical length, mean and spread of a coordinate) is estimated on the known ones alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import one_hot

FeatureMap = Callable[[Tensor, Tensor], Tensor]
"""Tokens `(L, n, d)` and their typical length `(L, 1, 1)` -> `(L, n, d)`."""

LONGEST = 10.0
"""Tokens longer than this many typical lengths are shortened: one giant would set the scale of all."""

_TINY = 1e-30
_FAR = 20.0


def plain(tokens: Tensor, typical: Tensor) -> Tensor:
    """Tokens as they are, up to `LONGEST`."""
    return tokens * (LONGEST * typical / _length(tokens)).clamp_max(1.0)


def direction(tokens: Tensor, typical: Tensor) -> Tensor:
    """Tokens of unit length; a zero token stays zero."""
    return tokens / _length(tokens)


def compressed(tokens: Tensor, typical: Tensor) -> Tensor:
    """Tokens with their length on a logarithmic scale: nothing is lost, and no token is far from the others."""
    length = _length(tokens)
    return tokens * (torch.log1p(length / (0.1 * typical)) / length)


def mapped(feature_map: FeatureMap, known: Tensor, unseen: Tensor) -> tuple[Tensor, Tensor]:
    """Both as they look, every coordinate with mean 0 and variance 1 on the known ones.

    A coordinate that is constant there is 0; no coordinate of an unseen token is farther out than 20 deviations.
    """
    length = torch.linalg.vector_norm(known, dim=-1)
    typical = length.masked_fill(length <= _TINY, torch.nan).nanmedian(1).values.nan_to_num(1.0)[:, None, None]
    one, two = feature_map(known, typical), feature_map(unseen, typical)
    mean = one.mean(1, keepdim=True)
    one, two = one - mean, two - mean
    spread = one.square().mean(1, keepdim=True).sqrt()
    constant = spread <= 1e-6 * mean.abs() + _TINY
    scale = torch.where(constant, 0.0, 1.0 / spread.clamp_min(_TINY))
    return one * scale, (two * scale).clamp(-_FAR, _FAR)


def _length(tokens: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True)
    return length.clamp_min(_TINY)


class Path(Protocol):
    """Fits P problems side by side and answers for rows it has not seen, at every point of a path of H fits."""

    def __call__(self, known: Tensor, secrets: Tensor, unseen: Tensor, generator: torch.Generator) -> Tensor:
        """Fit and predict.

        Args:
            known: tokens to fit on, `(P, n, d)`, float32, coordinates of mean 0 and variance 1.
            secrets: V versions of what they hide, `(V, n, K)`: classes as one-hot rows, or K numbers.
            unseen: tokens to answer for, `(P, m, d)`.
            generator: the only source of randomness; the same draws serve every problem.

        Returns:
            `(V, H, P, m, K)`: log-probabilities of the classes, or means.
        """


Predictor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Known tokens `(L, n, d)`, what they hide `(V, n, K)` and unseen tokens `(L, m, d)` -> answers `(V, A, L, m, K)`."""


@dataclass(frozen=True)
class Family:
    """A family of predictors.

    Attributes:
        feature_maps: ways of looking at a token, chosen among as the points of the path are.
        classes: the path for secrets that are classes.
        numbers: the path for secrets that are numbers.
        points: number of fits on the path, at most.
    """

    feature_maps: Sequence[FeatureMap]
    classes: Path
    numbers: Path
    points: int

    @property
    def settings(self) -> int:
        """Number of settings among which one is chosen, at most."""
        return len(self.feature_maps) * self.points

    def predictor(self, discrete: bool, seed: int) -> Predictor:
        """Every feature map and every point of the path is a setting; all rows are fitted as one batched program, with
        the same draws whenever it is asked."""
        path, maps = self.classes if discrete else self.numbers, self.feature_maps

        def predict(known: Tensor, secrets: Tensor, unseen: Tensor) -> Tensor:
            seen, met = (torch.cat(same) for same in zip(*(mapped(one, known, unseen) for one in maps)))
            found = path(seen, secrets, met, torch.Generator().manual_seed(seed))
            return torch.unflatten(found, 2, (len(maps), len(known))).flatten(1, 2)

        return predict

    def ratios(self, known: Tensor, secrets: Tensor, values: int, unseen: Tensor, seed: int) -> Tensor:
        """As posteriors over observed batches, see `observations.PosteriorFamily`."""
        hidden = one_hot(secrets, values).float()
        found = self.predictor(True, seed)(known.float(), hidden, unseen.float())
        frequency = (hidden.sum(1) + 1.0) / (hidden.shape[1] + values)
        return found - frequency.log()[:, None, None, None]
