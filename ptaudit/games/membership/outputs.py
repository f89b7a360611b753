"""Membership from what models say of records: their outputs and losses, beside those of reference models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ptaudit.attacks.membership.queries import most_telling
from ptaudit.attacks.membership.registry import ATTACKS, MembershipAttack
from ptaudit.attacks.membership.signals import References, Signals, mean_of, references
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.reference import Said, signals_of
from ptaudit.errors import DataError
from ptaudit.games.membership.fleet_rates import FleetAttack, rates_of_each_record, rates_of_fleet
from ptaudit.games.membership.info import LEARNED, OF_FLEET, OF_OUTPUTS, likelihood_ratios, metrics_of, with_references
from ptaudit.games.membership.measure import MIN_RECORDS, Key, Lines, Sides, halves_of
from ptaudit.sketches.features import features
from ptaudit.training.fleet.queries import Queries
from ptaudit.training.fleet.signals import Batch, in_all_queries, observed_alone

_FEATURES, _MOST_LABELS = 64, 256
"""Numbers that are kept of an input, and of a label."""


@dataclass(frozen=True)
class FromOutputs:
    """What is found.

    Attributes:
        scores: by every attack that can run.
        lost: why others cannot.
        beyond: what attacks reach beyond the one audited model.
    """

    scores: Mapping[Key, Sides] = field(default_factory=dict)
    lost: Mapping[Key, str] = field(default_factory=dict)
    beyond: Mapping[Key, Lines] = field(default_factory=dict)


def by_outputs(context: EpochContext, asked: Collection[str], row: int, queries: int = 1) -> FromOutputs:
    """Scores of all layers jointly, which are the row `row`, from so many queries about each record."""
    session = context.session
    index, members = np.concatenate([session.members, session.others]), len(session.members)
    names = [name for name in (*OF_OUTPUTS, LEARNED) if name in asked]
    names += [name for name in with_references() if name in asked]
    if not names:
        return FromOutputs()
    target, there = _signals(context, index, queries)
    if LEARNED in names:
        nobody = np.zeros(len(index), dtype=np.bool_)
        target = replace(target, features=_features(context, index), known_outside=nobody)
    lost = {(name, row): why for name in names if (why := ATTACKS[name].missing(target, there))}
    scores: dict[Key, Sides] = {}
    beyond: dict[Key, Lines] = {}
    for name in names:
        key = (name, row)
        if key in lost:
            continue
        if ATTACKS[name].learns_of_records:
            found = _cross_fitted(ATTACKS[name], target, members, context.seed)
        elif there is None or not ATTACKS[name].outside:
            found = ATTACKS[name](target)
        else:
            played = FleetAttack.of(ATTACKS[name], target, there)
            found = played.target
            if min(members, len(index) - members) >= MIN_RECORDS:
                beyond[key] = _beyond(name, played, members, context.seed)
        scores[key] = found[:members], found[members:]
    return FromOutputs(scores, lost, beyond)


def _cross_fitted(attack: MembershipAttack, target: Signals, members: int, seed: int) -> NDArray[np.float64]:
    """Scores of each half by who learned on the held-out records of the other; NaN for a record in neither."""
    n = target.records
    scores = np.full(n, np.nan)
    if min(members, n - members) < MIN_RECORDS:
        return scores  # too few for the game, which says so
    inside, outside = halves_of((members, n - members), seed)
    for half in range(2):
        known = np.zeros(n, dtype=np.bool_)
        known[members + outside[1 - half]] = True
        asked = np.concatenate([inside[half], members + outside[half]])
        scores[asked] = attack(replace(target, known_outside=known))[asked]
    return scores


def _features(context: EpochContext, index: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Inputs, projected, and label of some records, `(n, F)`; None where inputs are no numbers to begin with."""
    classes = context.session.records.classes
    records = context.reader.source.losses(*context.session.batch(index))
    try:
        seen = features("input", records, classes, dim=_FEATURES, seed=context.seed)
    except DataError:
        return None
    labels = records.targets.cpu()
    if classes is not None and labels.dim() == 1:
        labels = torch.nn.functional.one_hot(labels.long(), classes)
    told = labels.double().reshape(len(labels), -1)[:, :_MOST_LABELS]
    return np.concatenate([seen.double().cpu().numpy(), told.numpy()], axis=1)


def _beyond(name: str, played: FleetAttack, members: int, seed: int) -> Lines:
    of_each = rates_of_each_record(played, members, seed) if name in likelihood_ratios() else {}
    of_fleet = rates_of_fleet(played, seed) if OF_FLEET[0] in metrics_of(name) else {}
    return {**of_each, **of_fleet}


def _signals(context: EpochContext, index: NDArray[np.int64], queries: int) -> tuple[Signals, References | None]:
    """What the audited model and the reference models say of some records, of as many queries as tell most there.

    Without reference models, or with none that looked at this epoch, it is the mean of all queries.
    """
    asked, models = _target(context, index, queries), context.session.reference
    if models is None or context.epoch not in models.said.epochs:
        return mean_of(asked), None
    told = [models.at(context.epoch, index, query) for query in range(queries)]
    each = [signals_of(said, context.session.records, context.session.spec.train.loss, index) for said, _ in told]
    inside = told[0][1]
    count = most_telling(each, inside) if queries > 1 else 1
    return mean_of(asked[:count]), references(mean_of(each[:count]), inside)


def _target(context: EpochContext, index: NDArray[np.int64], queries: int) -> list[Signals]:
    """What the audited model says of some records in every query, and how its losses went at the audited epochs."""
    session = context.session
    asked = Queries.of(queries, session.records)

    def observe(batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs, losses = observed_alone(context.model, session.loss, batch, index)
        return outputs[None], losses[None]

    outputs, losses = (np.split(part[0], queries) for part in in_all_queries(session.batch, asked, observe))
    loss = session.spec.train.loss
    each = [signals_of(Said(*own), session.records, loss, index) for own in zip(outputs, losses)]
    trace = np.stack([one.losses for one in context.course]) if context.course else None
    return [replace(one, loss_trace=trace) for one in each]
