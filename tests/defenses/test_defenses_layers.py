"""Layers that a defense puts in: where, with which names, and how their loss and gradients are read."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from ptaudit.data.split import make_split
from ptaudit.defenses.vib.bottleneck import Bottleneck, PenalisedLoss, divergence, sampling
from ptaudit.errors import ModelError
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import from_gradients
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.training.loss import train_loss
from ptaudit.training.loss_check import check_loss
from ptaudit.training.seeding import seeded
from ptaudit.training.trainer import Replay

CPU = torch.device("cpu")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))


def spec(defense: dict | None, **more: object) -> TrainSpec:
    optimizer = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    return TrainSpec.model_validate({"epochs": 6, "batch_size": 16, "optimizer": optimizer, "defense": defense, **more})


def vib(beta: float = 0.01, **more: object) -> TrainSpec:
    return spec({"name": "vib", "beta": beta, **more})


BOTH = pytest.mark.parametrize("train", [vib(), spec({"name": "dropout", "rate": 0.5})], ids=["vib", "dropout"])


def put(model: nn.Module, train: TrainSpec, inputs, seed: int = 0) -> tuple[nn.Module, PenalisedLoss]:
    loss = train_loss(train)
    train.defense.insert(model, inputs, loss, seed)
    return model, loss


def trained(blobs, train: TrainSpec, model: nn.Module | None = None):
    split = make_split(len(blobs), DataSpec(source="sklearn:iris"))
    model, loss = put(model or net(), train, blobs.inputs[:4])
    return Replay(model, blobs, split, train, loss, 0, CPU).run((), ())[-1]


def test_names_of_the_model_stay_and_the_bottleneck_hangs_on_the_last_layer(blobs):
    names = [name for name, _ in net().named_parameters()]
    model, _ = put(net(), vib(), blobs.inputs[:4])
    inside = [f"2.bottleneck.{layer}.{kind}" for layer in ("mean", "log_variance") for kind in ("weight", "bias")]
    assert [name for name, _ in model.named_parameters()] == [*names, *inside]
    assert len(model) == 3
    for name, value in net().state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_weights_of_the_bottleneck_come_from_the_seed(blobs):
    states = [put(net(), vib(width=5), blobs.inputs[:4], seed)[0].state_dict() for seed in (0, 0, 1)]
    name = "2.bottleneck.mean.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
    assert states[0][name].shape == (5, 16)
    assert states[0]["2.bottleneck.decoder.weight"].shape == (16, 5)


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.body = nn.Linear(4, 8)

    def forward(self, x):
        return self.head(input=self.body(x).relu())


class Alone(nn.Linear):
    pass


def normed() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))


@BOTH
@pytest.mark.parametrize(("make", "where"), [(Keyword, "head"), (lambda: Alone(4, 3), ""), (normed, "")])
def test_the_last_layer_is_the_one_that_is_called_last(blobs, train, make, where):
    model, loss = put(make(), train, blobs.inputs[:4])
    child = "bottleneck" if train.defense.name == "vib" else "dropout"
    assert f"{where}.{child}".lstrip(".") in dict(model.named_modules())
    check_loss(model, blobs, loss)
    model.train()
    assert not torch.equal(model(blobs.inputs[:4]), model(blobs.inputs[:4]))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x))


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x):
        return self.layer(x.T.reshape(-1, 1)).reshape(4, -1).T


@BOTH
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), "the last layer of the model is LayerNorm 1"),
        (lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 4), nn.Flatten()), "is Conv1d 1, and this"),
        (Twice, "Linear layer, is called more than once"),
        (TimeFirst, "Linear layer, is not given the records in its first dimension"),
    ],
)
def test_a_model_without_a_linear_layer_at_its_end_is_refused(blobs, train, make, what):
    with pytest.raises(ModelError, match=rf"train\.defense: .*{what}.*nn\.Linear"):
        put(make(), train, blobs.inputs[:4])


@BOTH
def test_a_training_without_its_layer_is_refused(blobs, train):
    split = make_split(len(blobs), DataSpec(source="sklearn:iris"))
    with pytest.raises(ModelError, match="is not in the model"):
        Replay(net(), blobs, split, train, train_loss(train), 0, CPU)


def test_dropout_is_put_in_and_that_of_the_model_set(blobs):
    model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.1), nn.Tanh(), nn.Linear(16, 3))
    put(model, spec({"name": "dropout", "rate": 0.75}), blobs.inputs[:4])
    assert model[1].p == model[3].dropout.p == 0.75
    seen = []
    model[3].register_forward_hook(lambda m, args, out: seen.append(args[0]))
    model.train()
    for _ in range(20):
        model(blobs.inputs)
    # What the model's own dropout hides is tanh(0) = 0 too.
    assert float((torch.cat(seen) == 0).float().mean()) == pytest.approx(1 - 0.25**2, abs=0.01)
    before = seen[0]
    model.eval()
    model(blobs.inputs)
    assert not torch.equal(seen[-1], before)
    assert torch.equal(seen[-1], model[2](model[0](blobs.inputs)))


def test_dropout_that_is_there_already_is_not_doubled(blobs):
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 3))
    put(model, spec({"name": "dropout", "rate": 0.5}), blobs.inputs[:4])
    assert model[2].p == 0.5
    assert not hasattr(model[3], "dropout")


def test_the_divergence_is_that_of_the_closed_form():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    true = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), true)
    steps = divergence(mean.expand(3, 5, 7), log_variance.expand(3, 5, 7))
    torch.testing.assert_close(steps, true.mean().expand(3))
    assert divergence(mean.half(), log_variance.half()).dtype == torch.float32


def test_the_code_is_sampled_in_training_and_its_mean_in_evaluation(blobs):
    model, _ = put(net(), vib(), blobs.inputs[:4])
    bottleneck: Bottleneck = model[2].bottleneck
    features = torch.randn(1, 16)
    mean = bottleneck.mean(features)
    model.eval()
    assert torch.equal(bottleneck(features), mean)
    with sampling(model):
        assert not torch.equal(bottleneck(features), mean)
    assert torch.equal(bottleneck(features), mean)
    model.train()
    drawn = bottleneck(features.expand(20_000, 16)).detach()
    torch.testing.assert_close(drawn.mean(0), mean[0].detach(), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), torch.full((16,), 0.5), atol=0.03, rtol=0)


def test_the_loss_of_a_record_has_the_divergence_of_its_code(blobs):
    train = vib(beta=0.3)
    model, loss = put(net(), train, blobs.inputs[:4])
    model.eval()
    output = model(blobs.inputs)
    features = model[1](model[0](blobs.inputs))
    bottleneck = model[2].bottleneck
    log_variance = -F.softplus(-bottleneck.log_variance(features))
    kl = kl_divergence(Normal(bottleneck.mean(features), (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    expected = F.cross_entropy(output, blobs.targets, reduction="none") + 0.3 * kl
    torch.testing.assert_close(loss(output, blobs.targets), expected)
    with pytest.raises(RuntimeError, match="right after its forward pass"):
        loss(output[:5], blobs.targets[:5])


@pytest.mark.parametrize("width", [None, 5])
def test_tokens_are_sketches_of_the_whole_loss(blobs, width):
    model, loss = put(net(), vib(beta=0.3, **({"width": width} if width else {})), blobs.inputs[:4])
    with torch.no_grad():  # as after some training: both layers of the code at work
        model[2].bottleneck.log_variance.weight.normal_(0, 0.3)
    reader = TokenReader(model, loss, 64, 0)
    reader.prepare(blobs.inputs, blobs.targets)
    names = ["0", "2", "2.bottleneck.mean", "2.bottleneck.log_variance", "2.bottleneck.decoder"][: 5 if width else 4]
    assert [(layer.name, layer.capture) for layer in reader.layers] == [(name, "rule") for name in names]
    tokens = reader.read(blobs.inputs, blobs.targets, chunk=50)
    assert tokens.complete
    model.eval()
    for i in (0, 7):
        model.zero_grad()
        loss(model(blobs.inputs[i : i + 1]), blobs.targets[i : i + 1]).sum().backward()
        for row, name in enumerate(names):
            own = dict(model.get_submodule(name).named_parameters(recurse=False))
            sketch = LayerSketch(name, {key: p.shape for key, p in own.items()}, 64, 0)
            token, norm_sq = from_gradients({key: p.grad[None] for key, p in own.items()}, sketch)
            torch.testing.assert_close(tokens.values[row, i], token[0], rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(tokens.norm_sq[row, i], norm_sq[0], rtol=1e-3, atol=1e-6)
    assert bool(tokens.norm_sq[names.index("2.bottleneck.log_variance")].gt(0).all())


def test_functional_gradients_have_the_divergence_in_them(blobs):
    model, loss = put(net(), vib(beta=0.3), blobs.inputs[:4])
    model.eval()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def one(values, x, y):
        return loss(functional_call(model, values, x[None]), y[None]).squeeze(0)

    each = vmap(grad(one), in_dims=(None, 0, 0))(parameters, blobs.inputs[:9], blobs.targets[:9])
    loss(model(blobs.inputs[:9]), blobs.targets[:9]).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(each[name].sum(0), parameter.grad, rtol=1e-4, atol=1e-5)
    assert float(each["2.bottleneck.log_variance.bias"].norm()) > 0


def test_a_copy_of_the_model_tells_the_same_loss(blobs):
    model, loss = put(net(), vib(beta=5.0), blobs.inputs[:4])
    other = copy.deepcopy(model).eval()
    with torch.no_grad():
        other[2].bottleneck.mean.bias.add_(1.0)
    model.eval()
    ours, theirs = (loss(m(blobs.inputs), blobs.targets).mean() for m in (model, other))
    assert float((theirs - ours).detach()) > 5.0


def test_training_follows_the_sampled_loss(blobs):
    train = spec({"name": "vib", "beta": 0.1}, epochs=1, batch_size=60, optimizer={"name": "sgd", "lr": 0.1})
    model, loss = put(net(), train, blobs.inputs[:4])
    twin = copy.deepcopy(model)
    split = make_split(len(blobs), DataSpec(source="sklearn:iris"))
    run = Replay(model, blobs, split, train, loss, 0, CPU)
    noises: list = []
    model[2].bottleneck.register_forward_pre_hook(
        lambda m, args: noises.append((torch.get_rng_state(), args[0].detach())) if m.training else None
    )
    run.run((), ())
    state, features = noises[0]
    inputs = {tuple(f.tolist()): i for i, f in enumerate(twin[1](twin[0](blobs.inputs)).detach())}
    index = torch.tensor([inputs[tuple(f.tolist())] for f in features])
    targets = blobs.targets[index]
    bottleneck = twin[2].bottleneck
    with seeded(0):
        torch.set_rng_state(state)
        noise = torch.randn(60, 16)
    x = twin[1](twin[0](blobs.inputs[index]))
    mean, log_variance = bottleneck.mean(x), -F.softplus(-bottleneck.log_variance(x))
    output = F.linear(mean + (0.5 * log_variance).exp() * noise, twin[2].weight, twin[2].bias)
    total = F.cross_entropy(output, targets) + 0.1 * divergence(mean, log_variance).mean()
    found = torch.autograd.grad(total, list(twin.parameters()))
    for before, g, after in zip(twin.parameters(), found, model.parameters(), strict=True):
        torch.testing.assert_close(after, before - 0.1 * g, rtol=1e-3, atol=1e-5)


def test_a_large_beta_destroys_what_a_small_one_leaves(blobs):
    small, large = trained(blobs, vib(1e-3)), trained(blobs, vib(3.0))
    assert small.held_out_accuracy > 0.8
    assert large.held_out_accuracy < 0.6


@pytest.mark.parametrize(
    "more",
    [{"accumulate": 4, "clip_norm": 1.0}, {"sam": {"rho": 0.05}}, {"precision": "bf16"}, {"precision": "fp16"}],
    ids=["micro", "sam", "bf16", "fp16"],
)
@pytest.mark.parametrize("defense", [{"name": "vib", "beta": 0.01}, {"name": "dropout", "rate": 0.2}])
def test_layers_go_with_every_way_of_stepping(blobs, defense, more):
    assert trained(blobs, spec(defense, **more)).held_out_accuracy > 0.75
