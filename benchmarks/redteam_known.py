"""The value of one field of a record whose rest the attacker knows: which version of the record was in the batch?"""

from __future__ import annotations

import numpy as np
import torch
from redteam_gradients import Eye
from redteam_identity import Known, learn, statistics
from redteam_posterior import Evidence
from redteam_secrets import Games
from redteam_world import Array, Index, World
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

MOST = 20_000
"""Most records that the guess without the gradient is learned on."""


def guess(world: World, name: str, rng: np.random.Generator) -> Array:
    """What the rest of each audited record and its label tell of the field, learned on other records: `(N, values)`."""
    codes, start, levels = world.fields[name]
    there = rng.permutation(world.spare[codes[world.spare] >= 0])[:MOST]

    def rest(index: Index) -> Array:
        x, y = world.batch(index)
        x = np.delete(x.numpy(), slice(start, start + levels.shape[1]), axis=1)
        return np.concatenate([x, torch.nn.functional.one_hot(y).numpy()], 1)

    trees = HistGradientBoostingClassifier(
        learning_rate=0.06, max_leaf_nodes=15, max_iter=80, early_stopping=False, random_state=0
    )
    both = [trees, LogisticRegression(max_iter=400, C=0.3)]
    out = np.zeros((len(world.members), len(levels)))
    for model in both:
        model.fit(rest(there), codes[there])
        out[:, model.classes_] += model.predict_proba(rest(world.members)) / len(both)
    out = np.maximum(out, 1e-6)
    return out / out.sum(1, keepdims=True)


def versions_of(eye: Eye, name: str, index: Index) -> list[Known]:
    """The records with each value of the field."""
    return [learn(eye, index, (name, value), whole=False) for value in range(len(eye.world.fields[name][2]))]


def evidence(eye: Eye, games: Games, versions: list[Known], prior: Array, rng: np.random.Generator) -> Evidence:
    """What can be said of every version of the target of each game.

    Args:
        eye: reads gradients.
        games: batches whose first record is the target.
        versions: of the audited records.
        prior: of the audited records.
        rng: draws noise.
    """
    place = {record: row for row, record in enumerate(eye.world.members.tolist())}
    learned, rows = [], np.array([place[record] for record in games.unit.tolist()])
    for index, row in zip(games.members, rows):
        batch = eye.batch(index, rng)
        learned.append(np.concatenate([statistics(eye, batch, one.of(np.array([row]))) for one in versions]))
    x = np.stack(learned)
    return Evidence(x, np.zeros((*x.shape[:2], 0)), prior[rows], games.secret, games.unit)
