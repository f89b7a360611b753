"""What the matrices of observed batches say of every candidate, layer by layer: statistics, then log-likelihood ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks import span, support
from ptaudit.attacks.density import Densities, fit_densities
from ptaudit.gradients.batches import Matrices
from ptaudit.gradients.matrices import Factors, RecordGradients
from ptaudit.views.sight import Sight, TokenSight
from ptaudit.views.view import View

Read = Callable[[Tensor], Iterator[Matrices]]
"""Matrices of batches `(G, m)` in pieces."""


@dataclass(frozen=True)
class Statistic:
    """One statistic of every candidate in every game.

    Attributes:
        layer: place of the layer it is about.
        values: decimal logarithms, `(G, K)` float32.
        visibility: of the candidates in that layer, `(G, K)` float32.
    """

    layer: int
    values: Tensor
    visibility: Tensor


@dataclass(frozen=True)
class Candidates:
    """What the adversary computes itself: gradients of the candidates, with the weights that it knows.

    Attributes:
        layers: for each layer the matrices of the records among whom candidates are.
        noise_std: of the noise on every parameter of what is seen.
    """

    layers: Sequence[Sequence[RecordGradients]]
    noise_std: float = 0.0

    @property
    def readable(self) -> bool:
        """Whether any layer is known as matrices, and not lost in noise."""
        return any(not self.hidden(one) for layer in self.layers for one in layer)

    def hidden(self, one: RecordGradients) -> bool:
        """Whether noise drowns every record: not even one row or column of the largest stands out."""
        if self.noise_std == 0.0:
            return False
        return float(one.norms().max()) < self.noise_std * min(one.shape) ** 0.5


@dataclass(frozen=True)
class Algebra:
    """A view as matrices.

    Attributes:
        seen: what is seen of batches of the records.
        own: gradients of the records, as the adversary computes them for its candidates.
    """

    seen: Sight
    own: Candidates

    def reader(self, view: View, generator: torch.Generator) -> Read:
        """What is seen of batches in one round; of several looks at one batch the mean."""
        seen = self.seen
        if view.fixed_batch and isinstance(seen, TokenSight):
            seen = seen.quieter(view.rounds)
        return lambda members: seen.read(members, generator)

    def records(self, versions: int) -> int:
        """Number of records N, where each is there in so many versions."""
        return next(len(one.norms()) for layer in self.own.layers for one in layer) // versions


def statistics_of(read: Read, members: Tensor, candidates: Tensor, own: Candidates) -> list[Statistic]:
    """Statistics of all attacks that apply, on every layer.

    Args:
        read: what is seen of batches.
        members: records of each batch, `(G, m)`.
        candidates: indices of records, `(K,)` for all games or `(G, K)`.
        own: the candidates' gradients.
    """
    pieces: list[list[Statistic]] = []
    start = 0
    for matrices in read(members):
        games = next(len(one) for layer in matrices for one in layer)
        mine = candidates if candidates.dim() == 1 else candidates[start : start + games]
        pieces.append(list(_of_piece(matrices, mine, members.shape[1], own)))
        start += games
    return [
        Statistic(same[0].layer, torch.cat([s.values for s in same]), torch.cat([s.visibility for s in same]))
        for same in zip(*pieces)
    ]


def _of_piece(matrices: Matrices, candidates: Tensor, size: int, own: Candidates) -> Iterator[Statistic]:
    for place, (batches, records) in enumerate(zip(matrices, own.layers)):
        for batch, one in zip(batches, records):
            if own.hidden(one):
                continue
            spanned = isinstance(one, Factors) and span.applies(one, size)
            if spanned:
                assert isinstance(one, Factors)
                visible, *found = span.statistics(batch, one, candidates, size, own.noise_std)
            else:
                visible, *found = support.statistics(batch, one, candidates, own.noise_std)
            yield from (Statistic(place, values, visible) for values in found)


@dataclass(frozen=True)
class Evidence:
    """Fitted densities of every statistic.

    Attributes:
        layers: place of the layer of each.
        densities: in the same order.
    """

    layers: tuple[int, ...]
    densities: tuple[Densities, ...]

    @classmethod
    def fit(cls, found: Sequence[Statistic], secret: Tensor) -> Evidence:
        """Count members and non-members among the candidates of games whose secret is known."""
        fitted = tuple(fit_densities(one.values, one.visibility, secret) for one in found)
        return cls(tuple(one.layer for one in found), fitted)

    def scores(self, found: Sequence[Statistic]) -> Tensor:
        """Log-likelihood ratios `(J, G, K)` float32."""
        return torch.stack([d.scores(one.values, one.visibility) for d, one in zip(self.densities, found)])
