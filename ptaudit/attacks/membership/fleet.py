"""Scores of a fleet, every model a target and the others its references; scores calibrated for each record."""

from __future__ import annotations

import numpy as np

from ptaudit.attacks.membership.registry import MembershipAttack
from ptaudit.attacks.membership.signals import Array, References, Signals, leave_one_out
from ptaudit.stats.per_record import standardised


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


def calibrated_scores(attack: MembershipAttack, target: Signals, references: References) -> Array:
    """Scores of a target, standardised for each record over the reference models without it (see `stats.per_record`).

    Each of those is scored by the others, the target is not among them.

    Args:
        attack: of `registry.ATTACKS`, or another.
        target: signals of the audited model, `(n,)`.
        references: N models; the target is none of them.

    Returns:
        `(n,)`, higher = more likely a member.

    Raises:
        ValueError: as `fleet_scores`, and for a record with fewer than 2 models outside.
    """
    return standardised(attack(target, references), fleet_scores(attack, references), references.outside)


def calibrated_fleet_scores(attack: MembershipAttack, fleet: References) -> Array:
    """`calibrated_scores` of every model in turn, `(N, n)`: the attack runs N squared times.

    The models that calibrate a target are scored without it and its partner, too: had they seen it, then a score would
    be lower in a model with the record, without any leak (AUC 0.45 for LiRA online with 8 models and no signal).
    """
    return np.stack([calibrated_scores(attack, target, others) for target, others in leave_one_out(fleet)])
