"""The losses of records, which gradients are taken of: at a model's own weights, or as a function of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ptaudit.errors import ModelError
from ptaudit.model_input import Inputs, batched, call, mapped, rows

PerRecordLoss = Callable[[Tensor, Tensor], Tensor]
"""(output (n, ...), target (n, ...)) -> losses (n,). Nothing is averaged over records."""

T = TypeVar("T")


@dataclass(frozen=True)
class RecordLosses:
    """The losses of n records.

    Attributes:
        model: the model, on the device of the records.
        loss: (output, target) -> one loss per record.
        inputs: records (n, ...), or several such tensors.
        targets: (n, ...).
    """

    model: nn.Module
    loss: PerRecordLoss
    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __call__(self) -> Tensor:
        """The losses (n,) at the model's own weights.

        Raises:
            ModelError: the loss does not return one number per record.
        """
        return per_record(self.loss, call(self.model, self.inputs), self.targets)

    def some(self, index: Tensor | slice) -> Self:
        """Those of some records, in the order of the index."""
        return replace(self, inputs=rows(self.inputs, index), targets=self.targets[index])


def functional(model: nn.Module) -> Callable[[Mapping[str, Tensor], Inputs], Any]:
    """The output of a model as a function of parameters and buffers by path, and of inputs; the model stays as it is.

    What is not given is the model's own. A tensor that has several paths, as tied weights and shared layers have, is
    given under one of them. (`functional_call` by itself leaves what it was given in a layer with two paths.)
    """
    names: dict[int, list[str]] = {}
    places: dict[str, int] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for path, tensor in tensors:
        names.setdefault(id(tensor), []).append(path)
    for layer, module in model.named_modules():
        own = {**module._parameters, **module._buffers}
        places |= {f"{layer}.{name}".lstrip("."): id(tensor) for name, tensor in own.items() if tensor is not None}

    def output(given: Mapping[str, Tensor], inputs: Inputs) -> Any:
        found = {place: given[path] for place, tensor in places.items() for path in names[tensor] if path in given}

        def weighted(*args: Tensor, **kwargs: Tensor) -> Any:
            return functional_call(model, found, args, kwargs, tie_weights=False)

        return call(weighted, inputs)

    return output


def losses_at(model: nn.Module, loss: PerRecordLoss) -> Callable[[Mapping[str, Tensor], Inputs, Tensor], Tensor]:
    """The losses (n,) as a function of weights by path, inputs (n, ...) and targets (n, ...)."""
    output = functional(model)

    def losses(weights: Mapping[str, Tensor], inputs: Inputs, targets: Tensor) -> Tensor:
        return per_record(loss, output(weights, inputs), targets)

    return losses


def loss_at(model: nn.Module, loss: PerRecordLoss) -> Callable[[Mapping[str, Tensor], Inputs, Tensor], Tensor]:
    """The loss, a number, as a function of weights by path and of one record without a dimension of records."""
    losses = losses_at(model, loss)

    def one(weights: Mapping[str, Tensor], inputs: Inputs, target: Tensor) -> Tensor:
        return losses(weights, mapped(lambda leaf: leaf.unsqueeze(0), inputs), target.unsqueeze(0)).squeeze(0)

    return one


def over_records(
    one: Callable[..., T],
    weights: Mapping[str, Tensor],
    *records: Any,
    randomness: str = "error",
    at_once: int | None = None,
) -> T:
    """A function of weights and of one record, for all records side by side by `torch.func.vmap`.

    Args:
        one: (weights, *what belongs to a record) -> tensors.
        weights: the same for all.
        records: tensors (n, ...), or structures of such.
        randomness: `error`, or `different` where the model draws for every record anew.
        at_once: records in one piece; None for all.

    Raises:
        Exception: whatever an operation raises that has no batching rule.
    """
    with torch.no_grad(), batched():
        every = vmap(one, in_dims=(None, *[0] * len(records)), randomness=randomness, chunk_size=at_once)
        found: T = every(weights, *records)
        return found


def per_record(loss: PerRecordLoss, output: Tensor, targets: Tensor) -> Tensor:
    """The losses (n,); raises ModelError if the loss function reduces them."""
    losses = loss(output, targets)
    if losses.shape != (len(targets),):
        raise ModelError(
            f"the loss returned shape {tuple(losses.shape)} for {len(targets)} records",
            where="train.loss",
            remedy="return one number per record (reduction='none')",
        )
    return losses
