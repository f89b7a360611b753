"""Where the records are in what a layer is given, when they are not simply in dimension 0 and features last.

Time-first networks (nn.Transformer and nn.RNN by default) hand (time, records, ...) to their layers, and models that
fold frames into rows may do so time first; a LayerNorm over channels may move them to the end by itself. Every
arrangement below is tried by the check; none is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, ModuleCall, Rule, UnsupportedError

FIRST, SECOND, TIME_MAJOR = "", "records in dimension 1", "rows of all records, time after time"
CHANNELS = "channels in dimension 1"
SHARED = "one use for all records"
"""A table looked up without records, `positions(torch.arange(length))`: its output is expanded to one per record."""


def arranged(rule: Rule, layout: str) -> Rule:
    """The rule for calls in another layout."""
    if layout in (FIRST, SHARED):
        return rule
    move = _MOVES[layout]

    def moved(calls: Sequence[ModuleCall], n: int) -> list[ModuleCall]:
        return [replace(call, input=move(call.input, n), grad=move(call.grad, n), **_nothing(call)) for call in calls]

    def contribution(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
        return rule.contribution(layer, moved(calls, n), n, sketch)

    def tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
        return rule.tokens(layer, moved(calls, n), n, sketch)

    return Rule(contribution, tokens)


def _nothing(call: ModuleCall) -> dict[str, None]:
    """Moments kept by the forward pass are in the old order."""
    return {"moments": None} if hasattr(call, "moments") else {}


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


_MOVES: dict[str, Callable[[Tensor, int], Tensor]] = {
    SECOND: _second,
    TIME_MAJOR: _time_major,
    CHANNELS: _channels,
}
MOVED = tuple(_MOVES)
