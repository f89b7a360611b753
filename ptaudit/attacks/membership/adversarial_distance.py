"""Adversarial distance: members are far from the boundary of their class (Del Grosso et al., arXiv 2203.09566)."""

from __future__ import annotations

from ptaudit.attacks.membership.signals import Array, References, Signals, given


def score(target: Signals, references: References | None) -> Array:
    """How far an input has to be moved until another class is said, `(n,)`; below 0 where one is said already."""
    return given(target.boundary_distances)
