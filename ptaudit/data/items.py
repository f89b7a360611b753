"""Map-style data sets, read item by item: pairs, triples or dictionaries, pictures included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL.Image import Image
from torch import Tensor

from ptaudit.errors import DataError

Picture = Callable[[Image], Any]


def read_items(
    dataset: Any, limit: int | None, where: str, picture: Picture = np.asarray
) -> dict[str, Any] | tuple[Any, ...]:
    """The first `limit` items of a data set, gathered part by part.

    Args:
        dataset: has `__len__` and `__getitem__`; an item is (input, target), (input, target, {name: value}) or a
            dictionary with a label. An input may itself be a tuple or a dictionary.
        limit: how many items; None for all.
        where: the source that errors name.
        picture: what turns a PIL picture into an array; by default (h, w) or (h, w, c), uint8.

    Returns:
        For dictionaries, a list for each key; else (inputs, targets) or (inputs, targets, {name: list}) where inputs
        is a list, or a tuple or dictionary of lists.

    Raises:
        DataError: an item cannot be read, or is not like the first one; the item is named.
    """
    total = len(dataset)
    if total == 0:
        raise DataError("the data set is empty", where=where)
    items: list[Any] = []
    for index in range(total if limit is None else min(limit, total)):
        try:
            items.append(_flat(dataset[index], picture))
        except Exception as error:
            raise DataError(f"item {index} cannot be read: {type(error).__name__}: {error}", where=where) from error
        _check_like(items[0], items[-1], index, where)
    first = items[0]
    if isinstance(first, Mapping):
        return {str(name): [item[name] for item in items] for name in first}
    if (
        not isinstance(first, tuple)
        or len(first) not in (2, 3)
        or (len(first) == 3 and not isinstance(first[2], Mapping))
    ):
        raise DataError(
            f"item 0 is {_described(first)}, not a pair (input, target) or a dictionary with a label",
            where=where,
            remedy="several inputs go into a tuple or a dictionary of their own, further columns into a third element, "
            "a dictionary",
        )
    return tuple(_gathered([item[place] for item in items]) for place in range(len(first)))


def _flat(value: Any, picture: Picture) -> Any:
    """Tuples and dictionaries down to what is neither; pictures as arrays."""
    if isinstance(value, Image):
        return picture(value)
    if isinstance(value, Mapping):
        return {name: _flat(part, picture) for name, part in value.items()}
    return tuple(_flat(part, picture) for part in value) if isinstance(value, tuple) else value


def _check_like(first: Any, item: Any, index: int, where: str) -> None:
    if _structure(first) != _structure(item):
        raise DataError(f"item {index} is {_described(item)}, item 0 is {_described(first)}", where=where)


def _structure(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _structure(part) for name, part in value.items()}
    return [_structure(part) for part in value] if isinstance(value, tuple) else None


def _gathered(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {name: _gathered([value[name] for value in values]) for name in first}
    if isinstance(first, tuple):
        return tuple(_gathered([value[place] for value in values]) for place in range(len(first)))
    return values


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a dictionary of " + ", ".join(map(str, value))
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor | np.ndarray) else type(value).__name__
