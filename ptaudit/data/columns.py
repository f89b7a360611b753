"""Columns by name, one entry per record each: what data sets of dictionaries and Hugging Face's are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ptaudit.data.labels import stated_targets
from ptaudit.data.records import Labels, Source, check_column, fixed_source, kept_columns
from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

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
