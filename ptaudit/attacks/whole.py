"""The likelihood ratio in the space of whole gradients, by inner products alone (ghost products).

The other records of a batch are taken as normal with the mean and the covariance of the adversary's own records, and a
little of every direction that these do not span. What a sketch of a few hundred numbers has to leave out, all that its
own records tell, is there; the tails are those of a normal, or as heavy as its length is uncertain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ptaudit.attacks import span
from ptaudit.attacks.pool import gram_of
from ptaudit.attacks.pool import root_of as exact_root_of
from ptaudit.gradients.matrices import RecordGradients

SHRINKAGE = (1e-3, 3e-2, 1.0)
"""Variance in every direction, in units of the mean variance of the directions that the own records span."""

SETTINGS = 2 * len(SHRINKAGE)
"""Scores of each line: every shrinkage with normal tails and with those of an uncertain length."""

SKETCH = 256
"""Layers with at most so many numbers are in their sketch whole."""

MOST_OWN = 1024
"""Most records that a covariance is fitted to."""

MOST_WIDER = 768
"""The same, where further records are among them: beyond it they add little to what they cost."""

MOST_CELLS = 1 << 27
"""Most numbers of all inner products (512 MiB)."""

MOST_NOISY = 4096
"""Most records whose inner products are seen under noise: it takes a root of their matrix."""


@dataclass(frozen=True)
class Noise:
    """Normal noise on every parameter, as inner products with the gradients of the records show it.

    In one layer these are normal with covariance std^2 times the matrix of the gradients' own inner products.

    Attributes:
        std: on every parameter.
        roots: of the matrices of inner products of every layer, `(L, N, N)`.
        parameters: of every layer.
        generator: draws it.
    """

    std: float
    roots: Tensor
    parameters: tuple[int, ...]
    generator: torch.Generator

    def draw(self, games: int) -> list[tuple[Tensor, int]]:
        """Its inner products with all records, `(N, G)`, and the parameters behind them: of every layer, and of all
        together where there are several."""
        drawn = []
        for root, parameters in zip(self.roots, self.parameters):
            normal = torch.randn(root.shape[1], games, generator=self.generator, dtype=root.dtype)
            drawn.append((self.std * root @ normal, parameters))
        if len(drawn) > 1:
            drawn.append((torch.stack([one for one, _ in drawn]).sum(0), sum(self.parameters)))
        return drawn


@dataclass(frozen=True)
class ObservedProducts:
    """What is seen of G batches in one line.

    Attributes:
        total: inner products with all records, `(N, G)`.
        square: with itself, `(G,)`.
        noise: variance of every parameter.
    """

    total: Tensor
    square: Tensor
    noise: float = 0.0

    @classmethod
    def of(cls, gram: Tensor, inside: Tensor) -> ObservedProducts:
        """From the inner products of all records `(N, N)` and how often each of the first is in a batch, `(n, G)`."""
        total = gram[:, : len(inside)] @ inside
        return cls(total, (inside * total[: len(inside)]).sum(0))

    def under(self, drawn: Tensor, inside: Tensor, std: float, parameters: int) -> ObservedProducts:
        """The same under noise, whose length beyond the records' span is taken at its mean: it is the same for all
        candidates."""
        square = self.square + 2.0 * (inside * drawn[: len(inside)]).sum(0) + std**2 * parameters
        return ObservedProducts(self.total + drawn, square, std**2)


@dataclass(frozen=True)
class CentredSpectrum:
    """Mean inner products of some records `(n,)`, and the spectrum of the centred ones: `(n,)` and `(n, n)`."""

    mean: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, inner: Tensor) -> CentredSpectrum:
        """From inner products `(n, n)` float64; the spectrum is found in float32, which is enough beside a ridge."""
        mean = inner.mean(1)
        values, vectors = torch.linalg.eigh((inner - mean[:, None] - mean[None] + mean.mean()).float())
        return cls(mean, values.clamp_min(0.0), vectors)


@dataclass(frozen=True)
class WholeDensity:
    """What hides a record, fitted to the adversary's own records, for L lines.

    Attributes:
        gram: inner products of whole gradients of all records, `(L, N, N)`.
        own: the adversary's records, `(n,)`.
        others: records that hide the target (m - 1).
        layers: the layer that each line is about; -1 for all together.
        noise: on what is seen.
    """

    gram: Tensor
    own: Tensor
    others: int
    layers: tuple[int, ...]
    noise: Noise | None = None

    @property
    def rows(self) -> tuple[int, ...]:
        """The layer that each score is about."""
        return tuple(layer for layer in self.layers for _ in range(SETTINGS))

    def scores(self, members: Tensor, candidates: Tensor) -> Tensor:
        """Log-likelihoods of every candidate less the largest: `(L * SETTINGS, G, K)` float32.

        Args:
            members: records of each batch, `(G, m)`.
            candidates: `(K,)`.
        """
        inside = torch.zeros(int(members.max()) + 1, len(members), dtype=self.gram.dtype)
        inside.scatter_add_(0, members.T, torch.ones(members.shape[1], len(members), dtype=self.gram.dtype))
        seen = [ObservedProducts.of(gram, inside) for gram in self.gram]
        if self.noise is not None:
            drawn = self.noise.draw(len(members))
            seen = [one.under(more, inside, self.noise.std, size) for one, (more, size) in zip(seen, drawn)]
        return torch.cat([self._line(place, one, candidates) for place, one in enumerate(seen)])

    @cached_property
    def _axes(self) -> list[CentredSpectrum]:
        return [CentredSpectrum.of(gram[self.own][:, self.own].double()) for gram in self.gram]

    def _line(self, place: int, seen: ObservedProducts, candidates: Tensor) -> Tensor:
        gram, axes = self.gram[place], self._axes[place]
        n, rows = len(self.own), gram[self.own]
        scale = self.others * float(axes.values.mean()) / n
        if scale + seen.noise <= 0.0:
            return torch.zeros(SETTINGS, seen.total.shape[1], len(candidates))
        # Less the mean of the others.
        length = seen.square - 2.0 * self.others * seen.total[self.own].mean(0) + self.others**2 * axes.mean.mean()
        cross = (seen.total[candidates] - self.others * rows.mean(0)[candidates, None]).T
        along, asked = seen.total[self.own] - self.others * axes.mean[:, None].to(rows), rows[:, candidates]
        along, asked = (axes.vectors.T.to(rows) @ (some - some.mean(0)) for some in (along, asked))
        found = []
        for share in SHRINKAGE:
            ridge = share * scale + seen.noise
            weight = (self.others / (n * ridge + self.others * axes.values))[:, None].to(rows)
            left = (length - (along.square() * weight).sum(0))[:, None] - 2.0 * (cross - (along * weight).T @ asked)
            left += gram.diagonal()[candidates] - (asked.square() * weight).sum(0)
            left = (left / ridge).clamp_min_(1e-6)
            found += [-0.5 * left, -0.5 * n * left.log()]
        scores = torch.stack(found)
        return (scores - scores.amax(-1, keepdim=True)).float()


@dataclass(frozen=True)
class Grams:
    """Inner products of the whole gradients of all records.

    Attributes:
        gram: for some layers, then all together, `(L, N, N)` float32.
        layers: places of those layers, then -1.
        noise: on what is seen of batches.
    """

    gram: Tensor
    layers: tuple[int, ...]
    noise: Noise | None = None

    def density(self, own: Tensor, others: int) -> WholeDensity:
        """Fitted to some records; of many the first."""
        return WholeDensity(self.gram, own[:MOST_OWN], others, self.layers, self.noise)

    @classmethod
    def of(cls, layers: Sequence[Sequence[RecordGradients]], size: int) -> Grams | None:
        """Those that say more than the span of a batch of so many records; None where that says all, or they are too
        large."""
        spanned = [any(span.applies(one, size) for one in layer) for layer in layers]
        joint = not any(spanned) and len(layers) > 1
        wanted = [i for i, layer in enumerate(layers) if not spanned[i] and _numbers(layer) > SKETCH]
        if not wanted:
            return None
        n = len(layers[wanted[0]][0].norms())
        wanted = sorted(wanted, key=lambda i: -_numbers(layers[i]))[: max(0, MOST_CELLS // n**2 - joint)]
        if not wanted:
            return None
        records = torch.arange(n)
        grams = [gram_of(layers[i], records).float() for i in sorted(wanted)]
        if joint:
            grams.append(sum(grams[1:], grams[0]))
        return cls(torch.stack(grams), (*sorted(wanted), *((-1,) if joint else ())))

    @classmethod
    def under_noise(
        cls, layers: Sequence[Sequence[RecordGradients]], std: float, generator: torch.Generator
    ) -> Grams | None:
        """Those of every layer and of all together; None where `noisy_cells` is 0."""
        n = len(layers[0][0].norms()) if layers and layers[0] else 0
        if not noisy_cells(layers, n):
            return None
        grams, roots = zip(*(_with_root(gram_of(layer, torch.arange(n))) for layer in layers))
        noise = Noise(std, torch.stack(roots), tuple(map(_numbers, layers)), generator)
        if len(layers) == 1:
            return cls(torch.stack(grams), (0,), noise)
        return cls(torch.stack([*grams, sum(grams[1:], grams[0])]), (*range(len(layers)), -1), noise)


def further_of(records: int, held_out: int) -> int:
    """How many of the held-out records are looked at as whole gradients, beside half of the audited ones."""
    return min(held_out, max(0, MOST_WIDER - records // 2))


def noisy_cells(layers: Sequence[Sequence[RecordGradients]], n: int) -> int:
    """Numbers kept of n records under noise, inner products and roots; 0 where a layer is not whole, or the records are
    too many."""
    whole = all(layer and all(one.whole for one in layer) for layer in layers)
    cells = (2 * len(layers) + (len(layers) > 1)) * n**2
    return cells if whole and n <= MOST_NOISY and cells <= MOST_CELLS else 0


def root_of(gram: Tensor) -> Tensor:
    """A factor F with F F^T = gram `(N, N)` float64, but for 1e-12 of its diagonal: noise of this covariance."""
    ridge = 1e-12 * gram.diagonal().mean().clamp_min(1e-200)
    root: Tensor
    root, failed = torch.linalg.cholesky_ex(gram + ridge * torch.eye(len(gram), dtype=gram.dtype))
    return exact_root_of(gram) if bool(failed) else root


def _with_root(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32."""
    return gram.float(), root_of(gram).float()


def _numbers(layer: Sequence[RecordGradients]) -> int:
    return sum(one.shape[0] * one.shape[1] for one in layer)
