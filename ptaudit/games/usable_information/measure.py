"""Usable (V-)information of a record's secret in the gradient of a batch that it is in (arXiv 2105.13929).

How many bits of the label or an attribute a family of predictors gets out of what a view shows, over the prior.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ptaudit.attacks import usable
from ptaudit.attacks.pairs import Encoded
from ptaudit.stats.estimate import Estimate, inconclusive

FOLDS = 4
PER_TARGET = 2
"""Batches for each record, where there are others; without others every batch of a record is the same."""


def measure(
    encoded: Encoded, secret: Tensor, families: Sequence[str], seed: int = 0
) -> dict[str, dict[str, list[Estimate]]]:
    """Ask every family about every group of rows.

    Args:
        encoded: the view, and what is made of what it shows.
        secret: of the N records: classes `(N,)`, or numbers `(N,)` or `(N, s)`.
        families: `linear`, `mlp`, `knn`.
        seed: seed of folds, draws, noise and predictors.

    Returns:
        For each family `bits`, and `accuracy` for classes: one estimate for each group.
    """
    metrics, groups = ("bits",) if secret.is_floating_point() else ("bits", "accuracy"), encoded.groups
    if reason := encoded.why_not():
        lost = dict.fromkeys(metrics, [inconclusive(reason, n=len(encoded.records))] * len(groups))
        return dict.fromkeys(families, lost)
    drawn = encoded.draw([1 / FOLDS] * FOLDS, [PER_TARGET] * FOLDS, torch.Generator().manual_seed(seed))
    told = usable.LabelledTokens(drawn.views, secret[drawn.record], drawn.record, drawn.part)
    return {family: usable.measure(told, groups, family, seed) for family in families}
