"""Rows of a table as content: which fields are recovered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.data.contents.base import Array, Parts, Prior, explained, flat, moments
from ptaudit.data.preprocess import LevelCode
from ptaudit.data.records import Records
from ptaudit.model_input import Inputs, leaves

TOLERANCE = 0.319
"""A number is recovered within so many standard deviations, a window that holds a quarter of a normal distribution:
TabLeak (Vero et al., arXiv 2210.01785)."""


@dataclass(frozen=True)
class FieldPlace:
    """A column of a table, and where it stands among the inputs.

    Attributes:
        name: of the column.
        places: its inputs.
        number: whether it is one number; else it is one-hot, and of one input 0 or 1.
        complete: whether one of its inputs is always 1; else all of them may be 0.
    """

    name: str
    places: slice
    number: bool
    complete: bool = True


@dataclass(frozen=True)
class Table:
    """Rows of a table.

    Attributes:
        fields: its columns, in the order of the inputs.
    """

    fields: tuple[FieldPlace, ...]

    kind = "table"
    metrics = ("explained_variance", "fields", "fields_gain")

    @property
    def width(self) -> int:
        """See `Content`."""
        return int(self.fields[-1].places.stop)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Content`."""
        return (self.width,)

    @property
    def parts(self) -> Parts:
        """See `Content`."""
        numbers = [f.places.start for f in self.fields if f.number]
        groups = [f.places for f in self.fields if not f.number and f.complete]
        loose = [place for f in self.fields if not f.complete for place in range(f.places.start, f.places.stop)]
        return Parts(np.array(numbers, np.int64), tuple(groups), np.array(loose, np.int64))

    def targets(self, inputs: Inputs) -> Tensor:
        """See `Content`."""
        return leaves(inputs)[0].float().flatten(1)

    def prior(self, reference: Tensor) -> Prior:
        """See `Content`; of a number the guess is the value with most others within the tolerance."""
        known, (mean, spread) = flat(reference), moments(reference)
        guess = np.zeros_like(mean)
        for column in self.fields:
            part, start = known[:, column.places], column.places.start
            if column.number:
                guess[start] = _densest(part[:, 0], _within(spread[start]))
            else:
                levels, count = np.unique(_level(part, column), return_counts=True)
                if (most := int(levels[count.argmax()])) >= 0:
                    guess[start + most] = 1.0
        return Prior(mean, spread, guess)

    def recovered(self, rebuilt: Tensor, true: Tensor, prior: Prior) -> Array:
        """Which fields are recovered, 1 or 0, `(n, fields)`: the same category, or a number within the tolerance."""
        return self._recovered(flat(rebuilt), flat(true), prior)

    def answer(self, trial: Tensor, truth: Tensor, rebuilt: Tensor, prior: Prior) -> Tensor:
        """See `Content`: every field as it was rebuilt, or the guess where that is recovered more often."""
        known, found = flat(truth), flat(rebuilt).copy()
        right = self._recovered(flat(trial), known, prior).mean(0)
        guessed = self._recovered(np.broadcast_to(prior.guess, known.shape), known, prior).mean(0)
        for column, better in zip(self.fields, right > guessed):
            if not better:
                found[:, column.places] = prior.guess[column.places]
        return torch.from_numpy(found)

    def scores(self, rebuilt: Tensor, true: Tensor, prior: Prior) -> dict[str, Array]:
        """See `Content`; `fields` is the share of a record's fields that are recovered."""
        x, y = flat(rebuilt), flat(true)
        found = self._recovered(x, y, prior).mean(1)
        guessed = self._recovered(np.broadcast_to(prior.guess, y.shape), y, prior).mean(1)
        return {"explained_variance": explained(x, y, prior), "fields": found, "fields_gain": found - guessed}

    def _recovered(self, x: Array, y: Array, prior: Prior) -> Array:
        found = np.empty((len(y), len(self.fields)))
        for place, column in enumerate(self.fields):
            mine, own = x[:, column.places], y[:, column.places]
            if column.number:
                found[:, place] = np.abs(mine - own)[:, 0] <= _within(prior.spread[column.places.start])
            else:
                found[:, place] = _level(mine, column) == _level(own, column)
        return found


def _within(spread: float) -> float:
    return float(max(TOLERANCE * spread, 1e-6))


def _level(part: Array, column: FieldPlace) -> NDArray[np.int64]:
    """Category of every record, -1 where all of its inputs are 0."""
    level = part.argmax(1)
    return np.asarray(level if column.complete else np.where(part.max(1) > 0.5, level, -1))


def _densest(values: Array, within: float) -> float:
    """The value that has most others so near."""
    ordered = np.sort(values)
    near = np.searchsorted(ordered, ordered + within, "right") - np.searchsorted(ordered, ordered - within)
    return float(ordered[near.argmax()])


def fields_of(records: Records, inputs: Tensor) -> tuple[FieldPlace, ...]:
    """The columns of a table; where nobody named them each input is one, and one of zeros and ones a category."""
    used = sorted(((use.name, use.places) for use in records.uses if use.places), key=lambda pair: pair[1].start)
    if used:
        found = []
        for name, places in used:
            number = not isinstance(records.preprocessing[name], LevelCode)
            complete = number or bool((inputs[:, places].sum(1) == 1.0).all())
            found.append(FieldPlace(name, places, number, complete))
        return tuple(found)
    binary = ((inputs == 0.0) | (inputs == 1.0)).all(0).tolist()
    return tuple(FieldPlace(f"input {i}", slice(i, i + 1), not yes, not yes) for i, yes in enumerate(binary))
