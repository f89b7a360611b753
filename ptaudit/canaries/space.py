"""Which inputs of a record may be chosen, and from what: as records of the data have them, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.canaries.hypothesis_pair import HypothesisPair
from ptaudit.data import Records


@dataclass(frozen=True)
class Levels:
    """Inputs that only ever have few values together.

    Attributes:
        start: the first of them.
        codes: what they may be, `(A, width)`.
    """

    start: int
    codes: Tensor

    def put(self, inputs: Tensor) -> Tensor:
        """Every record with every value, `(n, d)` -> `(A, n, d)`."""
        out = inputs.repeat(len(self.codes), 1, 1)
        out[..., self.start : self.start + self.codes.shape[1]] = self.codes[:, None].to(inputs)
        return out


@dataclass(frozen=True)
class Space:
    """What a crafted record may be.

    Attributes:
        low: smallest value of each input, of the shape of one record; `high` the largest.
        free: which inputs may be any number between.
        fields: which inputs have few values.
    """

    low: Tensor
    high: Tensor
    free: Tensor
    fields: tuple[Levels, ...]

    def nearest(self, inputs: Tensor, free: Tensor) -> Tensor:
        """The records of this space nearest to `inputs`, where `free` inputs are allowed to be any number."""
        return torch.where(self.free, torch.minimum(torch.maximum(free, self.low), self.high), inputs)


def space_of(records: Records, question: HypothesisPair) -> Space | None:
    """What may be chosen of the records' inputs besides the secret; None where they are not one tensor of numbers.

    Of a table, each number within its observed range, and each field among its values; categories with so many values
    that they are no field stay as they are. Of other data with one row a record, each column within its observed
    range, and columns with two values among these. Of pictures, every pixel within the range of all pixels.
    """
    inputs = records.inputs
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point() or inputs.dim() < 2:
        return None
    if inputs.dim() > 2:
        low, high = torch.full_like(inputs[0], float(inputs.min())), torch.full_like(inputs[0], float(inputs.max()))
        return Space(low, high, high > low, ())
    low, high = inputs.amin(0), inputs.amax(0)
    two_values = ((inputs == low) | (inputs == high)).all(0)
    free = ~two_values
    fields = [Levels(f.start, f.levels) for name, f in records.fields.items() if name != question.name]
    for field in (*fields, *([Levels(question.start, question.codes)] if question.codes is not None else [])):
        free[field.start : field.start + field.codes.shape[1]] = False
    if not records.fields:
        fields = list(_pairs(low, high, two_values & (high > low)))
    return Space(low, high, free, tuple(fields))


def _pairs(low: Tensor, high: Tensor, which: Tensor) -> Iterator[Levels]:
    for place in which.nonzero().flatten().tolist():
        yield Levels(place, torch.stack([low[place], high[place]])[:, None])
