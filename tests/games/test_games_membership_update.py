"""Products with the last update of the weights: known answers, and a planted layer that is the one that is named."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ptaudit.auditing.opening import open_session
from ptaudit.context.epoch_context import EpochContext
from ptaudit.games.game_play import run_game
from ptaudit.games.membership import update
from ptaudit.games.membership.info import UPDATE
from ptaudit.games.membership.update import by_update
from ptaudit.spec.load import load
from ptaudit.training.trajectory import copy_of_state

CPU = torch.device("cpu")
SPEC = """\
version: 1
name: wide
model: {entry: net.py:net}
data: {source: net.py:records}
train: {epochs: 1}
audit: {epochs: [1], tokens: {dim: 16}, views: [], games: [{name: membership, attacks: update-product}]}
"""
CODE = """\
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Linear(600, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 4))

def records():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(200, 600, generator=generator), torch.randint(4, (200,), generator=generator)
"""
LAYERS = ("0", "2", "4")


@pytest.fixture
def session(tmp_path):
    """100 members and as many others, of random inputs and labels."""
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")
    return open_session(load(tmp_path / "spec.yaml"), CPU)


def after_a_step(session, trained, lr=0.1, epoch=1):
    """The epoch after one step on all members that moves the named layers alone."""
    model = session.model(0)
    before = copy_of_state(model)
    inputs, targets = session.batch(session.members)
    session.loss(model(inputs), targets).mean().backward()
    with torch.no_grad():
        for name in trained:
            for parameter in model.get_submodule(name).parameters():
                parameter -= lr * parameter.grad
    model.zero_grad()
    reader = session.reader(model)
    inside, outside = (reader.read(*session.batch(side)) for side in (session.members, session.others))
    return EpochContext(session, epoch, 1, model, reader.layers, inside.beside(outside), outside, reader, before)


def auc(context):
    """By layer."""
    scores = run_game(context, context.session.spec.audit.games[0])
    return {one.scopes[0].name: one.found["auc"][0] for one in scores}


def test_members_of_the_one_batch_that_a_wide_layer_was_trained_on_are_told_from_others(session):
    found = auc(after_a_step(session, LAYERS))
    assert found["0"].value > 0.98
    assert found["0"].lo > 0.9
    assert found["*"].lo > 0.8


@pytest.mark.parametrize("layer", LAYERS)
def test_the_only_layer_that_was_trained_is_the_one_that_is_named(session, layer):
    found = auc(after_a_step(session, [layer]))
    assert max(LAYERS, key=lambda name: found[name].value) == layer
    assert found[layer].lo > 0.5
    assert all(found[name].value == 0.5 for name in LAYERS if name != layer)
    assert found["*"].value == pytest.approx(found[layer].value, abs=0.2)


def test_weights_that_did_not_move_tell_nothing(session):
    assert [one.value for one in auc(after_a_step(session, ())).values()] == [0.5] * 4


def test_before_training_there_is_no_update_and_no_row(session):
    assert auc(after_a_step(session, LAYERS, epoch=0)) == {}


def test_scores_are_of_gradients_at_the_weights_before(session):
    """Against plain autograd, one record at a time."""
    context = after_a_step(session, LAYERS)
    model = copy.deepcopy(context.model)
    model.load_state_dict(context.before)
    moved = dict(context.model.named_parameters())
    scores, lost = by_update(context)
    assert not lost
    for side, index in enumerate((session.members, session.others)):
        for place in (0, 7):
            x, y = session.batch(index[place : place + 1])
            own = dict(model.named_parameters())
            grads = dict(zip(own, torch.autograd.grad(session.loss(model(x), y).sum(), list(own.values()))))
            for row, name in enumerate(LAYERS):
                paths = [f"{name}.weight", f"{name}.bias"]
                grad = torch.cat([grads[path].flatten() for path in paths])
                step = torch.cat([(moved[path] - own[path]).detach().flatten() for path in paths])
                expected = -float(grad.double() @ step.double() / grad.norm())
                assert scores[UPDATE, row][side][place] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_scores_do_not_depend_on_how_many_records_are_read_at_once(session, monkeypatch):
    context = after_a_step(session, LAYERS)
    whole, _ = by_update(context)
    monkeypatch.setattr(update, "_CHUNK", 7)
    for key, sides in by_update(context)[0].items():
        for some, all_of_them in zip(sides, whole[key]):
            np.testing.assert_allclose(some, all_of_them, rtol=1e-4, atol=1e-6)


def test_where_a_layer_has_no_product_all_layers_jointly_have_none_and_say_why(session, monkeypatch):
    """The sum of the others would be called the whole model's, and is not."""
    honest = update.products

    def lacks_one(*asked):
        found = honest(*asked)
        return replace(found, failed={**found.failed, LAYERS[1]: "no rule"})

    monkeypatch.setattr(update, "products", lacks_one)
    found = auc(after_a_step(session, LAYERS))
    assert found[LAYERS[0]].conclusive
    assert found[LAYERS[1]].status == "inconclusive: no rule"
    assert found["*"].status == f"inconclusive: 1 of 3 layers have no product, layer {LAYERS[1]}: no rule"


def test_without_weights_before_it_says_so(session):
    context = after_a_step(session, LAYERS)
    lost = {one.scopes[0].name: one.found["auc"][0] for one in run_game(
        EpochContext(session, 1, 1, context.model, context.layers, context.inside, context.outside, context.reader),
        session.spec.audit.games[0],
    )}  # fmt: skip
    assert set(lost) == {"*", *LAYERS}
    assert all("no epoch before this one" in one.status for one in lost.values())


def test_a_model_without_a_second_derivative_is_inconclusive_with_the_reason(session):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return grad

    class Rigid(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    context = after_a_step(session, LAYERS)
    context.model[3] = Rigid()
    found = auc(context)
    assert found["4"].conclusive
    assert found["*"].status.startswith("inconclusive: 2 of 3 layers have no product, layer 0: no second derivative")
    assert all("inconclusive: no second derivative" in found[name].status for name in ("0", "2"))
