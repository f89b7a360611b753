"""Dropout (Srivastava et al. 2014) before the last linear layer."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ptaudit.training.layers.last_linear import Place


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
        place.head.add_module("dropout", nn.Dropout(rate))
        place.head.register_forward_pre_hook(_through, with_kwargs=True)


def _through(head: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    (given,) = (*args, *kwargs.values())
    return (head.get_submodule("dropout")(given),), {}
