"""Membership from what models say of records: their outputs and losses, beside those of reference models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import references
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.reference import Said, signals_of
from ptaudit.games.membership.each_record import true_positive_rates
from ptaudit.games.membership.info import likelihood_ratios, with_references
from ptaudit.games.membership.measure import Key, Lines, Sides
from ptaudit.training.fleet.signals import observed_alone


@dataclass(frozen=True)
class FromOutputs:
    """What is found.

    Attributes:
        scores: by every attack that can run.
        lost: why others cannot.
        of_each_record: what attacks reach at a false-positive rate that is every record's own.
    """

    scores: Mapping[Key, Sides] = field(default_factory=dict)
    lost: Mapping[Key, str] = field(default_factory=dict)
    of_each_record: Mapping[Key, Lines] = field(default_factory=dict)


def by_outputs(context: EpochContext, asked: Collection[str], row: int) -> FromOutputs:
    """Scores of all layers jointly, which are the row `row`."""
    session, models = context.session, context.session.reference
    names = [name for name in with_references() if name in asked]
    if not names or models is None or context.epoch not in models.said.epochs:
        return FromOutputs()
    index = np.concatenate([session.members, session.others])
    records, loss = session.records, session.spec.train.loss
    own = Said(*observed_alone(context.model, session.loss, session.batch, index))
    target = signals_of(own, records, loss, index)
    said, included = models.at(context.epoch, index)
    there = references(signals_of(said, records, loss, index), included)
    missing = {name: why for name in names if (why := ATTACKS[name].missing(target, there))}
    able, n = [name for name in names if name not in missing], len(session.members)
    scored = {name: ATTACKS[name](target, there) for name in able}
    return FromOutputs(
        {(name, row): (both[:n], both[n:]) for name, both in scored.items()},
        {(name, row): why for name, why in missing.items()},
        {
            (name, row): true_positive_rates(name, target, there, n, context.seed)
            for name in likelihood_ratios()
            if name in scored
        },
    )
