"""Calls that no module hook sees, those of `F.linear` with a layer's own parameters.

nn.MultiheadAttention hands its weights, and those of its child `out_proj`, to a function; others call
`F.linear(x, self.qkv.weight)` themselves. `F.linear` is replaced while a pass runs: the official way to intercept it, a
`TorchFunctionMode`, cannot look inside `multi_head_attention_forward`, which hands itself over to the mode as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.rules.base import ModuleCall
from ptaudit.gradients.rules.expanded import expanded_call
from ptaudit.gradients.rules.projection import Projection, RowsOf

if TYPE_CHECKING:
    from ptaudit.gradients.hooks import LayerHook

ModuleCallOf = Callable[[Tensor], ModuleCall]
"""The call, once the gradient of its output is known."""

WATCHED = (nn.Linear, nn.MultiheadAttention, nn.Embedding)
"""Layers whose rules know what a projection is."""


@contextmanager
def watching(model: nn.Module, hooks: Sequence[LayerHook]) -> Iterator[None]:
    """Tells the hooks of calls of `F.linear` inside the block."""
    owners = {
        id(parameter): (hook, name)
        for hook in hooks
        if isinstance(hook.layer.module, WATCHED)
        for name, parameter in hook.layer.parameters.items()
    }
    watch = _Watch(owners)
    with ExitStack() as stack:
        for module in model.modules():
            if owners and isinstance(module, nn.MultiheadAttention):
                stack.callback(module.register_forward_pre_hook(watch.enter, with_kwargs=True).remove)
                stack.callback(module.register_forward_hook(watch.leave, always_call=True).remove)
        if owners:
            stack.enter_context(_replaced(watch.linear))
        yield


@contextmanager
def _replaced(linear: Callable[..., Tensor]) -> Iterator[None]:
    original = F.linear
    F.linear = linear
    try:
        yield
    finally:
        F.linear = original


class _Watch:
    """Knows which attention is running, and so where the records are: (time, records, ...) inside of it."""

    def __init__(self, owners: dict[int, tuple[LayerHook, str]]) -> None:
        self._owners = owners
        self._linear = F.linear
        self._records: list[int] = []
        self._kept: list[dict[str, nn.Parameter]] = []

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Pre-hook of an attention."""
        assert isinstance(module, nn.MultiheadAttention)
        query = args[0] if args else kwargs["query"]
        batched = isinstance(query, Tensor) and query.dim() == 3
        self._records.append(query.shape[0 if module.batch_first else 1] if batched else 1)
        self._kept.append({})
        for name in ("bias_k", "bias_v"):
            parameter = module._parameters.get(name)
            if parameter is not None and id(parameter) in self._owners and torch.is_grad_enabled():
                self._kept[-1][name] = parameter
                fields: dict[str, Any] = module._parameters
                fields[name] = self._expanded(parameter)

    def leave(self, module: nn.Module, *_: Any) -> None:
        """Forward hook of an attention, called after an error too."""
        if self._records:
            self._records.pop()
            module._parameters.update(self._kept.pop())

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """What `F.linear` does, and a word to those whose parameters were used."""
        output = self._linear(input, weight, bias)
        if not torch.is_grad_enabled():  # the first pass of an activation checkpoint
            return output
        of_weight, of_bias = self._rows(weight), self._rows(bias)
        for hook in {id(x[0]): x[0] for x in (of_weight, of_bias) if x is not None}.values():
            own = [x[1] if x is not None and x[0] is hook else None for x in (of_weight, of_bias)]
            output = hook.note(output, self._call(input.detach(), *own))
        return output

    def _rows(self, used: Tensor | None) -> tuple[LayerHook, RowsOf] | None:
        """Whose parameter that is, or from which row on a part of it."""
        if used is None:
            return None
        whole = used if used._base is None else used._base
        if id(whole) not in self._owners or used.stride() != whole.stride() or used.shape[1:] != whole.shape[1:]:
            return None
        hook, name = self._owners[id(whole)]
        first = int(used.storage_offset() - whole.storage_offset()) // max(1, whole.stride(0))
        return hook, (name, first)

    def _call(self, input: Tensor, weight: RowsOf | None, bias: RowsOf | None) -> ModuleCallOf:
        records = self._records[-1] if self._records else None

        def call_of(grad: Tensor) -> ModuleCall:
            x, g = (_records_first(tensor, records) for tensor in (input, grad))
            return Projection(x, g, weight=weight, bias=bias)

        return call_of

    def _expanded(self, parameter: nn.Parameter) -> Tensor:
        """The key or value that attention adds for every record, (1, 1, width), once per record."""
        hook, name = self._owners[id(parameter)]
        once_per_record = parameter.expand(1, self._records[-1], -1)
        output = hook.note(once_per_record, lambda grad: expanded_call(name, grad[0]))
        output.repeat = lambda *_: output  # type: ignore[method-assign]  # attention repeats it by itself
        return output


def _records_first(x: Tensor, records: int | None) -> Tensor:
    """(time, records, features) or (time * records, features) as (records, time, features)."""
    if records is None:
        return x
    return (x.reshape(-1, records, x.shape[1]) if x.dim() == 2 else x).transpose(0, 1)
