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

from ptaudit.attacks.evidence import EVERY
from ptaudit.attacks.nuisance_density import GAUSSIAN, NuisanceDensity, fit_gaussian, log_density
from ptaudit.gradients.matrices import RecordGradients, at_once
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

MOST_ROWS = 1024
"""Rows of a layer that counts are read from: the regression solves for twice as many numbers."""


def numbers_of(layer: Sequence[RecordGradients], n: int) -> Tensor | None:
    """The last column (the bias) and the row sums of a layer's gradients, which add up over a batch: `(N, F)` float64.

    None where the layer is not known as matrices, or has more rows than an output has.
    """
    if not layer or sum(one.shape[0] for one in layer) > MOST_ROWS:
        return None
    pieces = torch.split(torch.arange(n)[:, None], at_once([layer], 1))
    return torch.cat([_numbers([one.sums(piece) for one in layer]) for piece in pieces]).cpu()


def _numbers(matrices: Sequence[Tensor]) -> Tensor:
    return torch.cat([part for one in matrices for part in (one[..., -1].double(), one.double().sum(-1))], 1)


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
    def of(cls, numbers: Tensor, classes: Tensor, own: Tensor) -> CountReader:
        """Ridge regression of the labels of own records on `numbers_of` a layer."""
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

    def finds(self, others: Tensor, size: int) -> bool:
        """Whether the counts of most batches are found, of own records that it was not fitted to."""
        generator = torch.Generator().manual_seed(size)
        batches = others[draw_others(len(others), TRIED, min(size, len(others)), generator)]
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
    rest: NuisanceDensity

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
        views = sums(self.tokens, members) + (true - counts).to(self.means) @ self.means
        distances = self.rest.distances(views, self.tokens[:, candidates])
        prior = (counts.clamp_min(MISTAKEN) / self.share).log()[:, reader.classes[candidates]].to(distances)
        found = torch.cat([log_density(distances, nu, k) + prior for nu in (GAUSSIAN, UNCERTAIN)])
        return found - found.amax(-1, keepdim=True)
