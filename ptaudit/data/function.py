"""`file.py:fn` or `pkg.mod:fn`: a function of the user's that returns the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import TensorDataset

from ptaudit.data.items import read_items
from ptaudit.data.labels import stated_targets
from ptaudit.data.records import Labels, Source, check_column, fixed_source, kept_columns
from ptaudit.data.table import table_source
from ptaudit.errors import DataError, PtauditError
from ptaudit.spec.entry import parse_entry

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

_OF_TABLES = ("categorical", "rare", "preprocess")
"""Keys of the preprocessing of tables."""

_FORMS = "return (inputs, targets), (inputs, targets, {name: column}), a data frame, or a Dataset of items"


def open_source(data: DataSpec) -> Source:
    """Call the function with `args` and read what it returns.

    It may return (inputs, targets) or (inputs, targets, {name: column}) as arrays or tensors, where several inputs are
    a tuple (arguments of the model) or a dictionary (by name); a dictionary of columns; a data frame, preprocessed as a
    csv file is; a `datasets.Dataset`; or a map-style Dataset whose items have one of these forms.
    """
    function = parse_entry(data.source, Path.cwd()).load()
    try:
        result = function(**data.args)
    except PtauditError:
        raise
    except Exception as error:
        raise DataError(f"the data function failed: {type(error).__name__}: {error}", where=data.source) from error
    if isinstance(result, pd.DataFrame):
        return table_source(result[: data.limit].rename(columns=str), data, data.source)
    if isinstance(result, TensorDataset):
        *inputs, targets = result.tensors
        result = (inputs[0] if len(inputs) == 1 else tuple(inputs), targets)
    elif _is_column_store(result):
        return _from_column_store(result, data)
    elif not isinstance(result, list | tuple | Mapping | str | np.ndarray | torch.Tensor) and (
        hasattr(result, "__getitem__") and hasattr(result, "__len__")
    ):
        result = read_items(result, data.limit, data.source)
    if isinstance(result, Mapping):
        return _from_columns(result, data)
    return _from_arrays(result, data)


def _from_arrays(result: Any, data: DataSpec) -> Source:
    if not isinstance(result, tuple | list):
        raise DataError(f"the data function returned {type(result).__name__}", where=data.source, remedy=_FORMS)
    if len(result) not in (2, 3) or (len(result) == 3 and not isinstance(result[2], Mapping)):
        raise DataError(
            f"the data function returned {len(result)} values; (inputs, targets) is needed",
            where=data.source,
            remedy="several inputs go into a tuple of their own, further columns into a dictionary, the third value",
        )
    _refuse(data, ("label", "drop", *_OF_TABLES), "(inputs, targets)")
    columns = kept_columns(data, result[2] if len(result) == 3 else {}, data.source)
    labels = Labels(stated_targets(result[1], data, data.source), data.classes)
    return fixed_source(result[0], labels, where=data.source, limit=data.limit, columns=columns)


def _from_columns(result: Mapping[str, Any], data: DataSpec) -> Source:
    if result and all(_is_column_store(part) for part in result.values()):
        raise DataError(
            f"the data function returned a dictionary of splits: {', '.join(result)}",
            where=data.source,
            remedy="return one of them; data.held_out splits it",
        )
    _refuse(data, _OF_TABLES, "columns that are inputs as they are")
    return column_source(result, data, data.source)


def _is_column_store(result: Any) -> bool:
    """Whether this is a `datasets.Dataset` of Hugging Face, or works like one; that package need not be there."""
    return all(hasattr(result, name) for name in ("column_names", "features", "with_format", "__getitem__", "__len__"))


def _from_column_store(dataset: Any, data: DataSpec) -> Source:
    _refuse(data, _OF_TABLES, "columns that are inputs as they are")
    everything = dict.fromkeys(dataset.column_names)
    for name in data.drop:
        check_column(name, "drop", everything, data.source)
    kept = {data.label, *(name for names in data.columns.values() for name in names)}
    shown = getattr(dataset, "format", {}).get("columns") or everything  # what the user's with_format shows
    # Asked for by name, so that pictures of a column that is not used need not be decoded.
    names = [name for name in everything if name in kept or (name in shown and name not in data.drop)]
    label = label_name(dict.fromkeys(names), data, data.source)
    feature = (dataset.features or {}).get(label)
    classes, called = getattr(feature, "num_classes", None), getattr(feature, "names", None) or ()
    try:
        columns = dataset.with_format("numpy", columns=names)[: data.limit]
    except Exception as error:
        raise DataError(f"the data set cannot be read: {type(error).__name__}: {error}", where=data.source) from error
    dropped = [name for name in data.drop if name in columns]
    return column_source(columns, data.model_copy(update={"drop": dropped}), data.source, classes, called)


def _refuse(data: DataSpec, keys: tuple[str, ...], returned: str) -> None:
    """No key is accepted and then ignored: what the function returned decides which have a meaning."""
    for key in keys:
        if key in data.model_fields_set and getattr(data, key):
            raise DataError(
                f"data.{key} is not used: the function returned {returned}", where=data.source, remedy="remove it"
            )


LABEL_NAMES = ("label", "labels", "target", "targets", "y")


def column_source(
    columns: Mapping[str, Any], data: DataSpec, where: str, classes: int | None = None, names: Sequence[str] = ()
) -> Source:
    """A source from columns: one is the label, some are kept aside, all others are inputs of the model, by name.

    A single input is passed without its name. The label is `data.label`, or the first of `label`, `labels`, `target`,
    `targets`, `y`. What `attributes`, `user`, `split_by` and `drop` name is not an input. `data.target` and
    `data.classes` say what the label is, whatever the source knows.

    Args:
        columns: (n, ...) each.
        data: which columns are what.
        where: the source that errors name.
        classes: number of classes where the source knows it.
        names: what the classes are called, where the source knows it.

    Raises:
        DataError: a column is missing, or an input is not numbers.
    """
    label = label_name(columns, data, where)
    chosen = input_names(columns, data, label)
    kept = kept_columns(data, columns, where)
    if not chosen:
        raise DataError("no column is left as an input", where=where, remedy="shorten data.drop")
    parts = {name: columns[name] for name in chosen}
    inputs = next(iter(parts.values())) if len(parts) == 1 else parts
    targets = stated_targets(columns[label], data, where)
    classes = None if data.target == "number" else data.classes or classes
    labels = Labels(targets, classes, tuple(names) if len(names) == classes else ())
    try:
        return fixed_source(inputs, labels, where=where, limit=data.limit, columns=kept)
    except DataError as error:
        if "are not numbers" in error.what:
            raise DataError(
                f"{error.what} (inputs: {', '.join(chosen)}; label: {label})",
                where=where,
                remedy="turn text into token ids first, and name the columns that are no inputs in data.drop",
            ) from error
        raise


def label_name(columns: Mapping[str, Any], data: DataSpec, where: str) -> str:
    """Name of the label's column."""
    if data.label is not None:
        check_column(data.label, "label", columns, where)
        return data.label
    found = next((name for name in LABEL_NAMES if name in columns), None)
    if found is None:
        raise DataError(
            f"no column is called {' or '.join(LABEL_NAMES)}",
            where=where,
            remedy=f"name the label in data.label; columns: {', '.join(map(str, columns))}",
        )
    return found


def input_names(columns: Mapping[str, Any], data: DataSpec, label: str) -> list[str]:
    """Names of the columns that are inputs."""
    for name in data.drop:
        check_column(name, "drop", columns, data.source)
    outside = {label, *data.drop, *(name for names in data.columns.values() for name in names)}
    return [name for name in columns if name not in outside]
