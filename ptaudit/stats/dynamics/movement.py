"""How records move over the plane: encoding speed, displacement, entropy, transitions between regions.

The names are those of Chen et al. (arXiv 2507.23291). What could be found of their definitions: speed is the rate at
which a record's place on the plane changes, displacement the way of the mean place, the transition matrix holds the
probabilities of going from one region to another, and entropy says how unevenly records lie. Units and regions of the
paper's figures could not be found, so that numbers here are not in its units:

- encoding speed: what a record's advantage TPR - FPR gains per epoch, negative where it loses; mean over records. The
  advantage is sqrt(2) times the distance from the diagonal, on which nothing is known of membership. (The length of
  the way itself would count noise as speed.)
- displacement: distance of the mean place from that of the first epoch, in units of the plane (at most sqrt(2)).
- spatial entropy: of the shares of records in the squares of `regions.even`, in bits; few models blur it upwards, which
  `null` shows.
- transition: share of ALL records that are in one region at an epoch and in another at the next.
- peak transition: the largest share that goes into the region `exposed`, over the steps.
- already exposed: of the records that are exposed at the end, the share that is at each epoch. The same models say
  both; a forecast that keeps them apart is in `forecast`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.dynamics.exposure import Exposure, exposure_of
from ptaudit.stats.dynamics.plane import FleetTrajectory, points
from ptaudit.stats.dynamics.regions import EXPOSED, Regions, even, quarters
from ptaudit.stats.dynamics.resampled import CERTAIN, Measure, Resampled, Rescore, Sampling, resampled
from ptaudit.stats.dynamics.transitions import (
    Transitions,
    already_exposed,
    already_of,
    exposed_share,
    peak_transition,
    transition_shares,
    transitions_of,
)
from ptaudit.stats.estimate import Estimate

Array = NDArray[np.float64]

LEAST_EPOCHS = 2


@dataclass(frozen=True)
class Course:
    """A number at several epochs, or steps from one to the next.

    Attributes:
        estimates: of each.
        p_values: probability that any of them is so far above chance without a signal.
    """

    estimates: tuple[Estimate, ...]
    p_values: Array

    @property
    def beyond_chance(self) -> NDArray[np.bool_]:
        """More than without a signal, with an interval that does not hold what chance gives."""
        return np.asarray((self.p_values <= CERTAIN) & np.array([one.lo > one.null for one in self.estimates]))


@dataclass(frozen=True)
class Movement:
    """What a fleet's plane shows as a whole.

    Attributes:
        epochs: (E,).
        speed: encoding speed of each step, E - 1.
        displacement: at each epoch but the first, E - 1.
        entropy: at each epoch.
        entropy_change: from the first epoch to the last.
        exposed: share of the records in the region `exposed`, at each epoch.
        transitions: between the regions of `regions.quarters`.
        already_exposed: at each epoch; inconclusive where too few are exposed at the end.
        exposure: when each record becomes exposed.
    """

    epochs: Array
    speed: Course
    displacement: Course
    entropy: Course
    entropy_change: Course
    exposed: Course
    transitions: Transitions
    already_exposed: tuple[Estimate, ...]
    exposure: Exposure


def movement(trajectory: FleetTrajectory, sampling: Sampling, rescore: Rescore | None = None) -> Movement:
    """All of it, of one set of resamples and shuffles.

    Args:
        trajectory: the fleet.
        sampling: how often it is resampled.
        rescore: makes scores anew for shuffled memberships; needed where they were made with memberships, above all by
            attacks that are called online (see `resampled`).

    Raises:
        ValueError: for fewer than two epochs, fewer than 8 models, or 4 on each side of a record.
    """
    if len(trajectory.epochs) < LEAST_EPOCHS:
        raise ValueError(f"movement needs {LEAST_EPOCHS} epochs, there is one")
    regions, squares = quarters(trajectory.models), even(trajectory.models)
    measures = {
        "speed": encoding_speed(trajectory.epochs),
        "displacement": displacement(),
        "entropy": entropy(squares),
        "entropy change": entropy_change(squares),
        "transitions": transition_shares(regions),
        "peak": peak_transition(regions),
        "already": already_exposed(regions),
        "exposed": exposed_share(regions),
    }
    study = resampled(trajectory, measures, sampling, rescore)
    found = study.numbers
    bits = math.log2(squares.count)
    last = int((regions.place(points(trajectory)[-1]) == EXPOSED).sum())
    return Movement(
        trajectory.epochs,
        _course(found["speed"], math.nan),
        _within(_course(found["displacement"], math.sqrt(2.0)), 0.0),
        _within(_course(found["entropy"], bits), 0.0),
        _within(_course(found["entropy change"], bits), -bits),
        _within(_course(found["exposed"], 1.0), 0.0),
        transitions_of(found["transitions"], found["peak"], regions),
        already_of(found["already"], last),
        exposure_of(trajectory, study.largest_t),
    )


def encoding_speed(epochs: Array) -> Measure:
    """Gain of TPR - FPR per epoch at each step, E - 1 numbers."""
    return Measure(lambda points: (np.diff(points[..., 1] - points[..., 0], axis=0) / np.diff(epochs)[:, None]).T)


def displacement() -> Measure:
    """Distance of the mean place from that of the first epoch, E - 1 numbers."""

    def of_means(means: Array) -> Array:
        centre = means.reshape(len(means), -1, 2)
        return np.asarray(np.linalg.norm(centre[:, 1:] - centre[:, :1], axis=-1))

    return Measure(lambda points: np.moveaxis(points, 1, 0).reshape(points.shape[1], -1), of_means)


def entropy(squares: Regions) -> Measure:
    """Entropy of the shares of records in regions, in bits, at each epoch: E numbers."""

    def of_record(points: Array) -> Array:
        return np.asarray(np.moveaxis(squares.among(points), 1, 0).reshape(points.shape[1], -1))

    def of_means(means: Array) -> Array:
        share = means.reshape(len(means), -1, squares.count)
        return np.asarray(0.0 - (share * np.log2(np.where(share > 0.0, share, 1.0))).sum(-1))

    return Measure(of_record, of_means)


def entropy_change(squares: Regions) -> Measure:
    """Entropy at the last epoch less that at the first: one number."""
    at_each = entropy(squares)

    def of_means(means: Array) -> Array:
        bits = at_each.of_means(means)
        return bits[:, -1:] - bits[:, :1]

    return Measure(at_each.of_record, of_means)


def _course(found: Resampled, ceiling: float) -> Course:
    return Course(tuple(found.estimates(ceiling)), found.p_values())


def _within(course: Course, least: float) -> Course:
    """Intervals end where numbers do: at `least` and at the ceiling."""
    return replace(course, estimates=tuple(one.clipped(least, one.ceiling) for one in course.estimates))
