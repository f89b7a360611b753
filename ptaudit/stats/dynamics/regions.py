"""The plane of false-positive and true-positive rates in rectangular regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_MODELS = 8
"""Fewest models whose plane has regions: with fewer none is smaller than the plane itself."""

_FINEST, _CELLS = 4.0, 10
_FPR, _TPR = 0.25, 0.5


@dataclass(frozen=True)
class Regions:
    """A partition of the plane.

    Attributes:
        fpr_cuts: (a,), ascending, between 0 and 1: bands of FPR from one cut to below the next.
        tpr_cuts: (b,), likewise.
        names: of the (a + 1)(b + 1) regions, those of the lowest FPR first and from low to high TPR within; empty
            where nobody asks for them.
    """

    fpr_cuts: Array
    tpr_cuts: Array
    names: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of regions."""
        return (len(self.fpr_cuts) + 1) * (len(self.tpr_cuts) + 1)

    @property
    def finest(self) -> float:
        """Width of the narrowest band."""
        return float(min(np.diff([0.0, *cuts, 1.0]).min() for cuts in (self.fpr_cuts, self.tpr_cuts)))

    def place(self, points: Array) -> NDArray[np.int64]:
        """Region of each point, `(..., 2)` FPR and TPR -> `(...)`."""
        band, height = (
            np.searchsorted(cuts, points[..., axis], side="right")
            for axis, cuts in enumerate((self.fpr_cuts, self.tpr_cuts))
        )
        return np.asarray(band * (len(self.tpr_cuts) + 1) + height)

    def among(self, points: Array) -> Array:
        """1 for the region a point is in and 0 for all others, `(..., 2)` -> `(..., count)`."""
        return np.asarray(self.place(points)[..., None] == np.arange(self.count), dtype=np.float64)


HIDDEN, EXPOSED, INVERTED, CONSPICUOUS = range(4)
"""Regions of `quarters`."""


def quarters(models: int) -> Regions:
    """Four regions that have a meaning: `hidden` (seldom called a member), `exposed` (called a member where it is one,
    and there alone), `inverted` (where it is none), and `conspicuous` (called a member whether it is one or not).

    High TPRs are from 1/2 on, high FPRs from 1/4, or 4/N where that is more.

    Raises:
        ValueError: for fewer than `LEAST_MODELS` models.
    """
    fpr = max(_FPR, _narrowest(models))
    names = ("hidden", "exposed", "inverted", "conspicuous")
    return Regions(np.array([fpr]), np.array([_TPR]), names)


def even(models: int) -> Regions:
    """Squares, as many as the models resolve, at most ten a side; for the entropy.

    Raises:
        ValueError: for fewer than `LEAST_MODELS` models.
    """
    side = min(_CELLS, int(1.0 / _narrowest(models)))
    cuts = np.arange(1, side) / side
    return Regions(cuts, cuts)


def refuse_finer(regions: Regions, models: int) -> None:
    """No band is narrower than two steps of a record's rate, 4/N.

    Raises:
        ValueError: one is.
    """
    if regions.finest < _narrowest(models) - 1e-9:
        raise ValueError(
            f"regions {regions.finest:g} wide are finer than {models} models resolve: at least {_narrowest(models):g}"
        )


def _narrowest(models: int) -> float:
    if models < LEAST_MODELS:
        raise ValueError(f"regions of the plane need {LEAST_MODELS} models, there are {models}")
    return _FINEST / models
