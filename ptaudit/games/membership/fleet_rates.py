"""What an attack reaches beyond the one audited model: each record at a rate of its own, every model as the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ptaudit.attacks.membership.fleet import fleet_scores
from ptaudit.attacks.membership.registry import MembershipAttack
from ptaudit.attacks.membership.signals import Array, References, Signals
from ptaudit.games.membership.info import OF_EACH_RECORD, OF_FLEET
from ptaudit.stats import two_way
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.per_record import fewest_out_models, standardised
from ptaudit.stats.roc import LOW_FPRS, tpr_at_fpr_estimate

FPRS: Mapping[str, float] = dict(zip(OF_EACH_RECORD, LOW_FPRS, strict=True))
"""False-positive rate of each metric."""


@dataclass(frozen=True)
class FleetAttack:
    """An attack, played on the audited model and on every reference model.

    Attributes:
        attack: what was played.
        references: N models.
        target: scores of n records in the audited model, `(n,)`.
        fleet: scores in every reference model, by the others, `(N, n)`; None where they are too few for that.
    """

    attack: MembershipAttack
    references: References
    target: Array
    fleet: Array | None

    @classmethod
    def of(cls, attack: MembershipAttack, target: Signals, references: References) -> FleetAttack:
        """Play it.

        Raises:
            ValueError: the attack needs what is not there.
        """
        enough = 2 * min(references.fewest()) >= attack.models(left_out=1)
        fleet = fleet_scores(attack, references) if enough and not attack.learns else None
        return cls(attack, references, attack(target, references), fleet)


def models_needed(attack: MembershipAttack, fpr: float) -> int:
    """Reference models, half of which have each record, that calibrate an attack for each record."""
    return max(attack.models(left_out=1), 2 * fewest_out_models(fpr))


def rates_of_each_record(played: FleetAttack, members: int, seed: int) -> dict[str, Estimate]:
    """True-positive rates of all records at a false-positive rate that is every record's own (arXiv 2605.25819).

    Scores are standardised for each record (see `stats.per_record`); the threshold is that of the audited held-out
    records, so that tails need not be Gaussian, only of one shape.

    Args:
        played: an attack that looks at confidences alone.
        members: how many of the records, the first ones, are members.
        seed: of the resamples.

    Returns:
        An estimate for each metric of `OF_EACH_RECORD`; inconclusive where there are too few models or records.
    """
    models, there = len(played.references.inside), 2 * min(played.references.fewest())
    needed = {metric: models_needed(played.attack, fpr) for metric, fpr in FPRS.items()}
    found = {metric: _lost(least, models, len(played.target)) for metric, least in needed.items()}
    if played.fleet is not None and there >= min(needed.values()):
        scores = standardised(played.target, played.fleet, played.references.outside)
        sides = scores[:members], scores[members:]
        enough = [metric for metric, least in needed.items() if there >= least]
        found |= {metric: tpr_at_fpr_estimate(*sides, FPRS[metric], seed=seed) for metric in enough}
    return found


def rates_of_fleet(played: FleetAttack, seed: int) -> dict[str, Estimate]:
    """AUC and true-positive rate over all models that were trained alike, with intervals over models and records.

    Returns:
        An estimate for each metric of `OF_FLEET`; inconclusive where there are too few models or records.
    """
    if played.fleet is None:
        needed = played.attack.models(left_out=1)
        return dict.fromkeys(OF_FLEET, _lost(needed, len(played.references.inside), len(played.target)))
    pairs = two_way.FleetScores(played.fleet, played.references.inside)
    found = two_way.auc_estimate(pairs, seed=seed), two_way.tpr_at_fpr_estimate(pairs, LOW_FPRS[0], seed=seed)
    return dict(zip(OF_FLEET, found, strict=True))


def too_few_models(needed: int, models: int) -> str:
    """Why so many reference models are not enough; empty if they are."""
    return f"needs {needed} reference models, there are {models}" if models < needed else ""


def _lost(needed: int, models: int, records: int) -> Estimate:
    return inconclusive(too_few_models(needed, models), ceiling=1.0, n=records)
