"""BaVarIA: a likelihood-ratio attack whose variances and means are estimated in a Bayesian way, for few models.

Brännvall, "Exponential-family membership inference: from LiRA and RMIA to BaVarIA" (arXiv 2603.11799), shows that LiRA
and RMIA are one likelihood ratio with more or fewer parameters estimated for each record, and replaces the choice
between them by conjugate normal-inverse-gamma priors with a Student-t predictive density (BaVarIA-t). That much is the
paper's; its hyperparameters are not followed. How strong the priors are is estimated from the records themselves
(empirical Bayes):

- variance: scaled inverse chi-square, its centre and degrees of freedom from the mean and variance of the records' log
  variances (Smyth 2004). Where records differ no more than chance, they share one variance.
- mean outside: Gaussian around the mean of all records.
- mean inside: Gaussian around a straight line in the mean outside: what being trained on does to a record that hard.

Their widths are those of the means around their centres, less what the models' own spread explains. With many models
the score is LiRA's with a variance a record; with few it uses one variance, and the line in the place of the means
inside, as RMIA does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from ptaudit.attacks.membership.moments import Moments, moments
from ptaudit.attacks.membership.signals import Array, References, Signals, given
from ptaudit.stats.moderated import STRONGEST, WEAKEST, variance_prior
from ptaudit.stats.student import normal_score


@dataclass(frozen=True)
class _Predictive:
    """Student-t densities of n records: what one more model is expected to show, all `(n,)`."""

    dof: Array
    centre: Array
    scale: Array

    def log_density(self, values: Array) -> Array:
        deviation = (values - self.centre) / self.scale
        constant = gammaln((self.dof + 1.0) / 2.0) - gammaln(self.dof / 2.0) - 0.5 * np.log(self.dof)
        return np.asarray(
            constant - np.log(self.scale) - 0.5 * (self.dof + 1.0) * np.log1p(np.square(deviation) / self.dof)
        )


def online(target: Signals, references: References | None) -> Array:
    """Log-ratio of the predictive densities inside and outside, `(n,)`; needs 2 models inside and 2 outside."""
    known = given(references)
    values = known.signals.confidence
    inside, outside = moments(values, known.inside), moments(values, known.outside)
    one = _predictive(inside, _line(outside.mean, inside.mean))
    zero = _outside(outside)
    return one.log_density(target.confidence) - zero.log_density(target.confidence)


def offline(target: Signals, references: References | None) -> Array:
    """How far the target is above the predictive density outside, as a normal score, `(n,)`; needs 2 models outside."""
    known = given(references)
    zero = _outside(moments(known.signals.confidence, known.outside))
    return normal_score((target.confidence - zero.centre) / zero.scale, zero.dof)


def _outside(side: Moments) -> _Predictive:
    return _predictive(side, np.full(len(side.mean), side.mean.mean()))


def _line(x: Array, y: Array) -> Array:
    """The least-squares line of y in x, at x."""
    centred = x - x.mean()
    squares = float(centred @ centred)
    slope = float(centred @ y) / squares if squares > 0.0 else 0.0
    return np.asarray(y.mean() + slope * centred)


def _predictive(side: Moments, centre: Array) -> _Predictive:
    """The conjugate update of the prior by each record's models."""
    dof, variance = variance_prior(side.variance, side.count - 1.0)
    strength = _mean_prior(side, centre, (dof * variance + side.squares) / (dof + side.count - 1.0))
    models = strength + side.count
    apart = strength * side.count / models * np.square(side.mean - centre)
    posterior_dof = dof + side.count
    squares = dof * variance + side.squares + apart
    mean = (strength * centre + side.count * side.mean) / models
    return _Predictive(posterior_dof, mean, np.sqrt(squares / posterior_dof * (1.0 + 1.0 / models)))


def _mean_prior(side: Moments, centre: Array, variance: Array) -> float:
    """How many models the centre is worth: the variance of a model over that of the true means around the centre."""
    of_means = float((np.square(side.mean - centre) / variance - 1.0 / side.count).mean())
    return min(max(1.0 / max(of_means, 1.0 / STRONGEST), WEAKEST), STRONGEST)
