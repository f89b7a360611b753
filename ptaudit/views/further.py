"""Held-out records as an adversary's own: nothing is reported of them, and they may tell what the others look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ptaudit.gradients.matrices import RecordGradients


@dataclass(frozen=True)
class Further:
    """What a view that adds up shows of held-out records.

    Training sets members apart from them (their gradients are smaller where the model overfits), so whether they are of
    use has to be tried on members.

    Attributes:
        tokens: of each of them, `(R, M, k)` float64, as `TokenSight.tokens` are of members.
        read: gradients of the first so many as matrices, by layer.
    """

    tokens: Tensor
    read: Callable[[int], list[list[RecordGradients]]]

    def some(self, share: float) -> Tensor:
        """Tokens of a share of them."""
        return self.tokens[:, : self.count(share)]

    def count(self, share: float) -> int:
        """How many a share is."""
        return round(share * self.tokens.shape[1])
