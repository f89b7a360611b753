"""What a family of predictors is: how tokens look to it, and a path of fits from cautious to bold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ptaudit.attacks.usable.feature_maps import Look


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


@dataclass(frozen=True)
class Family:
    """A family of predictors.

    Attributes:
        looks: ways of looking at a token, chosen among as the points of the path are.
        classes: the path for secrets that are classes.
        numbers: the path for secrets that are numbers.
        points: number of fits on the path, at most.
    """

    looks: Sequence[Look]
    classes: Path
    numbers: Path
    points: int

    @property
    def settings(self) -> int:
        """Number of settings among which one is chosen, at most."""
        return len(self.looks) * self.points
