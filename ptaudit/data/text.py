"""What columns of text hold: dates, categories, or what is no input as it stands."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptaudit.errors import listed

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")
"""ISO 8601: a date, with or without a time."""

_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[,.' ]\d{3})+(?:[.,]\d+)?|[+-]?\d+,\d+")
"""Numbers with separators between thousands, or a decimal comma."""

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_OTHER_DATE = re.compile(
    rf"(?:\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}}|\d{{1,2}}[ .-]*{_MONTH}[ ,-]*\d{{2,4}}|{_MONTH} \d{{1,2}},? \d{{4}})"
    r"(?:[ T,].*)?",
    re.IGNORECASE,
)
"""Dates in other forms: 31/12/2020, 12-31-20, 31 Dec 2020, December 31, 2020; with or without a time."""

_SIGNED = re.compile(r"[+-]?[$€£¥] ?[+-]?\d[\d.,' ]*|[+-]?\d[\d.,' ]*[%$€£¥]")
"""Numbers with the sign of a currency or of per cent."""

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
    codes, texts = pd.factorize(column.dropna().astype(str).str.strip())
    if not len(codes):
        return None
    times = np.bincount(codes)
    what_of = (_numbers, _dates) if rare > 1 else (_numbers, _dates, _identifiers)
    found = next((found for what in what_of if (found := what(texts, times))), None)
    return None if found is None else (f"column {column.name!r} {found[0]}", found[1])


def _numbers(texts: pd.Index[Any], times: NDArray[np.int64]) -> tuple[str, str] | None:
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").notna().to_numpy()
    grouped, signed, most = _matching(_GROUPED, texts), _matching(_SIGNED, texts), MOSTLY * times.sum()
    if times[numbers | grouped].sum() > most and grouped.any():
        return (
            f"holds numbers written like {_some(texts[grouped])}",
            "set data.thousands or data.decimal, or name the column in data.categorical",
        )
    if times[numbers | signed].sum() > most and signed.any():
        return (
            f"holds numbers with a sign: {_some(texts[signed])}",
            "write the numbers alone, or name the column in data.categorical",
        )
    if numbers.all():
        return (
            f"holds numbers as text: {_some(texts)}",
            "turn it into numbers (pandas.to_numeric), or name it in data.categorical",
        )
    if times[numbers].sum() > most:
        return (
            f"holds numbers and, in {times[~numbers].sum()} records, text: {_some(texts[~numbers])}",
            "list what stands for nothing in data.missing, or name the column in data.categorical or data.drop",
        )
    return None


def _dates(texts: pd.Index[Any], times: NDArray[np.int64]) -> tuple[str, str] | None:
    dated = _matching(_DATE, texts)
    if times[dated | _matching(_OTHER_DATE, texts)].sum() <= MOSTLY * times.sum():
        return None
    days = pd.to_datetime(pd.Series(texts).where(dated), utc=True, format="ISO8601", errors="coerce")
    return (
        f"holds dates and, in {times[days.isna()].sum()} records, what is no date of the form YYYY-MM-DD: "
        f"{_some(texts[days.isna()])}",
        "write them as YYYY-MM-DD, list what stands for nothing in data.missing, or name the column in "
        "data.categorical or data.drop",
    )


def _identifiers(texts: pd.Index[Any], times: NDArray[np.int64]) -> tuple[str, str] | None:
    single = int((times == 1).sum())
    if len(texts) < LEAST_LEVELS or single <= MOSTLY * times.sum():
        return None
    return (
        f"has {len(texts)} different texts in {times.sum()} records, {single} of them once: an identifier or free "
        "text, not categories",
        "name it in data.drop, or set data.rare to put rare categories together",
    )


def _matching(form: re.Pattern[str], texts: pd.Index[Any]) -> NDArray[np.bool_]:
    return np.array([bool(form.fullmatch(text)) for text in texts])


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
    return listed([repr(text[:40]) for text in texts.tolist()], _EXAMPLES)
