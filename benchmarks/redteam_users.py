"""Of which of K users are the records of a batch? The attacker has other records of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from redteam_gradients import Eye
from redteam_identity import Known, learn, statistics
from redteam_posterior import Evidence
from redteam_world import Array, Index


@dataclass(frozen=True)
class Users:
    """Who there is, and how batches are made of them.

    Attributes:
        records: of each user, as rows of the audited records.
        size: records of a user in a batch.
        clients: users in what is seen.
        candidates: K.
    """

    records: list[Index]
    size: int
    clients: int
    candidates: int


def users_of(column: Array, members: Index, size: int, clients: int, candidates: int) -> Users:
    """Users with at least one record more than a batch has of theirs."""
    values = column[members]
    order = np.argsort(values, kind="stable")
    cuts = np.flatnonzero(np.diff(values[order].astype("U") if values.dtype.kind == "O" else values[order]) != 0) + 1
    records = [rows for rows in np.split(order, cuts) if len(rows) > size]
    return Users(records, size, clients, candidates)


def play(eye: Eye, users: Users, who: Index, known: Known, how: tuple[int, np.random.Generator]) -> Evidence:
    """Games about some of the users.

    Args:
        eye: reads gradients.
        users: all users.
        who: those that take part; with other clients, half of them are only that.
        known: what the attacker computes of every audited record.
        how: number of games, and what draws them.
    """
    games, rng = how
    who = rng.permutation(who)
    asked, clients = (who, who[:0]) if users.clients == 1 else (who[: len(who) // 2], who[len(who) // 2 :])
    used = _columns(known)
    learned, secret, unit = [], [], []
    for game in range(games):
        rivals = rng.permutation(asked[asked != asked[game % len(asked)]])[: users.candidates - 1]
        place = int(rng.integers(len(rivals) + 1))
        candidates = np.insert(rivals, place, asked[game % len(asked)])
        split = [rng.permutation(users.records[user]) for user in candidates]
        inside = [split[place][: users.size]]
        others = rng.choice(clients, users.clients - 1, replace=False) if users.clients > 1 else []
        inside += [rng.permutation(users.records[user])[: users.size] for user in others]
        batch = eye.batch(eye.world.members[np.concatenate(inside)], rng)
        left = [rows[users.size :] for rows in split]
        learned.append(_statistics(eye, batch, known, left, used))
        secret.append(place)
        unit.append(asked[game % len(asked)])
    x = np.stack(learned)
    prior = np.full(x.shape[:2], 1.0 / x.shape[1])
    return Evidence(x, np.zeros((*x.shape[:2], 0)), prior, np.array(secret), np.array(unit))


def learn_all(eye: Eye) -> Known:
    """What can be computed of every audited record."""
    return learn(eye, eye.world.members, whole=False)


def _columns(known: Known) -> tuple[str, Array]:
    """The layer that sees the inputs, and how often each is in use."""
    name = next(iter(known.sides))
    return name, (known.sides[name].a != 0.0).mean(0)


def _statistics(eye: Eye, batch: list, known: Known, left: list[Index], used: tuple[str, Array]) -> Array:
    """Algebra and shared inputs of the records that are known of every user: mean, least and most."""
    rows = np.concatenate(left)
    algebra = statistics(eye, batch, known.of(rows))
    cuts = np.cumsum([len(one) for one in left])[:-1]
    both = np.concatenate([algebra, _shared(eye, batch, known, rows, used)], 1)
    parts = np.split(both, cuts)
    return np.stack([np.concatenate([one.mean(0), one.min(0), one.max(0), [len(one)]]) for one in parts])


def _shared(eye: Eye, batch: list, known: Known, rows: Index, used: tuple[str, Array]) -> Array:
    """How well inputs in use agree with those of the batch, rare ones counting for more."""
    name, share = used
    place = [block.name for block in eye.blocks].index(name)
    G = batch[place].double().numpy()
    size = np.linalg.norm(G, axis=0)
    there, a = size > 0.0, known.sides[name].a[rows]
    mine, rare = a != 0.0, -np.log(np.clip(share, 1e-4, 1.0 - 1e-4))
    left = np.linalg.svd(G, full_matrices=False)[2][:2]
    turned = a / np.linalg.norm(a, axis=1, keepdims=True)
    relative = size / (size.max() + 1e-30)
    agree = [(mine & there) @ rare, (mine & ~there) @ rare, (mine & ~there).sum(1), (~mine & there).sum(1)]
    agree += [mine @ (relative * rare), *(np.abs(turned @ left.T).T), *(-np.abs(_numbers(a, G, share)).T)]
    return np.stack(agree, 1)


def _numbers(a: Array, G: Array, share: Array) -> Array:
    """Distance of the numeric inputs from those that a batch of like records would have."""
    numeric = np.flatnonzero(share > 0.9999)
    weight = G[:, -1]
    top = np.abs(weight).argmax()
    centre = G[top, numeric] / (weight[top] + 1e-30)
    return np.abs(a[:, numeric] - np.clip(centre, -10.0, 10.0)).mean(1, keepdims=True)
