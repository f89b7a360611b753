"""Shows on a few records which way of reading each layer gives the true per-record gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError, in_one_line
from ptaudit.gradients.fallback import dense, summed
from ptaudit.gradients.frozen_state import jittered
from ptaudit.gradients.gradient_trial import ERRORS, Sketches, Trial, Verdict, mixing, tokens_of, tolerance
from ptaudit.gradients.layers import UNUSED, Layer, LayerInfo
from ptaudit.gradients.per_example_pass import PerRecordLoss, Reading, Sweep, sweep
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import from_gradients
from ptaudit.training.batch import Inputs, rows, shapes

PROOF_RECORDS = 4
USE_RECORDS = 64
"""Records on which a layer must get no gradient at all to count as unused."""

TRIES = 3


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
    groups = [slice(start, start + PROOF_RECORDS) for start in range(0, USE_RECORDS, PROOF_RECORDS)]
    groups = [s for s in groups if len(targets[s]) == PROOF_RECORDS] or [slice(PROOF_RECORDS)]
    verdicts = Trial(model, loss, sketches, rows(inputs, groups[0]), targets[groups[0]]).verdicts(used)
    for seed in range(max(TRIES, len(groups)) - 1):
        doubtful = [x for x in used if verdicts[x.name].doubtful and seed < TRIES - 1]
        if again := doubtful + [x for x in used if verdicts[x.name].vacuous and x not in doubtful]:
            s = groups[(seed + 1) % len(groups)]
            with jittered((p for layer in layers for p in layer.parameters.values()), seed):
                tried = Trial(model, loss, sketches, rows(inputs, s), targets[s]).verdicts(again)
            verdicts |= {name: verdicts[name].better(verdict) for name, verdict in tried.items()}
    verdicts |= dict.fromkeys(unused, Verdict("none", UNUSED))
    return tuple(
        LayerInfo(x.name, x.index, type(x.module).__name__, x.size, v.capture, v.reason, v.layout)
        for x in layers
        for v in (verdicts[x.name],)
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
    batch = summed(model, loss, layers, inputs, targets)
    try:
        swept = sweep(model, loss, readings, inputs, targets)
    except torch.OutOfMemoryError:
        raise
    except ERRORS:
        if any(reading.expands for reading in readings):  # which the model does not take on these records
            return False
        raise
    gaps = astray(layers, {reading.layer.name: reading.sketch for reading in readings}, swept, batch)
    return not swept.failed and max(gaps.values()) <= tolerance(layers, targets.device, swept.half)


def astray(
    layers: Sequence[Layer],
    sketches: Mapping[str, LayerSketch | None],
    swept: Sweep,
    batch: Mapping[str, Tensor | None],
) -> dict[str, float]:
    """How far the tokens of a pass are from adding up to the gradient of its batch, by layer name.

    A diverged model is no reason to doubt the rules: where the gradient is not finite, they are not.

    Args:
        layers: those that are read by rules, with tokens.
        sketches: of each.
        swept: what the rules gave.
        batch: gradient of the summed loss by parameter path.
    """
    gaps = {}
    for layer in layers:
        own = dense([layer], batch)
        whole = from_gradients(
            {name: own[layer.path(name)].unsqueeze(0) for name in layer.parameters}, sketches[layer.name]
        )
        tokens, norm_sq = swept.found.get(layer.name, (torch.zeros_like(tokens_of(whole)), whole[1]))
        finite = bool(tokens_of(whole).isfinite().all())
        gaps[layer.name] = mixing((tokens_of((tokens, norm_sq)), norm_sq), whole) if finite else 0.0
    return gaps


def _unused(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], inputs: Inputs, targets: Tensor
) -> frozenset[str]:
    """Layers none of whose parameters the summed loss depends on."""
    try:
        grads = summed(model, loss, layers, inputs, targets)
    except ModelError:
        raise
    except ERRORS as error:
        raise ModelError(
            f"the model cannot be run and differentiated on a batch of {len(targets)} records: {in_one_line(error)}",
            where=type(model).__name__,
            remedy=f"it must accept records of shape {shapes(inputs)}",
        ) from error
    return frozenset(x.name for x in layers if all(grads[x.path(name)] is None for name in x.parameters))
