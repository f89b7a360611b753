"""Reading a model without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from ptaudit.threads import every_thread


@contextmanager
def frozen_state(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode with gradients, on all threads; training flags, buffers and random state are as found afterwards.

    Parameter `.grad` fields are not touched by anything in this room (`torch.autograd.grad` does not write them).
    """
    training = [(module, module.training) for module in model.modules()]
    kept = _buffers(model)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(every_thread())
            stack.enter_context(_backward_through_everything(model))
            model.eval()
            yield
    finally:
        for module, flag in training:
            module.training = flag
        for fields, name, tensor, copy in kept:
            with torch.no_grad():
                fields[name] = tensor
                if not torch.equal(tensor, copy):
                    tensor.copy_(copy)


@contextmanager
def without_gradients(model: nn.Module) -> Iterator[None]:
    """Spares the weight gradients of a backward pass that only needs those of activations."""
    found = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in found:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in found:
            parameter.requires_grad_(True)


@contextmanager
def grads_aside(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """No gradient is in `.grad` to begin with, and what was there before is there again afterwards."""
    found = [(parameter, parameter.grad) for parameter in parameters]
    try:
        for parameter, _ in found:
            parameter.grad = None
        yield
    finally:
        for parameter, grad in found:
            parameter.grad = grad


@contextmanager
def restored(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Weights may move inside the block, and are bit for bit as they were afterwards."""
    found = [(parameter, parameter.detach().clone()) for parameter in parameters]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, copy in found:
                parameter.copy_(copy)


@contextmanager
def jittered(parameters: Iterable[nn.Parameter], seed: int = 0) -> Iterator[None]:
    """Weights a little beside where they are."""
    found = list(parameters)
    generator = torch.Generator().manual_seed(seed)
    with restored(found):
        with torch.no_grad():
            for parameter in found:
                kind = torch.complex64 if parameter.is_complex() else torch.float32
                noise = torch.randn(parameter.shape, generator=generator, dtype=kind)
                size = 0.1 * parameter.abs().square().mean().sqrt() + 0.01
                parameter.add_(noise.to(parameter.device, parameter.dtype) * size)
        yield


_Kept = tuple[dict[str, torch.Tensor | None], str, torch.Tensor, torch.Tensor]


def _buffers(model: nn.Module) -> list[_Kept]:
    """What a forward pass may write: buffers, and the weights of an embedding with max_norm."""
    kept: list[_Kept] = []
    for module in model.modules():
        kept += [(module._buffers, name, b, b.clone()) for name, b in module._buffers.items() if b is not None]
        if getattr(module, "max_norm", None) is not None and isinstance(module, nn.Embedding | nn.EmbeddingBag):
            fields: dict[str, torch.Tensor | None] = module._parameters  # type: ignore[assignment]
            kept.append((fields, "weight", module.weight, module.weight.detach().clone()))
    return kept


@contextmanager
def _backward_through_everything(model: nn.Module) -> Iterator[None]:
    """Turns off the inference kernels that skip hooks, and cuDNN for RNNs: it has no backward in eval mode."""
    fast, cudnn = torch.backends.mha.get_fastpath_enabled(), torch.backends.cudnn.enabled
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            torch.backends.cudnn.enabled = False
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.cudnn.enabled = cudnn
