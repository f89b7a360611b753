"""What an adversary sees of batches of the audited records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ptaudit.views.aggregate import add_noise, sums


class Sight(Protocol):
    """A view of the audited records at one epoch."""

    def see(self, members: Tensor, generator: torch.Generator) -> Tensor:
        """One observation of every batch.

        Args:
            members: the records of each batch, `(G, m)`.
            generator: of noise and other randomness of the view; a CPU generator.

        Returns:
            `(R, G, k)`, float64: R layers, then joint rows.
        """


@dataclass(frozen=True)
class TokenSight:
    """A view that adds up: the sum of the records' tokens and noise on it.

    Attributes:
        tokens: of N records for R rows, `(R, N, k)`, float64; clipped already where the view clips.
        noise_std: standard deviation of the noise on the sum, per coordinate.
    """

    tokens: Tensor
    noise_std: float = 0.0

    def see(self, members: Tensor, generator: torch.Generator) -> Tensor:
        """See `Sight.see`."""
        return add_noise(sums(self.tokens, members), self.noise_std, generator)


def look(sight: Sight, members: Tensor, generator: torch.Generator) -> Tensor:
    """Every round of every game, `(r, G, m)` -> `(r, R, G, k)`."""
    return torch.stack([sight.see(batch, generator) for batch in members])
