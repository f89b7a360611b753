"""LOSS: a record with a low loss is a member (Yeom et al., CSF 2018, arXiv 1709.01604, adversary 1)."""

from __future__ import annotations

from ptaudit.attacks.membership.signals import Array, References, Signals, given


def score(target: Signals, references: References | None) -> Array:
    """Minus the loss, `(n,)`."""
    return -given(target.losses)
