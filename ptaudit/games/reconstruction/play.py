"""Which records can be rebuilt from the gradient of their batch?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ptaudit.attacks.inversion.batch_norm import has_batch_norm
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.attacks.inversion.registry import ATTACKS
from ptaudit.context.epoch_context import EpochContext, Scope
from ptaudit.context.observations import prepared, undefended, why_not_seen
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.data.contents import Table
from ptaudit.errors import ModelError, SpecError
from ptaudit.games.common.content_gates import check_gates
from ptaudit.games.game_play import GamePlay
from ptaudit.games.reconstruction.granted import granted, reference_of, unaware
from ptaudit.games.reconstruction.info import (
    LABELS,
    LOOKS_AT_BATCH_NORM,
    OF_BATCH,
    OF_TEXTS,
    WORST,
    ReconstructionGame,
)
from ptaudit.games.reconstruction.measure import Truth, measure, target_of
from ptaudit.games.reconstruction.pictures import side_by_side
from ptaudit.games.reconstruction.shown import TargetBatches, draw, layers_of, shown, too_few
from ptaudit.games.reconstruction.texts import TrueTexts
from ptaudit.model_input import rows
from ptaudit.spec.catalog import FIELD, GUESSED_FIELD, JOINT
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View
from ptaudit.views.knowledge import Asked, Knowledge, Knows

_CANDIDATES = 256
"""Most records among which a rebuilt one is to be told, the targets among them."""


class ReconstructionPlay(GamePlay[ReconstructionGame]):
    """All layers that the view shares jointly, by every attack, with the view's defense known and unknown."""

    def on_view(self, context: EpochContext, game: ReconstructionGame, view: View) -> list[Scores]:
        """Scores on a view."""
        sheet, session = ScoreSheet.of(context, game, view), context.session
        scopes = [_scope(context, view)]
        if why := _why_not(context, game, view):
            return [sheet.scores(who, _lost(session, game, who, why), scopes) for who in asked(game, view)]
        content = session.content
        reference, ready = reference_of(context, content), prepared(context, view)
        batches = draw(context, view, game.records)
        seen = shown(context, ready, batches)
        aware = granted(context, game, ready, batches, reference)
        every = content.targets(batches.inputs).cpu()
        truth = Truth(
            content,
            reference.prior,
            every[batches.index],
            batches.targets.cpu()[batches.index],
            _candidates(context, every[batches.index[:, 0]]),
            game.threshold,
            None if reference.texts is None else TrueTexts(rows(batches.inputs, batches.index), reference.texts),
        )
        found = []
        for who in asked(game, view):
            told = seen, aware
            if who.knowledge == "static":
                told = replace(seen, noise_std=0.0), unaware(aware, batches, game)
            said = _rebuilt(context, game, who.adversary, *told)
            if isinstance(said, str):
                found.append(sheet.scores(who, _lost(session, game, who, said, len(truth.records)), scopes))
                continue
            labels = told[1].labels is None and told[1].space.classes is not None and said.tokens is None
            estimates = measure(truth, said, labels, context.seed)
            if who.knowledge == "adaptive":
                _keep(sheet, who.adversary, said, truth, batches)
            found.append(sheet.scores(who, {name: [one] for name, one in estimates.items()}, scopes))
        return found

    def check(self, session: Session, game: ReconstructionGame) -> None:
        """Refuses records of which nobody knows what their content is, statistics that the model does not have, and
        gates that match no row."""
        if game.batch_norm and not has_batch_norm(session.model(session.spec.train.all_seeds[0])):
            what = f"`{game.title}` grants statistics of BatchNorm layers, and the model has none"
            raise SpecError(what, where="audit.games", remedy="leave batch_norm out")
        told = {attack: told_of(session, game, attack) for attack in game.attacks}
        every = list(dict.fromkeys(metric for metrics in told.values() for metric in metrics))
        check_gates(session, game, lambda attack: every if attack is None else told[attack])

    def trials(self, session: Session, game: ReconstructionGame) -> Sequence[tuple[ReconstructionGame, float]]:
        """Few iterations, and some more."""
        return game.trials()

    def foretell(self, session: Session, game: ReconstructionGame, view: View | None) -> Iterator[Foretold]:
        """Whether there are enough records to fill the batches."""
        assert view is not None
        n = len(session.members)
        if why := too_few(n, view, game.records):
            yield never(why, n)


def asked(game: ReconstructionGame, view: View) -> list[Asked]:
    """Who plays: every attack with the defense known, and where there is one every attack that takes it for none."""
    ways: list[Knowledge] = ["adaptive"] if undefended(view) == view else ["adaptive", "static"]

    def knows(attack: str) -> Knows:
        return "batch_norm" if game.batch_norm and attack == LOOKS_AT_BATCH_NORM else "none"

    return [Asked(attack, way, knows(attack)) for way in ways for attack in game.attacks]


def told_of(session: Session, game: ReconstructionGame, attack: str) -> tuple[str, ...]:
    """The metrics of an attack on the records of a session."""
    content = session.content
    if (about := ATTACKS[attack].says_of) != "records":
        return OF_BATCH[about]
    texts = OF_TEXTS if content.kind == "tokens" else ()
    labels = (LABELS,) if game.labels == "recovered" and session.records.classes is not None else ()
    return (*content.metrics, *texts, "identified", "rebuilt", f"worst_{WORST[content.kind]}", *labels)


def _scope(context: EpochContext, view: View) -> Scope:
    return Scope(JOINT, -1, "joint", sum(layer.size for layer in layers_of(context, view)))


def _why_not(context: EpochContext, game: ReconstructionGame, view: View) -> str:
    """Why nothing can be said of a view; empty if something can."""
    session = context.session
    if not len(session.others):
        return "there are no held-out records, from which the adversary would know what inputs look like"
    if not layers_of(context, view):
        return "no layer is shared"
    if any(parameter.is_complex() for parameter in context.model.parameters()):
        return "complex weights, of which no attack simulates the gradient"
    if view.users > 1 and not view.linear:
        return "the defended gradients of several users are summed, which no attack takes apart"
    return too_few(len(session.members), view, game.records) or why_not_seen(context, view)


def _rebuilt(
    context: EpochContext, game: ReconstructionGame, name: str, seen: SharedGradients, known: Granted
) -> Reconstruction | str:
    """What an attack says; or why it says nothing: a budget that ran out is no measurement."""
    attack = ATTACKS[name]
    if why := attack.why_not(seen, known):
        return why
    budget = Budget(game.budget.seconds, game.budget.iterations, game.budget.restarts)
    generator = torch.Generator().manual_seed(context.seed)
    try:
        found = attack.rebuild(seen, known, budget, generator, context.progress)
    except ModelError as error:
        return error.what
    if found.ran_out:
        return _ran_out(found, game)
    nothing = found.unsolved is not None and bool(found.unsolved.all())
    return found.why_unsolved if nothing else found


def _keep(sheet: ScoreSheet, attack: str, said: Reconstruction, truth: Truth, batches: TargetBatches) -> None:
    """Scores of single records, and pictures of them beside what was rebuilt; only where these are asked for."""
    context, sink = sheet.context, sheet.context.samples
    if sink is None or said.records is None:
        return
    name, kind = f"{sheet.name}/{attack}", truth.content.kind
    rebuilt, own = target_of(truth, said), truth.records[:, 0]
    values = torch.from_numpy(truth.content.scores(rebuilt, own, truth.prior)[WORST[kind]])
    sink.add(context.epoch, JOINT, sheet.game.title, f"{name}/{WORST[kind]}", values, batches.members)
    if isinstance(truth.content, Table):
        guess = torch.as_tensor(truth.prior.guess).expand(own.shape)
        for what, answer in ((FIELD, rebuilt), (GUESSED_FIELD, guess)):
            recovered = torch.from_numpy(truth.content.recovered(answer, own, truth.prior))
            for field, column in zip(truth.content.fields, recovered.T):
                sink.add(context.epoch, JOINT, sheet.game.title, f"{name}{what}{field.name}", column, batches.members)
    if kind == "picture":
        reference, shape = reference_of(context, truth.content), truth.content.shape
        sheet_of = side_by_side(own.view(-1, *shape), rebuilt.view(-1, *shape), reference.mean, reference.space)
        sink.picture(context.epoch, f"{sheet.game.title}-{sheet.name}-{attack}", sheet_of)


def _ran_out(found: Reconstruction, game: ReconstructionGame) -> str:
    spent, budget = game.budget.seconds, game.budget
    after = f" after {found.iterations} of {budget.iterations} iterations" if found.iterations else ""
    return f"the {spent:g} seconds of the budget were over{after}; give it more seconds or fewer records"


def _lost(
    session: Session, game: ReconstructionGame, who: Asked, why: str, n: int = 0
) -> dict[str, Sequence[Estimate]]:
    """Of an attack that could not run: all that it would have told."""
    return {metric: [inconclusive(why, n=n)] for metric in told_of(session, game, who.adversary)}


def _candidates(context: EpochContext, targets: Tensor) -> Tensor:
    """The targets, and further members, `(K, D)`."""
    session = context.session
    generator = torch.Generator().manual_seed(context.seed)
    order = torch.randperm(len(session.members), generator=generator)[len(targets) : _CANDIDATES]
    inputs, _ = session.batch(session.members[order.numpy()])
    return torch.cat([targets, session.content.targets(inputs).cpu()])


PLAY = ReconstructionPlay()
