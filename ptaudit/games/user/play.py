"""Whose records is the batch made of?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ptaudit.context.epoch_context import EpochContext, groups_of
from ptaudit.context.observations import adaptive, known_by, observations, static
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.errors import DataError
from ptaudit.games.common.batch_secret import FoundByAdversary
from ptaudit.games.common.batch_secret_play import play, players_of
from ptaudit.games.game_play import GamePlay
from ptaudit.games.user.draws import parts, records_of
from ptaudit.games.user.info import UserGame
from ptaudit.games.user.measure import ADVERSARIES, COMBINED, enough, measure, most_candidates, too_few_users
from ptaudit.stats.foretold import Foretold, bits, never, share
from ptaudit.views import View


class UserPlay(GamePlay[UserGame]):
    """All layers jointly and each, by every adversary; `combined` only knowing weights and defense."""

    def on_view(self, context: EpochContext, game: UserGame, view: View) -> list[Scores]:
        """Scores on a view."""
        players = players_of(game, view, ADVERSARIES)
        players = [who for who in players if not who.mistaken or who.adversary != COMBINED]
        sheet = ScoreSheet.of(context, game, view)
        return play(sheet, players, game.weights == "late", lambda: _measure(sheet, game, view))

    def check(self, session: Session, game: UserGame) -> None:
        """Refuses views that show more records of a user than users have."""
        assert session.spec.data.user is not None
        _, count = np.unique(session.records.columns[session.spec.data.user][session.members], return_counts=True)
        for view in session.views:
            needed = records_of(view) + 1
            if (count >= needed).sum() < 2:
                what = (
                    f"view `{view.name}` shows {needed - 1} records of one user, and the adversary has another one: of "
                    f"{len(count)} users among the audited members the largest has {count.max()}"
                )
                remedy = "lower batch_size or rounds, or audit more records"
                raise DataError(what, where=f"game {game.title}", remedy=remedy)

    def foretell(self, session: Session, game: UserGame, view: View | None) -> Iterator[Foretold]:
        """Whether enough users have enough records; each of them is among as many candidates as there can be."""
        assert view is not None
        users = _users(session)
        there = enough(users, records_of(view))
        if why := too_few_users(users, view):
            yield never(why, there)
            return
        k = most_candidates(game.candidates, [there // 2, there - there // 2], view)
        targets = there // parts(view)
        yield bits(targets, math.log2(k))
        yield share("accuracy", 1.0 / k, targets)


def _users(session: Session) -> Tensor:
    """Code of the user of each audited record."""
    assert session.spec.data.user is not None
    column = session.records.columns[session.spec.data.user][session.members]
    return torch.from_numpy(np.unique(column, return_inverse=True)[1])


def _measure(sheet: ScoreSheet, game: UserGame, view: View) -> FoundByAdversary:
    context, places, late = sheet.context, sheet.places, game.weights == "late"
    session, groups, k, seed = context.session, groups_of(view, len(places)), game.candidates, context.seed
    users = _users(session)
    who, unaware = adaptive(known_by(context, late), view, places), static(context, view, places, late)
    if late:  # it prepares on what it computes, and plays on what is shown now
        seen = observations(context, view, places, late)
        who = replace(who, observation=seen.now, known=seen.known, algebra=None, late=True)
    found = measure(who, users, groups, k, seed)
    return found if unaware is None else found | measure(unaware, users, groups, k, seed)


PLAY = UserPlay()
