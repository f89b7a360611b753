"""Views that do not add up, replayed batch by batch: held against plain autograd, one batch at a time."""

import copy

import pytest
import torch
from replayed_case import (
    DIM,
    LOSS,
    NAMES,
    SIGN,
    N,
    drawn,
    dropout,
    flat,
    label_dp,
    normed,
    observation_of,
    prepared,
    prune,
    sample,
    seeded,
    sketched,
    slow_gradient,
    slow_tokens,
)
from torch import nn

from ptaudit.gradients.matrices import BatchSums
from ptaudit.model_input import call, rows
from ptaudit.sketches.reader import TokenReader
from ptaudit.views import View, gradients
from ptaudit.views.gradients import BatchGradients
from ptaudit.views.joint import Joint
from ptaudit.views.replayed import ReplayedObservation, batch_gradients, why_not_shown
from ptaudit.views.view import Update


@pytest.mark.parametrize("update", [None, Update(1, 0.3)])
@pytest.mark.parametrize("name", NAMES)
def test_without_a_defense_batches_are_sums_of_tokens(name, update):
    given = prepared(name)
    for m, users in ((1, 1), (6, 1), (3, 2)):
        view = View("v", m, users=users, update=update)
        observation, expected = observation_of(name, view, case=given)
        members = drawn(9, m * users)
        seen = observation.observe(members, seeded())
        assert seen.dtype == torch.float64
        torch.testing.assert_close(seen, expected.observe(members, seeded()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_way_to_a_gradient_is_the_same(name, monkeypatch):
    """From a table of records, many batches at once, one backward pass a batch; in one piece and in many."""
    model, x, y, reader = prepared(name)
    members = drawn(7, 5)

    def read(batches):
        return torch.cat(list(batches.read(members, None, seeded())))

    slow = torch.stack([flat(slow_gradient(model, rows(x, b), y[b])) for b in members])
    whole = BatchGradients(reader.source, x, y)
    assert whole._vmap_holds == (name != "branching")
    assert whole._table is not None
    with monkeypatch.context() as patched:
        patched.setattr(gradients, "TABLE_BYTES", 0)
        bare, plain = (BatchGradients(reader.source, x, y) for _ in range(2))
    assert bare._table is None
    ways = [read(whole), read(bare)]
    monkeypatch.setattr(gradients, "_AT_ONCE", 2)
    monkeypatch.setattr(gradients, "_TABLE_CELLS", 1)
    ways += [read(whole), read(bare)]
    plain._vmap_holds = False
    ways.append(read(plain))
    for way in ways:
        torch.testing.assert_close(way, slow, rtol=1e-4, atol=1e-6)


def test_large_batches_of_a_small_table(monkeypatch):
    """Where a batch holds much of the table a product replaces the sum."""
    _, x, y, reader = prepared("mlp")
    table = BatchGradients(reader.source, x, y)._table
    for m in (1, 2, 3, 20, 60):
        members = torch.randint(N, (8, m), generator=seeded())
        torch.testing.assert_close(gradients._means(table, members), table[members].mean(1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["mlp", "lenet", "branching", "recurrent", "attention", "normed"])
def test_an_update_is_what_sgd_does(name):
    given = prepared(name)
    model, x, y, _ = given
    steps, lr, m = 4, 0.2, 5
    observation, plain = observation_of(name, View("v", m, update=Update(steps, lr)), case=given)
    members = drawn(4, m)
    seen = observation.observe(members, seeded())
    for game, batch in enumerate(members):
        local = copy.deepcopy(model).eval()
        optimizer = torch.optim.SGD(local.parameters(), lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            LOSS(call(local, rows(x, batch)), y[batch]).mean().backward()
            optimizer.step()
        now = dict(model.named_parameters())
        change = {path: (p.detach() - now[path].detach()) / (-lr * steps) for path, p in local.named_parameters()}
        torch.testing.assert_close(seen[:-2, game], m * slow_tokens(model, change), rtol=2e-3, atol=2e-4)
    assert not torch.allclose(seen, plain.observe(members, seeded()), rtol=0.01)


def test_an_update_that_diverged_is_not_delivered():
    given = prepared("mlp")
    observation, _ = observation_of("mlp", View("v", 4, update=Update(60, 1e4)), case=given)
    members = drawn(40, 4)
    raw = torch.cat(list(observation.batches.read(members, None, seeded())))
    lost = ~raw.isfinite().all(1)
    assert 0 < int(lost.sum()) < 40
    assert observation.diverged(members, seeded()) == pytest.approx(float(lost.double().mean()))
    seen = observation.observe(members, seeded())
    assert bool(seen.isfinite().all())
    assert float(seen[:, lost].abs().sum()) == 0.0
    calm, _ = observation_of("mlp", View("v", 4, update=Update(3, 0.1)), case=given)
    assert calm.diverged(members, seeded()) == 0.0


def test_an_update_is_defended_too():
    given = prepared("mlp")
    members = drawn(4, 5)
    update = Update(3, 0.1)
    defended, _ = observation_of("mlp", View("v", 5, update=update, defense=SIGN), case=given)
    bare, _ = observation_of("mlp", View("v", 5, update=update), case=given)
    shown = sketched(given, bare.gradients(members, seeded()).sign())
    torch.testing.assert_close(defended.observe(members, seeded())[:-2], 5 * shown, rtol=1e-4, atol=1e-5)


def test_records_that_the_model_mixes_are_shown_as_the_batch_they_are_in():
    """No token can tell such a gradient; the true one is seen of what is captured."""
    torch.manual_seed(0)
    model, x, y = normed(track=False).eval(), torch.randn(N, 5), torch.randint(3, (N,))
    reader = TokenReader(model, LOSS, DIM, 3)
    reader.prepare(x, y)
    batches = BatchGradients(reader.source, x, y)
    assert batches._table is None
    members = drawn(5, 6)
    slow = torch.stack([flat(slow_gradient(model, x[b], y[b])) for b in members])
    torch.testing.assert_close(torch.cat(list(batches.read(members, None, seeded()))), slow, rtol=1e-3, atol=1e-5)


def test_observations_share_what_is_the_same():
    given = prepared("mlp")
    first, _ = observation_of("mlp", View("a", 2, defense=SIGN), case=given)
    members = drawn(4, 3)
    alike = [View("b", 3, defense=prune(ratio=0.5)), View("c", 3, update=Update(1, 0.1))]
    other = [View("d", 3, defense=dropout(rate=0.5)), View("e", 3, update=Update(2, 0.1))]
    for view in alike + other:
        shared, _ = observation_of("mlp", view, case=given, share=first)
        alone, _ = observation_of("mlp", view, case=given)
        assert (shared.batches is first.batches) == (view in alike)
        assert torch.equal(shared.observe(members, seeded()), alone.observe(members, seeded()))


VIEWS = {
    "sign": View("v", 3, defense=SIGN),
    "dropout": View("v", 3, defense=dropout(rate=0.3)),
    "label_dp": View("v", 3, defense=label_dp(epsilon=1.0).with_prior(1.0, 1.0, 1.0)),
    "update": View("v", 3, update=Update(3, 0.5)),
}


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("name", ["normed", "branching", "recurrent", "attention"])
def test_nothing_of_the_model_is_changed(name, kind):
    given = prepared(name)
    model = given[0].train()
    next(model.modules()).eval()  # a mode of its own
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    rates = [(m.p if isinstance(m, nn.Dropout) else None) for m in model.modules()]
    random = torch.random.get_rng_state()
    observation, _ = observation_of(name, VIEWS[kind], case=given)
    observation.observe(drawn(4, 3), seeded())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert [(m.p if isinstance(m, nn.Dropout) else None) for m in model.modules()] == rates
    assert all(torch.equal(p.grad, torch.ones_like(p)) and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("kind", VIEWS)
def test_randomness_is_the_generators_alone(kind):
    observation, _ = observation_of("mlp", VIEWS[kind])
    members = drawn(5, 3)
    first = observation.observe(members, seeded(4))
    torch.manual_seed(123)
    again = observation.observe(members, seeded(4))
    assert torch.equal(first, again)
    fresh = observation.observe(members, seeded(5))
    assert torch.equal(first, fresh) == (kind in ("sign", "update"))


def test_views_that_make_no_sense_are_refused():
    model = sample("mlp", features=7, num_classes=3)
    assert why_not_shown(View("v", 2, defense=SIGN), model, 3) == ""
    assert why_not_shown(View("v", 2, update=Update(2, 0.1), defense=SIGN), model, 3) == ""
    assert "clipping and noise" in why_not_shown(View("v", 2, clip=1.0, noise_std=1.0, update=Update(2, 0.1)), model, 3)
    assert "clipping and noise" in why_not_shown(View("v", 2, clip=1.0, defense=SIGN), model, 3)
    assert "class" in why_not_shown(View("v", 2, defense=label_dp(epsilon=1.0).with_prior(1.0, 1.0, 1.0)), model, None)
    for steps, lr in ((0, 0.1), (1, 0.0), (2, float("nan"))):
        with pytest.raises(ValueError, match="at least one step"):
            Update(steps, lr)


def test_the_weights_of_the_moment_count():
    given = prepared("mlp")
    model = given[0]
    before, _ = observation_of("mlp", View("v", 3, defense=dropout(rate=0.2)), case=given)
    members = drawn(3, 3)
    old = before.observe(members, seeded())
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.5)
    after, plain = (observation_of("mlp", View("v", 3, defense=d), case=given)[0] for d in (dropout(rate=0.2), None))
    assert not torch.allclose(after.observe(members, seeded()), old)
    fresh = slow_tokens(model, slow_gradient(model, given[1][members[0]], given[2][members[0]]))
    torch.testing.assert_close(plain.observe(members, seeded())[:-2, 0], 3 * fresh, rtol=1e-4, atol=1e-5)


# As matrices


@pytest.mark.parametrize("name", NAMES)
def test_without_a_defense_matrices_are_sums_of_the_records(name):
    """A replayed view shows the matrices that sums of kept gradients give, in the same form, for users too."""
    _, x, y, reader = prepared(name)
    tokens = reader.read(x, y)
    kept = reader.gradients(x, y)
    assert all(kept)
    layers = tokens.values.double()
    shared = dict(zip([layer.name for layer in tokens.layers], kept, strict=True))
    for m, users in ((1, 1), (6, 1), (3, 2)):
        view = View("v", m, users=users)
        batches = batch_gradients(reader.source, x, y, view)
        observation = ReplayedObservation.of(reader, batches, view, Joint.of(layers), shared)
        members = drawn(9, m * users)
        pieces = list(observation.read(members, seeded()))
        sums = list(BatchSums(kept).read(members, seeded()))
        for i, layer in enumerate(kept):
            for j in range(len(layer)):
                found, expected = (torch.cat([piece[i][j] for piece in some]) for some in (pieces, sums))
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_without_kept_gradients_no_matrices_are_shown():
    observation, _ = observation_of("mlp", View("v", 2))
    assert list(observation.read(drawn(3, 2), seeded())) == []
