"""Where a layer can be put in: before the last layer that a forward pass comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ptaudit.errors import ModelError
from ptaudit.model_input import Inputs, count
from ptaudit.training.forward import trial_forward

_REMEDY = "end the model with one nn.Linear, or use another defense"


@dataclass(frozen=True)
class Place:
    """A linear layer that comes last.

    Attributes:
        name: its path in the model; empty for the model itself.
        head: the layer.
        dropped: whether a dropout layer of the model is what comes right before it.
    """

    name: str
    head: nn.Linear
    dropped: bool


def find_place(model: nn.Module, inputs: Inputs) -> Place:
    """The last layer, found by a pass over a few records; the model is left as it was.

    Args:
        model: the model.
        inputs: records on its device.

    Raises:
        ModelError: the model does not take them; or what comes last is no linear layer, is called more than once, or
            does not have the records in dimension 0.
    """
    calls: list[tuple[str, nn.Module, Any]] = []
    dropped: list[Any] = []
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, _DropoutNd):
            handles.append(module.register_forward_hook(lambda m, args, output: dropped.append(output)))
        elif _weighs(name, module):
            handles.append(module.register_forward_pre_hook(_noting(calls, name), with_kwargs=True))
    try:
        with torch.no_grad():
            trial_forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not calls:
        raise ModelError("no layer of the model is called", where="train.defense", remedy=_REMEDY)
    name, head, given = calls[-1]
    if not isinstance(head, nn.Linear):
        what = f"the last layer of the model is {_called(head, name)}, and this defense goes before a linear one"
        raise ModelError(what, where="train.defense", remedy=_REMEDY)
    if sum(module is head for _, module, _ in calls) > 1:
        raise ModelError(
            f"the last layer, {_called(head, name)}, is called more than once", where="train.defense", remedy=_REMEDY
        )
    if not isinstance(given, Tensor) or given.dim() < 2 or len(given) != count(inputs):
        raise ModelError(
            f"the last layer, {_called(head, name)}, is not given the records in its first dimension",
            where="train.defense",
            remedy=_REMEDY,
        )
    return Place(name, head, any(output is given for output in dropped))


def hang(head: nn.Linear, name: str, module: nn.Module) -> None:
    """Put a module before a layer, as its child: what the layer is given goes through it first."""

    def through(
        head: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        (given,) = (*args, *kwargs.values())
        return (head.get_submodule(name)(given),), {}

    head.add_module(name, module)
    head.register_forward_pre_hook(through, with_kwargs=True)


def _weighs(name: str, module: nn.Module) -> bool:
    """Whether a module is a layer; the parts of a parametrized one are not."""
    if ".parametrizations" in f".{name}":
        return False
    return isinstance(module, nn.Linear) or next(module.parameters(recurse=False), None) is not None


def _noting(calls: list[tuple[str, nn.Module, Any]], name: str) -> Any:
    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((name, module, next(iter((*args, *kwargs.values())), None)))

    return note


def _called(module: nn.Module, name: str) -> str:
    return f"{type(module).__name__} {name}".strip()
