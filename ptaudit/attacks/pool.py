"""Exact decoding by an adversary that knows all records a batch is drawn from, but not which were drawn.

The gradient of a batch is T x for the gradients T of the pool and x in {0, 1}. While the pool does not exceed the
numerical rank of T, least squares names every member, for layers of any kind and batches of any size. All is done with
inner products of whole gradients: rounding and noise of standard deviation s on every parameter have the covariance
s^2 times the Gram matrix there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.gradients.matrices import Dense, Factors, RecordGradients, UsedRows

ROUNDING = 1e-7
"""Relative error of float32 sums."""

STEPS = 60
"""Steps of the accelerated projected gradient method (Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009)."""

BOXED = 20.0
"""Log-likelihood ratio of a whole count of the bounded decoder, before it is weighted."""

FARTHEST = 60.0
"""Largest log-likelihood ratio."""

DECIDED = 0.01
"""Share of the variance of a count below which it is known."""


@dataclass(frozen=True)
class Pool:
    """The records that batches are drawn from, and how often.

    Attributes:
        gram: inner products of their gradients, `(L, n, n)` float64, for L lines (layers, or all).
        parameters: numbers in those gradients, `(L,)`.
        share: probability of each record to be in a batch, `(n,)`.
        noise_std: of the noise on every parameter of the sum.
    """

    gram: Tensor
    parameters: Tensor
    share: Tensor
    noise_std: float

    def scores(self, members: Tensor, candidates: Tensor, generator: torch.Generator) -> Tensor:
        """Log-likelihood ratios of every candidate, `(2 * L, G, K)` float32: of two decoders for each line.

        Args:
            members: places in the pool of the records of each batch, `(G, m)`.
            candidates: places in the pool, `(K,)`.
            generator: of the noise.
        """
        inside = torch.zeros(len(self.share), len(members), dtype=torch.float64)
        inside.scatter_add_(0, members.T, torch.ones(members.shape[1], len(members), dtype=torch.float64))
        found = []
        for gram, parameters in zip(self.gram, self.parameters.tolist()):
            product = gram @ inside
            length = float((inside * product).sum(0).clamp_min(0.0).sqrt().median())
            spread = max(self.noise_std, ROUNDING * length / parameters**0.5, 1e-200)
            product += spread * root_of(gram) @ torch.randn(inside.shape, generator=generator, dtype=torch.float64)
            ratio, decided = _ratios(gram, product, self.share, spread)
            boxed = ratio if decided or self.noise_std > 0.0 else _boxed(gram, product, self.share) * BOXED
            found += [ratio[candidates].T.float(), boxed[candidates].T.float()]
        return torch.stack(found)


def gram_of(layer: Sequence[RecordGradients], records: Tensor) -> Tensor:
    """Inner products of the whole gradients of some records in one layer, `(n, n)` float64 (ghost products)."""
    total = torch.zeros(len(records), len(records), dtype=torch.float64)
    for one in layer:
        if isinstance(one, Factors):
            left, right = one.left[records].double(), one.right[records].double()
            for p in range(one.positions):
                for q in range(one.positions):
                    total += ((left[:, p] @ left[:, q].T) * (right[:, p] @ right[:, q].T)).cpu()
        elif isinstance(one, Dense):
            flat = one.values[records].double().flatten(1)
            total += (flat @ flat.T).cpu()
        else:
            assert isinstance(one, UsedRows)
            total += _of_entries(one, records).cpu()
    return total


def _of_entries(one: UsedRows, records: Tensor) -> Tensor:
    index, grads = one.index[records], one.grads[records].double()
    total = grads.new_zeros(len(records), len(records))
    for p in range(index.shape[1]):
        for q in range(index.shape[1]):
            same = index[:, p, None] == index[None, :, q]
            total += same * (grads[:, p] @ grads[:, q].T)
    return total


def root_of(gram: Tensor) -> Tensor:
    """A factor F with F F^T = gram."""
    values, vectors = torch.linalg.eigh(gram)
    root: Tensor = vectors * values.clamp_min(0.0).sqrt()
    return root


def _ratios(gram: Tensor, product: Tensor, share: Tensor, spread: float) -> tuple[Tensor, bool]:
    """Log-likelihood ratios of in to out, `(n, G)`, and whether most of the pool can be decided.

    All other counts are taken as normal with the mean and variance of the draw, so that this is the linear minimum mean
    squared error estimate, with each record's own variance taken out again (Sherman and Morrison).
    """
    variance = (share * (1.0 - share)).clamp_min(1e-9)
    ridge = spread**2 / variance + 1e-13 * gram.diagonal().mean()
    factor, _ = torch.linalg.cholesky_ex(gram + torch.diag(ridge))
    inverse = torch.cholesky_inverse(factor)
    left = (ridge * variance / spread**2)[:, None] * (inverse @ (product - (gram @ share)[:, None]))
    slope = left / variance[:, None]
    open_share = (inverse.diagonal() * ridge).clamp(1e-12, 1.0)  # posterior over prior variance
    power = (1.0 - open_share) / variance
    ratio = (slope + ((share - 0.5) * power)[:, None]) / open_share[:, None]
    return ratio.clamp(-FARTHEST, FARTHEST), float(open_share.median()) < DECIDED


def _boxed(gram: Tensor, product: Tensor, share: Tensor) -> Tensor:
    """Least squares with counts between 0 and 1, `(n, G)`; in units in which every gradient has length 1."""
    size = gram.diagonal().clamp_min(1e-200).sqrt()[:, None]
    gram, product, size = (gram / size / size.T).float(), (product / size).float(), size.float()
    step = 1.0 / float(torch.linalg.matrix_norm(gram, 2).clamp_min(1e-200))
    x = y = (share[:, None].float() * size).expand_as(product)
    momentum = 1.0
    for _ in range(STEPS):
        ahead = torch.minimum((y - step * (gram @ y - product)).clamp_min(0.0), size)
        later = (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5) / 2.0
        y = ahead + (momentum - 1.0) / later * (ahead - x)
        x, momentum = ahead, later
    return x / size.clamp_min(1e-200)
