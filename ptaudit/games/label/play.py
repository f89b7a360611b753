"""Of which class is a record of the batch?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from ptaudit.attacks.batch import COMBINED
from ptaudit.context.epoch_context import EpochContext, groups_of
from ptaudit.context.observations import players
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.estimators.pairing import entropy
from ptaudit.games.common.batch_secret_play import observed_by
from ptaudit.games.common.observed_view import asked
from ptaudit.games.game_play import GamePlay
from ptaudit.games.label.info import LabelGame
from ptaudit.games.label.measure import ADVERSARY, ceiling, measure, measure_sums, why_not
from ptaudit.stats.foretold import Foretold, bits, never, share
from ptaudit.views import View
from ptaudit.views.knowledge import Asked


class LabelPlay(GamePlay[LabelGame]):
    """All layers jointly and each; a static adversary too, where the view has a defense."""

    def on_view(self, context: EpochContext, game: LabelGame, view: View) -> list[Scores]:
        """Scores on a view."""
        sheet, classes = ScoreSheet.of(context, game, view), context.session.records.classes
        lost = [ADVERSARY if view.records == 1 else COMBINED]
        why = sheet.why_not() or ("the targets are no classes" if classes is None else "")
        if classes is None or why:
            return sheet.lost(lost, why)
        found = _of_sums(sheet, game) if view.records > 1 else _alone(sheet, view, classes)
        return found + sheet.not_captured(lost)

    def foretell(self, session: Session, game: LabelGame, view: View | None) -> Iterator[Foretold]:
        """Whether records have a class and are enough; else what the most frequent class leaves to tell."""
        assert view is not None
        labels, n = session.records.targets[session.members].cpu(), len(session.members)
        classes = session.records.classes
        none = f"{session.why_no_classes}, and it is about one class a record" if classes is None else ""
        if why := none or why_not(labels, view):
            yield never(why, n)
            return
        targets = n if view.records > 1 else 4 * (n // 4)
        yield bits(targets, min(entropy(labels), ceiling(labels, view.records, view.batches)))
        yield share("accuracy", float(torch.bincount(labels).max()) / n, targets)

    def most_bits(self, session: Session, game: LabelGame, view: View, parameters: int) -> float | None:
        """All classes told apart."""
        classes = session.records.classes
        return math.log2(classes) if classes else None

    def learns_from_held_out(self, session: Session, game: LabelGame) -> bool:
        """It does."""
        return True


def _alone(sheet: ScoreSheet, view: View, classes: int) -> list[Scores]:
    """Scores on records alone."""
    context, found = sheet.context, []
    groups = groups_of(view, len(sheet.places))
    for knowledge, who in players(context, view, sheet.places):
        name, estimates = measure(who, context.targets, classes, groups, context.seed)
        found.append(sheet.scores(Asked(name, knowledge), estimates))
    return found


def _of_sums(sheet: ScoreSheet, game: LabelGame) -> list[Scores]:
    context, observed = sheet.context, observed_by(sheet, batches=game.fit_batches)
    found = measure_sums(context.targets, observed.beside(context.session.batch(context.session.others)[1].cpu()))
    by_key = {who.key: who for who in asked([COMBINED], observed.plain)}
    return [sheet.scores(by_key[key], each) for key, each in found.items()]


PLAY = LabelPlay()
