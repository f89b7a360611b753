"""Was a record trained on?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.groups import GroupScore
from ptaudit.context.memo import Key
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.games.game_play import GamePlay
from ptaudit.games.membership.distance import by_distance
from ptaudit.games.membership.foretold import foretold
from ptaudit.games.membership.groups import group_scores
from ptaudit.games.membership.info import (
    DISTANCE,
    OF_LAYERS,
    POOLED,
    UPDATE,
    MembershipGame,
)
from ptaudit.games.membership.measure import Measured, RecordSignals, measure, too_few, unmeasured
from ptaudit.games.membership.outputs import by_outputs
from ptaudit.games.membership.update import by_update
from ptaudit.sketches.tokens import Tokens
from ptaudit.spec.catalog import JOINT, OF_MEMBERS, OF_OTHERS
from ptaudit.spec.model import Spec
from ptaudit.stats.estimate import inconclusive
from ptaudit.stats.foretold import Foretold, never
from ptaudit.training.fleet.queries import Queries
from ptaudit.views import View
from ptaudit.views.joint import mixed

_MEASURED: Key[Measured] = Key("membership")


class MembershipPlay(GamePlay[MembershipGame]):
    """All layers jointly and each, by every adversary."""

    def on_model(self, context: EpochContext, game: MembershipGame) -> list[Scores]:
        """Scores of an epoch, all layers jointly first."""
        sheet = ScoreSheet.of(context, game)
        joint, measured = len(sheet.places), _measured(context, sheet, game)
        _keep(context, game, measured, joint)
        found = measured.lines
        scopes, scores = sheet.scopes, []
        for adversary, place in sorted(found, key=lambda key: (key[1] != joint, key[1])):
            one = {metric: [estimate] for metric, estimate in found[adversary, place].items()}
            scores.append(sheet.scores(adversary, one, [scopes[0 if place == joint else 1 + place]]))
        there = {adversary for adversary, _ in found}
        return scores + sheet.not_captured([name for name in OF_LAYERS if name in there], POOLED)

    def groups(self, context: EpochContext, game: MembershipGame) -> list[GroupScore]:
        """Numbers of every group by the attack that the summary shows."""
        sheet = ScoreSheet.of(context, game)
        return group_scores(context.session, _measured(context, sheet, game), len(sheet.places))

    def check(self, session: Session, game: MembershipGame) -> None:
        """Refuses records that there are not several views of."""
        Queries.of(game.queries, session.records)

    def foretell(self, session: Session, game: MembershipGame, view: View | None) -> Iterator[Foretold]:
        """Whether it is known who was trained on, and whether records and models are enough."""
        sides = len(session.members), len(session.others)
        if why := who_is_unknown(session.spec) or too_few(min(sides)):
            yield never(why, sum(sides))
            return
        yield from foretold(game.asked(session.spec), session.spec, sides)


def who_is_unknown(spec: Spec) -> str:
    """Why nobody knows who was trained on; empty where it is known."""
    if spec.replay is None or spec.data.members or spec.data.non_members:
        return ""
    return "no index file says which records the checkpoints were trained on: name it in data.members"


def _measured(context: EpochContext, sheet: ScoreSheet, game: MembershipGame) -> Measured:
    """What the game found at this epoch, played once. Rows are the layers, and all of them jointly last."""
    return context.memo.once(_MEASURED, (game.title,), lambda: _play(context, sheet, game))


def _play(context: EpochContext, sheet: ScoreSheet, game: MembershipGame) -> Measured:
    assert context.outside is not None
    asked, joint = game.asked(context.session.spec), len(sheet.places)
    sides = [_side(tokens) for tokens in (context.inside, context.outside)]
    held = by_outputs(context, asked, joint, game.queries)
    scored, lost = by_update(context) if UPDATE in asked else ({}, {})
    near, nowhere = by_distance(context, joint) if DISTANCE in asked else ({}, {})
    played = measure(sides[0], sides[1], context.seed, {**held.scores, **scored, **near}, asked)
    found = dict(played.lines)
    for key, more in held.beyond.items():
        found[key] = found[key] | more
    for key, why in {**held.lost, **lost, **nowhere}.items():
        found[key] = unmeasured(key[0], why)
    if reason := who_is_unknown(context.session.spec):
        found = {key: dict.fromkeys(one, inconclusive(reason)) for key, one in found.items()}
    if why := sheet.why_not():
        unknown = dict.fromkeys(POOLED, inconclusive(why))
        found = {key: unknown if key[0] in OF_LAYERS else estimates for key, estimates in found.items()}
    return replace(played, lines=found)


def _keep(context: EpochContext, game: MembershipGame, measured: Measured, joint: int) -> None:
    """The scores at the last epoch that rates are of, by all layers jointly, where those of single records are kept."""
    if context.samples is None or context.epoch != context.session.spec.audited_epochs[-1]:
        return
    for (adversary, place), (members, others) in sorted(measured.normal.items()):
        if place == joint and measured.lines[adversary, place]["auc"].conclusive:
            what = context.epoch, JOINT, game.title
            context.samples.add(*what, f"{adversary}{OF_MEMBERS}", torch.from_numpy(members))
            context.samples.add_held_out(*what, f"{adversary}{OF_OTHERS}", torch.from_numpy(others))


def _side(tokens: Tokens) -> RecordSignals:
    values = tokens.values.double()
    norms = torch.cat([tokens.norm_sq, tokens.total_norm_sq[None]])
    return RecordSignals(torch.cat([values, mixed(values)[None]]), norms, tokens.loss)


PLAY = MembershipPlay()
