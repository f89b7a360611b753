"""Membership by group: any data subject, not the average (EDPB Opinion 28/2024)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ptaudit.context.groups import Grouping, GroupScore, groupings, users
from ptaudit.context.session import Session
from ptaudit.games.membership.measure import Measured, Sides, learned
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.groups import MIN_RECORDS, GroupedScores, auc_estimates, largest, tpr_estimates, worst
from ptaudit.stats.roc import too_few_negatives

AUC, TPR, FPR = "auc", "tpr_at_fpr_0.01", 0.01
"""Within a group; and of its members at the threshold of all held-out records."""


def group_scores(session: Session, measured: Measured, joint: int) -> list[GroupScore]:
    """Numbers of every group by the attack with the best AUC of all layers jointly; empty where none was measured.

    Of users only the worst one is told, with an interval for the worst of all of them.
    """
    adversary = strongest(measured, joint)
    if adversary is None:
        return []
    sides, found = measured.normal[adversary, joint], []
    for grouping in groupings(session):
        for metric, estimates in _estimates(adversary, grouping, sides, session.seed).items():
            found += [_score(adversary, grouping, place, metric, one) for place, one in enumerate(estimates)]
    of_users = users(session)
    return found if of_users is None else [*found, *_worst_user(adversary, of_users, sides, session.seed)]


def strongest(measured: Measured, joint: int) -> str | None:
    """The attack of the highest lower end of the AUC, as summaries choose it; None where none was measured."""
    aucs = {name: lines[AUC] for (name, row), lines in measured.lines.items() if row == joint}
    able = [name for name, auc in aucs.items() if auc.conclusive and (name, joint) in measured.normal]
    return max(able, key=lambda name: aucs[name].lo, default=None)


def _estimates(adversary: str, grouping: Grouping, sides: Sides, seed: int) -> Mapping[str, Sequence[Estimate]]:
    """AUC and TPR of each group."""
    inside, outside = map(np.isfinite, sides)  # a record of an odd number is in neither half, and has no score
    codes = grouping.inside[inside], grouping.outside[outside]
    scores = GroupedScores(sides[0][inside], sides[1][outside], *codes, len(grouping.names))
    found = {AUC: auc_estimates(scores), TPR: tpr_estimates(scores, FPR, seed=seed)}
    return {metric: [learned(adversary, one) for one in estimates] for metric, estimates in found.items()}


def _worst_user(adversary: str, grouping: Grouping, sides: Sides, seed: int) -> Iterator[GroupScore]:
    members, others = (int((codes >= 0).sum()) for codes in (grouping.inside, grouping.outside))
    nobody = (adversary, grouping.title, "", len(grouping.names), members, others)
    for metric, estimates in _estimates(adversary, grouping, sides, seed).items():
        place, compared = worst(estimates), sum(one.conclusive for one in estimates)
        if place is not None:
            score = _score(adversary, grouping, place, metric, largest(estimates))
            yield replace(score, groups=compared)
            continue
        more = " and as many held-out records" if metric == AUC else ""
        why = f"needs a user with {MIN_RECORDS} members{more}, none of {len(grouping.names)} has"
        short = too_few_negatives(len(sides[1]), FPR, "non-members") if metric == TPR else None
        yield GroupScore(*nobody, metric, inconclusive(short or why, ceiling=1.0))


def _score(adversary: str, grouping: Grouping, place: int, metric: str, estimate: Estimate) -> GroupScore:
    members, others = (int((codes == place).sum()) for codes in (grouping.inside, grouping.outside))
    name, size = grouping.names[place], grouping.sizes[place]
    return GroupScore(adversary, grouping.title, name, size, members, others, metric, estimate)
