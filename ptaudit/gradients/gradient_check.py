"""Shows on a few records which way of reading each layer gives the true per-record gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError, in_one_line
from ptaudit.gradients.agreement import ERRORS, MIXED, disagreement, mixing, tokens_of, tolerance
from ptaudit.gradients.autograd import dense, summed
from ptaudit.gradients.batch_axis import find_layouts
from ptaudit.gradients.frozen_state import jittered, without_gradients
from ptaudit.gradients.hooks import Reading
from ptaudit.gradients.layers import UNUSED, Capture, Layer, LayerInfo
from ptaudit.gradients.per_example_pass import PerExamplePass, per_example_pass, reading_of
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.rules import rule_for
from ptaudit.gradients.rules.base import Contribution, from_gradients
from ptaudit.gradients.rules.layout import ARRANGE, FIRST, SHARED
from ptaudit.gradients.whole_gradients import by_loop, by_vmap
from ptaudit.model_input import shapes

CHECK_RECORDS = 4
UNUSED_RECORDS = 64
"""Records on which a layer must get no gradient at all to count as unused."""

TRIES = 3

PLAUSIBLE = 0.5
"""A relative error below this may come from records at a kink of ReLU or max-pooling, where rounding decides."""

Sketches = Mapping[str, LayerSketch]


def check_layers(losses: RecordLosses, layers: Sequence[Layer], sketches: Sketches) -> tuple[LayerInfo, ...]:
    """How each layer is to be read; the model must be in evaluation mode with gradients enabled.

    A layer whose gradient is zero now (zero-initialised residual branches) would agree with anything, and a record at
    a kink of the loss has different gradients alone and in a batch; the check is then repeated beside the present
    weights.

    Raises:
        ModelError: fewer than two records, or the model cannot be run on them.
    """
    if len(losses) < 2:
        raise ModelError("reading gradients needs at least two records to see whether the model mixes them")
    unused = _unused(losses.some(slice(UNUSED_RECORDS)), layers)
    used = [layer for layer in layers if layer.name not in unused]
    starts = range(0, UNUSED_RECORDS, CHECK_RECORDS)
    groups = [losses.some(slice(start, start + CHECK_RECORDS)) for start in starts]
    groups = [group for group in groups if len(group) == CHECK_RECORDS] or groups[:1]
    verdicts = GradientCheck(groups[0], sketches).verdicts(used)
    for seed in range(max(TRIES, len(groups)) - 1):
        doubtful = [x for x in used if verdicts[x.name].doubtful and seed < TRIES - 1]
        if again := doubtful + [x for x in used if verdicts[x.name].vacuous and x not in doubtful]:
            with jittered((p for layer in layers for p in layer.parameters.values()), seed):
                tried = GradientCheck(groups[(seed + 1) % len(groups)], sketches).verdicts(again)
            verdicts |= {name: verdicts[name].better(verdict) for name, verdict in tried.items()}
    verdicts |= dict.fromkeys(unused, CheckVerdict("none", UNUSED))
    return tuple(
        LayerInfo(x.name, x.index, type(x.module).__name__, x.size, v.capture, v.reason, v.layout)
        for x in layers
        for v in (verdicts[x.name],)
    )


def still_holds(losses: RecordLosses, readings: Sequence[Reading]) -> bool:
    """Whether the rules' tokens still add up to the gradient of their batch.

    The weights move, and a use of a parameter that no rule sees may have been switched off by a zero when the check
    was made. One batch on both sides leaves no room for kinks.
    """
    layers = [reading.layer for reading in readings]
    if not layers:
        return True
    batch = summed(losses, layers)
    try:
        with without_gradients(losses.model):
            one_pass = per_example_pass(losses, readings)
    except torch.OutOfMemoryError:
        raise
    except ERRORS:
        if any(reading.expands for reading in readings):  # which the model does not take on these records
            return False
        raise
    gaps = astray(layers, {reading.layer.name: reading.sketch for reading in readings}, one_pass, batch)
    return not one_pass.failed and max(gaps.values()) <= tolerance(layers, losses.targets.device, one_pass.half)


def astray(
    layers: Sequence[Layer],
    sketches: Mapping[str, LayerSketch | None],
    one_pass: PerExamplePass,
    batch: Mapping[str, Tensor | None],
) -> dict[str, float]:
    """How far the tokens of a pass are from adding up to the gradient of its batch, by layer name.

    A diverged model is no reason to doubt the rules: where the gradient is not finite, they are not.

    Args:
        layers: those that are read by rules, with tokens.
        sketches: of each.
        one_pass: what the rules gave.
        batch: gradient of the summed loss by parameter path.
    """
    gaps = {}
    for layer in layers:
        whole = _of_batch(layer, dense([layer], batch), sketches[layer.name])
        tokens, norm_sq = one_pass.found.get(layer.name, (torch.zeros_like(tokens_of(whole)), whole[1]))
        finite = bool(tokens_of(whole).isfinite().all())
        gaps[layer.name] = mixing((tokens_of((tokens, norm_sq)), norm_sq), whole) if finite else 0.0
    return gaps


@dataclass(frozen=True)
class CheckVerdict:
    """How a layer is read, and whether that should be looked at again beside the present weights."""

    capture: Capture
    reason: str = ""
    vacuous: bool = False
    doubtful: bool = False
    layout: str = FIRST

    def better(self, again: CheckVerdict) -> CheckVerdict:
        """What a second try makes of it: a zero gradient shows nothing, and one agreement is no accident."""
        order: tuple[Capture, ...] = ("rule", "vmap", "loop", "none")
        if self.vacuous and not again.vacuous:
            return again
        return again if not again.vacuous and order.index(again.capture) < order.index(self.capture) else self


@dataclass(frozen=True)
class GradientCheck:
    """Every way of reading layers, held against one-record autograd.

    Attributes:
        losses: of the few records, and the model in evaluation mode with gradients enabled.
        sketches: of every layer, by name.
    """

    losses: RecordLosses
    sketches: Sketches

    def verdicts(self, layers: Sequence[Layer]) -> dict[str, CheckVerdict]:
        """The fastest way that gives the true gradients, by layer name."""
        batch = dense(layers, summed(self.losses, layers))
        try:
            summed(self.losses.some(slice(1)), layers)
        except ERRORS as error:
            reason = f"no single record passes through the model, as with batch statistics alone: {in_one_line(error)}"
            return dict.fromkeys((layer.name for layer in layers), CheckVerdict("none", reason))
        alone = by_loop(self.losses, layers, self.sketches)
        first = self._one_pass({layer.name: FIRST for layer in layers}, layers)
        truth = _Truth(alone, tolerance(layers, self.losses.targets.device, first.half))
        found: dict[str, CheckVerdict] = {}
        for layer in layers:
            gap = mixing(alone[layer.name], _of_batch(layer, batch, self.sketches[layer.name]))
            if not bool(alone[layer.name][1].isfinite().all()):
                found[layer.name] = CheckVerdict("none", "gradients of the first records are not finite")
            elif gap > truth.bound:
                found[layer.name] = CheckVerdict("none", MIXED, doubtful=gap < PLAUSIBLE)
            else:
                found[layer.name] = _judged(layer, first, truth)
        for layout in ARRANGE:
            ruled = [layer.name for layer in layers if rule_for(layer.module) and not layer.is_complex]
            self._try(dict.fromkeys(ruled, layout), layers, truth, found)
        for layer in layers:
            if isinstance(layer.module, nn.Embedding):
                with suppress(*ERRORS):  # the model does not take one lookup per record
                    self._try({layer.name: SHARED}, layers, truth, found)
        self._try(find_layouts(self.losses, _looped(layers, found), truth.bound), layers, truth, found)
        self._by_vmap(_looped(layers, found), truth, found)
        return found

    def _one_pass(self, layouts: Mapping[str, str], layers: Sequence[Layer]) -> PerExamplePass:
        named = [(layer, layouts[layer.name]) for layer in layers if layer.name in layouts]
        readings = [reading_of(layer, layout, self.sketches[layer.name]) for layer, layout in named]
        with without_gradients(self.losses.model):
            return per_example_pass(self.losses, [reading for reading in readings if reading is not None])

    def _try(
        self, layouts: Mapping[str, str], layers: Sequence[Layer], truth: _Truth, found: dict[str, CheckVerdict]
    ) -> None:
        """Lifts layers from the loop to a rule in another layout where that agrees."""
        rest = [layer for layer in _looped(layers, found) if layer.name in layouts]
        if not rest:
            return
        one_pass = self._one_pass(layouts, rest)
        for name in (layer.name for layer in rest):
            if name in one_pass.found and truth.gap(name, one_pass.found) <= truth.bound:
                found[name] = replace(found[name], capture="rule", reason="", doubtful=False, layout=layouts[name])

    def _by_vmap(self, layers: Sequence[Layer], truth: _Truth, found: dict[str, CheckVerdict]) -> None:
        """Lifts layers from the loop to vmap where that agrees; the loop is the reference itself."""
        if not layers:
            return
        mapped, why = None, ""
        try:
            mapped = by_vmap(self.losses, layers, self.sketches)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # torch.func raises whatever the operation at hand raises
            why = f"; vmap: {in_one_line(error)}"
        for name in (layer.name for layer in layers):
            verdict, gap = found[name], truth.gap(name, mapped or {})
            if mapped is None:
                found[name] = replace(verdict, reason=verdict.reason + why)
            elif gap <= truth.bound:
                found[name] = replace(verdict, capture="vmap")
            else:
                why = f"; vmap: differs from autograd by {gap:.2g}"
                found[name] = replace(verdict, reason=verdict.reason + why, doubtful=gap < PLAUSIBLE)


@dataclass(frozen=True)
class _Truth:
    """Contributions by one-record autograd, by layer name, and the relative error that rounding explains."""

    alone: Mapping[str, Contribution]
    bound: float

    def gap(self, name: str, found: Mapping[str, Contribution]) -> float:
        """How far a layer's contribution is from the truth."""
        return disagreement(found.get(name), self.alone[name])


def _judged(layer: Layer, one_pass: PerExamplePass, truth: _Truth) -> CheckVerdict:
    """Of the rule for records in dimension 0."""
    gap, vacuous = truth.gap(layer.name, one_pass.found), not bool(truth.alone[layer.name][1].any())
    if layer.is_complex or rule_for(layer.module) is None:
        kind = type(layer.module).__name__
        return CheckVerdict("loop", f"no rule for {'complex ' if layer.is_complex else ''}{kind}", vacuous)
    if layer.name in one_pass.failed:
        return CheckVerdict("loop", one_pass.failed[layer.name], vacuous)
    if gap > truth.bound:
        return CheckVerdict("loop", f"rule: differs from autograd by {gap:.2g}", vacuous, doubtful=gap < PLAUSIBLE)
    return CheckVerdict("rule", vacuous=vacuous)


def _looped(layers: Sequence[Layer], found: Mapping[str, CheckVerdict]) -> list[Layer]:
    """Those for which nothing faster than the loop is known by now."""
    return [layer for layer in layers if found[layer.name].capture == "loop"]


def _of_batch(layer: Layer, batch: Mapping[str, Tensor], sketch: LayerSketch | None) -> Contribution:
    """Of the gradient of a batch as of one record."""
    return from_gradients({name: batch[layer.path(name)].unsqueeze(0) for name in layer.parameters}, sketch)


def _unused(losses: RecordLosses, layers: Sequence[Layer]) -> frozenset[str]:
    """Layers none of whose parameters the summed loss depends on."""
    try:
        grads = summed(losses, layers)
    except ModelError:
        raise
    except ERRORS as error:
        raise ModelError(
            f"the model cannot be run and differentiated on a batch of {len(losses)} records: {in_one_line(error)}",
            where=type(losses.model).__name__,
            remedy=f"it must accept records of shape {shapes(losses.inputs)}",
        ) from error
    return frozenset(x.name for x in layers if all(grads[x.path(name)] is None for name in x.parameters))
