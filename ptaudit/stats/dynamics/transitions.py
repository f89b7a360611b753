"""From which region of the plane to which records go in a step, and how many go into the region `exposed`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.dynamics.regions import EXPOSED, Regions
from ptaudit.stats.dynamics.resampled import CERTAIN, Measure, Resampled, familywise
from ptaudit.stats.estimate import Estimate, inconclusive

Array = NDArray[np.float64]

LEAST_EXPOSED = 20
"""Fewest records that are exposed at the end of which shares are reported."""


@dataclass(frozen=True)
class Transitions:
    """Shares of all records that are in a region at an epoch and in a region at the next; R regions, E - 1 steps.

    Attributes:
        regions: the regions.
        shares: (E - 1, R from, R to); all R * R of a step add up to 1.
        lo: lower ends of pointwise 95 % intervals.
        hi: upper ends.
        null: shares by chance.
        p_values: probability that any share of another region is so far above chance without a signal; 1 for staying.
        net: what goes from one region to another less what comes back in the same step, (E - 1, R, R).
        net_lo: lower ends of its pointwise 95 % intervals.
        peak: the largest share that goes into `exposed`.
        peak_step: at which step.
    """

    regions: Regions
    shares: Array
    lo: Array
    hi: Array
    null: Array
    p_values: Array
    net: Array
    net_lo: Array
    peak: Estimate
    peak_step: int

    @property
    def beyond_chance(self) -> NDArray[np.bool_]:
        """More go than without a signal, and more than come back, (E - 1, R, R).

        The second because records that lie near a border cross it both ways by the noise of few models.
        """
        return np.asarray((self.p_values <= CERTAIN) & (self.net_lo > 0.0))

    @property
    def rates(self) -> Array:
        """Of the records in a region the share that goes to each, (E - 1, R, R); NaN where none was there."""
        there = self.shares.sum(-1, keepdims=True)
        return np.asarray(np.divide(self.shares, there, out=np.full_like(self.shares, math.nan), where=there > 0.0))


def transition_shares(regions: Regions) -> Measure:
    """Shares of records in one region at an epoch and in another, or the same, at the next: (E - 1) R R numbers."""

    def of_record(points: Array) -> Array:
        place = regions.place(points)
        step = place[:-1] * regions.count + place[1:]
        gone = step[..., None] == np.arange(regions.count**2)
        return np.asarray(np.moveaxis(gone, 1, 0).reshape(points.shape[1], -1), dtype=np.float64)

    return Measure(of_record)


def peak_transition(regions: Regions) -> Measure:
    """The largest share of records that goes into `exposed` from elsewhere in a step: one number."""
    return Measure(transition_shares(regions).of_record, lambda means: _entered(means, regions).max(1, keepdims=True))


def exposed_share(regions: Regions) -> Measure:
    """Share of all records in `exposed` at each epoch: E numbers."""
    return Measure(lambda points: (regions.place(points) == EXPOSED).T.astype(np.float64))


def already_exposed(regions: Regions) -> Measure:
    """Of the records exposed at the end the share that is at each epoch: E numbers, 0 if none is at the end."""

    def of_record(points: Array) -> Array:
        there = (regions.place(points) == EXPOSED).T
        return np.asarray(there & there[:, -1:], dtype=np.float64)

    def of_means(means: Array) -> Array:
        last = means[:, -1:]
        return np.asarray(np.divide(means, last, out=np.zeros_like(means), where=last > 0.0))

    return Measure(of_record, of_means)


def transitions_of(found: Resampled, peak: Resampled, regions: Regions) -> Transitions:
    """From `transition_shares` and `peak_transition`."""
    step = (-1, regions.count, regions.count)
    moved = np.tile(~np.eye(regions.count, dtype=bool).ravel(), len(found.values) // regions.count**2)
    p_values = np.ones(len(moved))
    p_values[moved] = familywise(found.values[moved], found.chance[:, moved], 1.0 / found.records)
    lo, hi = (np.clip(end, 0.0, 1.0).reshape(step) for end in found.ends())
    net, drawn = (_net(rows.reshape(len(rows), *step)) for rows in (found.values[None], found.draws))
    net_lo = np.minimum(np.quantile(drawn, 0.025, axis=0), net[0])
    at = int(_entered(found.values[None], regions)[0].argmax())
    return Transitions(
        regions, found.values.reshape(step), lo, hi, found.chance.mean(0).reshape(step), p_values.reshape(step),
        net[0], net_lo, peak.estimates(1.0)[0].clipped(0.0, 1.0), at,
    )  # fmt: skip


def already_of(found: Resampled, last: int) -> tuple[Estimate, ...]:
    """From `already_exposed`; `last` records are exposed at the end."""
    if last < LEAST_EXPOSED:
        why = f"needs {LEAST_EXPOSED} records that are exposed at the end, there are {last}"
        return (inconclusive(why, ceiling=1.0, n=last),) * len(found.values)
    return tuple(replace(one.clipped(0.0, 1.0), n=last) for one in found.estimates(1.0))


def _entered(shares: Array, regions: Regions) -> Array:
    """Share that goes into `exposed` from elsewhere at each step, (B, (E - 1) R R) -> (B, E - 1)."""
    step = shares.reshape(len(shares), -1, regions.count, regions.count)
    return np.asarray(step[..., EXPOSED].sum(-1) - step[..., EXPOSED, EXPOSED])


def _net(shares: Array) -> Array:
    """What goes less what comes back, (..., R, R)."""
    return np.asarray(shares - np.swapaxes(shares, -1, -2))
