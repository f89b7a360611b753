"""Was a record trained on?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np
import torch

from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import references
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.reference import Said, signals_of
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.games.game_play import GamePlay
from ptaudit.games.membership.info import OF_LAYERS, UPDATE, MembershipGame, with_references
from ptaudit.games.membership.measure import MIN_RECORDS, Key, RecordSignals, Sides, measure
from ptaudit.games.membership.update import by_update
from ptaudit.sketches.tokens import Tokens
from ptaudit.spec.model import Spec
from ptaudit.stats.estimate import inconclusive
from ptaudit.stats.roc import LOW_FPRS, MIN_FALSE_POSITIVES, tpr_name
from ptaudit.training.fleet.signals import observed_alone
from ptaudit.views.joint import mixed


class MembershipPlay(GamePlay[MembershipGame]):
    """All layers jointly and each, by every adversary."""

    def on_model(self, context: EpochContext, game: MembershipGame) -> list[Scores]:
        """Scores of an epoch, all layers jointly first."""
        assert context.outside is not None
        sheet, asked = ScoreSheet.of(context, game), game.asked(context.session.spec)
        # Sides have the layers first and all of them jointly last, the sheet the other way round.
        joint = len(sheet.places)
        sides = [_side(tokens) for tokens in (context.inside, context.outside)]
        more, lost = _with_references(context, asked, joint)
        if UPDATE in asked:
            scored, unscored = by_update(context)
            more, lost = more | scored, lost | unscored
        found = measure(sides[0], sides[1], context.seed, more, asked)
        found |= {key: dict.fromkeys(game.metrics, inconclusive(why)) for key, why in lost.items()}
        if reason := who_is_unknown(context.session.spec):
            found = {key: dict.fromkeys(one, inconclusive(reason)) for key, one in found.items()}
        if why := sheet.why_not():
            unknown = dict.fromkeys(game.metrics, inconclusive(why))
            found = {key: unknown if key[0] in OF_LAYERS else estimates for key, estimates in found.items()}
        scopes, scores = sheet.scopes, []
        for adversary, place in sorted(found, key=lambda key: (key[1] != joint, key[1])):
            one = {metric: [estimate] for metric, estimate in found[adversary, place].items()}
            scores.append(sheet.scores(adversary, one, [scopes[0 if place == joint else 1 + place]]))
        there = {adversary for adversary, _ in found}
        return scores + sheet.not_captured(name for name in OF_LAYERS if name in there)

    def inconclusive(self, session: Session, game: MembershipGame) -> Iterator[str]:
        """Whether it is known who was trained on, and whether there are enough on both sides."""
        if unknown := who_is_unknown(session.spec):
            yield f"Game {game.title} will be inconclusive: {unknown}."
            return
        n, outside = min(len(session.members), len(session.others)), len(session.others)
        if n < MIN_RECORDS:
            yield (
                f"Game {game.title} will be inconclusive: it needs {MIN_RECORDS} members and as many held-out records, "
                f"there are {len(session.members)} and {outside}."
            )
            return
        needs = {tpr_name(fpr): math.ceil(MIN_FALSE_POSITIVES / fpr) for fpr in LOW_FPRS}
        short = [f"{game.title}.{name} needs {needed}" for name, needed in needs.items() if outside < needed]
        if short:
            yield f"Will be inconclusive: {' and '.join(short)} held-out records in the audit, there are {outside}."


def who_is_unknown(spec: Spec) -> str:
    """Why nobody knows who was trained on; empty where it is known."""
    if spec.replay is None or spec.data.members or spec.data.non_members:
        return ""
    return "no index file says which records the checkpoints were trained on: name it in data.members"


def _with_references(
    context: EpochContext, asked: Collection[str], joint: int
) -> tuple[dict[Key, Sides], dict[Key, str]]:
    """Scores by every attack with reference models that is asked and can run; why others cannot."""
    session, models = context.session, context.session.reference
    names = [name for name in with_references() if name in asked]
    if not names or models is None or context.epoch not in models.said.epochs:
        return {}, {}
    index = np.concatenate([session.members, session.others])
    records, loss = session.records, session.spec.train.loss
    own = Said(*observed_alone(context.model, session.loss, session.batch, index))
    target = signals_of(own, records, loss, index)
    said, included = models.at(context.epoch, index)
    there = references(signals_of(said, records, loss, index), included)
    missing = {name: ATTACKS[name].missing(target, there) for name in names}
    scored = {name: ATTACKS[name](target, there) for name, why in missing.items() if not why}
    n = len(session.members)
    return {(name, joint): (both[:n], both[n:]) for name, both in scored.items()}, {
        (name, joint): why for name, why in missing.items() if why
    }


def _side(tokens: Tokens) -> RecordSignals:
    values = tokens.values.double()
    norms = torch.cat([tokens.norm_sq, tokens.total_norm_sq[None]])
    return RecordSignals(torch.cat([values, mixed(values)[None]]), norms, tokens.loss)


PLAY = MembershipPlay()
