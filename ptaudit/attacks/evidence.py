"""What the matrices of observed batches say of every candidate, by layer: statistics, then log-likelihood ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks import span, support
from ptaudit.attacks.boosted import Score, fit_boosted
from ptaudit.attacks.calibration import log_prior
from ptaudit.attacks.density import VISIBILITY, Densities, fit_densities
from ptaudit.attacks.stacking import fit_stack
from ptaudit.gradients.matrices import Factors, Matrices, RecordGradients
from ptaudit.views.aggregate import draw_others
from ptaudit.views.observation import Observation, TokenObservation
from ptaudit.views.view import View

REFERENCE = 64
"""Batches that tell what is usual for a candidate."""

USUAL = (-2.0, -1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 2.0)
"""Bounds between classes of what is usual for a candidate, decimal logarithms."""

EVERY = -1
"""In place of a layer: all of them."""

LIKELY = 32
"""Candidates of a game that trees are asked about, those for whom the densities speak most."""

Read = Callable[[Tensor], Iterator[Matrices]]
"""Matrices of batches `(G, m)` in pieces."""


@dataclass(frozen=True)
class Statistic:
    """One statistic of every candidate in every game.

    Attributes:
        layer: place of the layer it is about.
        values: decimal logarithms, `(G, K)` float32.
        level: what candidates are held apart by: their visibility in that layer, or what such a statistic usually is
            for each of them when it is not in the batch, `(G, K)` float32.
        bounds: between classes of the level.
    """

    layer: int
    values: Tensor
    level: Tensor
    bounds: tuple[float, ...] = VISIBILITY

    @classmethod
    def joined(cls, parts: Sequence[Statistic]) -> Statistic:
        """The same statistic of several sets of games."""
        first = parts[0]
        values, level = (torch.cat([getattr(s, name) for s in parts]) for name in ("values", "level"))
        return cls(first.layer, values, level, first.bounds)


@dataclass(frozen=True)
class Candidates:
    """What the adversary computes itself: gradients of the candidates, with the weights that it knows.

    Attributes:
        layers: for each layer the matrices of the records among whom candidates are.
        noise_std: of the noise on every parameter of what is seen.
        reference: batches of the adversary's own records, `(B, m)`, which tell what a candidate looks like that is not
            in a batch; None where it has none.
        sums: whether what is seen is the sum of gradients itself, not what a defense or an update makes of it.
        classes: of the records, `(N,)`; None where the model does not tell classes apart.
    """

    layers: Sequence[Sequence[RecordGradients]]
    noise_std: float = 0.0
    reference: Tensor | None = None
    sums: bool = True
    classes: Tensor | None = None

    @property
    def readable(self) -> bool:
        """Whether any layer is known as matrices, and not lost in noise."""
        return any(not self.hidden(one) for layer in self.layers for one in layer)

    def beside(self, own: Tensor, size: int, generator: torch.Generator) -> Candidates:
        """With batches of so many of the adversary's own records as a reference."""
        if len(own) < size or self.noise_std > 0.0:
            return self
        return replace(self, reference=own[draw_others(len(own), REFERENCE, size, generator)])

    def hidden(self, one: RecordGradients) -> bool:
        """Whether noise drowns every record: not even one row or column of the largest stands out."""
        if self.noise_std == 0.0:
            return False
        return bool(one.norms().max() < self.noise_std * min(one.shape) ** 0.5)


@dataclass(frozen=True)
class Algebra:
    """A view as matrices.

    Attributes:
        seen: what is seen of batches of the records.
        own: gradients of the records, as the adversary computes them for its candidates.
    """

    seen: Observation
    own: Candidates

    def reader(self, view: View, generator: torch.Generator) -> Read:
        """What is seen of batches in one round; of several observations of one batch the mean."""
        seen = self.seen
        if view.fixed_batch and isinstance(seen, TokenObservation):
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
    found = [Statistic.joined(same) for same in zip(*pieces)]
    if own.reference is None or candidates.dim() > 1 or own.noise_std > 0.0:
        return found
    usual = statistics_of(read, own.reference, candidates, replace(own, reference=None))
    return [_against_usual(one, other) if one.bounds == USUAL else one for one, other in zip(found, usual)]


def _against_usual(found: Statistic, usual: Statistic) -> Statistic:
    """With the level of each candidate taken from batches that do not hold it.

    Of a share that is 0 where nothing excludes the candidate, the level is how often that is so by chance.
    """
    excluded = usual.values > -15.0
    if bool(excluded.any()) and not bool(excluded.all()):
        level = ((len(excluded) - excluded.sum(0) + 0.5) / (len(excluded) + 1.0)).log10()
    else:
        level = usual.values.clamp(-8.0, 4.0).quantile(0.1, 0)
    return replace(found, level=level.expand_as(found.values))


def _of_piece(matrices: Matrices, candidates: Tensor, size: int, own: Candidates) -> Iterator[Statistic]:
    for place, (batches, records) in enumerate(zip(matrices, own.layers)):
        for batch, one in zip(batches, records):
            if own.hidden(one):
                continue
            if isinstance(one, Factors) and span.applies(one, size):
                visible, *found = span.statistics(batch, one, candidates, size, own.noise_std)
                yield from (Statistic(place, values, visible) for values in found)
                if own.sums and 2 * size * one.positions <= min(one.shape):
                    continue  # far from the rank: supports add nothing
            visible, *found = support.statistics(batch, one, candidates, own.noise_std)
            if support.has_entries(one, own.noise_std):
                found.append(support.lost_entries(batch, one, candidates))
            yield from (Statistic(place, values, visible, USUAL) for values in found)


@dataclass(frozen=True)
class Evidence:
    """What statistics say: fitted densities of each, and boosted trees of all of them.

    Attributes:
        layers: place of the layer of each density; `EVERY` for the trees, which come last.
        densities: in the same order.
        trees: of the statistics of all layers; None where they are not grown.
    """

    layers: tuple[int, ...]
    densities: tuple[Densities, ...]
    trees: Score | None = None

    @classmethod
    def fit(cls, found: Sequence[Statistic], secret: Tensor, repeats: int = 1) -> Evidence:
        """Count members and non-members among the candidates of games whose secret is known; see `fit_densities`."""
        fitted = tuple(fit_densities(one.values, one.level, secret, one.bounds, repeats) for one in found)
        return cls(tuple(one.layer for one in found), fitted)

    def grown(self, found: Sequence[Statistic], secret: Tensor) -> Evidence:
        """With trees, grown on the same games: they tell apart whom the densities find likely."""
        trees = fit_boosted(_side_by_side(found), secret, 0, _likely(self.scores(found).sum(0)))
        return replace(self, layers=(*self.layers, EVERY), trees=trees)

    def scores(self, found: Sequence[Statistic]) -> Tensor:
        """Log-likelihood ratios, and log-odds of the trees if there are any, `(J, G, K)` float32."""
        counted = torch.stack([d.scores(one.values, one.level) for d, one in zip(self.densities, found)])
        if self.trees is None:
            return counted
        likely = _likely(counted.sum(0))
        told = self.trees(_side_by_side(found), likely)
        rest = told.amin(1, keepdim=True).expand(counted.shape[1:])
        return torch.cat([counted, rest.scatter(1, likely, told)[None]])

    def of_rounds(self, rounds: Sequence[Sequence[Statistic]]) -> Tensor:
        """`scores`, summed over rounds, `(J, G, K)`."""
        first, *more = (self.scores(found) for found in rounds)
        return sum(more, first)

    def of_lines(self, groups: Sequence[Sequence[int]]) -> list[list[int]]:
        """The statistics of every group of layers; those of all layers too where it has several."""
        places = [{*group, EVERY} if len(group) > 1 else set(group) for group in groups]
        return [[i for i, layer in enumerate(self.layers) if layer in some] for some in places]


def _likely(counted: Tensor) -> Tensor:
    return counted.topk(min(LIKELY, counted.shape[-1])).indices


def _side_by_side(found: Sequence[Statistic]) -> Tensor:
    """Statistics, then levels, `(G, K, 2 J)`."""
    return torch.stack([*(one.values for one in found), *(one.level for one in found)], -1)


@dataclass(frozen=True)
class Scored:
    """Games with a posterior that is there already, and what the algebra of whole gradients says beside it.

    Attributes:
        log_q: log-posteriors of P lines that are there already, `(P, G, K)` float64.
        told: log-likelihood ratios of every statistic, summed over rounds, `(J, G, K)`.
        prior: probability of every value without the gradient, `(G, K)`.
    """

    log_q: Tensor
    told: Tensor
    prior: Tensor

    def of_line(self, line: int) -> Tensor:
        """Log of posterior over prior, `(1, G, K)`."""
        return (self.log_q[line : line + 1] - log_prior(self.prior)).float()


def stacked_or_alone(
    choose: Scored, secret: Tensor, played: Scored, lines: Sequence[Sequence[int]], once: bool
) -> Tensor:
    """Log-posteriors of the played games, `(P, G, K)` float64: both stacked, or the better one.

    Args:
        choose: games with known secrets, on which weights are fitted.
        secret: their secrets, `(G,)`.
        played: the games that are asked for.
        lines: for each line the statistics that it may use.
        once: whether both are observations of their own at a random view, of which only one may count.
    """
    least = 1.0 / (len(secret) + 1)
    found = []
    for line, mine in enumerate(lines):
        before, now = choose.of_line(line), played.of_line(line)
        options = [(fit_stack(before, secret, choose.prior, least), now)]
        if mine:
            one, two = choose.told[mine], played.told[mine]
            if not once:
                one, two = torch.cat([before, one]), torch.cat([now, two])
            options.append((fit_stack(one, secret, choose.prior, least), two))
        stack, scores = max(options, key=lambda option: option[0].bits)
        found.append(stack.log_posterior(scores, played.prior))
    return torch.stack(found)
