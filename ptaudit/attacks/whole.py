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
from ptaudit.gradients.matrices import RecordGradients

SHRINKAGE = (1e-3, 3e-2, 1.0)
"""Variance in every direction, in units of the mean variance of the directions that the own records span."""

SETTINGS = 2 * len(SHRINKAGE)
"""Scores of each line: every shrinkage with normal tails and with those of an uncertain length."""

SKETCH = 256
"""Layers with at most so many numbers are in their sketch whole."""

MOST_OWN = 1024
"""Most records that a covariance is fitted to."""

MOST_CELLS = 1 << 27
"""Most numbers of all inner products (512 MiB)."""


@dataclass(frozen=True)
class WholeDensity:
    """What hides a record, fitted to the adversary's own records, for L lines.

    Attributes:
        gram: inner products of whole gradients of all records, `(L, N, N)`.
        own: the adversary's records, `(n,)`.
        others: records that hide the target (m - 1).
    """

    gram: Tensor
    own: Tensor
    others: int

    def scores(self, members: Tensor, candidates: Tensor) -> Tensor:
        """Log-likelihoods of every candidate less the largest: `(L * SETTINGS, G, K)` float32.

        Args:
            members: records of each batch, `(G, m)`.
            candidates: `(K,)`.
        """
        inside = torch.zeros(self.gram.shape[1], len(members), dtype=self.gram.dtype)
        inside.scatter_add_(0, members.T, torch.ones(members.shape[1], len(members), dtype=self.gram.dtype))
        return torch.cat([self._line(place, inside, candidates) for place in range(len(self.gram))])

    @cached_property
    def _axes(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of every line the mean inner products of the own records, and the spectrum of the centred ones."""
        found = []
        for gram in self.gram:
            inner = gram[self.own][:, self.own].double()
            mean = inner.mean(1)
            values, vectors = torch.linalg.eigh(inner - mean[:, None] - mean[None] + mean.mean())
            found.append((mean, values.clamp_min(0.0), vectors))
        return found

    def _line(self, place: int, inside: Tensor, candidates: Tensor) -> Tensor:
        gram, (mean, values, vectors) = self.gram[place], self._axes[place]
        n, rows = len(self.own), gram[self.own]
        scale = float(values.mean()) / n
        if scale <= 0.0:
            return torch.zeros(SETTINGS, inside.shape[1], len(candidates))
        # Inner products of what is seen, less the mean of the others, with itself, the candidates, and the own records.
        total, middle = gram @ inside, rows.mean(0)
        length = (inside * total).sum(0) - 2.0 * self.others * (middle @ inside) + self.others**2 * mean.mean()
        cross = (total[candidates] - self.others * middle[candidates, None]).T
        seen, asked = (rows @ inside) - self.others * mean[:, None].to(rows), rows[:, candidates]
        seen, asked = (vectors.T.to(rows) @ (some - some.mean(0)) for some in (seen, asked))
        found = []
        for share in SHRINKAGE:
            ridge = share * scale
            weight = (1.0 / (n * ridge + values))[:, None].to(rows)
            left = (length - (seen.square() * weight).sum(0))[:, None] - 2.0 * (cross - (seen * weight).T @ asked)
            left += gram.diagonal()[candidates] - (asked.square() * weight).sum(0)
            left = (left / (self.others * ridge)).clamp_min_(1e-6)
            found += [-0.5 * left, -0.5 * n * left.log()]
        scores = torch.stack(found)
        return (scores - scores.amax(-1, keepdim=True)).float()


@dataclass(frozen=True)
class Grams:
    """Inner products of the whole gradients of all records.

    Attributes:
        gram: for some layers, then all together, `(L, N, N)` float32.
        layers: places of those layers, then -1.
    """

    gram: Tensor
    layers: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """The layer that each row of the scores is about."""
        return tuple(layer for layer in self.layers for _ in range(SETTINGS))

    def density(self, own: Tensor, others: int) -> WholeDensity:
        """Fitted to some records; of many the first."""
        return WholeDensity(self.gram, own[:MOST_OWN], others)

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


def _numbers(layer: Sequence[RecordGradients]) -> int:
    return sum(one.shape[0] * one.shape[1] for one in layer)
