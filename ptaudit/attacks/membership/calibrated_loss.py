"""Calibrated loss: the loss less that of models that never saw the record (Watson et al., arXiv 2111.08440, section 4).

A hard record has a high loss everywhere; difficulty calibration takes that away.
"""

from __future__ import annotations

from ptaudit.attacks.membership.moments import moments
from ptaudit.attacks.membership.signals import Array, References, Signals, given


def score(target: Signals, references: References | None) -> Array:
    """Mean loss over the models without the record, less the target's, `(n,)` nats."""
    known = given(references)
    return moments(given(known.signals.losses), known.outside).mean - given(target.losses)
