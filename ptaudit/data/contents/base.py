"""What kinds of content share: the interface, what is known beforehand, and numbers of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.model_input import Inputs
from ptaudit.stats.fidelity import explained_variance as _linearised
from ptaudit.stats.fidelity import squared_error

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """What is known of a record without looking, from reference records.

    Attributes:
        mean: their mean, `(D,)`: the constant of least squared error.
        spread: their standard deviation, `(D,)`.
        guess: the constant with the highest score of its kind, `(D,)`: the mean picture, the most frequent value of
            every field, how frequent every token is.
    """

    mean: Array
    spread: Array
    guess: Array


@dataclass(frozen=True)
class Parts:
    """Which of a record's numbers are what.

    Attributes:
        numbers: places of real numbers, int64.
        groups: places of each category, one of which is 1.
        binary: places of numbers that are 0 or 1, whatever the others are, int64.
    """

    numbers: NDArray[np.int64]
    groups: tuple[slice, ...]
    binary: NDArray[np.int64]


NONE: NDArray[np.int64] = np.zeros(0, np.int64)
"""No places."""


class Content(Protocol):
    """The content of the records of one data source, as D real numbers each."""

    @property
    def kind(self) -> str:
        """`picture`, `table` or `tokens`."""

    @property
    def width(self) -> int:
        """Numbers of one record (D)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Their shape; of a picture channels, height and width."""

    @property
    def parts(self) -> Parts:
        """Which of them are what."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What `scores` tells of every record."""

    def targets(self, inputs: Inputs) -> Tensor:
        """The records as real numbers `(n, D)`, float32, where the inputs are."""

    def prior(self, reference: Tensor) -> Prior:
        """What reference records `(R, D)` tell of any other."""

    def answer(self, trial: Tensor, truth: Tensor, rebuilt: Tensor, prior: Prior) -> Tensor:
        """What an adversary hands in who rebuilt `(n, D)` by least squares: it may know better than a mean.

        Args:
            trial: what it rebuilt of records that it knows, `(c, D)`.
            truth: those records, `(c, D)`.
            rebuilt: what it rebuilt of those that are asked for.
            prior: what was known before.
        """

    def scores(self, rebuilt: Tensor, true: Tensor, prior: Prior) -> dict[str, Array]:
        """How near rebuilt records come: of each metric a value for each record, `(n,)`, whose mean is the score.

        Args:
            rebuilt: `(n, D)`.
            true: the records, `(n, D)`.
            prior: what was known before; a `_gain` is over its guess.
        """


class ByMean:
    """Content of which the mean is the best constant, and what was rebuilt the best answer."""

    def prior(self, reference: Tensor) -> Prior:
        """See `Content`."""
        mean, spread = moments(reference)
        return Prior(mean, spread, mean)

    def answer(self, trial: Tensor, truth: Tensor, rebuilt: Tensor, prior: Prior) -> Tensor:
        """See `Content`: as it was rebuilt."""
        return rebuilt


def flat(values: Tensor) -> Array:
    """As float64 on the CPU, `(n, ...)` -> `(n, D)`."""
    found: Array = values.detach().double().cpu().flatten(1).numpy()
    return found


def explained(rebuilt: Array, true: Array, prior: Prior) -> Array:
    """Explained variance over the prior's mean record, a value for each record; see `fidelity.explained_variance`."""
    return _linearised(squared_error(rebuilt, true), squared_error(prior.mean[None], true))


def moments(reference: Tensor) -> tuple[Array, Array]:
    """Mean and standard deviation of every number, `(D,)` each."""
    known = flat(reference)
    return known.mean(0), known.std(0)
