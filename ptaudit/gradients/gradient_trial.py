"""One trial of a model on a few records: every way of reading its layers, held against one-record autograd."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError, in_one_line
from ptaudit.gradients.batch_axis import find_layouts
from ptaudit.gradients.fallback import dense, one_by_one, summed, vmap_contributions
from ptaudit.gradients.layers import Capture, Layer
from ptaudit.gradients.per_example_pass import HALF, PerRecordLoss, Sweep, reading_of, sweep
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules import rule_for
from ptaudit.gradients.rules.base import Contribution, from_gradients
from ptaudit.gradients.rules.layout import FIRST, MOVED, SHARED
from ptaudit.training.batch import Inputs, rows

MIXED = (
    "gradients of single records do not add up to that of their batch: records are mixed in the forward pass, "
    "or it is random in eval mode; give BatchNorm running statistics or use GroupNorm"
)

PLAUSIBLE = 0.5
"""A relative error below this may come from records at a kink of ReLU or max-pooling, where rounding decides."""

ERRORS = (RuntimeError, ValueError, TypeError, IndexError, ModelError)

Sketches = Mapping[str, LayerSketch]


@dataclass(frozen=True)
class Verdict:
    """How a layer is read, and whether that should be looked at again beside the present weights."""

    capture: Capture
    reason: str = ""
    vacuous: bool = False
    doubtful: bool = False
    layout: str = FIRST

    def better(self, again: Verdict) -> Verdict:
        """What a second try makes of it: a zero gradient shows nothing, and one agreement is no accident."""
        order: tuple[Capture, ...] = ("rule", "vmap", "loop", "none")
        if self.vacuous and not again.vacuous:
            return again
        return again if not again.vacuous and order.index(again.capture) < order.index(self.capture) else self


@dataclass(frozen=True)
class Trial:
    """The model, in evaluation mode with gradients enabled, and the records that it is tried on."""

    model: nn.Module
    loss: PerRecordLoss
    sketches: Sketches
    inputs: Inputs
    targets: Tensor

    def verdicts(self, layers: Sequence[Layer]) -> dict[str, Verdict]:
        """The fastest way that gives the true gradients, by layer name."""
        model, loss = self.model, self.loss
        batch = dense(layers, summed(model, loss, layers, self.inputs, self.targets))
        try:
            summed(model, loss, layers, rows(self.inputs, slice(1)), self.targets[:1])
        except ERRORS as error:
            reason = f"no single record passes through the model, as with batch statistics alone: {in_one_line(error)}"
            return dict.fromkeys((layer.name for layer in layers), Verdict("none", reason))
        alone = self._reference(layers)
        first = self._swept({layer.name: FIRST for layer in layers}, layers)
        bound = tolerance(layers, self.targets.device, first.half)
        found: dict[str, Verdict] = {}
        for layer in layers:
            whole = {name: batch[layer.path(name)].unsqueeze(0) for name in layer.parameters}
            gap = mixing(alone[layer.name], from_gradients(whole, self.sketches[layer.name]))
            if not bool(alone[layer.name][1].isfinite().all()):
                found[layer.name] = Verdict("none", "gradients of the first records are not finite")
            elif gap > bound:
                found[layer.name] = Verdict("none", MIXED, doubtful=gap < PLAUSIBLE)
            else:
                found[layer.name] = self._judged(layer, first, alone[layer.name], bound)
        for layout in MOVED:
            ruled = [layer.name for layer in layers if rule_for(layer.module) and not layer.is_complex]
            self._try(dict.fromkeys(ruled, layout), layers, alone, bound, found)
        for layer in layers:
            if isinstance(layer.module, nn.Embedding):
                with suppress(*ERRORS):  # the model does not take one lookup per record
                    self._try({layer.name: SHARED}, layers, alone, bound, found)
        rest = [layer for layer in layers if found[layer.name].capture == "loop"]
        self._try(find_layouts(model, loss, rest, self.inputs, self.targets, bound), layers, alone, bound, found)
        rest = [layer for layer in layers if found[layer.name].capture == "loop"]
        return found | self._by_vmap(rest, found, alone, bound)

    def _swept(self, layouts: Mapping[str, str], layers: Sequence[Layer]) -> Sweep:
        named = [(layer, layouts[layer.name]) for layer in layers if layer.name in layouts]
        readings = [reading_of(layer, layout, self.sketches[layer.name]) for layer, layout in named]
        known = [reading for reading in readings if reading is not None]
        return sweep(self.model, self.loss, known, self.inputs, self.targets)

    def _judged(self, layer: Layer, swept: Sweep, reference: Contribution, bound: float) -> Verdict:
        gap = disagreement(swept.found.get(layer.name), reference)
        vacuous = not bool(reference[1].any())
        if layer.is_complex or rule_for(layer.module) is None:
            kind = type(layer.module).__name__
            return Verdict("loop", f"no rule for {'complex ' if layer.is_complex else ''}{kind}", vacuous)
        if layer.name in swept.failed:
            return Verdict("loop", swept.failed[layer.name], vacuous)
        if gap > bound:
            return Verdict("loop", f"rule: differs from autograd by {gap:.2g}", vacuous, doubtful=gap < PLAUSIBLE)
        return Verdict("rule", vacuous=vacuous)

    def _try(
        self,
        layouts: Mapping[str, str],
        layers: Sequence[Layer],
        alone: Mapping[str, Contribution],
        bound: float,
        found: dict[str, Verdict],
    ) -> None:
        """Lifts layers from the loop to a rule in another layout where that agrees."""
        rest = [layer for layer in layers if layer.name in layouts and found[layer.name].capture == "loop"]
        if not rest:
            return
        swept = self._swept(layouts, rest)
        for layer in rest:
            name = layer.name
            if name in swept.found and disagreement(swept.found[name], alone[name]) <= bound:
                found[name] = replace(found[name], capture="rule", reason="", doubtful=False, layout=layouts[name])

    def _by_vmap(
        self,
        layers: Sequence[Layer],
        found: Mapping[str, Verdict],
        alone: Mapping[str, Contribution],
        bound: float,
    ) -> dict[str, Verdict]:
        """Lifts layers from the loop to vmap where that agrees; the loop is the reference itself."""
        if not layers:
            return {}
        try:
            mapped = vmap_contributions(self.model, self.loss, layers, self.sketches, self.inputs, self.targets)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # torch.func raises whatever the operation at hand raises
            why = f"; vmap: {in_one_line(error)}"
            return {x.name: replace(found[x.name], reason=found[x.name].reason + why) for x in layers}
        result = {}
        for layer in layers:
            verdict, gap = found[layer.name], disagreement(mapped[layer.name], alone[layer.name])
            if gap <= bound:
                result[layer.name] = replace(verdict, capture="vmap")
            else:
                why = f"; vmap: differs from autograd by {gap:.2g}"
                result[layer.name] = replace(verdict, reason=verdict.reason + why, doubtful=gap < PLAUSIBLE)
        return result

    def _reference(self, layers: Sequence[Layer]) -> dict[str, Contribution]:
        """Tokens and squared norms by one-record autograd, with one record's gradients in memory at a time."""
        parts: dict[str, list[Contribution]] = {layer.name: [] for layer in layers}
        for grads in one_by_one(self.model, self.loss, layers, self.inputs, self.targets):
            full = dense(layers, grads)
            for layer in layers:
                own = {name: full[layer.path(name)].unsqueeze(0) for name in layer.parameters}
                parts[layer.name].append(from_gradients(own, self.sketches[layer.name]))
        return {
            name: (torch.cat([tokens_of(one) for one in part]), torch.cat([norm for _, norm in part]))
            for name, part in parts.items()
        }


def mixing(alone: Contribution, batch: Contribution) -> float:
    """How far the records' own gradients are from adding up to the batch's, relative to their size."""
    tokens, whole = tokens_of(alone), tokens_of(batch)
    return ratio(float((tokens.sum(0) - whole[0]).norm()), float(tokens.norm()))


def tokens_of(contribution: Contribution) -> Tensor:
    """The tokens of a contribution that has them."""
    tokens = contribution[0]
    assert tokens is not None
    return tokens


def disagreement(found: Contribution | None, reference: Contribution) -> float:
    """Relative error over all records of a layer, the larger of tokens and norms; no gradient found means zeros."""
    worst = 0.0
    for ours, true in zip(found or (None, None), reference):
        assert true is not None
        scale, miss = float(true.norm()), float((true if ours is None else ours - true).norm())
        worst = max(worst, ratio(miss, scale))
    return worst


def ratio(miss: float, scale: float) -> float:
    """Relative error; infinite where a number is not finite, or something was found where there is nothing."""
    if miss == 0 or not math.isfinite(miss) or scale == 0:
        return 0.0 if miss == 0 else math.inf
    return miss / scale


def tolerance(layers: Sequence[Layer], device: torch.device, half: bool) -> float:
    """Relative error that rounding explains; a wrong rule is off by far more. CUDA convolutions may use TF32."""
    half = half or any(p.dtype in HALF for layer in layers for p in layer.parameters.values())
    if half or torch.is_autocast_enabled(device.type):
        return 0.1
    return 1e-2 if device.type == "cuda" else 1e-3
