"""The likelihood ratio when the classes of a batch are known: its last layer often tells how many records each has.

The gradient of the last bias is the sum of (predicted probabilities - one-hot label) over the batch, so that where
predictions vary little, as before training, the counts can be read from it (label restoration: Geng et al., arXiv
2110.09074). Records of known classes hide a candidate less: their mean is known, and what varies is what varies within
classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.adversaries.interference import GAUSSIAN, Interference, fit_gaussian, log_density
from ptaudit.attacks.evidence import EVERY
from ptaudit.gradients.matrices import RecordGradients
from ptaudit.views.aggregate import draw_others, sums

MOSTLY = 0.5
"""Share of batches whose counts have to be found for them to be used."""

TRIED = 256
"""Batches of own records on which that is seen."""

RIDGE = 1e-3
"""Penalty of the regression of labels on gradients, in units of the mean variance of the standardised numbers."""

UNCERTAIN = 30.0
"""Degrees of freedom of the heavier of the two tails."""

MISTAKEN = 0.01
"""Count that is taken for a class of which a batch seems to have no record."""


@dataclass(frozen=True)
class CountReader:
    """A linear reading of class counts: `ones @ slope + size * offset`, rounded.

    Attributes:
        numbers: of each record, which add up over a batch, `(N, F)` float64.
        slope: `(F, C)`.
        offset: `(C,)`.
        classes: of each record, `(N,)`.
    """

    numbers: Tensor
    slope: Tensor
    offset: Tensor
    classes: Tensor

    @classmethod
    def of(cls, layer: Sequence[RecordGradients], classes: Tensor, own: Tensor) -> CountReader:
        """Ridge regression of the labels of own records on the last column (the bias) and the row sums of a layer."""
        records = torch.arange(len(classes))[:, None]
        matrices = [one.sums(records).double() for one in layer]
        numbers = torch.cat([part for one in matrices for part in (one[..., -1], one.sum(-1))], 1)
        label = torch.nn.functional.one_hot(classes, int(classes.max()) + 1).double()
        mean, share = numbers[own].mean(0), label[own].mean(0)
        spread = numbers[own].std(0).clamp_min(1e-200)
        some = (numbers[own] - mean) / spread
        gram = some.T @ some + RIDGE * len(own) * torch.eye(some.shape[1], dtype=torch.float64)
        slope = torch.linalg.solve(gram, some.T @ (label[own] - share)) / spread[:, None]
        return cls(numbers, slope, share - mean @ slope, classes)

    def counts(self, members: Tensor) -> Tensor:
        """Counts of batches `(G, m)` as their gradients tell them, `(G, C)` float64."""
        found = self.numbers[members].sum(1) @ self.slope + members.shape[1] * self.offset
        return found.round().clamp_min(0.0)

    def finds(self, own: Tensor, size: int) -> bool:
        """Whether the counts of most batches of own records are found."""
        generator = torch.Generator().manual_seed(size)
        batches = own[draw_others(len(own), TRIED, min(size, len(own)), generator)]
        label = torch.nn.functional.one_hot(self.classes[batches], self.slope.shape[1]).sum(1)
        return float((self.counts(batches) == label).all(1).double().mean()) >= MOSTLY


@dataclass(frozen=True)
class CountedDensity:
    """What hides a record among others of known classes, fitted to the adversary's own records, for R rows.

    Attributes:
        reader: of the counts.
        tokens: of all records less the mean of their class, `(R, N, k)` float64.
        means: of the classes, `(R, C, k)`.
        share: of each class, `(C,)`.
        rest: density of the sum of the others.
    """

    reader: CountReader
    tokens: Tensor
    means: Tensor
    share: Tensor
    rest: Interference

    @classmethod
    def fit(cls, reader: CountReader, tokens: Tensor, own: Tensor, others: int) -> CountedDensity:
        """To own records, for so many others in a batch; a class that none of them has has the mean of all."""
        label = torch.nn.functional.one_hot(reader.classes, reader.slope.shape[1]).to(tokens)
        count = label[own].sum(0)
        total = torch.einsum("nc,rnk->rck", label[own], tokens[:, own])
        means = (total + tokens[:, own].mean(1, keepdim=True)) / (count[:, None] + 1.0)
        share = (count + 1.0) / (len(own) + len(count))
        centred = tokens - means[:, reader.classes]
        return cls(reader, centred, means, share, fit_gaussian(centred[:, own], others, 0.0, refine=True))

    @property
    def rows(self) -> tuple[int, ...]:
        """The layer of each score, all of them: of each row with normal and with heavier tails."""
        return (EVERY,) * (2 * len(self.tokens))

    def scores(self, members: Tensor, candidates: Tensor) -> Tensor:
        """Log-likelihoods of every candidate less the largest, `(2 R, G, K)` float32.

        Args:
            members: records of each batch, `(G, m)`.
            candidates: `(K,)`.
        """
        reader, k = self.reader, self.tokens.shape[-1]
        counts = reader.counts(members)
        true = torch.nn.functional.one_hot(reader.classes[members], counts.shape[1]).sum(1)
        # What is seen less what the counts explain: where they are wrong, so is this.
        views = sums(self.tokens, members) + (true - counts) @ self.means
        distances = self.rest.distances(views, self.tokens[:, candidates])
        prior = (counts.clamp_min(MISTAKEN) / self.share).log()[:, reader.classes[candidates]].float()
        found = torch.cat([log_density(distances, nu, k) + prior for nu in (GAUSSIAN, UNCERTAIN)])
        return found - found.amax(-1, keepdim=True)
