"""Which layer does a secret move?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ptaudit.context.epoch_context import EpochContext, Scope
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.data.attribute_encoding import attribute_secret
from ptaudit.errors import ModelError
from ptaudit.games.common.column import check_classes, column_of
from ptaudit.games.common.settings import attribute_of
from ptaudit.games.game_play import GamePlay
from ptaudit.games.localisation.info import LocalisationGame
from ptaudit.games.localisation.measure import METRICS, distances, sensitivities, too_few_groups
from ptaudit.gradients.sensitivity import Private, jacobian_norms
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View
from ptaudit.views.joint import mixed


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
            "sensitivity": _moved(context, game, _secret_numbers(context, game)),
            "input_sensitivity": _moved(context, game, "input"),
            **_apart(context, game),
        }
        return [*_by_scope(sheet, scopes, found), *missing]

    def check(self, session: Session, game: LocalisationGame) -> None:
        """Refuses secrets that are no classes."""
        check_classes(session, game)

    def foretell(self, session: Session, game: LocalisationGame, view: View | None) -> Iterator[Foretold]:
        """Whether two groups have enough records; how far layers are moved is only known after the run."""
        groups, names, _ = _groups(session, game)
        yield Foretold(game.metrics[0])
        if why := too_few_groups(groups, names):
            yield from (never(why, len(groups), metric) for metric in ("subspace_distance", "js_distance"))


def _secret_numbers(context: EpochContext, game: LocalisationGame) -> Private | None:
    """What the gradient is differentiated by; None where the attribute is no input."""
    if not game.about_attribute:
        return "target"
    field = context.session.records.fields.get(attribute_of(game, context.session.spec))
    return None if field is None else slice(field.start, field.start + field.levels.shape[1])


def _moved(context: EpochContext, game: LocalisationGame, private: Private | None) -> list[Estimate]:
    """Sensitivity of all layers jointly and of each."""
    session, names = context.session, [layer.name for layer in context.inside.layers]
    if private is None:
        name = attribute_of(game, session.spec)
        why_not = f"`{name}` is no input with few values: there is nothing to differentiate by"
        return [inconclusive(why_not)] * (1 + len(names))
    records = context.reader.source.losses(*session.batch(session.members[: game.records]))
    try:
        norms = jacobian_norms(records, names, private, game.probes, context.seed)
    except ModelError as error:
        return [inconclusive(error.what)] * (1 + len(names))
    return sensitivities(norms, context.seed)


def _apart(context: EpochContext, game: LocalisationGame) -> Mapping[str, list[Estimate]]:
    """Distances between the groups of the members that belong to one, in all layers jointly and in each."""
    values = context.inside.values
    groups, names, known = _groups(context.session, game)
    tokens = values[:, known.to(values.device)].double()
    return distances(torch.cat([mixed(tokens)[None], tokens]), groups.to(values.device), names, context.seed)


def _groups(session: Session, game: LocalisationGame) -> tuple[Tensor, Sequence[str], Tensor]:
    """Groups of the audited members that belong to one, what they are called, and which members these are."""
    secret = attribute_secret(column_of(session, game)[session.members])
    assert secret.names is not None  # a number is refused before anything is trained
    known = torch.from_numpy(secret.known)
    return torch.from_numpy(secret.values)[known], secret.names, known


def _by_scope(sheet: ScoreSheet, scopes: Sequence[Scope], found: Mapping[str, Sequence[Estimate]]) -> Iterator[Scores]:
    for i, scope in enumerate(scopes):
        for metric, adversary in METRICS.items():
            yield sheet.scores(adversary, {metric: [found[metric][i]]}, [scope])


PLAY = LocalisationPlay()
