"""The user game on whole gradients: games for the adversary to learn from, and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.evidence import Algebra
from ptaudit.attacks.user_matches import MOST_KNOWN, Reader, RivalSets, fit_matches
from ptaudit.games.user.draws import UserDraws, Users
from ptaudit.stats.detection import tells_more

GAMES = 2048
"""Batches that the adversary plays against itself in each fold, at least one of each user."""


@dataclass(frozen=True)
class MatrixAnswer:
    """What the adversary says of the played games in one line.

    Attributes:
        log_q: log-posteriors `(G, K)`, natural.
        null_log_q: of the same adversary prepared with random secrets.
        bits: on its own games.
        starved: whether more users to learn from would tell more.
    """

    log_q: Tensor
    null_log_q: Tensor
    bits: float
    starved: bool


def answer_on_matrices(
    algebra: Algebra, users: Users, drawn: UserDraws, lines: Sequence[Sequence[int]], seed: int
) -> list[MatrixAnswer | None]:
    """Prepare on the adversary's own users and answer for the played games.

    Args:
        algebra: the view as matrices.
        users: whose records there are, and in what batches.
        drawn: the played batches.
        lines: for each reported line its layers.
        seed: of draws, noise and trees.

    Returns:
        For every line what is said; None where no whole gradients of its layers are seen.
    """
    generator = torch.Generator().manual_seed(seed)
    if not algebra.own.readable:
        return [None] * len(lines)
    own = [users.draw(fold, GAMES, generator) for fold in users.folds]
    reader = Reader.of(algebra, users.view, own[0].members[0], generator)
    seen = [tuple(place for place in line if place in reader.kept) for line in lines]
    there = [line for line in seen if line]
    first, second, played = (reader.held(_in_sets(one, users, generator)) for one in (*own, drawn))
    records = int(torch.isin(users.table, torch.cat(users.folds)).sum())
    truths = first.truth, second.truth
    # A shuffled secret may be the true one: who is never the true one would be told by that.
    one, two = (torch.randint(some.shape[1], some.shape, generator=generator) for some in truths)
    real, null = (fit_matches((first, second), secrets, there, records, seed) for secrets in (truths, (one, two)))
    user = drawn.user[drawn.sets.flatten()[drawn.kept]]
    told = (
        MatrixAnswer(r.log_posterior(played), n.log_posterior(played), r.stack.bits, _starved(*r.halved(played), user))
        for r, n in zip(real, null)
    )
    return [next(told) if line else None for line in seen]


def _starved(more: Tensor, less: Tensor, user: Tensor) -> bool:
    """Whether all of the adversary's users tell more of games `(G,)` than half of them, over the users of the games."""
    place = torch.unique(user, return_inverse=True)[1]
    gain, total = (torch.bincount(place, some.cpu()) / torch.bincount(place) for some in (more - less, more))
    return tells_more(gain.numpy(), total.numpy())


def _in_sets(drawn: UserDraws, users: Users, generator: torch.Generator) -> RivalSets:
    """Batches with the other records of their users; a batch that all rounds show is looked at once."""
    members = (drawn.members[:1] if users.view.fixed_batch else drawn.members)[:, drawn.sets]
    order = users.table.argsort(stable=True)
    by_user = torch.split(order, torch.bincount(users.table).tolist())

    def others(batch: int) -> Tensor:
        mine = by_user[int(drawn.user[batch])]
        left = mine[~torch.isin(mine, drawn.hidden[batch])]
        return left[torch.randperm(len(left), generator=generator)[:MOST_KNOWN]]

    known = [[others(batch) for batch in some] for some in drawn.sets.tolist()]
    return RivalSets(members, known, drawn.kept)
