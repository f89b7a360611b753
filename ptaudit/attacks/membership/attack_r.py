"""Attack R: a threshold for each record, from models that never saw it (Ye et al., arXiv 2111.09679, section 4).

The paper's threshold at false-positive rate a is the a-quantile of a record's losses over reference models. Here the
score is one less the rate at which the record would just be called a member, so that one threshold on it stands for one
on each record's loss. With k models it has 2k + 1 values; LiRA offline has a Gaussian in the place of the ranks.
"""

from __future__ import annotations

import numpy as np

from ptaudit.attacks.membership.signals import Array, References, Signals, given


def score(target: Signals, references: References | None) -> Array:
    """Share of the models without the record whose loss is above the target's, ties counting one half, `(n,)`."""
    own, outside = given(target.losses), given(references).outside
    known = given(given(references).signals.losses)
    above = (known > own) + 0.5 * (known == own)
    return np.asarray(np.where(outside, above, 0.0).sum(0) / outside.sum(0))
