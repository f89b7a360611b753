"""The best linear encoder: principal components, from which the networks start and which they must beat."""

from __future__ import annotations

import torch
from torch import Tensor

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
