"""Drawing of the batches of the user game: records of one user, of rivals, and of other clients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.views.aggregate import draw_others
from ptaudit.views.view import View

MOST_SPLITS = 16
"""Most batches of one user."""


def records_of(view: View) -> int:
    """Records of one user that are in what is seen."""
    return view.batch_size * view.batches


@dataclass(frozen=True)
class UserDraws:
    """G batches, one of each of some users in each of several splits.

    Attributes:
        members: records of each batch, `(r, G, m * clients)`, those of the user first.
        hidden: all records of the user in the batch, `(G, M)`.
        user: the user, as a number among the users of the table, `(G,)`.
        sets: batches whose users are each other's rivals, `(T, K)`.
        kept: which batches of the sets are played, `(T * K,)`.
    """

    members: Tensor
    hidden: Tensor
    user: Tensor
    sets: Tensor
    kept: Tensor


def parts(view: View) -> int:
    """Of how many parts of the users one holds the candidates: with other clients, these are half of the users."""
    return 2 if view.users > 1 else 1


def halves(count: Tensor, records: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random halves of the users with two records at least, and of those with enough for a batch."""
    return halves_of(torch.nonzero(count > 1).flatten(), count, records, generator)


def halves_of(users: Tensor, count: Tensor, records: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random halves of some users, and of those of them who have more records than a batch."""
    order = users[torch.randperm(len(users), generator=generator)]
    order = order[(count[order] <= records).int().argsort(stable=True)]
    return order[::2], order[1::2]


@dataclass(frozen=True)
class Users:
    """Who there is in one half of the game, and what is seen of them.

    Attributes:
        table: user of each record, numbered from 0, `(N,)`.
        folds: users of the adversary's own, in two halves.
        candidates: most candidates K.
        view: batch size, rounds and clients.
    """

    table: Tensor
    folds: tuple[Tensor, Tensor]
    candidates: int
    view: View

    def draw(self, users: Tensor, games: int, generator: torch.Generator) -> UserDraws:
        """Batches of those of the users who have enough records."""
        table, view = self.table, self.view
        size, rounds = records_of(view), view.batches
        users = users[torch.bincount(table)[users] > size]
        users = users[torch.randperm(len(users), generator=generator)]
        asked, clients = users[: len(users) // parts(view)], users[len(users) // parts(view) :]
        splits = min(MOST_SPLITS, max(1, games // len(asked)))
        k = min(self.candidates, len(asked))
        members, hidden, sets, kept = [], [], [], []
        for split in range(splits):
            records = _some_of_each(table, users, size, generator)
            mine = records[: len(asked)].view(-1, rounds, view.batch_size).transpose(0, 1)
            other = draw_others(max(len(clients), 1), rounds * len(asked), view.users - 1, generator)
            theirs = records[len(asked) :].view(-1, rounds, view.batch_size)
            turn = torch.arange(rounds).repeat_interleave(len(asked))[:, None]
            fill = theirs[other, turn].flatten(1).view(rounds, len(asked), -1) if view.users > 1 else mine[..., :0]
            members.append(torch.cat([mine, fill], -1))
            hidden.append(records[: len(asked)])
            order = torch.randperm(len(asked), generator=generator)
            order = torch.cat([order, order[: -len(asked) % k]])
            sets.append(split * len(asked) + order.view(-1, k))
            kept.append(torch.arange(len(order)) < len(asked))
        batches = torch.cat(members, 1)
        return UserDraws(
            batches.expand(view.rounds, -1, -1) if view.fixed_batch else batches,
            torch.cat(hidden),
            asked.repeat(splits),
            torch.cat(sets),
            torch.cat(kept),
        )


def _some_of_each(table: Tensor, users: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`size` random records of each of the users, `(U, size)`."""
    order = torch.randperm(len(table), generator=generator)
    order = order[table[order].argsort(stable=True)]
    start = torch.bincount(table).cumsum(0) - torch.bincount(table)
    return order[start[users][:, None] + torch.arange(size)]
