"""Where the records are in what a layer is given, when they are not simply in dimension 0 and features last.

Time-first networks (nn.Transformer and nn.RNN by default) hand (time, records, ...) to their layers, and models that
fold frames into rows may do so time first; a LayerNorm over channels may move them to the end by itself. Every
arrangement below is tried by the check; none is assumed.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ptaudit.gradients.rules.base import UnsupportedError

FIRST, SECOND, TIME_MAJOR = "", "records in dimension 1", "rows of all records, time after time"
CHANNELS = "channels in dimension 1"
SHARED = "one use for all records"
"""A table looked up without records, `positions(torch.arange(length))`: its output is expanded to one per record."""


def _second(x: Tensor, n: int) -> Tensor:
    if x.dim() < 2 or x.shape[1] != n:
        raise UnsupportedError(f"dimension 1 does not count the {n} records")
    return x.transpose(0, 1)


def _time_major(x: Tensor, n: int) -> Tensor:
    if x.dim() == 0 or x.shape[0] % n:
        raise UnsupportedError(f"{tuple(x.shape)[:1]} rows are not a multiple of {n} records")
    return x.reshape(-1, n, *x.shape[1:]).transpose(0, 1).flatten(0, 1)


def _channels(x: Tensor, n: int) -> Tensor:
    if x.dim() < 3:
        raise UnsupportedError("no dimensions behind the channels")
    return x.movedim(1, -1)


ARRANGE: dict[str, Callable[[Tensor, int], Tensor]] = {
    SECOND: _second,
    TIME_MAJOR: _time_major,
    CHANNELS: _channels,
}
"""Layout to what brings its records to dimension 0."""
