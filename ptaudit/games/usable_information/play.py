"""How much of a record's secret can a family of predictors read from the gradient of its batch?"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ptaudit.attacks import usable
from ptaudit.attacks.pairs import Encoded
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.data.attribute_encoding import attribute_secret
from ptaudit.errors import SpecError
from ptaudit.games.common.observed_view import encoded_view, left_to_games, too_few_encoded, why_not_encoded
from ptaudit.games.common.settings import attribute_of
from ptaudit.games.game_play import GamePlay
from ptaudit.games.usable_information.info import UsableInformationGame
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.foretold import Foretold, bits, never, share
from ptaudit.views import View

_CLASS = re.compile(r"\bclass (\d+)\b")


class UsableInformationPlay(GamePlay[UsableInformationGame]):
    """All layers jointly and each, by every family. Records that have no such secret take no part."""

    def on_view(self, context: EpochContext, game: UsableInformationGame, view: View) -> list[Scores]:
        """Scores on a view."""
        sheet = ScoreSheet.of(context, game, view)
        secret, known, names = _label(context) if game.secret == "label" else _attribute(context, game)
        why = why_not_encoded(context, view, sheet.places) or (
            "a label for each record is needed" if secret.dim() > 1 else ""
        )
        if why:
            return sheet.lost(game.family, why)
        seen = encoded_view(context, view, sheet.places)
        seen = replace(seen, records=seen.records[known[seen.records]])
        found = measure(seen, secret, game.family, context.seed)
        scores = []
        for family in game.family:
            named = {metric: [_named(e, names) for e in estimates] for metric, estimates in found[family].items()}
            scores.append(sheet.scores(family, named))
        return scores + sheet.not_captured(game.family)

    def check(self, session: Session, game: UsableInformationGame) -> None:
        """A gate on the accuracy of a secret is about classes: with numbers it would match no row."""
        for gate in session.spec.gates:
            if gate.game == game.title and gate.measure == "accuracy" and not _of_classes(session, game):
                raise SpecError(
                    f"the secret of `{game.title}` is a number, which has no accuracy",
                    where=f"gate {gate.id}",
                    remedy=f"gate `{game.title}.bits`",
                )

    def foretell(self, session: Session, game: UsableInformationGame, view: View | None) -> Iterator[Foretold]:
        """Whether records have one label and are enough; what the frequencies of classes leave to tell."""
        assert view is not None
        several = game.secret == "label" and session.records.targets.dim() > 1
        why = f"{session.why_no_classes}, and it is about one label a record" if several else ""
        n = left_to_games(session)
        if why := why or too_few_encoded(session, view) or usable.too_few(n):
            yield never(why, n)
        elif _of_classes(session, game):
            secret, known = _secret(session, game)
            prior = torch.bincount(secret[known].long()).double() / int(known.sum())
            targets = round(n * float(known.double().mean()))
            yield bits(targets, float(torch.special.entr(prior).sum()) / math.log(2.0))
            yield share("accuracy", float(prior.max()), targets)


def _of_classes(session: Session, game: UsableInformationGame) -> bool:
    if game.secret == "label":
        targets = session.records.targets
        return targets.dim() > 1 or not targets.is_floating_point()
    column = session.records.columns[attribute_of(game, session.spec)]
    return attribute_secret(column[session.members]).names is not None


def _secret(session: Session, game: UsableInformationGame) -> tuple[Tensor, Tensor]:
    """The class of every audited record, and whether it has one."""
    if game.secret == "label":
        labels = session.records.targets[session.members].cpu()
        return labels, torch.ones(len(labels), dtype=torch.bool)
    secret = attribute_secret(session.records.columns[attribute_of(game, session.spec)][session.members])
    return torch.from_numpy(secret.values), torch.from_numpy(secret.known)


def _label(context: EpochContext) -> tuple[Tensor, Tensor, None]:
    return context.targets, torch.ones(len(context.targets), dtype=torch.bool), None


def _attribute(context: EpochContext, game: UsableInformationGame) -> tuple[Tensor, Tensor, Sequence[str] | None]:
    """The attribute of every record, whether it has one, and what its classes are called."""
    session = context.session
    secret = attribute_secret(session.records.columns[attribute_of(game, session.spec)][session.members])
    values = torch.from_numpy(secret.values).to(context.inside.values.device)
    return values, torch.from_numpy(secret.known), secret.names


def _named(estimate: Estimate, names: Sequence[str] | None) -> Estimate:
    """With a class in the status called as in the data."""
    if names is None or estimate.conclusive:
        return estimate
    return replace(estimate, status=_CLASS.sub(lambda found: f"class `{names[int(found[1])]}`", estimate.status))


FOLDS = 4
PER_TARGET = 2
"""Batches for each record, where there are others; without others every batch of a record is the same."""


def measure(
    encoded: Encoded, secret: Tensor, families: Sequence[str], seed: int = 0
) -> dict[str, dict[str, list[Estimate]]]:
    """Ask every family about every group of rows.

    Args:
        encoded: the view, and what is made of what it shows.
        secret: of the N records: classes `(N,)`, or numbers `(N,)` or `(N, s)`.
        families: `linear`, `mlp`, `knn`.
        seed: seed of folds, draws, noise and predictors.

    Returns:
        For each family `bits`, and `accuracy` for classes: one estimate for each group.
    """
    metrics, groups = ("bits",) if secret.is_floating_point() else ("bits", "accuracy"), encoded.groups
    if reason := encoded.why_not():
        lost = dict.fromkeys(metrics, [inconclusive(reason, n=len(encoded.records))] * len(groups))
        return dict.fromkeys(families, lost)
    drawn = encoded.draw([1 / FOLDS] * FOLDS, [PER_TARGET] * FOLDS, torch.Generator().manual_seed(seed))
    told = usable.LabelledTokens(drawn.views, secret[drawn.record], drawn.record, drawn.part)
    return {family: usable.measure(told, groups, family, seed) for family in families}


PLAY = UsableInformationPlay()
