"""How much does a record's gradient stand out from those of all others?"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.estimators.uniqueness import measure, ranks, scores, too_few
from ptaudit.games.game_play import GamePlay
from ptaudit.games.uniqueness.info import UniquenessGame
from ptaudit.spec.catalog import JOINT
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View
from ptaudit.views.joint import mixed

(ADVERSARY,) = UniquenessGame.players


class UniquenessPlay(GamePlay[UniquenessGame]):
    """All layers jointly and each."""

    def on_model(self, context: EpochContext, game: UniquenessGame) -> list[Scores]:
        """Scores of an epoch; the rank of every record, where those are kept."""
        sheet = ScoreSheet.of(context, game)
        if why := sheet.why_not():
            return sheet.lost([ADVERSARY], why)
        values = context.inside.values.double()
        found = measure(torch.cat([mixed(values)[None], values]), context.seed)
        if context.samples is not None and found["top_share"][0].conclusive:
            rank = ranks(scores(mixed(values)[None]))[0]
            context.samples.add(context.epoch, JOINT, game.title, "rank", rank)
        return [sheet.scores(ADVERSARY, found), *sheet.not_captured([ADVERSARY])]

    def foretell(self, session: Session, game: UniquenessGame, view: View | None) -> Iterator[Foretold]:
        """Whether there are enough records, if tokens span all directions that they may."""
        n = len(session.members)
        if why := too_few(n, session.spec.audit.tokens.dim):
            yield never(why, n)


PLAY = UniquenessPlay()
