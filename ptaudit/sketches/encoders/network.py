"""What the trainer asks of a network that turns scaled sketches into tokens and back."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """Encoder and decoder of L layers, each alone (rows 1 to L) and all jointly (row 0).

    Attributes:
        separate: whether each row has weights of its own, so that each keeps its own best.
    """

    separate: bool

    @abstractmethod
    def start(self, x: Tensor, generator: torch.Generator) -> None:
        """Sets the weights to a linear encoder of x `(L, N, d)`."""

    @abstractmethod
    def tokens(self, x: Tensor) -> Tensor:
        """`(L, G, d)` -> `(1 + L, G, width)`."""

    @abstractmethod
    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """What training makes small, a single number, on a minibatch `(L, B, d)`."""

    @abstractmethod
    def missed(self, x: Tensor) -> Tensor:
        """Mean squared error of the reconstruction per coordinate, `(1 + L,)`."""

    def weights(self) -> dict[str, Tensor]:
        """A copy of all weights."""
        return {name: weight.detach().clone() for name, weight in self.named_parameters()}

    def put(self, weights: dict[str, Tensor], rows: Tensor) -> None:
        """Sets the weights of some rows, `(1 + L,)` bool; all or none where rows share them."""
        with torch.no_grad():
            for name, own in self.named_parameters():
                own.copy_(merged(name, own, weights[name], rows, self.separate))

    def keep(self, weights: dict[str, Tensor], rows: Tensor) -> None:
        """Writes the present weights of some rows over a copy."""
        for name, own in self.named_parameters():
            weights[name] = merged(name, weights[name], own.detach(), rows, self.separate)


def merged(name: str, old: Tensor, new: Tensor, rows: Tensor, separate: bool) -> Tensor:
    """The new weights in the chosen rows, the old ones in the others; `joint.*` belongs to row 0."""
    if not separate:
        return new.clone() if bool(rows.all()) else old.clone()
    chosen = rows[:1] if name.startswith("joint.") else rows[1:]
    return torch.where(chosen.view(-1, *[1] * (old.dim() - 1)), new, old)


_ITERATIONS = 8
_SPARE = 8


def components(x: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Leading principal directions of R data sets about zero, by randomised subspace iteration.

    Halko, Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4, with a decomposition that is as good on a data set
    without variation: directions of no variance are orthonormal all the same.

    Args:
        x: `(R, N, d)`.
        width: number of directions.
        generator: CPU generator of the first guess.

    Returns:
        Orthonormal columns `(R, d, min(width, d))`, the largest variance first.
    """
    rows, _, d = x.shape
    guess = torch.randn(rows, d, min(width + _SPARE, d), generator=generator).to(x)
    basis: Tensor = torch.linalg.qr(guess).Q
    for _ in range(_ITERATIONS):
        image = x.mT @ (x @ basis)
        # The guess keeps directions without variance apart; beside the others it is as nothing.
        basis = torch.linalg.qr(image + 1e-6 * image.norm(dim=(1, 2), keepdim=True).clamp_min(1e-6) * basis).Q
    seen = x @ basis
    order = torch.linalg.eigh(seen.mT @ seen).eigenvectors.flip(-1)
    found: Tensor = basis @ order
    # The sign of a component means nothing; fixed, so that it is the same wherever it is computed.
    largest = found.gather(1, found.abs().argmax(1, keepdim=True))
    return (found * largest.sign())[..., :width].contiguous()
