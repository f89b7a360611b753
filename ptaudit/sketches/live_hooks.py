"""Hooks that stay out of the way of a training: on what modules return, and on the gradients of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from ptaudit.gradients.functional import UseOf
from ptaudit.gradients.hooks import Reading, Tap
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, Rule, Use
from ptaudit.gradients.rules.embedding import embedding_tokens
from ptaudit.gradients.rules.projection import Projection, plain, projection_tokens

_KEEP_MOMENTS = ("NativeGroupNorm", "NativeLayerNorm", "NativeBatchNorm", "CudnnBatchNorm")


class LiveTap(Tap):
    """A tap that takes tokens without norms and gives the model back exactly what its module returned."""

    def __init__(self, layer: Layer, rule: Rule, sketch: LayerSketch, n: int) -> None:
        super().__init__(Reading(layer, rule.contribution, sketch), n, [])
        self._tokens_of, self._sketch = rule.tokens, sketch

    @property
    def tokens(self) -> Tensor | None:
        """Tokens (n, dim) of the gradients as they flowed by; None where none did."""
        return None if self.result is None else self.result[0]

    def use(self, output: Tensor, use_of: UseOf) -> Tensor:
        """Takes note of a use that the training will send a gradient to."""
        if not output.requires_grad:
            return output
        kept = _moments(self.layer.module, output)
        return super().use(output, use_of if kept is None else lambda grad: replace(use_of(grad), moments=kept))

    def _rule(self, uses: Sequence[Use]) -> Contribution:
        return self._tokens(uses), uses[0].grad.new_empty(0)

    def _tokens(self, uses: Sequence[Use]) -> Tensor:
        module, products = self.layer.module, [use for use in uses if isinstance(use, Projection)]
        if not products or isinstance(module, nn.MultiheadAttention):
            return self._tokens_of(self.layer, uses, self._n, self._sketch)
        if isinstance(module, nn.Embedding):  # its table is the matrix of a linear layer too
            tokens = projection_tokens(self.layer, products, self._n, self._sketch)
            lookups = [use for use in uses if not isinstance(use, Projection)]
            return tokens + embedding_tokens(self.layer, lookups, self._n, self._sketch) if lookups else tokens
        whole = plain(self.layer, uses)
        if whole is None:
            return projection_tokens(self.layer, uses, self._n, self._sketch)
        return self._tokens_of(self.layer, whole, self._n, self._sketch)


class GradientTap:
    """Sketches the gradient that a backward pass adds to the weights of a layer, whatever they held before."""

    def __init__(self, layer: Layer, sketch: LayerSketch) -> None:
        self._layer, self._sketch = layer, sketch
        self._grads: dict[str, Tensor] = {}
        self._token: Tensor | None = None

    def attach(self) -> Iterator[RemovableHandle]:
        """Hooks on the layer's parameters."""
        for name, parameter in self._layer.parameters.items():
            hook = parameter.register_hook(lambda grad, name=name: self._arrive(name, grad))  # type: ignore[no-untyped-call]
            yield hook

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
            full = {
                name: self._grads[name].to_dense() if name in self._grads else torch.zeros_like(parameter)
                for name, parameter in self._layer.parameters.items()
            }
            token = self._sketch({name: grad.unsqueeze(0) for name, grad in full.items()})[0]
        self._token = token if self._token is None else self._token + token
        self._grads = {}


def _moments(module: nn.Module, output: Tensor) -> tuple[Tensor, Tensor] | None:
    """Mean and reciprocal standard deviation that autograd keeps for the backward pass of a normalisation."""
    node = output.grad_fn if isinstance(module, nn.GroupNorm | nn.LayerNorm | _BatchNorm) else None
    if node is None or not node.name().startswith(_KEEP_MOMENTS):
        return None
    return node._saved_result1, node._saved_result2  # type: ignore[attr-defined]
