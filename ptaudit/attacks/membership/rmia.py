"""RMIA, the robust membership inference attack (Zarifzadeh et al., arXiv 2312.03262).

A record x is compared with records z of the population: LR(x, z) = [p(x|target) / p(x)] / [p(z|target) / p(z)] (eqs. 1
and 2), p(.) the mean probability over reference models. The score is the share of z with LR(x, z) >= gamma, which
grows with the ratio of x alone, p(x|target) / p(x): in one model any population puts records in the same order, and so
does any gamma, so that AUC and rates are the same. The population are the audited records themselves. (Where scores of
several models are pooled, as in `fleet_auc`, held-out records that are not audited gave AUCs 0.004 higher on
Location30, with a spread of 0.006 over who is audited.) Everything is computed of logarithms.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata

from ptaudit.attacks.membership.signals import Array, Mask, References, Signals, given

GAMMA = 2.0
"""How much more likely a record must be than one of the population; the paper's."""

_USUAL_A = 0.3


def online(target: Signals, references: References | None, gamma: float = GAMMA) -> Array:
    """Scores in [0, 1] with p(x) the mean of models with and without x, `(n,)`; needs 1 model inside and 1 outside."""
    known = given(references)
    losses = given(known.signals.losses)
    inside, outside = _log_mean(losses, known.inside), _log_mean(losses, known.outside)
    return _dominance(target, np.logaddexp(inside, outside) - math.log(2.0), gamma)


def offline(
    target: Signals, references: References | None, gamma: float = GAMMA, offline_a: float | None = None
) -> Array:
    """Scores in [0, 1] where no reference model saw x, `(n,)`; needs 1 model outside.

    p(x) = ((1 + a) · p outside + (1 - a)) / 2, the mean of p outside and of the p inside that it foretells.

    Args:
        target: signals of the audited model.
        references: models without each record.
        gamma: see `GAMMA`.
        offline_a: a, in [0, 1]; by default that of the reference models, see `fitted_a`.
    """
    known = given(references)
    a = fitted_a(known) if offline_a is None else offline_a
    return _dominance(target, _log_p(_log_mean(given(known.signals.losses), known.outside), a), gamma)


def fitted_a(known: References) -> float:
    """The a of p inside = a · p outside + (1 - a), by least squares over the records that have models on both sides.

    The paper finds it by attacking reference models (0.3 for CIFAR-10, which is used where no record has both); 1 where
    training on a record changes nothing.
    """
    both = known.inside.any(0) & known.outside.any(0)
    if not both.any():
        return _USUAL_A
    losses = given(known.signals.losses)[:, both]
    inside, outside = (1.0 - np.exp(_log_mean(losses, mask[:, both])) for mask in (known.inside, known.outside))
    squares = float(outside @ outside)
    return min(float(inside @ outside) / squares, 1.0) if squares > 0.0 else _USUAL_A


def _log_p(log_out: Array, a: float) -> Array:
    """Logarithm of the mean of p outside and of the p inside that it foretells."""
    if a == 1.0:
        return log_out
    return np.asarray(np.logaddexp(log_out + math.log((1.0 + a) / 2.0), math.log((1.0 - a) / 2.0)))


def _log_mean(losses: Array, mask: Mask) -> Array:
    """Logarithm of the mean probability over the models in the mask, `(n,)`."""
    total = logsumexp(np.where(mask, -losses, -np.inf), axis=0)
    return np.asarray(total - np.log(mask.sum(0)))


def _dominance(target: Signals, log_p: Array, gamma: float) -> Array:
    """Share of records z with LR(x, z) >= gamma; records that beat equally many are ordered by their own ratio."""
    ratio = -given(target.losses) - log_p
    beaten = np.searchsorted(np.sort(ratio), ratio - math.log(gamma), side="right")
    return np.asarray((beaten + rankdata(ratio) / (len(ratio) + 1.0)) / (len(ratio) + 1.0))
