"""From columns of a table to inputs: fitted on the members, as they stand, or as a file of the user's says.

The file is JSON, one entry for each input column, in the order of the model's inputs:

    {"columns": {"age": {"mean": 38.6, "scale": 13.7, "fill": 37.0},
                 "job": {"levels": ["cook", "nurse"], "unseen": "other"}}}

A number becomes (number - mean) / scale, where `fill` stands for a missing one; dates are days since 1970-01-01. A
category becomes an input for each of its levels; one that is not listed is 1 in an input of its own at their end
(`other`), 0 in all of them (`zeros`), or refused (`error`, as when nothing is said).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ptaudit.data.kinds import InputColumn
from ptaudit.data.tensors import MISSING
from ptaudit.errors import DataError, listed

Unseen = Literal["other", "zeros", "error"]

_MOST_CATEGORIES = 2000
_MOST_BYTES = 64 * 2**20
_NAMED = 4


@dataclass(frozen=True)
class NumberCode:
    """How numbers become an input: (number - mean) / scale, `fill` where one is missing."""

    mean: float
    scale: float
    fill: float | None = None

    width = 1


@dataclass(frozen=True)
class LevelCode:
    """How categories become inputs: one for each level, and what becomes of others."""

    levels: tuple[str, ...]
    unseen: Unseen = "error"

    @property
    def width(self) -> int:
        """Number of inputs."""
        return len(self.levels) + (self.unseen == "other")


ColumnCode = NumberCode | LevelCode

Preprocessing = Mapping[str, ColumnCode]
"""How each input column is encoded, in the order of the inputs."""

Fit = Callable[[Sequence[InputColumn], NDArray[np.int64], int, str], Preprocessing]
"""Learns it from columns, the members among the records, the fewest records of a category, and the file for errors."""


def fitted(columns: Sequence[InputColumn], members: NDArray[np.int64], rare: int, where: str) -> Preprocessing:
    """Numbers with the members' mean 0 and variance 1, categories that at least `rare` members have one-hot.

    A number that is constant among the members is only centred; a missing one is their median.

    Raises:
        DataError: a column has no value among the members, or too many categories.
    """
    return {
        column.name: _number_code(column, members, where)
        if column.names is None
        else _level_code(column, members, rare, where)
        for column in columns
    }


def as_they_stand(columns: Sequence[InputColumn], where: str) -> Preprocessing:
    """Numbers as they are.

    Raises:
        DataError: there are categories, which are none.
    """
    texts = [repr(column.name) for column in columns if column.names is not None]
    if texts:
        raise DataError(
            f"data.preprocess: none leaves columns as they stand, and {', '.join(texts)} hold no numbers",
            where=where,
            remedy="list their levels in a file for data.preprocess, or add them to data.drop",
        )
    return {column.name: NumberCode(0.0, 1.0) for column in columns}


def encode(column: InputColumn, code: ColumnCode, out: NDArray[np.float32], where: str) -> None:
    """Write the inputs that a column becomes into `out`, `(n, code.width)`, which holds zeros.

    Raises:
        DataError: the code does not say what becomes of an entry.
    """
    if isinstance(code, NumberCode):
        _encode_numbers(column, code, out, where)
    else:
        _encode_levels(column, code, out, where)


def unseen(encoded: NDArray[np.float32], code: LevelCode) -> NDArray[np.bool_]:
    """Which records have a level that the code does not list; `encoded` is `(n, code.width)`."""
    return np.asarray((encoded[:, : len(code.levels)] == 0).all(1))


def read(path: Path) -> Preprocessing:
    """Read a file of the form above.

    Raises:
        DataError: it is missing, or not of that form; the entry is named.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"is larger than {_MOST_BYTES >> 20} MiB", where=str(path), remedy=_FORM)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read as JSON: {error}", where=str(path), remedy=_FORM) from error
    columns = content.get("columns") if isinstance(content, Mapping) else None
    if not isinstance(columns, Mapping) or not columns or len(content) != 1:
        raise DataError("is no preprocessing of columns", where=str(path), remedy=_FORM)
    return {name: _code(name, entry, path) for name, entry in columns.items()}


def written(codes: Preprocessing) -> str:
    """The text of a file that `read` reads."""
    lines = [f"  {json.dumps(name)}: {json.dumps(_plain(code))}" for name, code in codes.items()]
    return '{"columns": {\n' + ",\n".join(lines) + "\n}}\n"


HOW_TO_SAVE = (
    'for a StandardScaler of scikit-learn: json.dump({"columns": {c: {"mean": m, "scale": s} for c, m, s in '
    'zip(columns, scaler.mean_, scaler.scale_)}}, open("scaler.json", "w"))'
)
_FORM = 'write {"columns": {"age": {"mean": 38.6, "scale": 13.7}, "job": {"levels": ["cook", "nurse"]}}}'


def _number_code(column: InputColumn, members: NDArray[np.int64], where: str) -> NumberCode:
    values, missing, fill = column.values, np.isnan(column.values), None
    if missing[members].all():
        raise DataError(
            f"column {column.name!r} has no value in any member",
            where=where,
            remedy=f"add {column.name} to data.drop",
        )
    if missing.any():
        fill = float(np.median(values[members][~missing[members]]))
        values = np.where(missing, fill, values)
    with np.errstate(over="ignore", invalid="ignore"):
        inside = values[:, None][members]
        mean, scale = float(inside.mean(axis=0)[0]), float(inside.std(axis=0)[0])
    if not math.isfinite(scale):
        raise _too_large(column, where)
    return NumberCode(mean, scale or 1.0, fill)


def _level_code(column: InputColumn, members: NDArray[np.int64], rare: int, where: str) -> LevelCode:
    assert column.names is not None
    counts = np.bincount(column.values[members], minlength=len(column.names))
    levels = tuple(name for name, count in zip(column.names, counts, strict=True) if count >= rare)
    if len(levels) > _MOST_CATEGORIES:
        raise DataError(
            f"column {column.name!r} has {len(levels)} categories (at most {_MOST_CATEGORIES} are one-hot encoded)",
            where=where,
            remedy=f"add {column.name} to data.drop if it is an identifier, or set data.rare",
        )
    return LevelCode(levels, "other")


def _encode_numbers(column: InputColumn, code: NumberCode, out: NDArray[np.float32], where: str) -> None:
    if column.names is not None:
        raise DataError(
            f"column {column.name!r} holds categories, and data.preprocess has a mean and a scale for it",
            where=where,
            remedy="list its levels in the file",
        )
    values, missing = column.values, np.isnan(column.values)
    if missing.any():
        if code.fill is None:
            raise DataError(
                f"column {column.name!r} has no value in {missing.sum()} records, and data.preprocess none for them",
                where=where,
                remedy=f'give it a fill in the file: {{"{column.name}": {{..., "fill": NUMBER}}}}',
            )
        values = np.where(missing, code.fill, values)
    with np.errstate(over="ignore", invalid="ignore"):
        out[:, 0] = (values - code.mean) / code.scale
    if not np.isfinite(out).all():
        raise _too_large(column, where)


def _encode_levels(column: InputColumn, code: LevelCode, out: NDArray[np.float32], where: str) -> None:
    assert column.names is not None
    place = {level: at for at, level in enumerate(code.levels)}
    at = np.array([place.get(name, -1) for name in column.names])[column.values]
    strangers = at < 0
    if strangers.all() and code.levels:
        raise DataError(
            f"column {column.name!r} has none of the levels that data.preprocess lists ({_some(code.levels)}); "
            f"it has {_some(column.names)}",
            where=where,
            remedy="write them in the file as they stand in the table",
        )
    if code.unseen == "error" and strangers.any():
        texts = sorted({column.names[level] for level in np.unique(column.values[strangers]).tolist()})
        raise DataError(
            f"column {column.name!r} has levels that the file of data.preprocess does not list: {_some(texts)}",
            where=where,
            remedy='list them, or say what becomes of them: "unseen": "other" or "zeros"',
        )
    known = np.flatnonzero(~strangers)
    out[known, at[known]] = 1
    if code.unseen == "other":
        out[strangers, -1] = 1


def _some(texts: Sequence[str]) -> str:
    return listed(list(map(repr, texts)), _NAMED)


def _too_large(column: InputColumn, where: str) -> DataError:
    return DataError(
        f"column {column.name!r} has numbers too large to be standardised, as in record "
        f"{np.nan_to_num(np.abs(column.values)).argmax()}",
        where=where,
        remedy=f"add {column.name} to data.drop, or mend the table",
    )


def _code(name: str, entry: Any, path: Path) -> ColumnCode:
    keys = set(entry) if isinstance(entry, Mapping) else set()
    if {"mean", "scale"} <= keys <= {"mean", "scale", "fill"}:
        numbers = {key: value for key, value in entry.items() if value is not None}
        finite = all(type(value) in (int, float) and abs(value) <= sys.float_info.max for value in numbers.values())
        if finite and numbers.get("scale") and "mean" in numbers:
            return NumberCode(**{key: float(value) for key, value in numbers.items()})
    if {"levels"} <= keys <= {"levels", "unseen"} and isinstance(entry["levels"], list):
        levels = [MISSING if level is None else level for level in entry["levels"]]
        plain = all(isinstance(level, str | int | float) for level in levels)
        texts, rest = tuple(map(str, levels)), entry.get("unseen", "error")
        if plain and texts and len(set(texts)) == len(texts) and rest in get_args(Unseen):
            return LevelCode(texts, rest)
    raise DataError(
        f"column {name!r}: needs a mean, a scale other than 0 and perhaps a fill, or levels and perhaps unseen "
        f"({', '.join(get_args(Unseen))})",
        where=str(path),
        remedy=_FORM,
    )


def _plain(code: ColumnCode) -> dict[str, Any]:
    if isinstance(code, LevelCode):
        return {"levels": list(code.levels), "unseen": code.unseen}
    return {"mean": code.mean, "scale": code.scale, **({} if code.fill is None else {"fill": code.fill})}
