"""Usable (V-)information of a record's secret in the gradient of a batch that it is in (arXiv 2105.13929).

How many bits of the label or an attribute a family of predictors gets out of what a view shows, over the prior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ptaudit.attacks import usable
from ptaudit.games.common.pairs import draw, split
from ptaudit.games.identity.measure import why_not
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.sight import Sight
from ptaudit.views.view import View

FOLDS = 4
PER_TARGET = 2
"""Batches for each record, where there are others; without others every batch of a record is the same."""


def measure(
    tokens: Tensor,
    secret: Tensor,
    records: Tensor,
    view: View,
    encode: Callable[[Tensor], Tensor],
    groups: Sequence[Sequence[int]],
    families: Sequence[str],
    seed: int = 0,
    sight: Sight | None = None,
) -> dict[str, dict[str, list[Estimate]]]:
    """Ask every family about every group of rows.

    Args:
        tokens: tokens of N records, `(R, N, k)`; clipped already where the view clips.
        secret: of the same records: classes `(N,)`, or numbers `(N,)` or `(N, s)`.
        records: those of the N that may be used.
        view: batch size, rounds and noise.
        encode: from what is seen of G batches, `(R, G, k)`, to the observations, `(rows, G, w)`.
        groups: for each reported row, the rows of the observations that the predictor may choose from.
        families: `linear`, `mlp`, `knn`.
        seed: seed of folds, draws, noise and predictors.
        sight: what shows the batches of the N records; left out, sums of the tokens and the noise of the view.

    Returns:
        For each family `bits`, and `accuracy` for classes: one estimate for each group.
    """
    metrics = ("bits",) if secret.is_floating_point() else ("bits", "accuracy")
    if reason := why_not(tokens[:, records], view, 2):
        lost = dict.fromkeys(metrics, [inconclusive(reason, n=len(records))] * len(groups))
        return dict.fromkeys(families, lost)
    generator = torch.Generator().manual_seed(seed)
    quiet = view.others == 0 and view.noise_std == 0.0 and sight is None
    folds = split(records, [1 / FOLDS] * FOLDS, generator)
    drawn = draw(tokens, folds, [1 if quiet else PER_TARGET] * FOLDS, view, generator, sight)
    seen, about = encode(drawn.views), secret[drawn.record]
    return {
        family: usable.measure(seen.float(), about, drawn.record, groups, family, seed, folds=drawn.part)
        for family in families
    }
