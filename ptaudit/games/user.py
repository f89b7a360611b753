"""The user game: of which of K users are the m records of a batch?

The adversary has other records of each candidate and all records of other users, from which she learns how users differ
and how the records of one user do. Half of the users are hers, the other half are the candidates, and they change
places. Score: log2 K minus her cross-entropy, in bits. The unit of resampling is the user.

Of each candidate as many records are hidden from her as are in a batch, so their number tells nothing. Other clients of
a secure aggregation send batches of users of their own, who are no candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.adversaries.sighted import pictures
from ptaudit.adversaries.two_covariance import Setting, Shown
from ptaudit.adversaries.users import UserPosterior, fit
from ptaudit.games.answers import Answers, Batches
from ptaudit.games.scoring import LOW_FPRS, METRICS, score, tpr_name
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.aggregate import draw_others, sums
from ptaudit.views.knowledge import Asked, Knowledge
from ptaudit.views.sight import Sight, TokenSight, look
from ptaudit.views.view import View

ADVERSARIES = ("likelihood-ratio", "nearest")

LEAST_USERS = 40
"""Fewest users with enough records; fewer make the game inconclusive."""

PLAY_GAMES = 2048
"""Batches that are played of one half of the users, at least one of each."""

FIT_GAMES = 256
"""Batches that the adversary plays against herself in each fold, at least one of each user."""

MOST_SPLITS = 16
"""Most batches of one user."""


def enough(users: Tensor, records: int) -> int:
    """How many users, codes `(N,)`, have so many records for a batch and one more, which the adversary may know."""
    count = torch.unique(users, return_counts=True)[1]
    return int((count > records).sum())


def records_of(view: View) -> int:
    """Records of one user that are in what is seen."""
    return view.batch_size * view.batches


def why_not(tokens: Tensor, users: Tensor, view: View) -> str:
    """Why the game cannot be played, in words with the number needed; empty if it can."""
    there = enough(users, records_of(view))
    needed = LEAST_USERS * (2 if view.users > 1 else 1) + 8 * (view.users - 1)
    if there < needed:
        return f"needs {needed} users with {records_of(view) + 1} records or more, has {there}"
    return "" if bool(torch.isfinite(tokens).all()) else "gradients that are not finite"


def measure(
    tokens: Tensor,
    users: Tensor,
    view: View,
    groups: Sequence[Sequence[int]],
    candidates: int = 16,
    seed: int = 0,
    sight: Sight | None = None,
    known: Sight | None = None,
) -> dict[str, dict[str, list[Estimate]]]:
    """Play the game for several rows at once.

    Args:
        tokens: tokens of N records for R rows, `(R, N, k)`, float64, as the adversary computes them; clipped already
            where the view clips.
        users: code of the user of each record, `(N,)`. Users with one record take no part.
        view: batch size, rounds, noise and clients. For a static adversary, clip and noise as she believes them to be.
        groups: for each reported row, the rows of `tokens` that the adversary may choose from.
        candidates: most candidates K.
        seed: seed of the split, the draws, the noise and the resamples.
        sight: what the games are played on; left out, sums of the tokens and the noise of the view.
        known: what the adversary prepares on, in the same rows as `sight`: the same one, or one of earlier weights.
            Left out where there is a sight: sums of the tokens and the noise of the view (static).

    Returns:
        For `likelihood-ratio` and `nearest` (by their keys, see `knowledge.Asked`) the metrics of `scoring.score`, with
        one estimate for each group. The bits of a static or late adversary are not clipped below.
    """
    # Prepared on something else than what is shown: undefended views, or those of earlier weights.
    way: Knowledge = "adaptive" if known is sight else "static" if known is None else "late"
    names = [Asked(name, way).key for name in ADVERSARIES]
    if reason := why_not(tokens, users, view):
        lost = [inconclusive(reason, n=enough(users, records_of(view)))] * len(groups)
        return {name: dict.fromkeys((*METRICS, *map(tpr_name, LOW_FPRS)), lost) for name in names}
    answers = play(tokens, users, view, groups, candidates, seed, sight, known)
    ceiling = math.log2(answers[ADVERSARIES[0]][0].log_q.shape[-1])
    return {
        name: score(answers[plain], tokens.shape[1], seed, ceiling, clip=way == "adaptive")
        for name, plain in zip(names, ADVERSARIES)
    }


@dataclass(frozen=True)
class Drawn:
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


def play(
    tokens: Tensor,
    users: Tensor,
    view: View,
    groups: Sequence[Sequence[int]],
    candidates: int,
    seed: int,
    sight: Sight | None,
    known: Sight | None,
) -> dict[str, list[Answers]]:
    """The answers of both halves, for each adversary."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.unique(users, return_inverse=True)[1]
    count = torch.bincount(table)
    at_hand = tokens if known is None else pictures(tokens, known, generator)
    played_on = sight or TokenSight(tokens, view.noise_std)
    own_sight = known or TokenSight(tokens, view.noise_std)
    halves = _halves(count, records_of(view), generator)
    k = max(2, min(candidates, *(int((count[half] > records_of(view)).sum()) // _parts(view) for half in halves)))
    found: dict[str, list[Answers]] = {name: [] for name in ADVERSARIES}
    for mine, theirs in (halves, halves[::-1]):
        folds = _halves_of(mine, count, records_of(view), generator)
        own = [torch.nonzero(torch.isin(table, fold)).flatten() for fold in folds]
        rehearsed = [
            _shown(_draw(table, fold, view, k, FIT_GAMES, generator), at_hand, table, own_sight, view, generator)
            for fold in folds
        ]
        drawn = _draw(table, theirs, view, k, PLAY_GAMES, generator)
        shown = _shown(drawn, at_hand, table, played_on, view, generator)
        batches = _batches(drawn, table)
        records = torch.cat(own)
        places = torch.arange(len(own[0])), torch.arange(len(own[0]), len(records))
        for name in ADVERSARIES:
            posterior = fit(
                at_hand[:, records], table[records], places, rehearsed, _setting(view, known is not None), name
            )
            found[name].append(_answers(posterior, shown, batches, groups))
    return found


def _answers(posterior: UserPosterior, shown: Shown, batches: Batches, groups: Sequence[Sequence[int]]) -> Answers:
    log_q, null = posterior.answer(shown)
    chosen = [max(group, key=lambda row: float(posterior.fold_bits[row])) for group in groups]
    return Answers(log_q[chosen], null[chosen], (batches.secret + 1) % log_q.shape[-1], batches)


def _setting(view: View, sighted: bool) -> Setting:
    rounds = view.batches
    # Rounds are added up; those that show one batch are averaged.
    noise = view.noise_std * (view.rounds**-0.5 if view.fixed_batch else view.rounds**0.5)
    return Setting(rounds * view.batch_size, rounds * (view.users - 1), view.batch_size, noise, sighted)


def _parts(view: View) -> int:
    """Of how many parts of the users one holds the candidates: with other clients, these are half of the users."""
    return 2 if view.users > 1 else 1


def _halves(count: Tensor, records: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random halves of the users with two records at least, and of those with enough for a batch."""
    return _halves_of(torch.nonzero(count > 1).flatten(), count, records, generator)


def _halves_of(users: Tensor, count: Tensor, records: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    order = users[torch.randperm(len(users), generator=generator)]
    order = order[(count[order] <= records).int().argsort(stable=True)]
    return order[::2], order[1::2]


def _draw(table: Tensor, users: Tensor, view: View, candidates: int, games: int, generator: torch.Generator) -> Drawn:
    """Batches of those of the users who have enough records."""
    size, rounds = records_of(view), view.batches
    users = users[torch.bincount(table)[users] > size]
    users = users[torch.randperm(len(users), generator=generator)]
    asked, clients = users[: len(users) // _parts(view)], users[len(users) // _parts(view) :]
    splits = min(MOST_SPLITS, max(1, games // len(asked)))
    k = min(candidates, len(asked))
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
    return Drawn(
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


def _shown(drawn: Drawn, tokens: Tensor, table: Tensor, sight: Sight, view: View, generator: torch.Generator) -> Shown:
    """What the adversary sees of some batches and knows of their users."""
    views = look(sight, drawn.members, generator)
    observed = (views.mean(0) if view.fixed_batch else views.sum(0)).to(tokens)
    count = torch.bincount(table)[drawn.user]
    total = tokens.new_zeros(len(tokens), int(table.max()) + 1, tokens.shape[-1]).index_add_(1, table, tokens)
    left = count - drawn.hidden.shape[1]
    mine = sums(tokens, drawn.hidden)
    known = (total[:, drawn.user] - mine) / left[:, None]
    fixed = drawn.members[:1] if view.fixed_batch else drawn.members
    batch = sums(tokens, fixed.transpose(0, 1).flatten(1)) if view.users > 1 else mine
    return Shown(observed, known, left, batch, drawn.sets, drawn.kept)


def _batches(drawn: Drawn, table: Tensor) -> Batches:
    """The games in the order of the sets; a user is named by a record of hers."""
    first = torch.full((int(table.max()) + 1,), len(table)).scatter_reduce(0, table, torch.arange(len(table)), "amin")
    game = drawn.sets.flatten()[drawn.kept]
    size = drawn.sets.shape[1]
    secret = torch.arange(size).repeat(len(drawn.sets))[drawn.kept]
    prior = torch.full((len(game), size), 1.0 / size, dtype=torch.float64)
    others = (torch.arange(size)[:, None] + torch.arange(1, size)) % size
    rivals = drawn.sets[:, others].flatten(0, 1)[drawn.kept]
    return Batches(drawn.members[:, game], secret, prior, first[drawn.user[game]], first[drawn.user[rivals]])
