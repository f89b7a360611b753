"""One forward and backward pass for many records, with the rules at work while gradients flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError
from ptaudit.replay.batch import Inputs, call
from ptaudit.tokens.layers import Layer
from ptaudit.tokens.quiet import without_gradients
from ptaudit.tokens.rules.base import Contribution, ContributionOf, UnsupportedError, Use
from ptaudit.tokens.sketch import LayerSketch

PerRecordLoss = Callable[[Tensor, Tensor], Tensor]
"""(output, target) -> one loss per record, shape (n,)."""

HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Reading:
    """A layer to be read by its rule; without a sketch only its norm is wanted."""

    layer: Layer
    rule: ContributionOf
    sketch: LayerSketch | None


@dataclass(frozen=True)
class Sweep:
    """What one pass gave.

    Attributes:
        loss: (n,) float32.
        found: by layer name, its contribution; no entry where no gradient reached the layer.
        failed: by layer name, why its rule does not apply.
        half: whether gradients of reduced precision were seen.
    """

    loss: Tensor
    found: Mapping[str, Contribution] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    half: bool = False


def sweep(model: nn.Module, loss: PerRecordLoss, readings: Sequence[Reading], inputs: Inputs, targets: Tensor) -> Sweep:
    """Reads the layers on one chunk of records (n, ...); the model must be in the mode it is to be read in.

    Weights ask for no gradient meanwhile, so that the backward pass computes those of activations only. The hooks are
    tensor hooks on what modules return, which unlike module backward hooks live with in-place operations on it.

    Raises:
        ModelError: the loss does not return one number per record.
    """
    roots: list[Tensor] = []
    taps = [_Tap(reading, len(targets), roots) for reading in readings]
    with ExitStack() as stack:
        stack.enter_context(without_gradients(p for p in model.parameters() if p.requires_grad))
        for tap in taps:
            handle = tap.reading.layer.module.register_forward_hook(tap.forward, with_kwargs=True)
            stack.callback(handle.remove)
        losses = per_record(loss, call(model, inputs), targets)
        if roots and losses.requires_grad:
            torch.autograd.grad(losses.sum(), roots, allow_unused=True)
    for tap in taps:
        tap.finish()
    found = {tap.name: tap.result for tap in taps if tap.result is not None}
    failed = {tap.name: tap.failure for tap in taps if tap.failure}
    half = losses.dtype in HALF or any(tap.half for tap in taps)
    return Sweep(losses.detach().float(), found, failed, half)


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


@dataclass(eq=False)
class _Call:
    input: Tensor
    grad: Tensor | None = None


class _Tap:
    """Collects the calls of one module; runs its rule when the last awaited gradient has arrived."""

    def __init__(self, reading: Reading, n: int, roots: list[Tensor]) -> None:
        self.reading = reading
        self.name = reading.layer.name
        self.half = False
        self.result: Contribution | None = None
        self.failure = ""
        self._n = n
        self._roots = roots
        self._calls: list[_Call] = []

    def forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Forward hook; no gradient is wanted inside the first pass of an activation checkpoint."""
        inputs = [*args, *kwargs.values()]
        if not torch.is_grad_enabled() or not inputs or not isinstance(output, Tensor):
            return None
        call = _Call(inputs[0].detach())
        self._calls.append(call)
        output = self._tracked(output)
        output.register_hook(lambda grad: self._arrive(call, grad))
        return output

    def finish(self) -> None:
        """Runs the rule on the calls that got a gradient, when some call never did."""
        if self.result is None and not self.failure:
            self._run()

    def _tracked(self, output: Tensor) -> Tensor:
        if not output.requires_grad:
            root = output.detach().requires_grad_()
            self._roots.append(root)
            return root.clone()
        # An in-place operation on a view rewrites the history of its base and would lose the hook.
        return output.clone() if output._base is not None else output

    def _arrive(self, call: _Call, grad: Tensor) -> None:
        call.grad = grad.detach()
        self.half |= grad.dtype in HALF
        if all(other.grad is not None for other in self._calls):
            self._run()

    def _run(self) -> None:
        uses = [Use(call.input, call.grad) for call in self._calls if call.grad is not None]
        self._calls = []
        if not uses:
            return
        if self.result is not None:
            self.failure = "rule: the module was called again during the backward pass"
            return
        reading = self.reading
        try:
            with torch.no_grad(), torch.autocast(uses[0].grad.device.type, enabled=False):
                self.result = reading.rule(reading.layer, uses, self._n, reading.sketch)
        except torch.OutOfMemoryError:
            raise
        except (UnsupportedError, RuntimeError, IndexError, AssertionError) as error:
            self.failure = f"rule: {first_line(error)}"


def first_line(error: Exception) -> str:
    """An error in at most 160 characters."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__
