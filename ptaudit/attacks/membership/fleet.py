"""Scores of a fleet, every model a target and the others its references."""

from __future__ import annotations

import numpy as np

from ptaudit.attacks.membership.registry import MembershipAttack
from ptaudit.attacks.membership.signals import Array, References, leave_one_out


def fleet_scores(attack: MembershipAttack, fleet: References) -> Array:
    """Scores of all records in all models, none of them its own reference (see `leave_one_out`).

    Args:
        attack: of `registry.ATTACKS`, or another.
        fleet: N models.

    Returns:
        `(N, n)`, higher = more likely a member; scores in a model that is on neither side of a record mean nothing.

    Raises:
        ValueError: if the attack needs what is not there; leaving a target and its partner out costs one model a side.
    """
    return np.stack([attack(target, others) for target, others in leave_one_out(fleet)])
