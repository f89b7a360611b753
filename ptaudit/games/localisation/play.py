"""Which layer does a secret move?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch

from ptaudit.context.epoch_context import EpochContext, Scope
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.data.attribute_encoding import attribute_secret
from ptaudit.errors import ModelError
from ptaudit.games.common.column import check_classes, column_of
from ptaudit.games.common.settings import attribute_of
from ptaudit.games.game_play import GamePlay
from ptaudit.games.localisation.info import LocalisationGame
from ptaudit.games.localisation.measure import METRICS, distances, sensitivities
from ptaudit.gradients.sensitivity import jacobian_norms
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.joint import mixed

_Of = Literal["input", "target"]


class LocalisationPlay(GamePlay[LocalisationGame]):
    """All layers jointly and each, for every metric."""

    def on_model(self, context: EpochContext, game: LocalisationGame) -> list[Scores]:
        """Scores of an epoch, scope by scope, each metric by the one who measures it."""
        sheet = ScoreSheet.of(context, game)
        missing = [one for metric, who in METRICS.items() for one in sheet.not_captured([who], [metric])]
        missing.sort(key=lambda one: one.scopes[0].index)
        scopes = sheet.scopes
        if why := sheet.why_not():
            lost = {metric: [inconclusive(why)] for metric in METRICS}
            return [*_by_scope(sheet, scopes, lost), *missing]
        found = {
            "sensitivity": _moved(context, game, *_place(context, game)),
            "input_sensitivity": _moved(context, game, "input"),
            **_apart(context, game),
        }
        return [*_by_scope(sheet, scopes, found), *missing]

    def check(self, session: Session, game: LocalisationGame) -> None:
        """Refuses secrets that are no classes."""
        check_classes(session, game)


def _place(context: EpochContext, game: LocalisationGame) -> tuple[_Of, slice | None, str]:
    """What the gradient is differentiated by, which numbers of it, and why it cannot be; empty if it can."""
    if not game.about_attribute:
        return "target", None, ""
    name = attribute_of(game, context.session.spec)
    field = context.session.records.fields.get(name)
    if field is None:
        return "input", None, f"`{name}` is no input with few values: there is nothing to differentiate by"
    return "input", slice(field.start, field.start + field.levels.shape[1]), ""


def _moved(
    context: EpochContext, game: LocalisationGame, of: _Of, columns: slice | None = None, why_not: str = ""
) -> list[Estimate]:
    """Sensitivity of all layers jointly and of each."""
    session, names = context.session, [layer.name for layer in context.inside.layers]
    try:
        if why_not:
            raise ModelError(why_not)
        norms = jacobian_norms(
            context.model,
            session.loss,
            names,
            *session.batch(session.members[: game.records]),
            of=of,
            columns=columns,
            probes=game.probes,
            seed=context.seed,
            device=session.device,
        )
    except ModelError as error:
        return [inconclusive(error.what)] * (1 + len(names))
    return sensitivities(norms, context.seed)


def _apart(context: EpochContext, game: LocalisationGame) -> Mapping[str, list[Estimate]]:
    """Distances between the groups of the members that belong to one, in all layers jointly and in each."""
    session, device = context.session, context.inside.values.device
    secret = attribute_secret(column_of(session, game)[session.members])
    assert secret.names is not None  # a number is refused before anything is trained
    known = torch.from_numpy(secret.known).to(device)
    groups = torch.from_numpy(secret.values).to(device)[known]
    tokens = context.inside.values[:, known].double()
    return distances(torch.cat([mixed(tokens)[None], tokens]), groups, secret.names, context.seed)


def _by_scope(sheet: ScoreSheet, scopes: Sequence[Scope], found: Mapping[str, Sequence[Estimate]]) -> Iterator[Scores]:
    for i, scope in enumerate(scopes):
        for metric, adversary in METRICS.items():
            yield sheet.scores(adversary, {metric: [found[metric][i]]}, [scope])


PLAY = LocalisationPlay()
