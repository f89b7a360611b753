"""Tokens of the very batches that a training works on, read from its own forward and backward passes.

Nothing is computed twice: hooks on what modules return see the output gradients as they flow by, and the weights keep
their gradients, bit for bit. There are no norms, and no layers that only a fallback can read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ptaudit.errors import ModelError
from ptaudit.gradients.agreement import ratio, tolerance
from ptaudit.gradients.expand import PREFIX
from ptaudit.gradients.layers import Layer, LayerInfo, find_layers, select
from ptaudit.gradients.linear_calls import watching
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules import rule_for
from ptaudit.gradients.rules.layout import SHARED
from ptaudit.sketches.live_hooks import GradientHook, LiveHook

CHECK_EVERY = 64
"""Captures between two checks that the tokens still add up to the gradient of their batch."""


@dataclass(frozen=True)
class LiveTokens:
    """Sketched per-record gradients of one training batch, on the model's device.

    Attributes:
        values: (L, n, dim) float32, the gradients of the records' own losses as they were in that pass: with its
            dropout, its augmentation and its precision.
        layers: the L layers, in model order.
        mixed: whether records met in the forward pass (BatchNorm in training mode): then a record's token belongs to
            this batch alone and must not be added up with others.
    """

    values: Tensor
    layers: tuple[LayerInfo, ...]
    mixed: bool


class Capture:
    """One captured pass; `tokens` is there once the pass is over."""

    def __init__(self) -> None:
        self._tokens: LiveTokens | None = None

    @property
    def tokens(self) -> LiveTokens:
        """What was captured."""
        if self._tokens is None:
            raise RuntimeError("the tokens are known after the block")
        return self._tokens


class LiveReader:
    """Reads tokens inside the user's own training loop:

        with reader.capture(len(x)) as seen:
            loss(model(x), y).mean().backward()
        seen.tokens.values

    A pass without `capture` costs nothing: hooks are there only inside the block. Now and then, and the first time, the
    tokens are held against the gradient of the weights; a layer whose tokens do not add up to it is dropped, with the
    reason in `layers`.

    Args:
        model: the model, where it will be trained.
        dim: numbers in a token, a perfect square.
        seed: seed of the projections.
        layers: glob patterns of layer names, or `all`.
        checked: how a `TokenReader` found each layer to be read. Adding up does not show that a row of a layer's input
            belongs to the record that it is taken for (frames ahead of records, say); one-record autograd does. Without
            it, records must come first in the inputs of every layer.
        check_every: captures between two checks.

    Raises:
        ModelError: no trainable parameters, or a pattern that matches no layer.
    """

    def __init__(
        self,
        model: nn.Module,
        dim: int = 64,
        seed: int = 0,
        layers: Sequence[str] = "all",
        checked: Sequence[LayerInfo] | None = None,
        check_every: int = CHECK_EVERY,
    ) -> None:
        found = find_layers(model)
        chosen = select(found, layers)
        before = {info.name: info for info in checked or ()}
        self._model = model
        self._dim = dim
        self._layers = {layer.name: layer for layer in found if layer.name in chosen}
        self._infos = {layer.name: _info(layer, before.get(layer.name)) for layer in self._layers.values()}
        self._sketches = {name: _sketch(self._layers[name], dim, seed) for name in self._captured()}
        self._norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self._check_every, self._until_check = check_every, 0

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The chosen layers; `capture` is `rule`, or `none` with the reason."""
        return tuple(self._infos.values())

    @property
    def sketched(self) -> int:
        """How many layers are captured."""
        return len(self._sketches)

    @property
    def mixes(self) -> bool:
        """Whether records meet in the forward pass as the model is now: BatchNorm that uses the batch's statistics."""
        return any(norm.training or norm.running_mean is None for norm in self._norms)

    @contextmanager
    def capture(self, n: int, factor: float | None = None) -> Iterator[Capture]:
        """Captures the forward and backward pass of n records in the block.

        Args:
            n: records in the batch.
            factor: what turns the gradient of this backward pass into the sum of the records' own gradients: the number
                of records that the loss is averaged over (default n), divided by the scale of the loss.

        Raises:
            ModelError: n is not at least 1.
        """
        if n < 1:
            raise ModelError(f"a batch of {n} records cannot be captured")
        factor = float(n) if factor is None else factor
        hooks, checks = self._hooks(n), self._checks()
        seen, mixed = Capture(), self.mixes
        with ExitStack() as stack:
            stack.enter_context(watching(self._model, hooks))
            for hook in hooks:
                hook.attach(stack)
            for check in checks.values():
                check.attach(stack)
            yield seen
        for hook in hooks:
            hook.finish()
        self._drop_failed(hooks)
        self._drop_wrong(hooks, checks)
        seen._tokens = self._gather(hooks, n, factor, mixed)

    def _hooks(self, n: int) -> list[LiveHook]:
        hooks = []
        for name, sketch in self._sketches.items():
            layer = self._layers[name]
            rule = rule_for(layer.module, self._infos[name].layout)
            assert rule is not None
            hooks.append(LiveHook(layer, rule, sketch, n))
        return hooks

    def _captured(self) -> list[str]:
        return [name for name, info in self._infos.items() if info.capture == "rule"]

    def _gather(self, hooks: Sequence[LiveHook], n: int, factor: float, mixed: bool) -> LiveTokens:
        found = {hook.layer.name: hook.tokens for hook in hooks if hook.layer.name in self._sketches}
        example = next((token for token in found.values() if token is not None), None)
        nothing = torch.zeros(n, self._dim, device=None if example is None else example.device)
        values = [nothing if token is None else token for token in found.values()]
        stacked = torch.stack(values).mul_(factor) if values else nothing.new_zeros(0, n, self._dim)
        return LiveTokens(stacked, tuple(self._infos[name] for name in found), mixed)

    def _checks(self) -> dict[str, GradientHook]:
        self._until_check -= 1
        if self._until_check >= 0:
            return {}
        self._until_check = self._check_every - 1
        return {name: GradientHook(self._layers[name], sketch) for name, sketch in self._sketches.items()}

    def _drop_failed(self, hooks: Sequence[LiveHook]) -> None:
        for hook in hooks:
            if hook.failure:
                self._drop(hook.layer.name, hook.failure)

    def _drop_wrong(self, hooks: Sequence[LiveHook], checks: dict[str, GradientHook]) -> None:
        """Drops the layers whose tokens do not add up; a loss that is no longer finite shows nothing."""
        for hook in hooks:
            name = hook.layer.name
            if name not in checks or name not in self._sketches:
                continue
            whole = checks[name].token()
            if not bool(whole.isfinite().all()):
                self._until_check = 0
                continue
            tokens = torch.zeros_like(whole)[None] if hook.tokens is None else hook.tokens
            gap = ratio(float((tokens.sum(0) - whole).norm()), max(float(tokens.norm()), float(whole.norm())))
            if gap > tolerance([hook.layer], whole.device, hook.half):
                self._drop(name, f"in-run tokens do not add up to the batch's gradient (off by {gap:.2g})")

    def _drop(self, name: str, reason: str) -> None:
        self._infos[name] = replace(self._infos[name], capture="none", reason=reason)
        self._sketches.pop(name, None)


def matrix_layers(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers that own a weight matrix: all but scales, shifts and the like."""
    return tuple(x.name for x in find_layers(model) if any(p.dim() > 1 for p in x.parameters.values()))


def _info(layer: Layer, checked: LayerInfo | None) -> LayerInfo:
    """How a layer is read in a training run; what is asked of the check is where the records are."""
    info = LayerInfo(layer.name, layer.index, type(layer.module).__name__, layer.size, "rule")
    if checked is not None and checked.capture == "none":
        return checked
    why = _why_not(layer, checked)
    if why:
        return replace(info, capture="none", reason=why)
    return info if checked is None else replace(info, layout=checked.layout)


def _why_not(layer: Layer, checked: LayerInfo | None) -> str:
    if checked is not None and checked.capture != "rule":
        return f"{checked.reason}; {checked.capture} is too slow in a training run"
    layout = "" if checked is None else checked.layout
    if layout == SHARED or layout.startswith(PREFIX):
        return "its parameters do not go through it record by record; reading them would change the training"
    if rule_for(layer.module, layout) is None:
        return f"no rule for {type(layer.module).__name__}"
    if isinstance(layer.module, nn.MultiheadAttention) and {"bias_k", "bias_v"} & set(layer.parameters):
        return "bias_k and bias_v are added once for all records; reading them would change the training"
    return ""


def _sketch(layer: Layer, dim: int, seed: int) -> LayerSketch:
    device = next(iter(layer.parameters.values())).device
    return LayerSketch(layer.name, layer.shapes, dim, seed, separable=True).to(device)
