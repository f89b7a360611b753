"""How far records are from the boundary of their class, which the adversary finds with the weights in its hands."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import Signals
from ptaudit.context.epoch_context import EpochContext
from ptaudit.errors import ModelError
from ptaudit.games.membership.info import DISTANCE
from ptaudit.games.membership.measure import Key, Sides
from ptaudit.gradients.boundary import boundary_distances
from ptaudit.sketches.chunks import Chunks

_CHUNK = 256
"""Records in one pass."""


def by_distance(context: EpochContext, row: int) -> tuple[dict[Key, Sides], dict[Key, str]]:
    """Scores of all layers jointly, which are the row `row`, or why there are none."""
    session, key = context.session, (DISTANCE, row)
    index = np.concatenate([session.members, session.others])
    if why := why_no_distance(context):
        return {}, {key: why}
    try:
        found = _distances(context, index)
    except ModelError as error:
        return {}, {key: str(error)}
    # The attack looks at nothing else, and no confidence is at hand.
    signals = Signals(np.zeros(len(index)), boundary_distances=found)
    if why := ATTACKS[DISTANCE].missing(signals, None):
        return {}, {key: why}
    scores = ATTACKS[DISTANCE](signals)
    members = len(session.members)
    return {key: (scores[:members], scores[members:])}, {}


def why_no_distance(context: EpochContext) -> str:
    """Why records have no distance from a boundary; empty where they have one."""
    records = context.session.records
    if not isinstance(records.inputs, Tensor) or not records.inputs.is_floating_point():
        return "needs inputs that are one tensor of decimal numbers, which can be moved a little"
    return "" if records.classes is not None and records.targets.dim() == 1 else "needs one class for each record"


def _distances(context: EpochContext, index: NDArray[np.int64]) -> NDArray[np.float64]:
    source, parts = context.reader.source, []
    chunks = Chunks(len(index), _CHUNK, source.device)
    for part in chunks:
        inputs, labels = context.session.batch(index[part])
        assert isinstance(inputs, Tensor)
        with chunks.within_memory():
            parts.append(boundary_distances(context.model, inputs.to(source.device), labels.to(source.device)))
    return torch.cat(parts).double().cpu().numpy()
