"""Numbers of a whole fleet's movement: their intervals over records and models, and what chance alone gives.

Every such number is a function of means over records of something a record's points tell: where its mass is, in which
region it is, from which to which it went. Records are resampled with their points (bootstrap). Models move all points
at once; each is left out in turn, and the deviations of the number are drawn with the covariance of that jackknife,
widened to the t quantile, as `two_way` widens its resampled models. (Models drawn with replacement would leave records
with hardly any on a side.) The two deviations are added: the interval is for new records and new models alike. What is
peculiar to a pair of both is in either, so that 95 % intervals cover 92 to 96 % for means of places (8 models and 60
records, up to 32 and 200), and nearly always for shares of records in regions, which that noise rules.

Chance: who was trained on which record is shuffled among the models of that record, alike at all epochs. What scores,
models and epochs have in common stays; what they know of membership goes. So `null` is what the same fleet would
show if no model knew anything, and a number is beyond chance where fewer than 5 % of the shuffles show as much in
any of the numbers tested with it (Westfall and Young's largest studentised deviation, the given fleet being one of
the shuffles: exact where there is no signal).

Scores that were made WITH memberships, of the models' references, must be made anew for each shuffle (`Rescore`): a
likelihood ratio takes the chance differences between a record's two sides for knowledge, alike in all its models.
Without that, transitions of LiRA's and BaVarIA's online scores were beyond chance in 20 to 25 % of 60 fleets of 16
models without signal (those of raw signals, of offline scores and of RMIA's in at most 5 %).

That is of independent scores. Where all models say alike of like records, as untrained networks do, the shares of
records in regions are off with offline scores too, as shuffles neither score anew nor keep the pairs of models that are
trained on complements (16 untrained LeNets on the digits, BaVarIA offline: 1.1 % exposed, by the shuffles 0.1 %, by
shuffles scored anew 0.3 %, in pairs 0.3 %). Between trained models the difference is small beside what they know; the
untrained epoch shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.bootstrap import DRAWS, resample_weights
from ptaudit.stats.dynamics.apart import welch_t
from ptaudit.stats.dynamics.plane import FleetTrajectory, Mask, points
from ptaudit.stats.estimate import Estimate
from ptaudit.stats.simultaneous import Z

Array = NDArray[np.float64]

PERMUTATIONS = 199

CERTAIN = 0.05
"""Probability of an alarm without a signal, of all that is tested together."""

LEAST_MODELS = 4
"""Fewest models on each side of a record: one is left out in turn."""

_SHUFFLES, _MODELS = 11, 12
_ROUNDING = 1e-12


Rescore = Callable[[Mask, Mask], Array]
"""Scores (E, N, n) as they would be, were other models inside and outside, (N, n) each."""


@dataclass(frozen=True)
class Sampling:
    """How often it is resampled.

    Attributes:
        seed: of resamples and shuffles.
        draws: number B of resamples.
        permutations: number P of shuffles; with fewer than 19 nothing is beyond chance.
    """

    seed: int
    draws: int = DRAWS
    permutations: int = PERMUTATIONS


@dataclass(frozen=True)
class Measure:
    """A row of K numbers as a function of means over records.

    Attributes:
        of_record: points (E, n, 2) -> what each record tells, (n, L).
        of_means: means (B, L) -> the numbers, (B, K).
    """

    of_record: Callable[[Array], Array]
    of_means: Callable[[Array], Array] = lambda means: means


@dataclass(frozen=True)
class Resampled:
    """K numbers with what they would be for other records and models, and by chance.

    Attributes:
        values: (K,).
        draws: (B, K), for other records and models.
        chance: (P, K), for shuffled memberships.
        records: number of records n.
    """

    values: Array
    draws: Array
    chance: Array
    records: int

    def ends(self) -> tuple[Array, Array]:
        """Ends of percentile intervals, (K,) each, the values within."""
        low, high = np.quantile(self.draws, [0.025, 0.975], axis=0)
        return np.minimum(low, self.values), np.maximum(high, self.values)

    def estimates(self, ceiling: float = math.nan) -> list[Estimate]:
        """One a number, with percentile intervals; the null is the mean over shuffles, n = records."""
        rows = np.stack([self.values, *self.ends(), self.chance.mean(0)], axis=1).tolist()
        return [
            Estimate(value, lo, hi, null, ceiling, self.records, draws=drawn)
            for (value, lo, hi, null), drawn in zip(rows, self.draws.T)
        ]

    def p_values(self) -> Array:
        """Probability that any of the K numbers is so far above chance without a signal, (K,)."""
        return familywise(self.values, self.chance)


@dataclass(frozen=True)
class Study:
    """Measures of a fleet.

    Attributes:
        numbers: of each measure, by its name; replicate b of all has the same records and models.
        largest_t: (P,), largest Welch's t of any record at any epoch in each shuffle.
    """

    numbers: dict[str, Resampled]
    largest_t: Array


def resampled(
    trajectory: FleetTrajectory, measures: Mapping[str, Measure], sampling: Sampling, rescore: Rescore | None = None
) -> Study:
    """Some measures of a fleet, by name.

    Args:
        trajectory: the fleet.
        measures: what is measured.
        sampling: how often it is resampled.
        rescore: makes the scores anew; None where they were made without memberships.

    Raises:
        ValueError: for a record with fewer than `LEAST_MODELS` models on a side.
    """
    fewest = int(min(mask.sum(0).min() for mask in (trajectory.inside, trajectory.outside)))
    if fewest < LEAST_MODELS:
        raise ValueError(f"intervals over models need {LEAST_MODELS} with and without each record, one has {fewest}")
    without = _joined(measures, [_values(measures, other) for other in _without_each(trajectory)])
    rows, largest = [], []
    for other in shuffled(trajectory, sampling, rescore):
        rows.append(_values(measures, other))
        largest.append(float(welch_t(other).max()))
    by_chance, here = _joined(measures, rows), points(trajectory)
    weights = resample_weights(trajectory.records, sampling.draws, sampling.seed)
    generator = np.random.default_rng([sampling.seed, trajectory.models, _MODELS])
    noise = generator.standard_normal((sampling.draws, trajectory.models))
    found = {}
    for name, measure in measures.items():
        value = _value(measure, here)
        of_records = measure.of_means(weights @ measure.of_record(here))
        drawn = value + (of_records - of_records.mean(0)) + noise @ _deviations(without[name])
        found[name] = Resampled(value, drawn, by_chance[name], trajectory.records)
    return Study(found, np.array(largest))


def shuffled(
    trajectory: FleetTrajectory, sampling: Sampling, rescore: Rescore | None = None
) -> Iterator[FleetTrajectory]:
    """The fleet with other memberships: for each record, those of its models in another order."""
    generator = np.random.default_rng([sampling.seed, trajectory.models, _SHUFFLES])
    known = trajectory.inside | trajectory.outside
    for _ in range(sampling.permutations):
        inside = _shuffled(trajectory.inside, known, generator)
        outside = known & ~inside
        scores = trajectory.scores if rescore is None else rescore(inside, outside)
        yield replace(trajectory, scores=scores, inside=inside, outside=outside)


def familywise(values: Array, chance: Array, least: float = _ROUNDING) -> Array:
    """One-sided p-values (K,) of values (K,) against shuffles (P, K), each for the largest of all of them.

    Spreads below `least` count as that: what chance shows in one shuffle alone has nearly none.
    """
    pool = np.concatenate([values[None], chance])
    above = (pool - pool.mean(0)) / np.maximum(pool.std(0), least)
    return np.asarray((above.max(1)[:, None] >= above[0] - _ROUNDING).mean(0))


def _value(measure: Measure, at: Array) -> Array:
    numbers: Array = measure.of_means(measure.of_record(at).mean(0)[None])[0]
    return numbers


def _values(measures: Mapping[str, Measure], fleet: FleetTrajectory) -> list[Array]:
    at = points(fleet)
    return [_value(measure, at) for measure in measures.values()]


def _joined(measures: Mapping[str, Measure], rows: list[list[Array]]) -> dict[str, Array]:
    """Of each measure its numbers in all fleets, (fleets, K)."""
    return {name: np.stack(column) for name, column in zip(measures, zip(*rows))}


def _without_each(trajectory: FleetTrajectory) -> Iterator[FleetTrajectory]:
    others = ~np.eye(trajectory.models, dtype=bool)
    for used in others:
        yield replace(trajectory, inside=trajectory.inside & used[:, None], outside=trajectory.outside & used[:, None])


def _deviations(without: Array) -> Array:
    """Rows (N, K) whose random signs have the jackknife's covariance, widened for the few models that it is from."""
    models = len(without)
    few = float(stats.t.ppf(0.975, models - 1)) / Z
    return np.asarray(few * math.sqrt((models - 1.0) / models) * (without - without.mean(0)))


def _shuffled(inside: Mask, known: Mask, generator: np.random.Generator) -> Mask:
    """As many models of each record inside as there are, drawn from those that are on either side."""
    rank = np.where(known, generator.random(inside.shape), np.inf).argsort(axis=0).argsort(axis=0)
    return np.asarray(rank < inside.sum(0))
