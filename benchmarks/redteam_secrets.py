"""Secrets of a batch: a record's label or attribute, whether one has a property, with which share it was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from redteam_classify import Batches
from redteam_decode import inputs_of
from redteam_features import features
from redteam_gradients import Eye
from redteam_world import Array, Index
from scipy.stats import binom

Draw = Callable[[Index, int, np.random.Generator], "Games"]


@dataclass(frozen=True)
class Games:
    """G drawn batches.

    Attributes:
        members: records of each, the target first where there is one, `(G, m)`.
        secret: `(G,)`.
        share: probability of every secret given who is in the batch, `(G, K)`.
        unit: the target record, or the game where there is none, `(G,)`.
    """

    members: Index
    secret: Index
    share: Array
    unit: Index


def of_record(codes: Index, m: int) -> Draw:
    """What is the value of one record of the batch? Codes of all records; negative ones are no targets."""
    values = int(codes.max()) + 1

    def draw(records: Index, games: int, rng: np.random.Generator) -> Games:
        there = records[codes[records] >= 0]
        first = _cycled(there, games, rng)
        members = np.stack([np.append(one, _others(records, one, m - 1, rng)) for one in first])
        counts = np.stack([(codes[members] == value).sum(1) for value in range(values)], 1)
        return Games(members, codes[first], counts / counts.sum(1, keepdims=True), first)

    return draw


def of_property(has: Array, m: int) -> Draw:
    """Does the batch hold a record with the property? With probability one half one of its records does."""

    def draw(records: Index, games: int, rng: np.random.Generator) -> Games:
        holders, rest = records[has[records]], records[~has[records]]
        most = min(len(holders), len(rest), games // 2)
        first = np.concatenate([_cycled(rng.permutation(kind)[:most], games // 2, rng) for kind in (holders, rest)])
        members = np.stack([np.append(one, _others(rest, one, m - 1, rng)) for one in first])
        secret = has[first].astype(np.int64)
        return Games(members, secret, np.eye(2)[secret], first)

    return draw


def of_distribution(has: Array, m: int, ratios: tuple[float, ...]) -> Draw:
    """With which share of records with the property was the batch drawn?"""

    def draw(records: Index, games: int, rng: np.random.Generator) -> Games:
        holders, rest = records[has[records]], records[~has[records]]
        secret = np.arange(games) % len(ratios)
        holding = rng.binomial(m, np.array(ratios)[secret])
        members = np.stack([np.append(rng.choice(holders, n, False), rng.choice(rest, m - n, False)) for n in holding])
        given = np.stack([binom.pmf(holding, m, ratio) for ratio in ratios], 1)
        return Games(members, secret, given / given.sum(1, keepdims=True), np.arange(games))

    return draw


def _cycled(targets: Index, games: int, rng: np.random.Generator) -> Index:
    """Targets in random order, each about as often."""
    return np.concatenate([rng.permutation(targets) for _ in range(-(-games // len(targets)))])[:games]


def _others(records: Index, target: int, count: int, rng: np.random.Generator) -> Index:
    """Other records, without replacement."""
    if count * 20 > len(records):
        return rng.choice(records[records != target], count, replace=False)
    while True:
        drawn = records[rng.integers(len(records), size=count)]
        if len(np.unique(np.append(drawn, target))) == count + 1:
            return drawn


def seen(eye: Eye, games: Games, prior: Array, rng: np.random.Generator) -> Batches:
    """Numbers about the gradient of every batch."""
    inputs = inputs_of(eye.world) if not eye.noise else None
    x = np.stack([features(eye.blocks, eye.batch(index, rng), inputs) for index in games.members])
    return Batches(x, games.share, prior)
