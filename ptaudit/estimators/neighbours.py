"""Counting neighbours in the largest norm: what is common to the k-nearest-neighbour estimators.

The estimate is the mean over records of ψ(k) + ψ(N) − ψ(nx + 1) − ψ(ny + 1): k neighbours in the joint space set each
record's radius, nx and ny are the other records strictly within it on either side (Kraskov et al. 2004, algorithm 1).
Classes are points at distance 0 or ∞ of each other, which turns the same formula into that of Ross (2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import digamma

from ptaudit.estimators.pairing import Array, Index

_AT_ONCE = 256


@dataclass(frozen=True)
class Roles:
    """What the records are to each other on one side.

    Attributes:
        inside: others strictly within each record's radius, (N,).
        wider: others strictly within its next radius, (N,).
        received: for each record, 1 / inside of the others within whose radius it is, summed, (N,).
    """

    inside: Index
    wider: Index
    received: Array


class Side(Protocol):
    """One side's points, alone."""

    def closer(self, at: Index, radius: Array) -> Index:
        """For each point of `at`: how many others are strictly within its radius."""

    def roles(self, radius: Array, wider: Array) -> Roles:
        """Counts for all points at once, from both ends."""

    def distance(self, one: Index, other: Index) -> Array:
        """Distances between points, by their indices."""


class Line:
    """Points with one coordinate: sorted once, counted by bisection."""

    def __init__(self, points: Array) -> None:
        self._points = points[:, 0]
        self._order = np.argsort(self._points, kind="stable")
        self._sorted = self._points[self._order]

    def _ends(self, at: Index, radius: Array) -> tuple[Index, Index]:
        """The run of sorted points strictly within the radius; it holds the point itself."""
        centre, line = self._points[at], self._sorted
        start = np.searchsorted(line, centre - radius, side="right")
        end = np.searchsorted(line, centre + radius, side="left")
        # centre ± radius is rounded, and the neighbour that set the radius lies exactly on it: look again.
        start += centre - line[np.minimum(start, len(line) - 1)] >= radius
        end -= line[np.maximum(end, 1) - 1] - centre >= radius
        return start, end

    def closer(self, at: Index, radius: Array) -> Index:
        """See `Side`."""
        start, end = self._ends(at, radius)
        others: Index = np.maximum(end - start - 1, 0)
        return others

    def roles(self, radius: Array, wider: Array) -> Roles:
        """See `Side`."""
        n = len(radius)
        start, end = self._ends(np.arange(n), radius)
        inside = np.maximum(end - start - 1, 0)
        weight = 1.0 / np.maximum(inside, 1)
        # Each adds its weight from the start of its run and takes it back at the end.
        step = np.bincount(start, weight, minlength=n + 1) - np.bincount(end, weight, minlength=n + 1)
        received = np.empty(n)
        received[self._order] = np.cumsum(step)[:n]
        return Roles(inside, self.closer(np.arange(n), wider), received - weight)

    def distance(self, one: Index, other: Index) -> Array:
        """See `Side`."""
        result: Array = np.abs(self._points[one] - self._points[other])
        return result


class Coordinates:
    """Points with several coordinates: all distances, a block at a time."""

    def __init__(self, points: Array) -> None:
        self._points = points

    def closer(self, at: Index, radius: Array) -> Index:
        """See `Side`."""
        count = np.empty(len(at), dtype=np.int64)
        for block in _blocks(len(at)):
            count[block] = _count(self._from(at[block]) < radius[block, None])
        return count

    def roles(self, radius: Array, wider: Array) -> Roles:
        """See `Side`."""
        n = len(radius)
        found = Roles(np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.zeros(n))
        for block in _blocks(n):
            distance = self._from(np.arange(block.start, block.stop))
            within = distance < radius[block, None]
            found.inside[block] = _count(within)
            found.wider[block] = _count(distance < wider[block, None])
            weight = 1.0 / np.maximum(found.inside[block], 1)
            found.received[:] += weight.astype(np.float32) @ within.astype(np.float32)
            found.received[block] -= weight
        return found

    def _from(self, at: Index) -> Array:
        result: Array = cdist(self._points[at], self._points, "chebyshev")
        return result

    def distance(self, one: Index, other: Index) -> Array:
        """See `Side`."""
        result: Array = np.abs(self._points[one] - self._points[other]).max(axis=-1)
        return result


class Classes:
    """Classes: all records of a class are in one place, the others out of reach."""

    def __init__(self, labels: Index) -> None:
        self._others: Index = np.bincount(labels)[labels] - 1

    def closer(self, at: Index, radius: Array) -> Index:
        """See `Side`."""
        return self._others[at]

    def roles(self, radius: Array, wider: Array) -> Roles:
        """See `Side`."""
        return Roles(self._others, self._others, np.ones(len(self._others)))

    def distance(self, one: Index, other: Index) -> Array:
        """See `Side`; only ever asked of two records of one class."""
        return np.zeros(np.broadcast_shapes(one.shape, other.shape))


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _AT_ONCE, n)) for start in range(0, n, _AT_ONCE)]


def _count(within: NDArray[np.bool_]) -> Index:
    """Points within, not counting the one asked about."""
    result: Index = np.maximum(within.sum(axis=1) - 1, 0)
    return result


def side(points: Array) -> Side:
    """The side that suits the number of coordinates."""
    return Line(points) if points.shape[1] == 1 else Coordinates(points)


@dataclass(frozen=True)
class Balls:
    """The k nearest neighbours of records in the joint space.

    Attributes:
        at: the records, (M,).
        k: neighbours used, (M,): fewer where a class has no more.
        radius: distance of the k-th, (M,).
        wider: distance of the next one, (M,).
        near: the neighbours, (M, most k); the record itself where it has fewer.
    """

    at: Index
    k: Index
    radius: Array
    wider: Array
    near: Index


def balls(points: Array, labels: Index | None, k: int, at: Index | None = None) -> Balls:
    """Neighbours of the records among those of their own label.

    Args:
        points: joint coordinates, (N, d).
        labels: classes (N,), each with at least two records; None if y is among the coordinates.
        k: neighbours.
        at: the records asked about; all if left out.
    """
    n = len(points)
    asked = np.arange(n) if at is None else at
    found = Balls(
        asked, np.empty(len(asked), np.int64), np.empty(len(asked)), np.empty(len(asked)), np.tile(asked, (k, 1)).T
    )
    for label in [None] if labels is None else np.unique(labels):
        among = np.arange(n) if labels is None else np.flatnonzero(labels == label)
        rows = np.arange(len(asked)) if labels is None else np.flatnonzero(labels[asked] == label)
        if len(rows) == 0:
            continue
        use, next_one = min(k, len(among) - 1), min(k + 1, len(among) - 1)
        distance, place = cKDTree(points[among]).query(points[asked[rows]], next_one + 1, p=np.inf)
        which = np.asarray(place, dtype=np.int64)
        distance = np.maximum(distance, np.finfo(float).tiny)
        found.k[rows], found.radius[rows], found.wider[rows] = use, distance[:, use], distance[:, next_one]
        found.near[rows, :use] = among[which[:, 1 : use + 1]]
    return found


def terms(found: Balls, n: int, nx: Index, ny: Index) -> Array:
    """The records' terms in nats, (M,); their mean is the estimate.

    Args:
        found: the records' neighbours.
        n: number of records.
        nx: others strictly within the radius on the first side.
        ny: likewise on the second.
    """
    result: Array = digamma(found.k) + digamma(n) - digamma(nx + 1) - digamma(ny + 1)
    return result


def jackknife(x: Side, y: Side, found: Balls) -> tuple[Array, Array]:
    """The terms, and pseudo-values N·estimate − (N − 1)·(estimate without the record), exact.

    A record counts in three ways: by its own term, as one of those within the radius of others, and as a neighbour
    whose loss widens another's radius to the next one. All three are found without estimating N times.

    Args:
        x: first side.
        y: second side.
        found: neighbours of all records.

    Returns:
        Both (N,), in nats. A class with no more than k + 1 records keeps its radius, which is not exact.
    """
    n = len(found.at)
    both = [side.roles(found.radius, found.wider) for side in (x, y)]
    term = terms(found, n, both[0].inside, both[1].inside)
    pseudo = term + 1.0
    for side, roles in zip((x, y), both):
        within = side.distance(found.at[:, None], found.near) < found.radius[:, None]
        change = digamma(roles.inside + 1) - digamma(np.maximum(roles.wider, 1))
        gained = change[:, None] - within / np.maximum(roles.inside, 1)[:, None]
        gained[found.near == found.at[:, None]] = 0.0
        pseudo -= roles.received + np.bincount(found.near.ravel(), gained.ravel(), minlength=n)
    return term, pseudo
