"""What is the sensitive value of one record of the batch?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.adversaries.imputation import impute
from ptaudit.errors import SpecError
from ptaudit.games import attribute, input_attribute
from ptaudit.games.inference import Found
from ptaudit.games.input_attribute import Knowledge
from ptaudit.pipeline.plays import inference
from ptaudit.pipeline.plays.inference import Table
from ptaudit.pipeline.scene import Scene
from ptaudit.pipeline.secret import attribute_secret
from ptaudit.pipeline.sights import before, counterfactual, undefended
from ptaudit.spec.inference import AttributeGame
from ptaudit.spec.play import GameSpec
from ptaudit.spec.secrets import attribute_of
from ptaudit.tables.row import Row
from ptaudit.views import View


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each. Records without the attribute are no targets."""
    assert isinstance(game, AttributeGame)
    if is_input(scene, game):
        return inference.play(scene, game, view, [input_attribute.ADVERSARY], lambda t: _input(scene, game, view, t))
    return inference.play(scene, game, view, game.adversary, lambda table: _latent(scene, game, view, table))


def is_input(scene: Scene, game: AttributeGame) -> bool:
    """Whether the attribute is an input that the adversary can try out.

    Raises:
        SpecError: the spec says that it is, and it is not.
    """
    name = attribute_of(game, scene.session.spec)
    there = name in scene.session.records.fields
    if game.form == "input" and not there:
        what = f"`{name}` is no input column of a table, so no value of it can be tried out"
        raise SpecError(what, where=f"game {game.title}", remedy="use form: latent")
    return there and game.form != "latent"


def _latent(scene: Scene, game: AttributeGame, view: View, table: Table) -> Found:
    session, seen = scene.session, table.sights
    secret = attribute_secret(session.records.columns[attribute_of(game, session.spec)][session.members])
    values = torch.from_numpy(np.where(secret.known, secret.values, -1))
    return attribute.measure(
        values, view, seen.now, seen.plain, seen.known, table.groups, game.adversary, game.own_records, scene.seed
    )


def _input(scene: Scene, game: AttributeGame, view: View, table: Table) -> Found:
    session = scene.session
    name = attribute_of(game, session.spec)
    codes = session.records.fields[name].codes[session.members]
    prior = torch.from_numpy(_prior(scene, name, codes))
    about, seen = _known_scene(scene, table), table.sights
    noisy = view.noise_std > 0.0
    # A view that does not add up is taken to show a record's own token and something else.
    shown = view if view.linear else undefended(view)
    candidates = counterfactual(about, shown, table.places, name, noisy)
    known = Knowledge(seen.known, candidates, view.linear, view.noise_std)
    plain = None
    if seen.plain is not None:
        bare = undefended(view)
        plain = Knowledge(seen.plain, counterfactual(about, bare, table.places, name, noisy), bare.linear)
    secret = torch.from_numpy(codes)
    return input_attribute.measure(
        secret, prior, view, seen.now, plain, known, table.groups, game.own_records, scene.seed
    )


def _known_scene(scene: Scene, table: Table) -> Scene:
    """The epoch with the weights that the adversary knows."""
    earlier = before(scene) if table.late else None
    return scene if earlier is None else earlier


def _prior(scene: Scene, name: str, codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the rest of the record and its label tell of the field; the same at every epoch and view."""
    key = ("prior", name)
    if key not in scene.session.kept:
        records, members = scene.session.records, scene.session.members
        field = records.fields[name]
        assert isinstance(records.inputs, Tensor)
        inputs = np.delete(records.inputs[members].double().cpu().numpy(), field.places, axis=1)
        target = records.targets[members].cpu().numpy()
        known = np.eye(records.classes)[target] if records.classes else target.reshape(len(target), -1)
        scene.session.kept[key] = impute(np.concatenate([inputs, known], 1), codes, scene.seed)
    found: NDArray[np.float64] = scene.session.kept[key]
    return found
