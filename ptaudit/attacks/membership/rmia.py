"""RMIA, the robust membership inference attack (Zarifzadeh et al., arXiv 2312.03262).

A record x is compared with records z of the population: LR(x, z) = [p(x|target) / p(x)] / [p(z|target) / p(z)] (eqs. 1
and 2), p(.) the mean probability over reference models. The score is the share of z with LR(x, z) >= gamma. The
population are the audited records themselves. Everything is computed of logarithms.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata

from ptaudit.attacks.membership.signals import Array, Mask, References, Signals, given

GAMMA = 2.0
"""How much more likely a record must be than one of the population; the paper's."""

OFFLINE_A = 0.3
"""p inside = a · p outside + (1 - a), the paper's for CIFAR-10; 1 where training on a record changes nothing."""


def online(target: Signals, references: References | None, gamma: float = GAMMA) -> Array:
    """Scores in [0, 1] with p(x) the mean of models with and without x, `(n,)`; needs 1 model inside and 1 outside."""
    known = given(references)
    losses = given(known.signals.losses)
    inside, outside = _log_mean(losses, known.inside), _log_mean(losses, known.outside)
    return _dominance(target, np.logaddexp(inside, outside) - math.log(2.0), gamma)


def offline(
    target: Signals, references: References | None, gamma: float = GAMMA, offline_a: float = OFFLINE_A
) -> Array:
    """Scores in [0, 1] where no reference model saw x, `(n,)`; needs 1 model outside.

    p(x) = ((1 + a) · p outside + (1 - a)) / 2, the mean of p outside and of the p inside that it foretells.

    Args:
        target: signals of the audited model.
        references: models without each record.
        gamma: see `GAMMA`.
        offline_a: a, in [0, 1].
    """
    known = given(references)
    outside = _log_mean(given(known.signals.losses), known.outside)
    if offline_a < 1.0:
        outside = np.logaddexp(outside + math.log((1.0 + offline_a) / 2.0), math.log((1.0 - offline_a) / 2.0))
    return _dominance(target, outside, gamma)


def _log_mean(losses: Array, mask: Mask) -> Array:
    """Logarithm of the mean probability over the models in the mask, `(n,)`."""
    total = logsumexp(np.where(mask, -losses, -np.inf), axis=0)
    return np.asarray(total - np.log(mask.sum(0)))


def _dominance(target: Signals, log_p: Array, gamma: float) -> Array:
    """Share of records z with LR(x, z) >= gamma; records that beat equally many are ordered by their own ratio."""
    ratio = -given(target.losses) - log_p
    beaten = np.searchsorted(np.sort(ratio), ratio - math.log(gamma), side="right")
    return np.asarray((beaten + rankdata(ratio) / (len(ratio) + 1.0)) / (len(ratio) + 1.0))
