"""The inputs of a batch: one tensor, or several in a tuple or a dict; every one counts the records in dimension 0."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


def call(model: Callable[..., Any], inputs: Inputs) -> Any:
    """The model's output: a tuple is passed as arguments, a dict by name.

    Of an output with several parts that names its class scores `logits` (Hugging Face's models, torchvision's with
    auxiliary heads), these are taken.
    """
    if isinstance(inputs, Tensor):
        output = model(inputs)
    elif isinstance(inputs, dict):
        output = model(**inputs)
    else:
        output = model(*inputs)
    return output if isinstance(output, Tensor) else getattr(output, "logits", output)


def as_real(tensor: Tensor) -> Tensor:
    """Real and imaginary parts in a last dimension of size two, as the gradient with respect to both has them."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


@contextmanager
def batched() -> Iterator[None]:
    """Where `vmap` runs a model: without fused kernels of attention, which have no batching rule, and without torch's
    warning about other operations that have none; what the model itself warns of is heard.
    """
    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "There is a performance drop because we have not yet implemented the batching"
        )
        yield


def leaves(inputs: Inputs) -> tuple[Tensor, ...]:
    """The tensors, in order."""
    if isinstance(inputs, Tensor):
        return (inputs,)
    return tuple(inputs.values()) if isinstance(inputs, dict) else inputs


def mapped(change: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """The same structure with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, dict):
        return {name: change(tensor) for name, tensor in inputs.items()}
    return tuple(change(tensor) for tensor in inputs)


def count(inputs: Inputs) -> int:
    """Number of records."""
    return len(leaves(inputs)[0])


def rows(inputs: Inputs, index: Tensor | slice) -> Inputs:
    """Some records, in the order of the index."""
    return mapped(lambda tensor: tensor[index], inputs)


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """The same on a device."""
    return mapped(lambda tensor: tensor.to(device), inputs)


def shapes(inputs: Inputs) -> str:
    """Shapes of one record, for messages: `(3, 32, 32)`, or `{ids: (64,), mask: (64,)}`."""
    if isinstance(inputs, Tensor):
        return str(tuple(inputs.shape[1:]))
    if isinstance(inputs, dict):
        return "{" + ", ".join(f"{name}: {tuple(x.shape[1:])}" for name, x in inputs.items()) + "}"
    return f"({', '.join(str(tuple(x.shape[1:])) for x in inputs)})"


def joined(parts: Sequence[Inputs]) -> Inputs:
    """Records of several batches of the same structure, one after the other."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat([leaves(part)[0] for part in parts])
    if isinstance(first, dict):
        return {name: torch.cat([leaves(part)[i] for part in parts]) for i, name in enumerate(first)}
    return tuple(torch.cat([leaves(part)[i] for part in parts]) for i in range(len(first)))
