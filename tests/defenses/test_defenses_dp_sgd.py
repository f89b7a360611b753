"""DP-SGD: clipping against one-record autograd, noise against its formula, epsilon against Opacus by itself."""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ptaudit.data import Records
from ptaudit.errors import ModelError, PtauditError, TrainingDivergedError
from ptaudit.model_input import call
from ptaudit.sketches.reader import TokenReader
from ptaudit.training.loss import make_loss
from ptaudit.training.sampling import epoch_batches

opacus = pytest.importorskip("opacus")

SGD = {"name": "sgd", "lr": 0.1}
UNIT = {"name": "sgd", "lr": 1.0}


def dp(**settings) -> dict[str, object]:
    return {"name": "dp_sgd", "clip": 1.0} | ({} if "epsilon" in settings else {"noise_multiplier": 0.0}) | settings


class InPlace(nn.Module):
    """What torchvision's models are full of, and Opacus' own hooks cannot stand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x.reshape(-1, 1, 2, 2))))
        out = self.again(x)
        out += x
        return self.head(self.relu(out).flatten(1))


class OwnParameter(nn.Module):
    """No rule for single layers."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, x):
        return self.net(x + self.shift)


class Branching(OwnParameter):
    """A branch on a value: not even `vmap`."""

    def forward(self, x):
        return super().forward(x) if float(x.detach().sum()) < 1e9 else x


class Tied(nn.Module):
    """A weight used by a module and as a function: the rules for layers see one of the two."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(4, 3)

    def forward(self, x):
        return self.into(F.linear(torch.tanh(self.into(x)), self.into.weight.T))


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.spare = nn.Linear(4, 3), nn.Linear(2, 2)

    def forward(self, x):
        return self.net(x)


class Mixing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x):
        return self.net(x - x.mean(0))


WAYS = {
    "by_samplers": [InPlace, Unused, lambda: nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))],
    "by_vmap": [OwnParameter, Tied],
    "by_loop": [Branching],
}
MODELS = [(way, make) for way, makes in WAYS.items() for make in makes]


def made(make) -> nn.Module:
    torch.manual_seed(0)
    return make()


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def record_gradients(model: nn.Module, records: Records, index) -> torch.Tensor:
    """(n, d) by one backward pass a record."""
    rows = []
    for i in index:
        x, y = records.batch(torch.tensor([int(i)]))
        found = torch.autograd.grad(F.cross_entropy(call(model, x), y), list(model.parameters()), allow_unused=True)
        pairs = zip(model.parameters(), found, strict=True)
        rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs]))
    return torch.stack(rows)


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize(("way", "make"), MODELS)
def test_every_record_is_clipped_exactly(replay, blobs, way, make, accumulate):
    model = made(make)
    typical = record_gradients(model, blobs, range(20)).norm(dim=1).median().item()
    defense = dp(clip=typical, sampling="shuffle")
    settings = {"batch_size": 60, "epochs": 1, "optimizer": UNIT, "accumulate": accumulate}
    run = replay(model=model, defense=defense, **settings)
    assert run.step._gradients.__name__ == way
    own = record_gradients(model, blobs, run.split.members)
    factor = (typical / own.norm(dim=1)).clamp_max(1.0)
    assert 5 < int((factor < 1).sum()) < 55
    expected = (factor[:, None] * own).sum(0) / 60
    before = flat(model)
    run.run((), ())
    torch.testing.assert_close(before - flat(model), expected, rtol=1e-4, atol=1e-6)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(checkpoint(self.inner, torch.tanh(self.first(x)), use_reentrant=True)))


def test_layers_inside_reentrant_checkpoints_are_trained(replay, blobs):
    """Such a checkpoint takes a full backward pass only; `torch.autograd.grad` says nothing of what is inside."""
    model, plain = made(Checkpointed), made(Checkpointed)
    run = replay(model=model, defense=dp(clip=1e9, sampling="shuffle"), epochs=1, batch_size=60, optimizer=UNIT)
    before = flat(model)
    run.run((), ())
    inputs, targets = blobs.batch(torch.from_numpy(run.split.members))
    F.cross_entropy(plain(inputs), targets).backward()
    expected = torch.cat([p.grad.flatten() for p in plain.parameters()])
    assert float(plain.inner.weight.grad.norm()) > 1e-3
    torch.testing.assert_close(before - flat(model), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sampling", ["poisson", "shuffle"])
@pytest.mark.parametrize("optimizer", [SGD | {"momentum": 0.9}, {"name": "adam", "lr": 0.01}])
def test_without_noise_and_clipping_it_is_plain_training_on_the_same_batches(replay, blobs, sampling, optimizer):
    settings = {"batch_size": 16, "epochs": 2, "optimizer": optimizer}
    run = replay(model=made(OwnParameter), defense=dp(clip=1e9, sampling=sampling), **settings)
    plain = made(OwnParameter)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    stepping = kinds[optimizer["name"]](plain.parameters(), **{k: v for k, v in optimizer.items() if k != "name"})
    for epoch in (1, 2):
        for index in epoch_batches(run.train, run.split.members, 0, epoch):
            inputs, targets = blobs.batch(torch.from_numpy(index))
            stepping.zero_grad()
            (F.cross_entropy(plain(inputs), targets, reduction="sum") / 16).backward()  # the expected size, always
            stepping.step()
    run.run((), ())
    torch.testing.assert_close(flat(run.model), flat(plain), rtol=1e-3, atol=1e-5)


def test_the_noise_is_gaussian_of_the_stated_size_and_the_same_in_every_replay(replay):
    ends = {}
    for name, defense, seed in (
        ("clean", dp(clip=0.3), 0),
        ("noisy", dp(clip=0.3, noise_multiplier=2.0), 0),
        ("again", dp(clip=0.3, noise_multiplier=2.0), 0),
        ("other", dp(clip=0.3, noise_multiplier=2.0), 1),
    ):
        model = made(lambda: nn.Sequential(nn.Linear(4, 500), nn.Tanh(), nn.Linear(500, 3)))
        run = replay(model=model, seed=seed, batch_size=60, epochs=1, optimizer=UNIT, defense=defense)
        run.run((), ())
        ends[name] = flat(model)
    noise = (ends["noisy"] - ends["clean"]) * 60 / (0.3 * 2.0)
    n = len(noise)
    assert float(noise.mean()) == pytest.approx(0, abs=4 / math.sqrt(n))
    assert float(noise.std()) == pytest.approx(1, abs=4 / math.sqrt(2 * n))
    assert float((noise**4).mean()) == pytest.approx(3, abs=4 * math.sqrt(96 / n))
    assert torch.equal(ends["noisy"], ends["again"])
    assert not torch.equal(ends["noisy"], ends["other"])


def test_epochs_and_steps_have_noise_of_their_own(replay):
    ends = []
    for epochs in (1, 2, 3):
        defense = dp(noise_multiplier=50.0)
        run = replay(model=made(OwnParameter), batch_size=60, epochs=epochs, optimizer=SGD, defense=defense)
        run.run((), ())
        ends.append(flat(run.model))
    first, second = ends[1] - ends[0], ends[2] - ends[1]
    assert abs(float(F.cosine_similarity(first, second, dim=0))) < 0.4


def test_a_step_without_records_is_noise_alone(replay):
    run = replay(model=made(OwnParameter), batch_size=1, epochs=1, optimizer=SGD, defense=dp(noise_multiplier=1.0))
    sizes = [len(index) for index in epoch_batches(run.train, run.split.members, 0, 1)]
    assert 0 in sizes
    stats = run.run((), ())
    assert stats[1].step == len(sizes) == 60
    assert math.isfinite(stats[1].train_loss)


def test_epsilon_is_that_of_opacus_accountant_stepped_alone(replay):
    run = replay(model=made(OwnParameter), batch_size=16, epochs=3, defense=dp(noise_multiplier=1.1, delta=1e-3))
    found = [stats.epsilon for stats in run.run((), ())]
    accountant, expected = opacus.accountants.RDPAccountant(), [0.0]
    for _ in range(3):
        for _ in range(4):  # 60 members in steps of 16
            accountant.step(noise_multiplier=1.1, sample_rate=16 / 60)
        expected.append(accountant.get_epsilon(delta=1e-3))
    assert found == pytest.approx(expected, rel=1e-9)
    assert all(before < after for before, after in pairwise(found))


def test_epsilon_bounds_the_tighter_accountant_from_above(replay):
    run = replay(model=made(OwnParameter), batch_size=16, epochs=1, defense=dp(noise_multiplier=1.5))
    tighter = opacus.accountants.PRVAccountant()
    tighter.history = [(1.5, 16 / 60, 4)]
    found = run.run((), ())[1].epsilon
    assert 0.7 * found < tighter.get_epsilon(delta=1e-5) < found


def test_epsilon_agrees_with_the_closed_form_of_one_step_on_all_records(replay):
    """Without sampling: Renyi divergence a / (2 sigma^2), turned into (epsilon, delta) as in Canonne et al. 2020."""
    run = replay(model=made(OwnParameter), batch_size=60, epochs=1, defense=dp(noise_multiplier=2.0, delta=1e-5))
    a = np.linspace(1.01, 60, 20000)
    bound = (a / 8 - (np.log(1e-5) + np.log(a)) / (a - 1) + np.log((a - 1) / a)).min()
    assert run.run((), ())[1].epsilon == pytest.approx(bound, rel=1e-3)


@pytest.mark.parametrize("target", [0.5, 1.0, 8.0, 100.0])
def test_a_target_epsilon_is_spent_at_the_end_and_not_before(replay, target):
    defense = dp(epsilon=target)
    stats = replay(model=made(OwnParameter), epochs=3, defense=defense).run((), ())
    assert 0.98 * target <= stats[3].epsilon <= target
    assert stats[2].epsilon < stats[3].epsilon


def test_without_noise_epsilon_is_infinite_and_without_defense_there_is_none(replay):
    assert [s.epsilon for s in replay(model=made(Unused), epochs=1, defense=dp()).run((), ())] == [0.0, math.inf]
    assert [s.epsilon for s in replay(model=made(Unused), epochs=1).run((), ())] == [None, None]


def test_an_epsilon_out_of_reach_is_an_error(replay):
    with pytest.raises(PtauditError, match=r"train.defense.epsilon: no noise was found for epsilon 1e-12"):
        replay(model=made(Unused), defense=dp(epsilon=1e-12))


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm1d(4, track_running_stats=False),
        nn.Sequential(nn.Unflatten(1, (4, 1)), nn.InstanceNorm1d(4, track_running_stats=True)),
    ],
)
def test_statistics_of_records_are_refused_with_the_remedy(replay, norm):
    model = nn.Sequential(nn.Linear(4, 4), norm, nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(ModelError, match=r"train\.defense: \w+Norm1d 1.* keeps statistics of records.*\(use GroupNorm"):
        replay(model=model, defense=dp())


def test_a_model_that_mixes_records_is_refused(replay):
    with pytest.raises(ModelError, match="mixes the records of a batch"):
        replay(model=made(Mixing), defense=dp())


def test_missing_opacus_is_an_error_that_says_what_to_install(replay, monkeypatch):
    for name in [name for name in sys.modules if name == "opacus" or name.startswith("opacus.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(PtauditError, match=r"train\.defense: .*not installed \(pip install 'ptaudit\[dp\]'\)"):
        replay(model=made(Unused), defense=dp())
    replay(model=made(Unused), epochs=1).run((), ())  # nothing else needs it


@pytest.mark.parametrize(("way", "make"), MODELS)
def test_the_model_is_the_users_own_before_during_and_after(replay, blobs, way, make):
    """No wrapper, no hooks between steps, and tokens as of any model with these weights."""
    inputs, targets = blobs.batch(torch.arange(12))
    names = list(made(make).state_dict())

    def tokens(model):
        reader = TokenReader(model, make_loss("cross_entropy"), dim=16)
        reader.prepare(inputs, targets)
        return reader.read(inputs, targets)

    def observe(moment):
        assert list(moment.model.state_dict()) == names
        for module in moment.model.modules():
            assert not any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks))
        assert all(parameter.grad is None for parameter in moment.model.parameters())
        fresh = made(make)
        fresh.load_state_dict(moment.model.state_dict())
        assert torch.equal(tokens(moment.model).values, tokens(fresh).values)

    run = replay(model=made(make), epochs=2, defense=dp(noise_multiplier=1.0))
    run.run(range(3), [observe])


def test_dropout_and_noise_do_not_share_their_randomness(replay):
    """With and without dropout the noise is the same: it has a generator of its own."""
    moves = []
    for rate in (0.0, 0.5):
        model = made(lambda rate=rate: nn.Sequential(nn.Linear(4, 8), nn.Dropout(rate), nn.Linear(8, 3)))
        before = flat(model)
        run = replay(model=model, batch_size=60, epochs=1, optimizer=SGD, defense=dp(clip=1e-3, noise_multiplier=1e4))
        run.run((), ())
        moves.append(flat(model) - before)
    assert float(F.cosine_similarity(*moves, dim=0)) > 0.9999


def test_the_gradient_check_leaves_no_trace(replay):
    """Weights, buffers, modes and random numbers are as they were, also of a model that keeps its last output."""

    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(4, 3)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            self.last = self.net(x + 0 * torch.rand(1))
            return self.last

    model = made(Keeping)
    model(torch.zeros(2, 4))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    replay(model=model, defense=dp())
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


class Named(nn.Module):
    """Takes its inputs by name; `scale` has a parameter of its own where only `vmap` can clip it."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(2, 3), nn.Linear(2, 3)
        self.scale = nn.Parameter(torch.ones(3)) if own else 1.0

    def forward(self, a, b):
        return self.left(a) + torch.tanh(self.right(b)) * self.scale


@pytest.mark.parametrize(("own", "way"), [(False, "by_samplers"), (True, "by_vmap")])
@pytest.mark.parametrize("kind", [dict, tuple])
def test_batches_may_be_dicts_and_tuples(replay, blobs, own, way, kind):
    """The same records as one tensor would be, were the model to cut it in two."""
    parts = {"a": blobs.inputs[:, :2], "b": blobs.inputs[:, 2:]}
    records = Records(parts if kind is dict else tuple(parts.values()), blobs.targets, 3)
    model = made(lambda: Named(own))
    run = replay(
        model=model, records=records, defense=dp(clip=0.2), epochs=1, batch_size=60, optimizer=UNIT, accumulate=2
    )
    assert run.step._gradients.__name__ == way
    index = next(epoch_batches(run.train, run.split.members, 0, 1))
    gradients = record_gradients(model, records, index)
    factor = (0.2 / gradients.norm(dim=1)).clamp_max(1.0)
    before = flat(model)
    run.run((), ())
    torch.testing.assert_close(before - flat(model), (factor[:, None] * gradients).sum(0) / 60, rtol=1e-3, atol=1e-6)


def test_a_use_that_only_training_has_is_not_left_unclipped(replay):
    """In evaluation mode, where the way is chosen, the rules for layers see everything; then not any more."""

    class Sly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.back = nn.Linear(4, 3), nn.Linear(3, 3)

        def forward(self, x):
            out = self.back(self.net(x))
            return F.linear(out, self.back.weight) if self.training else out

    run = replay(model=made(Sly), defense=dp(noise_multiplier=1.0), epochs=1)
    assert run.step._gradients.__name__ == "by_samplers"
    with pytest.raises(ModelError, match=r"back\.weight: the gradients of the records do not add up"):
        run.run((), ())


def test_divergence_is_told_as_such(replay):
    with pytest.raises(TrainingDivergedError, match="epoch 1"):
        replay(model=made(InPlace), defense=dp(clip=1e9), optimizer={"name": "sgd", "lr": 1e30}).run((), ())
