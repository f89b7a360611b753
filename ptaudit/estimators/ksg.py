"""Mutual information from distances to nearest neighbours (`ksg`).

Continuous y: Kraskov, Stögbauer and Grassberger (2004), algorithm 1, largest norm. Classes: Ross (2014), where a class
with a single record says nothing and is left out. Both as in scikit-learn's `mutual_info_regression` and
`mutual_info_classif` (with `margins="raw"` the very same numbers), but for vectors, in bits, with an interval.
Every coordinate is replaced by its normal scores, which changes no information and takes heavy tails away: with 500
records of Student's t with 1 degree of freedom, 2 × 2, a true 1.60 bits are read as 1.39 instead of 1.16. Equal values
are told apart by a seeded jitter of 1e-10, so a value that many records share is one place without inner order.

What it bounds: nothing. It is nearly unbiased at independence and for smooth densities in few dimensions, and below the
truth otherwise: strong dependence needs a number of records that grows exponentially with the information (Gao, Ver
Steeg and Galstyan 2015). With 500 records and 5 × 5 dimensions a true 6 bits are read as 3.4, and 1.04 as 0.67.

Ceiling: (ψ(N) − ψ(k + 1)) / ln 2, the largest value of the formula; for classes their entropy with its small-sample
correction, mean ψ(N) − ψ(class size). `saturated` near the ceiling, and where the jackknife says that the estimate
still rises with the number of records: then the truth lies above the interval.

More than `coordinates` coordinates are reduced, each side alone, to that many principal components of unit variance: a
projection only loses information. Of tokens of a LeNet 8 components give the most (2 to 32 tried): fewer say less, more
drown it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptaudit.estimators.base import Measured, Pairs
from ptaudit.estimators.knn import NeighbourProblem, ceiling, derangements, of_each
from ptaudit.estimators.pairing import Sample
from ptaudit.estimators.reduce import few


def measure(
    pairs: Pairs, seed: int, neighbours: int = 3, coordinates: int = 8, margins: str = "ranks"
) -> list[Measured]:
    """Mutual information of every problem by k nearest neighbours; see the head of this file.

    Args:
        pairs: P problems; the first pair of each record is used, whatever its part.
        seed: of the jitter, the derangements and the resamples.
        neighbours: k; more have less variance and more bias.
        coordinates: most coordinates of a side.
        margins: `ranks` (normal scores) or `raw` (standardised values).

    Returns:
        One result a problem; the null is the mean over 20 derangements.
    """

    def one(sample: Sample, kept: NDArray[np.bool_]) -> Measured:
        x, y = (few(points, coordinates, margins, place) for place, points in enumerate((sample.x, sample.y)))
        problem = NeighbourProblem(replace(sample, x=x, y=y), seed)
        nulls = [problem.shuffled(neighbours, *drawn) for drawn in derangements(len(x), seed, sample.side)]
        return problem.local(neighbours).among(kept).measured(nulls, ceiling(sample, neighbours), seed)

    return of_each(pairs, neighbours, one)
