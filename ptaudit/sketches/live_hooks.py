"""Hooks that stay out of the way of a training: on what modules return, and on the gradients of weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ptaudit.gradients.autograd import filled
from ptaudit.gradients.hooks import LayerHook, Reading
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.linear_calls import ModuleCallOf
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, ContributionOf, ModuleCall, Rule

_KEEP_MOMENTS = ("NativeGroupNorm", "NativeLayerNorm", "NativeBatchNorm", "CudnnBatchNorm")


class LiveHook(LayerHook):
    """A hook that takes tokens without norms and gives the model back exactly what its module returned."""

    def __init__(self, layer: Layer, rule: Rule, sketch: LayerSketch, n: int) -> None:
        super().__init__(Reading(layer, rule, sketch), n, [])
        self._sketch = sketch

    @property
    def tokens(self) -> Tensor | None:
        """Tokens (n, dim) of the gradients as they flowed by; None where none did."""
        return None if self.result is None else self.result[0]

    def note(self, output: Tensor, call_of: ModuleCallOf) -> Tensor:
        """Takes note of a call that the training will send a gradient to."""
        if not output.requires_grad:
            return output
        kept = _moments(self.layer.module, output)
        return super().note(output, call_of if kept is None else lambda grad: replace(call_of(grad), moments=kept))

    def _way(self, rule: Rule) -> ContributionOf:
        def tokens_alone(layer: Layer, calls: Sequence[ModuleCall], n: int, _: LayerSketch | None) -> Contribution:
            return rule.tokens(layer, calls, n, self._sketch), calls[0].grad.new_empty(0)

        return tokens_alone


class GradientHook:
    """Sketches the gradient that a backward pass adds to the weights of a layer, whatever they held before."""

    def __init__(self, layer: Layer, sketch: LayerSketch) -> None:
        self._layer, self._sketch = layer, sketch
        self._grads: dict[str, Tensor] = {}
        self._token: Tensor | None = None

    def attach(self, stack: ExitStack) -> None:
        """Listens at the layer's parameters until the stack is closed."""
        for name, parameter in self._layer.parameters.items():
            handle = parameter.register_hook(lambda grad, name=name: self._arrive(name, grad))  # type: ignore[no-untyped-call]
            stack.callback(handle.remove)

    def token(self) -> Tensor:
        """Its sketch (dim,); a parameter without gradient counts as zero."""
        if self._grads or self._token is None:
            self._close()
        assert self._token is not None
        return self._token

    def _arrive(self, name: str, grad: Tensor) -> None:
        self._grads[name] = grad.detach()
        if len(self._grads) == len(self._layer.parameters):
            self._close()  # at once, so that the training may take the memory of the gradient over

    def _close(self) -> None:
        with torch.no_grad():
            full = {name: filled(self._grads.get(name), p) for name, p in self._layer.parameters.items()}
            token = self._sketch({name: grad.unsqueeze(0) for name, grad in full.items()})[0]
        self._token = token if self._token is None else self._token + token
        self._grads = {}


def _moments(module: nn.Module, output: Tensor) -> tuple[Tensor, Tensor] | None:
    """Mean and reciprocal standard deviation that autograd keeps for the backward pass of a normalisation."""
    node = output.grad_fn if isinstance(module, nn.GroupNorm | nn.LayerNorm | _BatchNorm) else None
    if node is None or not node.name().startswith(_KEEP_MOMENTS):
        return None
    return node._saved_result1, node._saved_result2  # type: ignore[attr-defined]
