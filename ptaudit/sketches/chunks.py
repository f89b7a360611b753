"""Records in chunks that fit the memory of the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ptaudit.errors import PtauditError


class Chunks:
    """Slices of records, one after the other; work on each `with chunks.within_memory():`.

    A part that is too large for the device is tried again, halved, as are all later ones. The last one never holds a
    single record, of which there are no batch statistics.

    Args:
        total: number of records.
        size: records in a chunk.
        device: where they are worked on.
    """

    def __init__(self, total: int, size: int, device: torch.device) -> None:
        self._total, self._size, self._device = total, size, device
        self._part, self._failed = slice(0, 0), False

    def __iter__(self) -> Iterator[slice]:
        while self._part.stop < self._total:
            if self._failed and self._device.type == "cuda":  # by now nobody holds the tensors of what failed
                torch.cuda.empty_cache()
            start, self._failed = self._part.stop, False
            end = start + self._size
            self._part = slice(start, end - 1 if self._total - end == 1 and self._size > 2 else min(end, self._total))
            yield self._part

    @contextmanager
    def within_memory(self) -> Iterator[None]:
        """Raises PtauditError where not even one record fits."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            records = self._part.stop - self._part.start
            if records == 1:
                raise PtauditError(
                    "the device has no memory left to read the gradient of one record",
                    where="audit",
                    remedy="use a device with more memory, or --device cpu",
                ) from error
            self._size, self._part, self._failed = records // 2, slice(0, self._part.start), True
