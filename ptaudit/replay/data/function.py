"""`file.py:fn` or `pkg.mod:fn`: a function of the user's that returns the records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import TensorDataset

from ptaudit.errors import DataError, PtauditError
from ptaudit.replay.data.records import Source, fixed_source
from ptaudit.spec.entry import parse_entry

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec


def open_source(data: DataSpec) -> Source:
    """Call the function with `args`; it returns (inputs, targets) as arrays or tensors, or a map-style Dataset."""
    function = parse_entry(data.source, Path.cwd()).load()
    try:
        result = function(**data.args)
    except PtauditError:
        raise
    except Exception as error:
        raise DataError(f"the data function failed: {type(error).__name__}: {error}", where=data.source) from error
    if isinstance(result, TensorDataset):
        result = result.tensors
    if isinstance(result, tuple | list):
        if len(result) != 2:
            raise DataError(
                f"the data function returned {len(result)} values; (inputs, targets) is needed", where=data.source
            )
        return fixed_source(result[0], result[1], where=data.source, limit=data.limit)
    if not (hasattr(result, "__getitem__") and hasattr(result, "__len__")) or isinstance(
        result, str | dict | np.ndarray | torch.Tensor
    ):
        raise DataError(
            f"the data function returned {type(result).__name__}",
            where=data.source,
            remedy="return (inputs, targets), or a Dataset with __len__ and __getitem__",
        )
    inputs, targets = stacked_items(result, data.limit, data.source)
    return fixed_source(inputs, targets, where=data.source, limit=None)


def stacked_items(dataset: Any, limit: int | None, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `limit` items of a map-style data set of (input, target) as two tensors; pictures become (c, h, w)."""
    inputs, targets = [], []
    for index in range(min(len(dataset), len(dataset) if limit is None else limit)):
        try:
            item_input, item_target = dataset[index]
            inputs.append(_item_tensor(item_input))
            targets.append(torch.as_tensor(item_target))
        except Exception as error:
            raise DataError(
                f"item {index} is not a pair (input, target) of numbers: {type(error).__name__}: {error}", where=where
            ) from error
        for name, items in (("input", inputs), ("target", targets)):
            if items[-1].shape != items[0].shape:
                raise DataError(
                    f"{name} {index} has the shape {tuple(items[-1].shape)}, {name} 0 has {tuple(items[0].shape)}",
                    where=where,
                    remedy="bring all records to one shape in a data function (file.py:fn)",
                )
    if not inputs:
        raise DataError("the data set is empty", where=where)
    return torch.stack(inputs), torch.stack(targets)


def _item_tensor(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    array = np.array(value)  # a PIL picture becomes (h, w) or (h, w, c), uint8
    return torch.from_numpy(array)
