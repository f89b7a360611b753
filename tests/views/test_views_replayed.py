"""Views that do not add up, replayed batch by batch: held against plain autograd, one batch at a time."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.defenses.dropout.settings import DropoutDefense
from ptaudit.defenses.label_dp import LabelDpDefense
from ptaudit.defenses.perturb.settings import PerturbDefense
from ptaudit.defenses.prune import PruneDefense
from ptaudit.defenses.sign import SignDefense
from ptaudit.gradients.batches import BatchSums
from ptaudit.gradients.projection import LayerSketch
from ptaudit.model_input import call, rows
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.entry import parse_entry
from ptaudit.training.loss import make_loss
from ptaudit.views import View, gradients, replayed
from ptaudit.views.gradients import BatchGradients
from ptaudit.views.joint import Joint
from ptaudit.views.observation import TokenObservation, observe_rounds
from ptaudit.views.replayed import ReplayedObservation, batch_gradients, why_not
from ptaudit.views.view import Update

LOSS = make_loss("cross_entropy")
MODELS = Path(__file__).parents[2] / "sample_models"
N, DIM = 24, 36
SIGN = SignDefense(name="sign")
prune, dropout = partial(PruneDefense, name="prune"), partial(DropoutDefense, name="dropout")
label_dp = partial(LabelDpDefense, name="label_dp")


def sample(name, **args):
    torch.manual_seed(0)
    return parse_entry(f"{name}.py:{name}", MODELS).load()(**args)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.head = nn.Embedding(11, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, ids):
        return self.head(self.norm(self.embed(ids)).tanh().mean(1))


class Own(nn.Module):
    """Parameters that no rule knows, one of them used through a function only."""

    def __init__(self):
        super().__init__()
        self.gain, self.mix = nn.Parameter(torch.rand(5) + 0.5), nn.Parameter(torch.randn(5, 5))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(x * self.gain @ self.mix)) + F.linear(x, self.head.weight)


class Branching(Own):
    """Looks at a value, which no batch of batches has."""

    def forward(self, x):
        return super().forward(x) * (2.0 if float(x.abs().sum()) >= 0 else 1.0)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0].mean(1))


class Attention(nn.Module):
    """Two inputs, attention and dropout inside."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x, mask):
        return self.head(self.encoder(x, src_key_padding_mask=mask).mean(1))


def normed(track=True):
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8, track_running_stats=track), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    )


def case(name):
    """Model, inputs, targets; three classes."""
    torch.manual_seed(1)
    y = torch.randint(3, (N,))
    if name == "mlp":
        return sample("mlp", features=7, num_classes=3, hidden=[6, 5]), torch.randn(N, 7), y
    if name == "lenet":
        return sample("lenet", num_classes=3, size=8), torch.randn(N, 1, 8, 8), y
    if name == "words":
        return Words(), torch.randint(11, (N, 4)), y
    if name in ("own", "branching"):
        return Own() if name == "own" else Branching(), torch.randn(N, 5), y
    if name == "recurrent":
        return Recurrent(), torch.randn(N, 6, 4), y
    if name == "attention":
        mask = torch.arange(5) >= torch.randint(2, 6, (N, 1))
        return Attention(), (torch.randn(N, 5, 8), mask), y
    return normed(), torch.randn(N, 5), y


NAMES = ["mlp", "lenet", "words", "own", "branching", "recurrent", "attention", "normed"]


def prepared(name):
    model, x, y = case(name)
    reader = TokenReader(model, LOSS, DIM, 3)
    reader.prepare(x, y)
    return model, x, y, reader


def observation_of(name, view, share=None, case=None):
    _, x, y, reader = case or prepared(name)
    tokens = reader.read(x, y)
    layers = tokens.values.double()
    joint = Joint.of(layers)
    batches = batch_gradients(reader.source, x, y, view, share)
    shared = {layer.name: () for layer in tokens.layers}
    return ReplayedObservation.of(reader, batches, view, joint, shared), TokenObservation(joint.rows(layers))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(games, m, seed=5):
    return torch.stack([torch.randperm(N, generator=seeded(seed + g))[:m] for g in range(games)])


def slow_gradient(model, inputs, targets):
    """Mean gradient of one batch over all parameters, by one plain backward pass of a copy."""
    model = copy.deepcopy(model).eval()
    LOSS(call(model, inputs), targets).mean().backward()
    return {name: p.grad if p.grad is not None else torch.zeros_like(p) for name, p in model.named_parameters()}


def flat(grads):
    return torch.cat([g.flatten() for g in grads.values()])


def unflat(whole, grads):
    parts = whole.split([g.numel() for g in grads.values()])
    return {name: part.view_as(g) for part, (name, g) in zip(parts, grads.items())}


def slow_tokens(model, grads):
    """Layers by the names of modules, sketched one by one: (L, k)."""
    found = []
    for path, module in model.named_modules():
        own = {name: p.shape for name, p in module.named_parameters(recurse=False)}
        if own:
            here = {name: grads[f"{path}.{name}" if path else name][None] for name in own}
            found.append(LayerSketch(path or "(root)", own, DIM, 3)(here)[0])
    return torch.stack(found).double()


def sketched(case, rows):
    """Flat gradients `(G, P)` sketched layer by layer, `(L, G, k)`."""
    parameters = dict(case[0].named_parameters())
    return torch.stack([slow_tokens(case[0], unflat(row, parameters)) for row in rows], 1)


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
    ways = [read(whole), read(BatchGradients(reader.source, x, y, table=False))]
    monkeypatch.setattr(gradients, "_AT_ONCE", 2)
    monkeypatch.setattr(gradients, "_TABLE_CELLS", 1)
    ways += [read(BatchGradients(reader.source, x, y)), read(BatchGradients(reader.source, x, y, table=False))]
    plain = BatchGradients(reader.source, x, y, table=False)
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
    assert why_not(View("v", 2, defense=SIGN), model, 3) == ""
    assert why_not(View("v", 2, update=Update(2, 0.1), defense=SIGN), model, 3) == ""
    assert "clipping and noise" in why_not(View("v", 2, clip=1.0, noise_std=1.0, update=Update(2, 0.1)), model, 3)
    assert "clipping and noise" in why_not(View("v", 2, clip=1.0, defense=SIGN), model, 3)
    assert "class" in why_not(View("v", 2, defense=label_dp(epsilon=1.0).with_prior(1.0, 1.0, 1.0)), model, None)
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


def test_without_kept_gradients_no_matrices_are_shown():
    observation, _ = observation_of("mlp", View("v", 2))
    assert list(observation.read(drawn(3, 2), seeded())) == []
