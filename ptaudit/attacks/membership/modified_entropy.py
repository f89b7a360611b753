"""Modified entropy: the loss with a say for the other classes (Song and Mittal, arXiv 2003.10595, section 3)."""

from __future__ import annotations

from ptaudit.attacks.membership.signals import Array, References, Signals, given


def score(target: Signals, references: References | None) -> Array:
    """Minus the modified entropy, `(n,)`: one threshold for all classes (`privacy_risk` has one for each)."""
    return -given(target.modified_entropy)
