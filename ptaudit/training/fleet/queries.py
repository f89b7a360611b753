"""Several views of each record that models are asked about, the same for every model (LiRA, arXiv 2112.03570, VI-C).

Pictures are mirrored and shifted by a pixel, up to 18 views: the record itself, its mirror image, then both shifted in
eight directions, with zeros where nothing was. Rows of numbers get small Gaussian noise, the same for all records, in
proportion to the spread of each column.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ptaudit.data.records import Records
from ptaudit.errors import DataError
from ptaudit.model_input import Inputs, shapes

MOST = 18

_NOISE = 0.1
"""Of a column's standard deviation."""

_SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


@dataclass(frozen=True)
class Queries:
    """What models are asked about a record; the first query is the record as it is.

    Attributes:
        count: how many queries, from 1 to `MOST`.
        spread: `(d,)` standard deviation of each column of rows of numbers; None for pictures, and for one query.
    """

    count: int = 1
    spread: Tensor | None = None

    @classmethod
    def of(cls, count: int, records: Records) -> Queries:
        """Those that fit the records.

        Raises:
            DataError: several, of records that are neither pictures nor rows of numbers.
        """
        if count == 1:
            return cls()
        inputs = records.inputs
        if isinstance(inputs, Tensor) and inputs.is_floating_point() and inputs.dim() in (2, 4):
            return cls(count, inputs.float().std(0).cpu() if inputs.dim() == 2 else None)
        kind = f", {inputs.dtype}".replace("torch.", "") if isinstance(inputs, Tensor) else ""
        raise DataError(
            f"`queries: {count}` changes pictures (channels, height, width) or rows of decimal numbers; a record is "
            f"{shapes(inputs)}{kind}",
            where="audit.games: membership",
            remedy="remove `queries`",
        )

    @property
    def key(self) -> dict[str, str]:
        """What the answers of a model depend on; nothing where there is one query."""
        kind = "mirrored and shifted" if self.spread is None else f"noise of {_NOISE} standard deviations"
        return {} if self.count == 1 else {"queries": f"{self.count}, {kind}"}

    def ask(self, inputs: Inputs, query: int) -> Inputs:
        """Some records as one of the queries has them, `(b, ...)`."""
        if query == 0:
            return inputs
        assert isinstance(inputs, Tensor)
        if self.spread is None:
            return _moved(inputs.flip(-1) if query % 2 else inputs, *_SHIFTS[query // 2])
        draw = torch.randn(len(self.spread), generator=torch.Generator().manual_seed(query))
        return inputs + (_NOISE * self.spread * draw).to(inputs)


ONE = Queries()


def _moved(pictures: Tensor, down: int, right: int) -> Tensor:
    """Pictures `(..., h, w)`, shifted; zeros come in."""
    height, width = pictures.shape[-2:]
    padded = F.pad(pictures, [1, 1, 1, 1])
    return padded[..., 1 - down : 1 - down + height, 1 - right : 1 - right + width]
