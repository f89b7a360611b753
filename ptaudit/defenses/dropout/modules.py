"""Dropout before the last linear layer: for the passes of a view, or as a layer that is trained with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd

from ptaudit.defenses.last_linear import Place, hang
from ptaudit.errors import ModelError


def insert_dropout(model: nn.Module, place: Place, rate: float) -> None:
    """Set the rate of the model's dropout layers, and add one before the last layer unless one of them is there.

    Args:
        model: the model.
        place: its last layer; the new one is its child `dropout`.
        rate: share of the numbers that are dropped.
    """
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = rate
    if not place.dropped:
        hang(place.head, "dropout", nn.Dropout(rate))


@contextmanager
def dropping(model: nn.Module, rate: float) -> Iterator[None]:
    """Drops features before the last linear layer, and in every dropout layer of the model, all at one rate.

    Where a dropout layer stands right before the last linear layer, nothing is dropped twice. Attention and recurrent
    layers that drop by themselves do so at their own rate, as in training. Dropout that is a call of a function in the
    model's code stays off.

    Raises:
        ModelError: the last linear layer took no part in the pass, and the model has no dropout of its own.
    """
    own, last = own_dropout(model), last_linear(model)
    dropped: list[Tensor] = []
    fired: list[bool] = []

    def after(module: nn.Module, args: Any, output: Any) -> None:
        dropped[:] = [output]

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        fired[:] = [bool(args)]
        if not args or any(args[0] is output for output in dropped):
            return args
        return (F.dropout(args[0], rate, training=True), *args[1:])

    with ExitStack() as stack:
        for module in own:
            stack.callback(setattr, module, "training", module.training)
            module.training = True
            if isinstance(module, _DropoutNd):
                stack.callback(setattr, module, "p", module.p)
                module.p = rate
                stack.callback(module.register_forward_hook(after).remove)
        if last is not None:
            stack.callback(last.register_forward_pre_hook(before).remove)
        yield
    if not fired and not own:
        raise ModelError(
            "dropout has no place: the last linear layer is not called as a module",
            where=type(model).__name__,
            remedy="call the layer itself, or add a Dropout module where features are to be dropped",
        )


def own_dropout(model: nn.Module) -> list[nn.Module]:
    """Modules that drop when they are trained."""
    kinds = _DropoutNd | nn.MultiheadAttention | nn.RNNBase
    return [m for m in model.modules() if isinstance(m, kinds) and (isinstance(m, _DropoutNd) or m.dropout > 0.0)]


def last_linear(model: nn.Module) -> nn.Linear | None:
    """The last linear layer in model order; projections inside of attention, and what hangs on a layer, are none."""
    owners = (m for m in model.modules() if isinstance(m, nn.MultiheadAttention | nn.Linear))
    inside = {id(part) for m in owners for part in m.modules() if part is not m}
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and id(m) not in inside]
    return linear[-1] if linear else None
