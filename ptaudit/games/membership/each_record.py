"""What an attacker reaches who holds each record to its own false-positive rate (arXiv 2605.25819)."""

from __future__ import annotations

from collections.abc import Mapping

from ptaudit.attacks.membership.fleet import calibrated_scores
from ptaudit.attacks.membership.registry import ATTACKS, MembershipAttack
from ptaudit.attacks.membership.signals import References, Signals
from ptaudit.games.membership.info import OF_EACH_RECORD
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.per_record import fewest_out_models
from ptaudit.stats.roc import LOW_FPRS, tpr_at_fpr_estimate

FPRS: Mapping[str, float] = dict(zip(OF_EACH_RECORD, LOW_FPRS, strict=True))
"""False-positive rate of each metric."""


def models_needed(attack: MembershipAttack, fpr: float) -> int:
    """Reference models, half of which have each record, that calibrate an attack for each record."""
    return max(attack.models(left_out=1), 2 * fewest_out_models(fpr))


def true_positive_rates(
    name: str, target: Signals, references: References, members: int, seed: int
) -> dict[str, Estimate]:
    """True-positive rates of all records at a false-positive rate that is every record's own.

    Scores are standardised for each record (see `calibrated_scores`); the threshold is that of the audited held-out
    records, so that tails need not be Gaussian, only of one shape.

    Args:
        name: of an attack that can run.
        target: signals of the audited model, `(n,)`, members first.
        references: of the same records.
        members: how many of the records are members.
        seed: of the resamples.

    Returns:
        An estimate for each metric of `OF_EACH_RECORD`; inconclusive where there are too few models or records.
    """
    attack, models = ATTACKS[name], len(references.inside)
    needed = {metric: models_needed(attack, fpr) for metric, fpr in FPRS.items()}
    there = 2 * min(references.fewest())
    found = {
        metric: inconclusive(f"needs {least} reference models, there are {models}", ceiling=1.0, n=target.records)
        for metric, least in needed.items()
    }
    enough = [metric for metric, least in needed.items() if there >= least]
    if enough:
        scores = calibrated_scores(attack, target, references)
        sides = scores[:members], scores[members:]
        found |= {metric: tpr_at_fpr_estimate(*sides, FPRS[metric], seed=seed) for metric in enough}
    return found
