"""Shows on a few records which way of reading each layer gives the true per-record gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError
from ptaudit.replay.batch import Inputs, rows, shapes
from ptaudit.tokens.capture import HALF, PerRecordLoss, Reading, first_line, sweep
from ptaudit.tokens.fallback import dense, one_by_one, summed, vmap_contributions
from ptaudit.tokens.layers import UNUSED, Capture, Layer, LayerInfo
from ptaudit.tokens.quiet import jittered
from ptaudit.tokens.rules import rule_for
from ptaudit.tokens.rules.base import Contribution, from_gradients
from ptaudit.tokens.sketch import LayerSketch

PROOF_RECORDS = 4
USE_RECORDS = 64
"""Records on which a layer must get no gradient at all to count as unused."""

MIXED = (
    "gradients of single records do not add up to that of their batch: records are mixed in the forward pass, "
    "or it is random in eval mode; give BatchNorm running statistics or use GroupNorm"
)

Sketches = Mapping[str, LayerSketch]


TRIES = 3
PLAUSIBLE = 0.5
"""A relative error below this may come from records at a kink of ReLU or max-pooling, where rounding decides."""

_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, ModelError)


@dataclass(frozen=True)
class _Verdict:
    """How a layer is read, and whether that should be looked at again beside the present weights."""

    capture: Capture
    reason: str = ""
    vacuous: bool = False
    doubtful: bool = False

    def better(self, again: _Verdict) -> _Verdict:
        """What a second try makes of it: a zero gradient shows nothing, and one agreement is no accident."""
        order: tuple[Capture, ...] = ("rule", "vmap", "loop", "none")
        if self.vacuous and not again.vacuous:
            return again
        return again if not again.vacuous and order.index(again.capture) < order.index(self.capture) else self


def prove(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], sketches: Sketches, inputs: Inputs, targets: Tensor
) -> tuple[LayerInfo, ...]:
    """How each layer is to be read; the model must be in evaluation mode with gradients enabled.

    A layer whose gradient is zero now (zero-initialised residual branches) would agree with anything, and a record at
    a kink of the loss has different gradients alone and in a batch; the proof is then repeated beside the present
    weights.

    Raises:
        ModelError: fewer than two records, or the model cannot be run on them.
    """
    if len(targets) < 2:
        raise ModelError("reading gradients needs at least two records to see whether the model mixes them")
    unused = _unused(model, loss, layers, rows(inputs, slice(USE_RECORDS)), targets[:USE_RECORDS])
    used = [layer for layer in layers if layer.name not in unused]
    few = rows(inputs, slice(PROOF_RECORDS)), targets[:PROOF_RECORDS]
    verdicts = _verdicts(model, loss, used, sketches, *few)
    for seed in range(TRIES - 1):
        if again := [x for x in used if verdicts[x.name].vacuous or verdicts[x.name].doubtful]:
            with jittered((p for layer in layers for p in layer.parameters.values()), seed):
                tried = _verdicts(model, loss, again, sketches, *few)
            verdicts |= {name: verdicts[name].better(verdict) for name, verdict in tried.items()}
    verdicts |= dict.fromkeys(unused, _Verdict("none", UNUSED))
    return tuple(
        LayerInfo(x.name, x.index, type(x.module).__name__, x.size, verdicts[x.name].capture, verdicts[x.name].reason)
        for x in layers
    )


def still_holds(
    model: nn.Module, loss: PerRecordLoss, readings: Sequence[Reading], inputs: Inputs, targets: Tensor
) -> bool:
    """Whether the rules' tokens still add up to the gradient of their batch.

    The weights move, and a use of a parameter that no rule sees may have been switched off by a zero when the proof
    was made. One batch on both sides leaves no room for kinks.
    """
    layers = [reading.layer for reading in readings]
    if not layers:
        return True
    batch = dense(layers, summed(model, loss, layers, inputs, targets))
    swept = sweep(model, loss, readings, inputs, targets)
    for layer, reading in zip(layers, readings):
        whole = from_gradients(
            {name: batch[layer.path(name)].unsqueeze(0) for name in layer.parameters}, reading.sketch
        )
        tokens, norm_sq = swept.found.get(layer.name, (torch.zeros_like(_tokens(whole)), whole[1]))
        gap = _mixing((_tokens((tokens, norm_sq)), norm_sq), whole)
        finite = bool(_tokens(whole).isfinite().all())  # a diverged model is no reason to doubt the rule
        if layer.name in swept.failed or (finite and gap > _tolerance(layers, targets.device, swept.half)):
            return False
    return True


def _unused(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], inputs: Inputs, targets: Tensor
) -> frozenset[str]:
    """Layers none of whose parameters the summed loss depends on."""
    try:
        grads = summed(model, loss, layers, inputs, targets)
    except ModelError:
        raise
    except _ERRORS as error:
        raise ModelError(
            f"the model cannot be run and differentiated on a batch of {len(targets)} records: {first_line(error)}",
            where=type(model).__name__,
            remedy=f"it must accept records of shape {shapes(inputs)}",
        ) from error
    return frozenset(x.name for x in layers if all(grads[x.path(name)] is None for name in x.parameters))


def _verdicts(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], sketches: Sketches, inputs: Inputs, targets: Tensor
) -> dict[str, _Verdict]:
    batch = dense(layers, summed(model, loss, layers, inputs, targets))
    try:
        summed(model, loss, layers, rows(inputs, slice(1)), targets[:1])
    except _ERRORS as error:
        reason = f"no single record passes through the model, as with batch statistics alone: {first_line(error)}"
        return dict.fromkeys((layer.name for layer in layers), _Verdict("none", reason))
    alone = _reference(model, loss, layers, sketches, inputs, targets)
    readings = [
        Reading(x, rule.contribution, sketches[x.name]) for x in layers if (rule := rule_for(x.module)) is not None
    ]
    swept = sweep(model, loss, readings, inputs, targets)
    tolerance = _tolerance(layers, targets.device, swept.half)
    verdicts: dict[str, _Verdict] = {}
    for layer in layers:
        reference = alone[layer.name]
        whole = {name: batch[layer.path(name)].unsqueeze(0) for name in layer.parameters}
        mixing = _mixing(reference, from_gradients(whole, sketches[layer.name]))
        gap = _disagreement(swept.found.get(layer.name), reference)
        if not bool(reference[1].isfinite().all()):
            verdicts[layer.name] = _Verdict("none", "gradients of the first records are not finite")
        elif mixing > tolerance:
            verdicts[layer.name] = _Verdict("none", MIXED, doubtful=mixing < PLAUSIBLE)
        elif rule_for(layer.module) is None:
            verdicts[layer.name] = _Verdict("loop", f"no rule for {type(layer.module).__name__}")
        elif layer.name in swept.failed:
            verdicts[layer.name] = _Verdict("loop", swept.failed[layer.name])
        elif gap > tolerance:
            verdicts[layer.name] = _Verdict(
                "loop", f"rule: differs from autograd by {gap:.2g}", doubtful=gap < PLAUSIBLE
            )
        else:
            verdicts[layer.name] = _Verdict("rule", vacuous=not bool(reference[1].any()))
    rest = [layer for layer in layers if verdicts[layer.name].capture == "loop"]
    return verdicts | _by_vmap(model, loss, rest, verdicts, alone, sketches, inputs, targets, tolerance)


def _by_vmap(
    model: nn.Module,
    loss: PerRecordLoss,
    layers: Sequence[Layer],
    verdicts: Mapping[str, _Verdict],
    alone: Mapping[str, Contribution],
    sketches: Sketches,
    inputs: Inputs,
    targets: Tensor,
    tolerance: float,
) -> dict[str, _Verdict]:
    """Lifts layers from the loop to vmap where that agrees; the loop is the reference itself."""
    if not layers:
        return {}
    try:
        mapped = vmap_contributions(model, loss, layers, sketches, inputs, targets)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # torch.func raises whatever the operation at hand raises
        why = f"; vmap: {first_line(error)}"
        return {x.name: replace(verdicts[x.name], reason=verdicts[x.name].reason + why) for x in layers}
    result = {}
    for layer in layers:
        verdict, gap = verdicts[layer.name], _disagreement(mapped[layer.name], alone[layer.name])
        if gap <= tolerance:
            result[layer.name] = replace(verdict, capture="vmap")
        else:
            why = f"; vmap: differs from autograd by {gap:.2g}"
            result[layer.name] = replace(verdict, reason=verdict.reason + why, doubtful=gap < PLAUSIBLE)
    return result


def _reference(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], sketches: Sketches, inputs: Inputs, targets: Tensor
) -> dict[str, Contribution]:
    """Tokens and squared norms by one-record autograd, with one record's gradients in memory at a time."""
    parts: dict[str, list[Contribution]] = {layer.name: [] for layer in layers}
    for grads in one_by_one(model, loss, layers, inputs, targets):
        full = dense(layers, grads)
        for layer in layers:
            own = {name: full[layer.path(name)].unsqueeze(0) for name in layer.parameters}
            parts[layer.name].append(from_gradients(own, sketches[layer.name]))
    return {
        name: (torch.cat([_tokens(one) for one in part]), torch.cat([norm for _, norm in part]))
        for name, part in parts.items()
    }


def _mixing(alone: Contribution, batch: Contribution) -> float:
    """How far the records' own gradients are from adding up to the batch's, relative to their size."""
    tokens, whole = _tokens(alone), _tokens(batch)
    return _ratio(float((tokens.sum(0) - whole[0]).norm()), float(tokens.norm()))


def _tokens(contribution: Contribution) -> Tensor:
    tokens = contribution[0]
    assert tokens is not None
    return tokens


def _disagreement(found: Contribution | None, reference: Contribution) -> float:
    """Relative error over all records of a layer, the larger of tokens and norms; no gradient found means zeros."""
    worst = 0.0
    for ours, true in zip(found or (None, None), reference):
        assert true is not None
        scale, miss = float(true.norm()), float((true if ours is None else ours - true).norm())
        worst = max(worst, _ratio(miss, scale))
    return worst


def _ratio(miss: float, scale: float) -> float:
    """Relative error; infinite where a number is not finite, or something was found where there is nothing."""
    if miss == 0 or not math.isfinite(miss) or scale == 0:
        return 0.0 if miss == 0 else math.inf
    return miss / scale


def _tolerance(layers: Sequence[Layer], device: torch.device, half: bool) -> float:
    """Relative error that rounding explains; a wrong rule is off by far more. CUDA convolutions may use TF32."""
    half = half or any(p.dtype in HALF for layer in layers for p in layer.parameters.values())
    if half or torch.is_autocast_enabled(device.type):
        return 0.1
    return 1e-2 if device.type == "cuda" else 1e-3
