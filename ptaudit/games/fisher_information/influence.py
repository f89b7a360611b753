"""How far off matching a defended gradient leads who knows of no defense: inversion influence (arXiv 2309.13016).

The mean gradient of m records moves by delta when it is defended. Who knows the other records, but takes what is seen
for the plain gradient and matches it, is off by at least m |J^T delta| / |J|^2 to first order, J that of one record's
gradient. That is a statement on this adversary, not on one who knows the defense, and says nothing of larger moves than
the gradient is linear for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.observations import observation, prepared
from ptaudit.games.fisher_information.measure import Population, in_decibels
from ptaudit.gradients.input_jacobian import SingularValues
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.fisher import influence_rmse
from ptaudit.stats.median import median
from ptaudit.views import View
from ptaudit.views.aggregate import draw_others
from ptaudit.views.replayed import ReplayedObservation


def is_matched(view: View) -> bool:
    """Whether a view shows a gradient that a defense moved, without noise of known size."""
    return view.defense is not None and view.defense.acts_on == "gradient" and view.update is None


def moved(context: EpochContext, view: View, places: Sequence[int], records: int) -> Tensor:
    """What the defense moves the mean gradient of a batch by, one batch for each of the first records: `(n, p)`."""
    seen = observation(context, view, places)
    defense = prepared(context, view).defense
    assert isinstance(seen, ReplayedObservation)
    assert defense is not None
    generator = torch.Generator().manual_seed(context.seed)
    n = len(context.session.members)
    others = draw_others(n - 1, min(records, n), min(view.batch_size, n) - 1, generator)
    targets = torch.arange(len(others))[:, None]
    batches = torch.cat([targets, others + (others >= targets).long()], 1)
    plain = seen.gradients(batches, generator)
    return defense.gradient(plain, generator) - plain


def reached(
    found: SingularValues, pulled: NDArray[np.float64], view: View, population: Population, seed: int
) -> list[Estimate]:
    """`psnr_hi_db` of who matches, for all layers jointly and for each: the median over the records.

    Args:
        found: singular values of N records, unclipped.
        pulled: |J^T delta|, `(1 + L, N)`.
        view: the view.
        population: where records come from.
        seed: of resamples.
    """
    told = []
    for largest, pull, doubt in zip(found.largest_sq.numpy(), pulled, found.doubts, strict=True):
        if doubt:
            told.append(inconclusive(doubt, n=len(pull)))
            continue
        error = influence_rmse(view.batch_size * pull, np.maximum(largest, 1e-30), found.columns)
        # Inverse squares are what the noise of a Gaussian channel would be; nothing moved tells all there is.
        information = np.minimum(1.0 / np.maximum(error, 1e-30) ** 2, _MOST / population.spread**2)
        information[largest == 0.0] = 0.0
        told.append(in_decibels(median(information, information, null=0.0, seed=seed), population))
    return told


_MOST = 1e12
"""Information of an input that is known as exactly as float32 holds it, in units of the prior's."""
