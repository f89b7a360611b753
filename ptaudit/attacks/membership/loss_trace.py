"""Loss-trace interquartile range: how far a record's loss moved in training (Pollock et al., arXiv 2411.05743).

The paper ranks the records of a training by how vulnerable they are, from losses that the training sees anyway: those
that were hard and got learned have the widest traces. It is a ranking of members rather than a test of membership.
"""

from __future__ import annotations

import numpy as np

from ptaudit.attacks.membership.signals import Array, References, Signals, given


def score(target: Signals, references: References | None) -> Array:
    """Third less first quartile of the loss over the epochs, `(n,)` nats; higher = more at risk."""
    low, high = np.quantile(given(target.loss_trace), [0.25, 0.75], axis=0)
    return np.asarray(high - low)
