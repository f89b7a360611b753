"""How many queries about a record tell most of its membership: decided on reference models, whose members are known.

Averaged over views of a record that training has seen, confidences are less noisy (LiRA, Carlini et al., arXiv
2112.03570, section VI-D). Where training saw the record alone, a mirrored or shifted one may be hardly better known
than any other: its confidence only blurs what the first query tells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ptaudit.attacks.membership.moments import moments
from ptaudit.attacks.membership.signals import Mask, Signals, leave_one_out, mean_of, references
from ptaudit.stats.roc import auc


def most_telling(each: Sequence[Signals], inside: Mask) -> int:
    """How many of Q queries, the first ones, tell members best, from 1 to Q; the fewest of those that do.

    Every model is the target in turn. A record's score is its confidence less the mean of other models without it.

    Args:
        each: what N reference models say of n records, query by query.
        inside: whether a model was trained on a record, `(N, n)`.
    """
    return 1 + int(np.argmax([_area(mean_of(each[:count]), inside) for count in range(1, len(each) + 1)]))


def _area(signals: Signals, inside: Mask) -> float:
    """Mean area under the ROC curve over the models, of those that have members and others."""
    areas = []
    for (target, others), mine in zip(leave_one_out(references(signals, inside)), inside):
        if 0 < mine.sum() < len(mine):
            scores = target.confidence - moments(others.signals.confidence, others.outside).mean
            areas.append(auc(scores[mine], scores[~mine]))
    return float(np.mean(areas)) if areas else 0.5
