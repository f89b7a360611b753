"""What is the sensitive value of one record of the batch?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.imputation import impute, predict
from ptaudit.auditing.data_checks import is_input
from ptaudit.context.attribute_encoding import attribute_secret
from ptaudit.context.epoch_context import Scene
from ptaudit.context.observations import (
    before,
    counterfactual,
    counterfactual_alone,
    counterfactual_gradients,
    undefended,
)
from ptaudit.context.session import Session
from ptaudit.data.records import Field
from ptaudit.games.attribute import known_rest as input_attribute
from ptaudit.games.attribute import latent as attribute
from ptaudit.games.attribute.known_rest import Counterfactuals
from ptaudit.games.common import batch_secret_play as inference
from ptaudit.games.common.batch_secret import Found
from ptaudit.games.common.batch_secret_play import Table
from ptaudit.games.common.observed_view import FIT_GAMES
from ptaudit.spec.inference import AttributeGame
from ptaudit.spec.play import GameSpec
from ptaudit.spec.secrets import attribute_of
from ptaudit.tables.row import Row
from ptaudit.views import View

_MOST_KNOWN, _ENOUGH_KNOWN = 20_000, 1000
"""Most and fewest records that the guess without the gradient is learned on, where those are not audited."""


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each. Records without the attribute are no targets."""
    assert isinstance(game, AttributeGame)
    if is_input(scene.session, game):
        only = [input_attribute.ADVERSARY]
        return inference.play(scene, game, view, only, lambda table: _input(scene, game, view, table), "rest")
    return inference.play(scene, game, view, game.adversary, lambda table: _latent(scene, game, view, table))


def _latent(scene: Scene, game: AttributeGame, view: View, table: Table) -> Found:
    session = scene.session
    column = session.records.columns[attribute_of(game, session.spec)]
    secret = attribute_secret(column[session.members])
    values = torch.from_numpy(np.where(secret.known, secret.values, -1))
    others = torch.from_numpy(secret.codes_of(column[session.others]))
    return attribute.measure(values, table.observed(view, game, scene.seed, others), game.adversary)


def _input(scene: Scene, game: AttributeGame, view: View, table: Table) -> Found:
    session = scene.session
    name = attribute_of(game, session.spec)
    codes = session.records.fields[name].codes[session.members]
    prior = torch.from_numpy(_prior(scene, name))
    about, seen = _known_scene(scene, table), table.sights
    noisy = view.noise_std > 0.0
    # A view that does not add up is taken to show a record's own token, or what it shows of the record alone, and
    # something else.
    shown = view if view.linear else undefended(view)
    candidates = counterfactual(about, shown, table.places, name, noisy)
    alone = None if view.linear else counterfactual_alone(about, view, table.places, name)
    versions = None if table.late else counterfactual_gradients(about, shown, table.places, name)
    algebra = None if versions is None else Algebra(seen.now, Candidates(versions, view.noise_std, sums=view.linear))
    known = Counterfactuals(seen.known, candidates, view.linear, view.noise_std, alone, algebra)
    plain = None
    if seen.plain is not None:
        bare = undefended(view)
        plain = Counterfactuals(seen.plain, counterfactual(about, bare, table.places, name, noisy), bare.linear)
    secret = torch.from_numpy(codes)
    observed = replace(table.observed(view, game, scene.seed), batches=FIT_GAMES)
    return input_attribute.measure(secret, prior, observed, known, plain)


def _known_scene(scene: Scene, table: Table) -> Scene:
    """The epoch with the weights that the adversary knows."""
    earlier = before(scene) if table.late else None
    return scene if earlier is None else earlier


def _prior(scene: Scene, name: str) -> NDArray[np.float64]:
    """What the rest of the record and its label tell of the field; the same at every epoch and view.

    Learned on records that are not audited, as many as there are up to `_MOST_KNOWN`; where those are few, on the
    audited ones too, those of other folds.
    """
    session = scene.session
    key = ("prior", name)
    if key not in session.kept:
        field, members = session.records.fields[name], session.members
        others = np.setdiff1d(np.concatenate([session.split.members, session.split.held_out]), members)
        others = np.random.default_rng(scene.seed).permutation(others)[:_MOST_KNOWN]
        asked, known = _rest(session, field, members), _rest(session, field, others)
        codes = field.codes
        if len(others) >= max(_ENOUGH_KNOWN, len(members) // 2):
            session.kept[key] = predict(known, codes[others], asked, len(field.names), scene.seed)
        else:
            both = np.concatenate([members, others])
            found = impute(np.concatenate([asked, known]), codes[both], scene.seed)
            session.kept[key] = found[: len(members)]
    prior: NDArray[np.float64] = session.kept[key]
    return prior


def _rest(session: Session, field: Field, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Records without the field, with their labels, `(n, d)`."""
    inputs = session.records.inputs
    assert isinstance(inputs, Tensor)
    rest = np.delete(inputs[index].double().cpu().numpy(), field.places, axis=1)
    target, classes = session.records.targets[index].cpu().numpy(), session.records.classes
    label = np.eye(classes)[target] if classes else target.reshape(len(target), -1)
    return np.concatenate([rest, label], 1)
