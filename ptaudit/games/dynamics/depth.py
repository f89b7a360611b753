"""How deep in the audited model held-out records are decided, beside what they would risk in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptaudit.context.epoch_context import EpochContext
from ptaudit.errors import PtauditError
from ptaudit.sketches.features import of_each_layer
from ptaudit.stats.dynamics.difficulty import NEIGHBOURS, Probed, prediction_depth
from ptaudit.stats.dynamics.rank_correlation import rank_correlation
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.training.fleet.signals import observed_alone


def depth_and_risk(context: EpochContext, risk: NDArray[np.float64]) -> Estimate | None:
    """Rank correlation of the prediction depth of the audited held-out records with their final risk.

    Probes know the classes of the audited members. Reference models are not kept, only what they say: depth is that of
    the audited model, which has not seen these records.

    Args:
        context: the last audited epoch.
        risk: of the audited held-out records, in models trained on them, `(n,)`.

    Returns:
        Inconclusive where layers cannot be read; None where records have no class.
    """
    session = context.session
    members, others, targets = session.members, session.others, session.records.targets
    outputs, _ = observed_alone(context.model, session.loss, session.batch, others)
    if session.records.classes is None or targets.dim() != 1 or outputs.ndim != 2 or outputs.shape[1] < 2:
        return None
    if len(members) < NEIGHBOURS:
        return inconclusive(
            f"needs {NEIGHBOURS} audited members for its probes, there are {len(members)}", n=len(others)
        )
    try:
        known, asked = (_layers(context, index) for index in (members, others))
    except PtauditError as error:
        return inconclusive(error.what, n=len(others))
    labels = session.batch(members)[1].cpu().numpy()
    depth = prediction_depth(Probed(known, labels, asked), outputs.argmax(1))
    return rank_correlation(depth.astype(np.float64), risk, seed=context.seed)


def _layers(context: EpochContext, index: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    records = context.reader.source.losses(*context.session.batch(index))
    return [part.double().cpu().numpy() for part in of_each_layer(records, seed=context.seed)]
