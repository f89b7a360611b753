"""What every estimator does before it estimates: looks at the pairs, and pairs them wrongly on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.estimators.base import Measured, Pairs
from ptaudit.stats.bootstrap import from_values
from ptaudit.stats.estimate import inconclusive

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def derangement(n: int, generator: torch.Generator) -> Tensor:
    """A permutation of n things that leaves none in its place, uniform among all of these.

    Drawn by rejection, which is exact: a permutation in e has no fixed point.

    Args:
        n: number of things; 1 has no derangement.
        generator: the only source of randomness, on the CPU.

    Returns:
        Int64 tensor (n,).

    Raises:
        ValueError: for n = 1.
    """
    if n == 1:
        raise ValueError("one thing cannot be deranged")
    places = torch.arange(n)
    while True:
        drawn = torch.randperm(n, generator=generator)
        if not bool((drawn == places).any()):
            return drawn


def mismatched(record: Tensor, part: Tensor, generator: torch.Generator, side: Tensor | None = None) -> Tensor:
    """For each pair another pair to take y from: of another record, in the same part and of the same side.

    The records of each side of a part are deranged; of several pairs of a record, the j-th takes the j-th of the other
    record (counted round where that has fewer).

    Args:
        record: the record of each pair, (G,).
        part: the part of each pair, (G,).
        generator: the only source of randomness, on the CPU.
        side: the side of each pair, (G,); None: one side.

    Returns:
        Indices into the pairs, int64 (G,), on the CPU.

    Raises:
        ValueError: for a side of a part with a single record.
    """
    source = torch.empty(len(record), dtype=torch.int64)
    record, part = record.cpu(), groups(part, side).cpu()
    for one in torch.unique(part):
        here = torch.nonzero(part == one).flatten()
        _, place, count = torch.unique(record[here], return_inverse=True, return_counts=True)
        order = torch.argsort(place, stable=True)
        start = torch.cumsum(count, 0) - count
        turn = torch.empty_like(order)
        turn[order] = torch.arange(len(order)) - start[place[order]]
        other = derangement(len(count), generator)[place]
        source[here] = here[order[start[other] + turn % count[other]]]
    return source


def groups(part: Tensor, side: Tensor | None) -> Tensor:
    """One number for each side of each part, (G,): the parts themselves if there is one side."""
    return part if side is None else torch.unique(torch.stack([part, side]), dim=1, return_inverse=True)[1]


def first_of_each(record: Tensor) -> Tensor:
    """Indices of the first pair of each record, in the order of the pairs."""
    _, place = torch.unique(record, return_inverse=True)
    first = torch.full((int(place.max()) + 1 if len(place) else 0,), len(record), device=place.device)
    first = first.scatter_reduce(0, place, torch.arange(len(record), device=place.device), "amin")
    return torch.sort(first).values


def entropy(classes: Tensor) -> float:
    """Plug-in entropy of the classes (G,) in bits: the most that anything can say about them."""
    _, count = torch.unique(classes, return_counts=True)
    share = count.double() / count.sum()
    return float(-(share * share.log2()).sum())


def why_not_estimated(x: Tensor, y: Tensor, least: int) -> str | None:
    """Why a problem's pairs, one a record, cannot be measured; None if they can.

    Args:
        x: (N, dx).
        y: (N, dy), or classes (N,).
        least: fewest records that the estimator can do with.
    """
    n = len(x)
    if n < least:
        return f"{n} records: needs at least {least} records"
    for name, side in (("x", x), ("y", y)):
        if not bool(torch.isfinite(side).all()):
            return f"{name} has values that are not finite"
        if bool((side == side[0]).all()):
            return f"{name} is constant: nothing can be told from it"
    points = torch.cat([x, y], dim=1) if y.is_floating_point() else x
    _, count = torch.unique(points, dim=0, return_counts=True)
    again = int(count[count > 1].sum() - count.max()) if int(count.max()) > 1 else 0
    if again > n // 2:
        return f"{again} of {n} records are duplicates of others, which looks like dependence: needs distinct records"
    return None


@dataclass(frozen=True)
class Sample:
    """One problem, one pair a record.

    Attributes:
        x: (N, dx).
        y: (N, dy); no coordinates if y are classes.
        classes: (N,), None if y are coordinates.
        side: (N,), None if all are of one side.
    """

    x: Array
    y: Array
    classes: Index | None
    side: Index | None = None

    def among(self, kept: NDArray[np.bool_]) -> Sample:
        """Some of the records, their classes numbered anew."""
        classes = None if self.classes is None else np.unique(self.classes[kept], return_inverse=True)[1]
        return Sample(self.x[kept], self.y[kept], classes, None if self.side is None else self.side[kept])


def samples(pairs: Pairs, least: int) -> Iterator[Sample | str]:
    """The problems one by one, the first pair of each record, for estimators that fit nothing to the pairing.

    Args:
        pairs: P problems.
        least: fewest records that the estimator can do with.

    Yields:
        The sample, or the reason why this problem cannot be measured.
    """
    rows = first_of_each(pairs.record)
    side = None if pairs.side is None else pairs.side[rows].cpu().numpy()
    for p in range(len(pairs.x)):
        x = pairs.x[p, rows].detach().double().cpu()
        y = pairs.y[p if len(pairs.y) > 1 else 0, rows].detach().cpu()
        if reason := why_not_estimated(x, y, least):
            yield reason
        elif pairs.discrete:
            yield Sample(x.numpy(), np.empty((len(x), 0)), np.unique(y.numpy(), return_inverse=True)[1], side)
        else:
            yield Sample(x.numpy(), y.double().numpy(), None, side)


def unknown(reason: str, n: int) -> Measured:
    """What is found for a problem that cannot be measured."""
    lost = inconclusive(reason, n=n)
    return Measured(lost, lost)


def near_ceiling(value: float, ceiling: float) -> bool:
    """Whether the truth may well lie above: within a bit of the ceiling, or within 5 % of one under two bits."""
    return value > ceiling - (1.0 if ceiling >= 2.0 else 0.05 * ceiling)


def measured(values: Array, nulls: Sequence[float], ceiling: float, seed: int, extra_variance: float = 0.0) -> Measured:
    """The mean of the records' values with its interval, and its difference from the null.

    Args:
        values: bits of every record, (N,).
        nulls: the estimate under each derangement.
        ceiling: the most that can be found; NaN for none. Near it the estimate is `saturated`.
        seed: of the resamples.
        extra_variance: variance of the estimate that is not due to the records.
    """
    null = float(np.mean(nulls))
    bits = from_values(values, null=null, ceiling=ceiling, seed=seed, extra_variance=extra_variance)
    spread = extra_variance + float(np.var(nulls, ddof=1)) / len(nulls)
    gap = from_values(values - null, null=0.0, ceiling=ceiling, seed=seed, extra_variance=spread)
    found = Measured(bits, gap)
    return found.saturated() if near_ceiling(float(values.mean()), ceiling) else found
