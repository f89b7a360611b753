"""Labels that count."""

from __future__ import annotations

from dataclasses import replace

from ptaudit.data.records import Records
from ptaudit.data.tensors import IGNORED
from ptaudit.errors import DataError


def with_ignored(records: Records, ignore_index: int | None) -> Records:
    """The records with -100, PyTorch's own mark, at the positions that `ignore_index` marks as not counting.

    Raises:
        DataError: a record has one target, which then must count.
    """
    if ignore_index is None:
        return records
    if records.targets.dim() == 1:
        raise DataError(
            "the records have one target each, and a record without one has no loss",
            where="train.ignore_index",
            remedy="leave such records out of the data, and the key out of the spec",
        )
    return replace(records, targets=records.targets.masked_fill(records.targets == ignore_index, IGNORED))
