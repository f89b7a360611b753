"""What an adversary sees of batches of the audited records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ptaudit.gradients.matrices import BatchSums, Matrices
from ptaudit.views.aggregate import add_noise, sums


class Observation(Protocol):
    """A view of the audited records at one epoch."""

    @property
    def random(self) -> bool:
        """Whether two observations of one batch differ."""

    def read(self, members: Tensor, generator: torch.Generator) -> Iterator[Matrices]:
        """The same batches as matrices, see `BatchSums.read`; of none where only sketches are known.

        What is random in the view is drawn anew: who looks both ways must not count both observations as two.
        """

    def observe(self, members: Tensor, generator: torch.Generator) -> Tensor:
        """One observation of every batch.

        Args:
            members: the records of each batch, `(G, m)`.
            generator: of noise and other randomness of the view; a CPU generator.

        Returns:
            `(R, G, k)`, float64: R layers, then joint rows.
        """


@dataclass(frozen=True)
class TokenObservation:
    """A view that adds up: the sum of the records' tokens and noise on it.

    Attributes:
        tokens: of N records for R rows, `(R, N, k)`, float64; clipped already where the view clips.
        noise_std: standard deviation of the noise on the sum, per coordinate.
        sums: the same view as matrices; None where only tokens are known.
    """

    tokens: Tensor
    noise_std: float = 0.0
    sums: BatchSums | None = None

    @property
    def random(self) -> bool:
        """See `Observation.random`."""
        return self.noise_std > 0.0

    def read(self, members: Tensor, generator: torch.Generator) -> Iterator[Matrices]:
        """See `Observation.read`."""
        return iter(()) if self.sums is None else self.sums.read(members, generator)

    def quieter(self, rounds: int) -> TokenObservation:
        """The mean of so many observations of one batch."""
        quiet = self.noise_std / rounds**0.5
        return replace(self, noise_std=quiet, sums=self.sums and replace(self.sums, noise_std=quiet))

    def observe(self, members: Tensor, generator: torch.Generator) -> Tensor:
        """See `Observation.observe`."""
        return add_noise(sums(self.tokens, members), self.noise_std, generator)


def observe_rounds(observation: Observation, members: Tensor, generator: torch.Generator) -> Tensor:
    """Every round of every game, `(r, G, m)` -> `(r, R, G, k)`."""
    return torch.stack([observation.observe(batch, generator) for batch in members])
