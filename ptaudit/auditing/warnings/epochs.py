"""What makes numbers of an epoch unreliable: gradients that are 0, and a model that is another one in training mode.

It is kept as one phrase for each kind and epoch, of which `unreliable_epochs` makes a warning for each kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ptaudit.context.session import Session
from ptaudit.errors import PtauditError, listed
from ptaudit.gradients.agreement import ERRORS
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.model_input import call, rows, to_device
from ptaudit.sketches.tokens import Tokens
from ptaudit.training.seeding import seeded

RECORDS_WITHOUT = 0.1
"""Share of records without any gradient from which on it is said."""

LAYER_WITHOUT = 0.5
"""Share of the other records without a gradient in one layer."""

TIMES = 2.0
"""Factor between the mean losses of both modes; the gap must also exceed one standard deviation of the records."""

_RECORDS = 256
_EPOCHS, _LAYERS = 3, 4
"""How many are named."""

_NONE, _LAYER, _MODES, _NORM_MODES = "none", "layer", "modes", "norm modes"
_MEANING = {
    _NONE: (
        "Gradients that are 0 in float32: {}. From these nothing can be found out, whatever the model has learned: "
        "dead units, saturated outputs or a loss that is flat there (hinge, clamp) may be why."
    ),
    _LAYER: (
        "Layers that half of the records or more give a gradient of 0: {}. Numbers near 0 there say that nothing "
        "arrived, not that it is hidden: dead units, branches that are not taken or weights that are 0 may be why."
    ),
    _MODES: (
        "The mean loss of members depends on the mode: {}. Gradients are read in evaluation mode, from a model that is "
        "not the one being trained: find out what it does with self.training, or rely on epochs where both agree."
    ),
    _NORM_MODES: (
        "The mean loss of members depends on the mode: {}. Gradients are read in evaluation mode, where the running "
        "statistics of normalisation have not settled, from a model that is not the one being trained: rely on later "
        "epochs, give BatchNorm a larger momentum, or use GroupNorm."
    ),
}


def unreliable(session: Session, model: nn.Module, inside: Tokens) -> dict[str, str]:
    """What makes numbers of the model as it is unreliable, by kind.

    Args:
        session: what is audited.
        model: on its device; left as found.
        inside: tokens of audited members.
    """
    return {**dict(_of_zeros(inside)), **dict(_of_modes(session, model))}


def unreliable_epochs(found: Mapping[int, Mapping[str, str]]) -> Iterator[str]:
    """A warning for each kind, from what was found at each epoch."""
    for kind, meaning in _MEANING.items():
        at = [f"at epoch {epoch}: {phrases[kind]}" for epoch, phrases in sorted(found.items()) if kind in phrases]
        if at:
            more = [f"at {len(at) - _EPOCHS} more epochs"] if len(at) > _EPOCHS else []
            yield meaning.replace("{}", "; ".join([*at[:_EPOCHS], *more]))


def _of_zeros(tokens: Tokens) -> Iterator[tuple[str, str]]:
    none = tokens.total_norm_sq == 0
    n, without = len(none), int(none.sum())
    if tokens.complete and without >= RECORDS_WITHOUT * n:  # else what was not read may hold what is not seen
        yield _NONE, f"{without} of {n} audited records"
    if without == n:
        return
    shares = (tokens.norm_sq[:, ~none] == 0).sum(1).tolist()
    named = [
        f"layer {layer.name} ({count} of {n - without} records)"
        for layer, count in zip(tokens.layers, shares)
        if count >= LAYER_WITHOUT * (n - without)
    ]
    if named:
        yield _LAYER, listed(named, _LAYERS)


def _of_modes(session: Session, model: nn.Module) -> Iterator[tuple[str, str]]:
    try:
        evaluation, training = (_losses(session, model, mode) for mode in (False, True))
    except (PtauditError, KeyError, *ERRORS):  # the trainer says what it is, where there is one
        return
    one, two = float(evaluation.mean()), float(training.mean())
    low, high = sorted((one, two), key=lambda x: math.inf if math.isnan(x) else x)
    gap = high - TIMES * low > 0 and high - low > float(training.std(correction=0))
    if gap or math.isfinite(one) != math.isfinite(two):
        norms = any(isinstance(m, _NormBase) and m.track_running_stats for m in model.modules())
        yield _NORM_MODES if norms else _MODES, f"{one:.3g} in evaluation and {two:.3g} in training mode"


def _losses(session: Session, model: nn.Module, mode: bool) -> Tensor:
    """Losses (n,) of the first members in batches like those of training, in one of the modes; no trace is left."""
    size = min(session.spec.train.batch_size, _RECORDS)
    inputs, targets = session.batch(session.members[:_RECORDS])
    starts = range(0, max(1, len(targets) - size + 1), size)
    found = []
    with frozen_state(model, session.device), seeded(0, session.device), torch.no_grad():
        model.train(mode)
        for start in starts:
            part = slice(start, start + size)
            output = call(model, to_device(rows(inputs, part), session.device))
            found.append(session.loss(output, targets[part].to(session.device)))
    return torch.cat(found).double()
