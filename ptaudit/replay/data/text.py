"""What columns of text hold: dates, categories, or what is no input as it stands."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
"""ISO 8601: a date, with or without a time."""

_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[,.' ]\d{3})+(?:[.,]\d+)?|[+-]?\d+,\d+")
"""Numbers with separators between thousands, or a decimal comma."""

_NAMELESS = re.compile(r"Unnamed: \d+|index|")
"""What a column is called that has no name in the file, or was the index of a data frame."""

MOSTLY = 0.5
"""Share of the records from which on text is taken for numbers with something among them, or for identifiers."""

LEAST_LEVELS = 20
"""Fewest different texts of a column that may be an identifier."""

_EXAMPLES = 3


def dates(column: pd.Series[Any]) -> pd.Series[Any] | None:
    """The column as dates, where all of its text is; None else. One that names an impossible day is none."""
    there = column.dropna()
    if there.empty or not all(isinstance(value, str) and _DATE.fullmatch(value.strip()) for value in there):
        return None
    try:
        return pd.to_datetime(column.str.strip(), utc=True, format="ISO8601")
    except (ValueError, OverflowError):
        return None


def refusal(column: pd.Series[Any], rare: int) -> tuple[str, str] | None:
    """What keeps a column of text from being categories, and what to do; None where nothing does.

    Args:
        column: text, missing where nothing is.
        rare: categories that fewer members have are not told apart.
    """
    name, (codes, texts) = column.name, pd.factorize(column.dropna().astype(str).str.strip())
    if not len(codes):
        return None
    times = np.bincount(codes)
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").notna().to_numpy()
    grouped = np.array([bool(_GROUPED.fullmatch(text)) for text in texts])
    most = MOSTLY * len(codes)
    if times[numbers | grouped].sum() > most and grouped.any():
        return (
            f"column {name!r} holds numbers written like {_some(texts[grouped])}",
            "set data.thousands or data.decimal, or name the column in data.categorical",
        )
    if numbers.all():
        return (
            f"column {name!r} holds numbers as text: {_some(texts)}",
            "turn it into numbers (pandas.to_numeric), or name it in data.categorical",
        )
    if times[numbers].sum() > most:
        records = int(times[~numbers].sum())
        return (
            f"column {name!r} holds numbers and, in {records} records, text: {_some(texts[~numbers])}",
            "list what stands for nothing in data.missing, or name the column in data.categorical or data.drop",
        )
    single = int((times == 1).sum())
    if rare == 1 and len(texts) >= LEAST_LEVELS and single > most:
        return (
            f"column {name!r} has {len(texts)} different texts in {len(codes)} records, {single} of them once: an "
            "identifier or free text, not categories",
            "name it in data.drop, or set data.rare to put rare categories together",
        )
    return None


def counting(column: pd.Series[Any]) -> tuple[str, str] | None:
    """What is wrong with a column without a name that counts the records, and what to do; None for any other."""
    name = str(column.name)
    if not _NAMELESS.fullmatch(name) or not pd.api.types.is_integer_dtype(column.dtype):
        return None
    steps = np.diff(column.to_numpy())
    if len(steps) == 0 or not (steps == 1).all():
        return None
    return f"column {name!r} has no name and counts the records", f"add '{name}' to data.drop"


def _some(texts: pd.Index[Any]) -> str:
    found = texts.tolist()
    shown = ", ".join(repr(text[:40]) for text in found[:_EXAMPLES])
    return f"{shown} and {len(found) - _EXAMPLES} more" if len(found) > _EXAMPLES else shown
