"""What the best forecast of noisy labels could reach, from how two halves of a fleet agree on them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ptaudit.stats.estimate import Estimate

Array = NDArray[np.float64]

_LEVELS, _CORRELATIONS = 200, 101
_NEARLY_ONE = 1.0 - 1e-9


def attainable_auc(agreement: Estimate, share: float) -> Estimate:
    """AUC of who knows the true risk of each record, from that of the risk that the other half of the fleet sees.

    Both halves see the true risk with the same noise. If their agreement on who is among the `share` of highest risk is
    that of two Gaussians with correlation r, one of them cut at the label, then either correlates with the truth by
    sqrt(r) (Spearman's correction for attenuation), which gives the AUC of the truth. As good as that picture: a guide.

    Args:
        agreement: AUC of one half's final risk for the labels of the other (`forecast.EarlyWarning.agreement_auc`).
        share: of records that are called vulnerable, above 0 and below 1.

    Returns:
        The agreement with value, interval and draws corrected; an AUC below 1/2 gives 1/2.

    Raises:
        ValueError: for a share that cannot be.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"the share of vulnerable records must be between 0 and 1, not {share}")
    if not agreement.conclusive:
        return agreement
    correlations = np.linspace(0.0, 1.0, _CORRELATIONS)
    seen, true = (np.array([_auc(r, share) for r in some]) for some in (correlations, np.sqrt(correlations)))

    def corrected(auc: Array) -> Array:
        return np.asarray(np.interp(auc, seen, true))

    value, lo, hi = corrected(np.array([agreement.value, agreement.lo, agreement.hi])).tolist()
    drawn = None if agreement.draws is None else corrected(agreement.draws)
    return replace(agreement, value=value, lo=lo, hi=hi, draws=drawn)


def _auc(correlation: float, share: float) -> float:
    """AUC of a Gaussian for whether another that correlates with it is in its highest `share`."""
    at = (np.arange(_LEVELS) + 0.5) / _LEVELS
    low, high = ndtri((1.0 - share) * at), ndtri(1.0 - share * at)
    known = min(correlation, _NEARLY_ONE)
    apart = known * (high[:, None] - low) / math.sqrt(2.0 * (1.0 - known**2))
    return float(ndtr(apart).mean())
