"""What is the sensitive value of one record of the batch?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.imputation import impute, predict
from ptaudit.context.counterfactual import counterfactual, counterfactual_alone, counterfactual_gradients
from ptaudit.context.epoch_context import EpochContext
from ptaudit.context.memo import Key
from ptaudit.context.observations import known_by, undefended
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.data.attribute_encoding import attribute_secret
from ptaudit.data.records import Field
from ptaudit.errors import SpecError
from ptaudit.games.attribute import known_rest, latent
from ptaudit.games.attribute.info import NOT_BY_INPUT, AttributeGame
from ptaudit.games.attribute.known_rest import ADVERSARY, Counterfactuals
from ptaudit.games.common import batch_secret
from ptaudit.games.common.batch_secret import FoundByAdversary
from ptaudit.games.common.batch_secret_play import ProbedPlay, observed_by, play, players_of
from ptaudit.games.common.column import check_classes
from ptaudit.games.common.observed_view import ObservedView
from ptaudit.games.common.settings import attribute_of
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View

_MOST_KNOWN, _ENOUGH_KNOWN = 20_000, 1000
"""Most and fewest records that the guess without the gradient is learned on, where those are not audited."""

PRIOR: Key[NDArray[np.float64]] = Key("what the rest of a record tells of a field")


class AttributePlay(ProbedPlay[AttributeGame]):
    """All layers jointly and each. Records without the attribute are no targets."""

    def on_view(self, context: EpochContext, game: AttributeGame, view: View) -> list[Scores]:
        """Scores on a view."""
        if not is_input(context.session, game):
            return super().on_view(context, game, view)
        sheet, late = ScoreSheet.of(context, game, view), game.weights == "late"
        players = players_of(game, view, [ADVERSARY], "rest")
        return play(sheet, players, late, lambda: _input(sheet, game, observed_by(sheet, late, game.own_records)))

    def measure(self, context: EpochContext, game: AttributeGame, observed: ObservedView) -> FoundByAdversary:
        """What every family finds who knows nothing of the record."""
        values, others = _values(context.session, game)
        return latent.measure(values, observed.beside(others), game.adversary)

    def foretell(self, session: Session, game: AttributeGame, view: View | None) -> Iterator[Foretold]:
        """Whether values and records are enough; what the frequencies of the values leave to tell, where the adversary
        knows no more of a record."""
        assert view is not None
        codes = latent.coded(_values(session, game)[0])[0]
        known = codes[codes >= 0]
        if why := latent.why_not(codes, view, game.own_records):
            yield never(why, len(codes))
        elif not is_input(session, game):  # what the rest of a record tells is learned in the run
            yield from batch_secret.foretold(torch.bincount(known).double() / len(known), len(known))

    def check(self, session: Session, game: AttributeGame) -> None:
        """Refuses attributes that are no classes; who plays depends on whether it is an input that can be tried out."""
        super().check(session, game)
        _check_players(session, game)
        check_classes(session, game)

    def tried_inputs(self, session: Session, game: AttributeGame) -> int:
        """One for every value, where it is an input."""
        if not is_input(session, game):
            return 0
        return len(session.records.fields[attribute_of(game, session.spec)].levels)

    def learns_from_held_out(self, session: Session, game: AttributeGame) -> bool:
        """Only in the latent form."""
        return super().learns_from_held_out(session, game) and not is_input(session, game)


def _values(session: Session, game: AttributeGame) -> tuple[Tensor, Tensor]:
    """The attribute of audited members and of held-out records; negative where it is missing."""
    column = session.records.columns[attribute_of(game, session.spec)]
    secret = attribute_secret(column[session.members])
    values = torch.from_numpy(np.where(secret.known, secret.values, -1))
    return values, torch.from_numpy(secret.codes_of(column[session.others]))


def is_input(session: Session, game: AttributeGame) -> bool:
    """Whether the attribute is an input whose values the adversary tries out."""
    return game.form != "latent" and attribute_of(game, session.spec) in session.records.fields


def _check_players(session: Session, game: AttributeGame) -> None:
    name = attribute_of(game, session.spec)
    if game.form == "input" and name not in session.records.fields:
        what = f"`{name}` is no input column of a table, so no value of it can be tried out"
        raise SpecError(what, where=f"game {game.title}", remedy="use form: latent")
    exact = is_input(session, game)
    unused = [f"`{setting}`" for setting in NOT_BY_INPUT if exact and setting in game.model_fields_set]
    if unused:
        them = f"{' and '.join(unused)} {'is' if len(unused) == 1 else 'are'} not used"
        what = f"`{name}` is an input column, of which the likelihood ratio alone plays: {them}"
        remedy = f"use form: latent, or remove {'it' if len(unused) == 1 else 'them'}"
        raise SpecError(what, where=f"game {game.title}", remedy=remedy)
    players = [ADVERSARY] if exact else game.adversary
    for gate in session.spec.gates:
        if gate.game == game.title and gate.adversary is not None and gate.adversary not in players:
            what = f"adversary `{gate.adversary}` does not play game `{game.title}`"
            raise SpecError(what, where=f"gate {gate.id}", remedy=f"there are: {', '.join(players)}")


def _input(sheet: ScoreSheet, game: AttributeGame, seen: ObservedView) -> FoundByAdversary:
    context, places, view = sheet.context, sheet.places, seen.view
    session = context.session
    name = attribute_of(game, session.spec)
    codes = session.records.fields[name].codes[session.members]
    prior = torch.from_numpy(_prior(context, name))
    about = known_by(context, seen.late)
    noisy = view.noise_std > 0.0
    # A view that does not add up is taken to show a record's own token, or what it shows of the record alone, and
    # something else.
    shown = view if view.linear else undefended(view)
    candidates = counterfactual(about, shown, places, name, noisy)
    alone = None if view.linear else counterfactual_alone(about, view, places, name)
    versions = None if seen.late else counterfactual_gradients(about, shown, places, name)
    algebra = None if versions is None else Algebra(seen.now, Candidates(versions, view.noise_std, sums=view.linear))
    known = Counterfactuals(seen.known, candidates, view.linear, view.noise_std, alone, algebra)
    plain = None
    if seen.plain is not None:
        bare = undefended(view)
        plain = Counterfactuals(seen.plain, counterfactual(about, bare, places, name, noisy), bare.linear)
    secret = torch.from_numpy(codes)
    return known_rest.measure(secret, prior, seen, known, plain)


def _prior(context: EpochContext, name: str) -> NDArray[np.float64]:
    """What the rest of the record and its label tell of the field; the same at every epoch and view.

    Learned on records that are not audited, as many as there are up to `_MOST_KNOWN`; where those are few, on the
    audited ones too, those of other folds.
    """
    session = context.session

    def learn() -> NDArray[np.float64]:
        field, members = session.records.fields[name], session.members
        others = np.setdiff1d(np.concatenate([session.split.members, session.split.held_out]), members)
        others = np.random.default_rng(context.seed).permutation(others)[:_MOST_KNOWN]
        asked, known = _rest(session, field, members), _rest(session, field, others)
        codes = field.codes
        if len(others) >= max(_ENOUGH_KNOWN, len(members) // 2):
            return predict(known, codes[others], asked, len(field.names), context.seed)
        both = np.concatenate([members, others])
        return impute(np.concatenate([asked, known]), codes[both], context.seed)[: len(members)]

    return session.memo.once(PRIOR, name, learn)


def _rest(session: Session, field: Field, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Records without the field, with their labels, `(n, d)`."""
    inputs = session.records.inputs
    assert isinstance(inputs, Tensor)
    rest = np.delete(inputs[index].double().cpu().numpy(), field.places, axis=1)
    target, classes = session.records.targets[index].cpu().numpy(), session.records.classes
    label = np.eye(classes)[target] if classes else target.reshape(len(target), -1)
    return np.concatenate([rest, label], 1)


PLAY = AttributePlay()
