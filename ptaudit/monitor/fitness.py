"""Which models and loaders can be watched, and how a model is left as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager, suppress

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from ptaudit.errors import DataError, ModelError

_REFUSED = {
    "OptimizedModule": ("is compiled, so that hooks on its modules are not called", "train it without torch.compile"),
    "DataParallel": ("is copied to several devices in every pass", "use DistributedDataParallel or one device"),
    "FullyShardedDataParallel": ("is sharded: no process has whole gradients", "use DistributedDataParallel"),
    "GradSampleModule": (
        "has Opacus' own hooks, and clips what the Monitor would look at",
        "audit it from a spec: `train.defense: {name: dp_sgd, ...}`, and views with a defense",
    ),
}


def check_model(model: nn.Module) -> None:
    """That its passes can be followed.

    Raises:
        ModelError: they cannot.
    """
    if not isinstance(model, nn.Module):
        raise ModelError("is no torch.nn.Module", where=type(model).__name__)
    for path, module in model.named_modules():
        where = type(module).__name__ + (f" at {path}" if path else "")
        names = [kind.__name__ for kind in type(module).__mro__]
        compiled = getattr(module, "_compiled_call_impl", None) is not None
        for name in ["OptimizedModule"] if compiled or isinstance(module, torch.jit.ScriptModule) else names:
            if name in _REFUSED:
                raise ModelError(_REFUSED[name][0], where=where, remedy=_REFUSED[name][1])
    if isinstance(model, nn.MultiheadAttention):
        raise ModelError("is a bare attention layer", where=type(model).__name__, remedy="wrap it in a module")
    if any(isinstance(p, UninitializedParameter) for p in model.parameters()):
        raise ModelError("has parameters without a shape", where=type(model).__name__, remedy="call it once before")
    if len({p.device for p in model.parameters()}) > 1:
        raise ModelError("is spread over several devices", where=type(model).__name__, remedy="use one device")


def records_of(loader: Iterable[object] | None) -> int | None:
    """How many records the loader draws from; None where it does not say.

    Raises:
        DataError: it is nothing to loop over.
    """
    if loader is None:
        return None
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise DataError(
            "is nothing to loop over", where="loader", remedy="give the DataLoader or any other iterable of batches"
        )
    sizes = []
    for part in (getattr(loader, "dataset", None), getattr(loader, "sampler", None)):
        if isinstance(part, Sized):
            with suppress(TypeError, NotImplementedError):  # an iterable data set has `__len__` and does not know it
                sizes.append(len(part))
    return min(sizes, default=None)


@contextmanager
def gradients_of(model: nn.Module) -> Iterator[set[str]]:
    """The parameters to which gradients flow in the block, by name."""
    arrived: set[str] = set()
    with ExitStack() as stack:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                handle = parameter.register_hook(lambda grad, name=name: arrived.add(name))  # type: ignore[no-untyped-call]
                stack.callback(handle.remove)
        yield arrived


@contextmanager
def tidied(model: nn.Module) -> Iterator[None]:
    """Leaves no empty dictionary of hooks on parameters that had none."""
    bare = [parameter for parameter in model.parameters() if parameter._backward_hooks is None]
    try:
        yield
    finally:
        for parameter in bare:
            if not parameter._backward_hooks:
                parameter._backward_hooks = None
