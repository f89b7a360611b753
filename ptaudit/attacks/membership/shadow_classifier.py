"""A classifier of members that is taught on the reference models themselves (after Shokri et al., arXiv 1610.05820).

Of every reference model it is known who was trained on. Each in turn plays the target and the others its references;
boosted trees learn membership from where a record's confidence lies between those of models with and without it, and
from the scores of other attacks. So nothing has to be assumed of how confidences are distributed.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from ptaudit.attacks.membership import bavaria, lira, rmia
from ptaudit.attacks.membership.moments import moments
from ptaudit.attacks.membership.signals import Array, References, Signals, given, leave_one_out

MODELS = 3
"""Fewest models on each side of a record: a target and its partner are left out, and two more make a variance."""

_EXAMPLES = 200_000
"""Most records of models that the trees learn from."""

_LEAF = 200
"""Fewest examples of a leaf."""

_TREES, _RATE = 60, 0.06


def score(target: Signals, references: References | None) -> Array:
    """Log-odds of membership, `(n,)`; needs `MODELS` models inside and outside."""
    known = given(references)
    models = len(known.inside)
    taught = np.linspace(0, models - 1, min(models, max(1, _EXAMPLES // target.records))).astype(int)
    examples, member = [], []
    for index, (other, rest) in enumerate(leave_one_out(known)):
        if index in taught:
            there = known.inside[index] | known.outside[index]
            examples.append(_features(other, rest)[there])
            member.append(known.inside[index, there])
    trees = HistGradientBoostingClassifier(
        max_iter=_TREES, learning_rate=_RATE, min_samples_leaf=_LEAF, l2_regularization=1.0, early_stopping=False,
        random_state=0,
    )  # fmt: skip
    trees.fit(np.concatenate(examples), np.concatenate(member))
    return np.asarray(trees.decision_function(_features(target, known)), dtype=np.float64)


def _features(target: Signals, references: References) -> Array:
    """What is known of each record, `(n, F)`."""
    values, found = target.confidence, [target.confidence]
    for mask in (references.inside, references.outside):
        side = moments(references.signals.confidence, mask)
        spread = np.sqrt(side.variance)
        found += [side.mean, spread, values - side.mean, (values - side.mean) / spread]
    found += [attack(target, references) for attack in (bavaria.online, lira.online_global, rmia.online)]
    return np.stack(found, axis=1)
