"""The user game: of which of K users are the m records of a batch?

The adversary has other records of each candidate and all records of other users, from which it learns how users differ
and how the records of one user do. Half of the users are its own, the other half are the candidates, and they change
places. Score: log2 K minus its cross-entropy, in bits. The unit of resampling is the user.

Of each candidate as many records are hidden from it as are in a batch, so their number tells nothing. Other clients of
a secure aggregation send batches of users of their own, who are no candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import features
from ptaudit.attacks.two_covariance import Setting, UserBatches
from ptaudit.attacks.users import UserPosterior, fit_users
from ptaudit.games.common.batches import Answers, Batches, starved_of
from ptaudit.games.common.crossfit import data_limited
from ptaudit.games.common.scoring import METRICS, score
from ptaudit.games.user.draws import UserDraws, Users, halves, halves_of, parts, records_of
from ptaudit.games.user.matrices import MatrixAnswer, answer_on_matrices
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import LOW_FPRS, tpr_name
from ptaudit.views.aggregate import sums
from ptaudit.views.knowledge import Asked
from ptaudit.views.observation import Observation, TokenObservation, observe_rounds
from ptaudit.views.view import View

COMBINED = "combined"
"""Whole gradients, where they are seen, or sketches: what tells more about the adversary's own users."""

OF_SKETCHES = ("likelihood-ratio", "nearest")

ADVERSARIES = (COMBINED, *OF_SKETCHES)

LEAST_USERS = 40
"""Fewest users with enough records; fewer make the game inconclusive."""

PLAY_GAMES = 2048
"""Batches that are played of one half of the users, at least one of each."""

FIT_GAMES = 256
"""Batches that the adversary plays against itself in each fold, at least one of each user."""


def enough(users: Tensor, records: int) -> int:
    """How many users, codes `(N,)`, have so many records for a batch and one more, which the adversary may know."""
    count = torch.unique(users, return_counts=True)[1]
    return int((count > records).sum())


def too_few_users(users: Tensor, view: View) -> str:
    """Why the game cannot be played with users of the N records, `(N,)`, with the number needed; empty if it can."""
    there = enough(users, records_of(view))
    needed = LEAST_USERS * (2 if view.users > 1 else 1) + 8 * (view.users - 1)
    if there < needed:
        return f"needs {needed} users with {records_of(view) + 1} records or more, has {there}"
    return ""


def why_not_users(tokens: Tensor, users: Tensor, view: View) -> str:
    """Why the game cannot be played, in words with the number needed; empty if it can."""
    if why := too_few_users(users, view):
        return why
    return "" if bool(torch.isfinite(tokens).all()) else "gradients that are not finite"


def measure(
    who: Known, users: Tensor, groups: Sequence[Sequence[int]], candidates: int = 16, seed: int = 0
) -> dict[str, dict[str, list[Estimate]]]:
    """Play the game for several rows at once.

    Args:
        who: the adversary and what is seen: batch size, rounds, noise and clients of the view as it believes them to
            be.
        users: code of the user of each of the N records, `(N,)`. Users with one record take no part.
        groups: for each reported row, the rows of the tokens that the adversary may choose from.
        candidates: most candidates K.
        seed: seed of the split, the draws, the noise and the resamples.

    Returns:
        For `likelihood-ratio` and `nearest`, and `combined` where matrices are known (by their keys, see
        `knowledge.Asked`), the metrics of `scoring.score`, with one estimate for each group. The bits of a static or
        late adversary are not clipped below.
    """
    tokens, view, way = who.tokens, who.view, who.knowledge
    players = ADVERSARIES if who.algebra is not None else OF_SKETCHES
    names = [Asked(name, way).key for name in players]
    if reason := why_not_users(tokens, users, view):
        lost = [inconclusive(reason, n=enough(users, records_of(view)))] * len(groups)
        return {name: dict.fromkeys((*METRICS, *map(tpr_name, LOW_FPRS)), lost) for name in names}
    answers = play(who, users, groups, candidates, seed)
    ceiling = math.log2(answers[OF_SKETCHES[0]][0].log_q.shape[-1])
    found = {}
    for name, plain in zip(names, players):
        metrics = score(answers[plain], tokens.shape[1], seed, ceiling, clip=way == "adaptive")
        found[name] = data_limited(metrics, starved_of(answers[plain]))
    return found


def play(
    who: Known, users: Tensor, groups: Sequence[Sequence[int]], candidates: int, seed: int
) -> dict[str, list[Answers]]:
    """The answers of both halves, for each adversary."""
    tokens, view, known, algebra = who.tokens, who.view, who.known, who.algebra
    generator = torch.Generator().manual_seed(seed)
    table = torch.unique(users, return_inverse=True)[1]
    count = torch.bincount(table)
    at_hand = tokens if known is None else features(tokens, known, generator)
    played_on = who.observation or TokenObservation(tokens, view.noise_std)
    own_observation = known or TokenObservation(tokens, view.noise_std)
    both = halves(count, records_of(view), generator)
    k = most_candidates(candidates, [int((count[half] > records_of(view)).sum()) for half in both], view)
    found: dict[str, list[Answers]] = {name: [] for name in ADVERSARIES}
    for mine, theirs in (both, both[::-1]):
        folds = halves_of(mine, count, records_of(view), generator)
        there = Users(table, folds, k, view)
        own = [torch.nonzero(torch.isin(table, fold)).flatten() for fold in folds]
        own_games = [
            _user_batches(there.draw(fold, FIT_GAMES, generator), at_hand, there, own_observation, generator)
            for fold in folds
        ]
        drawn = there.draw(theirs, PLAY_GAMES, generator)
        shown = _user_batches(drawn, at_hand, there, played_on, generator)
        batches = _batches(drawn, table)
        records = torch.cat(own)
        places = torch.arange(len(own[0])), torch.arange(len(own[0]), len(records))
        setting, sketched = _setting(view, known is not None), []
        for name in OF_SKETCHES:
            posterior = fit_users(at_hand[:, records], table[records], list(zip(places, own_games)), setting, name)
            sketched.append(_answers(posterior, shown, batches, groups))
            found[name].append(sketched[-1][0])
        if algebra is not None:
            lines = [[row for row in group if row < len(algebra.own.layers)] for group in groups]
            told = answer_on_matrices(algebra, there, drawn, lines, seed)
            found[COMBINED].append(_better(*sketched[0], told))
    return found


def most_candidates(candidates: int, halves: Sequence[int], view: View) -> int:
    """How many users an adversary looks among, where the halves have so many who fill a batch."""
    return max(2, min(candidates, *(there // parts(view) for there in halves)))


def _answers(
    posterior: UserPosterior, shown: UserBatches, batches: Batches, groups: Sequence[Sequence[int]]
) -> tuple[Answers, list[float]]:
    """Answers for every line, and bits on the adversary's own games."""
    log_q, null = posterior.answer(shown)
    chosen = posterior.fitted.best(groups)
    wrong = (batches.secret + 1) % log_q.shape[-1]
    return Answers(log_q[chosen], null[chosen], wrong, batches), posterior.fitted.bits[chosen].tolist()


def _better(sketched: Answers, bits: Sequence[float], told: Sequence[MatrixAnswer | None]) -> Answers:
    """Of every line the answers, from sketches or from matrices, that tell more on the adversary's own games."""
    log_q, null = sketched.log_q.clone(), sketched.null_log_q.clone()
    starved = [one is not None and one.bits > bits[line] and one.starved for line, one in enumerate(told)]
    for line, one in enumerate(told):
        if one is not None and one.bits > bits[line]:
            log_q[line], null[line] = one.log_q.to(log_q), one.null_log_q.to(null)
    return Answers(log_q, null, sketched.wrong, sketched.batches, starved)


def _setting(view: View, learned: bool) -> Setting:
    rounds = view.batches
    # Rounds are added up; those that show one batch are averaged.
    noise = view.noise_std * (view.rounds**-0.5 if view.fixed_batch else view.rounds**0.5)
    return Setting(rounds * view.batch_size, rounds * (view.users - 1), view.batch_size, noise, learned)


def _user_batches(
    drawn: UserDraws, tokens: Tensor, users: Users, observation: Observation, generator: torch.Generator
) -> UserBatches:
    """What the adversary sees of some batches and knows of their users."""
    table, view = users.table, users.view
    views = observe_rounds(observation, drawn.members, generator)
    observed = (views.mean(0) if view.fixed_batch else views.sum(0)).to(tokens)
    count = torch.bincount(table)[drawn.user]
    total = tokens.new_zeros(len(tokens), int(table.max()) + 1, tokens.shape[-1]).index_add_(1, table, tokens)
    left = count - drawn.hidden.shape[1]
    mine = sums(tokens, drawn.hidden)
    known = (total[:, drawn.user] - mine) / left[:, None]
    fixed = drawn.members[:1] if view.fixed_batch else drawn.members
    batch = sums(tokens, fixed.transpose(0, 1).flatten(1)) if view.users > 1 else mine
    return UserBatches(observed, known, left, batch, drawn.sets, drawn.kept)


def _batches(drawn: UserDraws, table: Tensor) -> Batches:
    """The games in the order of the sets; a user is named by a record of theirs."""
    first = torch.full((int(table.max()) + 1,), len(table)).scatter_reduce(0, table, torch.arange(len(table)), "amin")
    game = drawn.sets.flatten()[drawn.kept]
    size = drawn.sets.shape[1]
    secret = torch.arange(size).repeat(len(drawn.sets))[drawn.kept]
    prior = torch.full((len(game), size), 1.0 / size, dtype=torch.float64)
    others = (torch.arange(size)[:, None] + torch.arange(1, size)) % size
    rivals = drawn.sets[:, others].flatten(0, 1)[drawn.kept]
    return Batches(drawn.members[:, game], secret, prior, first[drawn.user[game]], first[drawn.user[rivals]])
