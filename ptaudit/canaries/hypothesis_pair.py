"""What is secret about a canary, and what the record looks like under each answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.data import Records
from ptaudit.errors import DataError
from ptaudit.model_input import Inputs
from ptaudit.spec.base import nearest
from ptaudit.spec.canaries import About, level_name


@dataclass(frozen=True)
class HypothesisPair:
    """Whether a record is there; or which of two values one of its inputs has.

    Attributes:
        about: `membership` or `attribute`.
        name: the attribute.
        start: its first place among the inputs.
        codes: what stands there for each of both values, `(2, width)`.
        levels: the two values, as codes of the field.
    """

    about: About = "membership"
    name: str = ""
    start: int = 0
    codes: Tensor | None = None
    levels: tuple[int, int] = (0, 0)

    @property
    def places(self) -> range:
        """The inputs that hold the secret."""
        return range(self.start, self.start + (0 if self.codes is None else self.codes.shape[-1]))

    def variants(self, inputs: Inputs) -> tuple[Inputs, ...]:
        """The record with each value, `(..., d)` each; or, where being there is the secret, as it is."""
        if self.codes is None:
            return (inputs,)
        assert isinstance(inputs, Tensor)
        before, after = inputs[..., : self.places.start], inputs[..., self.places.stop :]
        shape = (*inputs.shape[:-1], self.codes.shape[-1])
        return tuple(torch.cat([before, code.to(inputs).expand(shape), after], -1) for code in self.codes)

    def fitting(self, records: Records, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those records that have one of both values."""
        return index if self.codes is None else index[np.isin(records.fields[self.name].codes[index], self.levels)]


def ask(
    about: About, records: Records, name: str | None = None, values: Sequence[str | float] | None = None
) -> HypothesisPair:
    """The question about a secret.

    Args:
        about: `membership`, which needs nothing more, or `attribute`.
        records: the records.
        name: the attribute.
        values: its two values; None for an attribute that has no others.

    Raises:
        DataError: the attribute is no field of the records, or does not have these values.
    """
    if about == "membership":
        return HypothesisPair()
    fields, where = records.fields, "canaries.attribute"
    if name is None or name not in fields:
        what = f"no input column {name!r} with few values"
        remedy = nearest(str(name), fields) if fields else "only tables have such columns"
        raise DataError(what, where=where, remedy=remedy.replace("`", "'"))
    field = fields[name]
    if values is None and len(field.names) != 2:
        known = ", ".join(field.names[:12]) + (", ..." if len(field.names) > 12 else "")
        what = f"column {name!r} has {len(field.names)} values: {known}"
        raise DataError(what, where=where, remedy="say which two with canaries.values")
    chosen = field.names if values is None else tuple(map(level_name, values))
    for value in chosen:
        if value not in field.names:
            what = f"column {name!r} has no value {value!r}"
            raise DataError(what, where="canaries.values", remedy=nearest(value, field.names).replace("`", "'"))
    levels = (field.names.index(chosen[0]), field.names.index(chosen[1]))
    codes = field.levels[list(levels)]
    if bool((codes[0] == codes[1]).all()):
        what = f"the inputs do not tell {chosen[0]!r} from {chosen[1]!r} in column {name!r}"
        raise DataError(what, where=where, remedy="choose values that members have, or lower data.rare")
    return HypothesisPair("attribute", name, field.start, codes, levels)
