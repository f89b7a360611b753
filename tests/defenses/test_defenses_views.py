"""Defenses as views show them: held against plain autograd, one batch at a time."""

import pytest
import torch
from replayed_case import (
    DIM,
    LOSS,
    SIGN,
    N,
    drawn,
    dropout,
    flat,
    label_dp,
    observation_of,
    prepared,
    prune,
    sample,
    seeded,
    sketched,
    slow_gradient,
    slow_tokens,
    unflat,
)
from torch import nn

from ptaudit.defenses.perturb.settings import PerturbDefense
from ptaudit.model_input import rows
from ptaudit.sketches.reader import TokenReader
from ptaudit.training.loss import make_loss
from ptaudit.views import View, replayed
from ptaudit.views.gradients import BatchGradients
from ptaudit.views.joint import Joint
from ptaudit.views.observation import observe_rounds
from ptaudit.views.replayed import ReplayedObservation, batch_gradients
from ptaudit.views.view import Update


def slow_prune(g, ratio):
    order = g.abs().argsort(stable=True)
    kept = g.clone()
    kept[order[: round(ratio * len(g))]] = 0
    return kept


@pytest.mark.parametrize("name", ["mlp", "lenet", "words", "own", "branching", "recurrent"])
@pytest.mark.parametrize(
    ("defense", "slow"),
    [(prune(ratio=0.8), lambda g: slow_prune(g, 0.8)), (SIGN, torch.sign)],
    ids=["prune", "sign"],
)
def test_a_defense_acts_on_the_whole_mean_gradient_of_every_user(name, defense, slow):
    given = prepared(name)
    model, x, y, _ = given
    users, m = 3, 2
    observation, _ = observation_of(name, View("v", m, users=users, defense=defense), case=given)
    members = drawn(4, m * users)
    seen = observation.observe(members, seeded())
    for game, batch in enumerate(members):
        expected = 0
        for user in batch.view(users, m):
            grads = slow_gradient(model, rows(x, user), y[user])
            expected = expected + m * slow_tokens(model, unflat(slow(flat(grads)), grads))
        # A sign at rounding distance from zero may differ; no such thing in these models.
        torch.testing.assert_close(seen[:-2, game], expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(seen[-2, game], expected.sum(0), rtol=1e-3, atol=1e-3)


def test_a_view_of_some_layers_is_defended_as_a_whole():
    model, x, y, reader = prepared("mlp")
    view = View("v", 4, defense=prune(ratio=0.7))
    whole, _ = observation_of("mlp", view, case=(model, x, y, reader))
    values = reader.read(x, y).values.double()
    batches = batch_gradients(reader.source, x, y, view)
    part = ReplayedObservation.of(reader, batches, view, Joint.of(values[1:2]), {"2": ()})
    members = drawn(5, 4)
    torch.testing.assert_close(part.observe(members, seeded())[0], whole.observe(members, seeded())[1])


@pytest.mark.parametrize("many", [True, False])
def test_label_dp_is_the_gradient_with_other_labels(many, monkeypatch):
    """From tokens of every record with every label, or batch by batch where these do not fit: the same draws."""
    given = prepared("mlp")
    model, x, y, _ = given
    if not many:
        monkeypatch.setattr(replayed, "TABLE_BYTES", 0)
    defense = label_dp(epsilon=1.0).with_prior(0.5, 0.3, 0.2)
    observation, _ = observation_of("mlp", View("v", 3, users=2, defense=defense), case=given)
    assert (observation.responses is not None) == many
    members = drawn(6, 6)
    shown = defense.labels(y[members.view(-1, 3)], seeded(8)).view(6, 6)
    assert not torch.equal(shown, y[members])
    seen = observation.observe(members, seeded(8))
    for game, batch in enumerate(members):
        expected = 6 * slow_tokens(model, slow_gradient(model, x[batch], shown[game]))
        torch.testing.assert_close(seen[:-2, game], expected, rtol=1e-4, atol=1e-5)


def test_label_dp_of_an_update_keeps_its_labels_for_all_steps():
    given = prepared("mlp")
    _, x, y, _ = given
    defense, members = label_dp(epsilon=0.5).with_prior(1.0, 1.0, 1.0), drawn(5, 4)
    observation, _ = observation_of("mlp", View("v", 4, defense=defense, update=Update(3, 0.2)), case=given)
    seen = observation.observe(members, seeded(2))
    shown = defense.labels(y[members], seeded(2))
    other = BatchGradients(given[3].source, x, y, update=Update(3, 0.2))
    expected = 4 * sketched(given, torch.cat(list(other.read(members, shown, seeded()))))
    torch.testing.assert_close(seen[:-2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "lenet", "branching", "attention", "recurrent", "normed"])
def test_dropout_is_unbiased_before_the_last_layer_and_fresh(name):
    """Every game, record and round has masks of its own; the bias of the last layer sees the same mean."""
    given = prepared(name)
    observation, plain = observation_of(name, View("v", 4, defense=dropout(rate=0.5)), case=given)
    members = drawn(1, 4).expand(6, 4)
    seen = observation.observe(members, seeded())
    assert len({tuple(game.flatten().tolist()) for game in seen.transpose(0, 1)}) == 6
    assert torch.equal(observation.observe(members, seeded()), seen)
    rounds = observe_rounds(observation, members.expand(2, 6, 4), seeded())
    assert torch.equal(rounds[0], seen)
    assert not torch.allclose(rounds[1], seen)
    assert not torch.allclose(seen, plain.observe(members, seeded()))


def test_dropout_of_a_linear_model_has_the_exact_mean():
    """With a squared loss and one linear layer the expected gradient is known: that of the loss plus a penalty."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(6, 1, bias=False), torch.randn(N, 6), torch.randn(N)
    loss = make_loss("mse")
    reader = TokenReader(model, loss, DIM, 3)
    reader.prepare(x, y)
    rate = 0.4
    batches = BatchGradients(reader.source, x, y, defense=dropout(rate=rate))
    members = torch.arange(4).expand(20_000, 4)
    found = torch.cat(list(batches.read(members, None, seeded()))).mean(0)
    z, w = x[:4], model.weight[0].detach()
    expected = 2 * ((z @ w - y[:4])[:, None] * z + rate / (1 - rate) * w * z.square()).mean(0)
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.03)


def test_no_two_records_share_a_mask():
    """The gradient of the last layer's weight is zero exactly where its input was dropped."""
    model, x, y = sample("mlp", features=7, num_classes=3, hidden=[200]), torch.rand(N, 7), torch.zeros(N).long()
    nn.init.constant_(model[0].weight, 0.1)
    nn.init.zeros_(model[0].bias)
    reader = TokenReader(model, LOSS, DIM, 3)
    reader.prepare(x, y)
    batches = BatchGradients(reader.source, x, y, defense=dropout(rate=0.5))
    found = torch.cat(list(batches.read(torch.zeros(8, 1).long(), None, seeded())))
    dropped = batches.layout.parts(found)["2.weight"][:, 0] == 0
    assert 0.4 < float(dropped.float().mean()) < 0.6
    assert len({tuple(row) for row in dropped.tolist()}) == 8
    both = torch.cat(list(batches.read(torch.zeros(8, 2).long(), None, seeded())))
    dropped = batches.layout.parts(both)["2.weight"][:, 0] == 0
    assert 0.2 < float(dropped.float().mean()) < 0.3  # of two records with one mask it would be a half


def test_a_perturbed_view_hides_the_secret_from_the_probe():
    model, x, y, reader = prepared("mlp")
    members = torch.randint(N, (200, 2), generator=seeded(1))
    members[:, 1] = members[:, 0]
    secret = y[members[:, 0]]
    batches = BatchGradients(reader.source, x, y)
    mean = torch.cat(list(batches.read(members, None, seeded())))
    defense = PerturbDefense(name="perturb", size=3.0).with_probe(mean, secret)
    observation, _ = observation_of("mlp", View("v", 2, defense=defense), case=(model, x, y, reader))
    moved = defense.gradient(mean, seeded())
    accuracy = [float((defense._probe.scores(g).argmax(1) == secret).float().mean()) for g in (mean, moved)]
    assert accuracy[0] > 0.9
    assert accuracy[1] < 0.5
    torch.testing.assert_close(
        observation.observe(members, seeded())[:-2], 2 * sketched((model, x, y, reader), moved), rtol=1e-4, atol=1e-5
    )


def test_a_defended_view_shows_defended_matrices():
    model, x, y, reader = prepared("mlp")
    tokens, kept = reader.read(x, y), reader.gradients(x, y)
    shared = dict(zip([layer.name for layer in tokens.layers], kept, strict=True))
    view = View("v", 4, defense=prune(ratio=0.7))
    batches = batch_gradients(reader.source, x, y, view)
    observation = ReplayedObservation.of(reader, batches, view, Joint.of(tokens.values.double()), shared)
    members = drawn(3, 4)
    (seen,) = observation.read(members, seeded())
    for game, batch in enumerate(members):
        grads = slow_gradient(model, x[batch], y[batch])
        pruned = unflat(slow_prune(flat(grads), 0.7), grads)
        expected = 4 * torch.cat([pruned["0.weight"], pruned["0.bias"][:, None]], 1)
        torch.testing.assert_close(seen[0][0][game], expected, rtol=1e-4, atol=1e-6)
