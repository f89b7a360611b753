"""Privacy risk score: the probability that a record was a member, given its modified entropy and class.

Song and Mittal (arXiv 2003.10595, section 5). The two densities are histograms over the reference models,
for each class, in bins that are equally wide on a log scale, as in the authors' code. One is added to every bin: an
empty one claims no certainty.
"""

from __future__ import annotations

import numpy as np

from ptaudit.attacks.membership.signals import Array, Mask, References, Signals, given

BINS = 5
"""Bins of each class's histogram."""

_TINY = 1e-30


def score(target: Signals, references: References | None) -> Array:
    """Posterior probabilities of membership at even odds, `(n,)`."""
    known, labels = given(references), given(target.labels)
    entropies = given(target.modified_entropy), given(known.signals.modified_entropy)
    asked, seen = (np.log(np.maximum(some, _TINY)) for some in entropies)
    risk = np.empty(target.records)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        risk[own] = _risk(asked[own], seen[:, own], known.inside[:, own], known.outside[:, own])
    return risk


def _risk(asked: Array, seen: Array, inside: Mask, outside: Mask) -> Array:
    """Of the records of one class."""
    used = seen[inside | outside]
    edges = np.linspace(used.min(), used.max(), BINS + 1)[1:-1]
    rates = [np.bincount(np.digitize(seen[mask], edges), minlength=BINS) + 1.0 for mask in (inside, outside)]
    rate_in, rate_out = (rate[np.digitize(asked, edges)] / rate.sum() for rate in rates)
    return np.asarray(rate_in / (rate_in + rate_out))
