"""Defended steps: each against the same training written out by hand, and what it does to the result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.data.tensors import MISSING
from ptaudit.defenses.perturb.settings import secret_of
from ptaudit.errors import DataError, TrainingDivergedError
from ptaudit.training.sampling import epoch_batches

SGD = {"name": "sgd", "lr": 0.1}
PRUNE = {"name": "prune", "ratio": 0.7}


def smooth_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def pruned(row: torch.Tensor) -> torch.Tensor:
    """The slow way: sort, and strike out one number after the other."""
    found = row.tolist()
    for i in sorted(range(len(found)), key=lambda i: abs(found[i]))[: round(0.7 * len(found))]:
        found[i] = 0.0
    return torch.tensor(found)


def signed(row: torch.Tensor) -> torch.Tensor:
    return torch.tensor([(x > 0) - (x < 0) for x in row.tolist()], dtype=torch.float32)


def by_hand(run, optimizer: torch.optim.Optimizer, model: nn.Module, change, clip: float | None = None) -> None:
    """The training of a run, with a change of the gradient of every step."""
    for epoch in range(1, run.train.epochs + 1):
        for index in epoch_batches(run.train, run.split.members, run.seed, epoch):
            inputs, targets = run.records.batch(torch.from_numpy(index))
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            row = change(torch.cat([p.grad.flatten() for p in model.parameters()]))
            for parameter, part in zip(model.parameters(), row.split([p.numel() for p in model.parameters()])):
                parameter.grad = part.reshape(parameter.shape)
            optimizer.step()


@pytest.mark.parametrize("more", [{}, {"accumulate": 3}, {"clip_norm": 0.1}], ids=["plain", "micro", "clip"])
def test_pruned_training_is_that_of_the_largest_numbers(replay, more):
    run, model = replay(model=smooth_net(), defense=PRUNE, batch_size=20, **more), smooth_net()
    by_hand(run, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), model, pruned, more.get("clip_norm"))
    run.run((), ())
    torch.testing.assert_close(flat(run.model), flat(model), rtol=1e-4, atol=1e-6)


def test_signed_training_follows_signs(replay):
    adam = {"name": "adam", "lr": 0.01}
    run, model = replay(model=smooth_net(), defense={"name": "sign"}, optimizer=adam), smooth_net()
    by_hand(run, torch.optim.Adam(model.parameters(), 0.01), model, signed)
    run.run((), ())
    torch.testing.assert_close(flat(run.model), flat(model), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("defense", [{"name": "sign"}, PRUNE], ids=["sign", "prune"])
def test_the_optimizer_gets_the_defended_gradient_without_the_scale_of_the_loss(replay, precision, defense):
    run = replay(model=smooth_net(), defense=defense, epochs=1, batch_size=60, optimizer=SGD, precision=precision)
    before = flat(run.model)
    run.run((), ())
    moved = (before - flat(run.model)) / 0.1
    if defense["name"] == "sign":
        assert set(moved.round(decimals=3).abs().unique().tolist()) <= {0.0, 1.0}
    else:
        assert float((moved == 0).float().mean()) == pytest.approx(0.7, abs=0.01)
        assert 0.01 < float(moved.norm()) < 10


def test_a_parameter_without_gradient_is_left_without(replay):
    model = nn.ModuleDict({"used": nn.Linear(4, 3), "idle": nn.Linear(4, 3)})
    model.forward = lambda x: model["used"](x)
    idle = model["idle"].weight.detach().clone()
    decay = {"name": "sgd", "lr": 0.1, "weight_decay": 0.1}
    replay(model=model, defense={"name": "sign"}, optimizer=decay).run((), ())
    assert torch.equal(model["idle"].weight, idle)


def test_signs_train_and_strong_pruning_trains_more_slowly(replay):
    settings = {"epochs": 6, "optimizer": {"name": "sgd", "lr": 0.02}}
    free = replay(model=smooth_net(), **settings).run((), ())[-1]
    some = replay(model=smooth_net(), defense={"name": "prune", "ratio": 0.99}, **settings).run((), ())[-1]
    sign = replay(model=smooth_net(), defense={"name": "sign"}, **settings).run((), ())[-1]
    assert sign.held_out_accuracy > 0.8
    assert some.train_loss > free.train_loss + 0.1


# The probe


@pytest.mark.parametrize("size", [0.1, 0.7])
def test_a_perturbed_step_moves_by_its_size_and_fools_the_probe(replay, size):
    run = replay(model=smooth_net(), defense={"name": "perturb", "size": size}, optimizer=SGD, batch_size=16)
    run.step.begin(1)
    defense, index = run.step._defense, run.split.members
    targets = run.records.targets.numpy()
    own = [index[targets[index] == value] for value in range(3)]
    gradients = run.step._read(
        index, torch.stack([torch.from_numpy(np.flatnonzero(np.isin(index, part))[:9]) for part in own])
    )
    moved = defense.gradient(gradients, torch.Generator())
    torch.testing.assert_close((moved - gradients).norm(dim=1), size * gradients.norm(dim=1))
    probe = defense._probe
    assert probe.scores(gradients).argmax(1).tolist() == [0, 1, 2]  # batches of one value are guessed right before
    before, after = (F.cross_entropy(probe.scores(g), torch.arange(3), reduction="none") for g in (gradients, moved))
    assert bool((after > before).all())


def test_the_probe_is_fitted_anew_at_the_weights_of_every_epoch(replay):
    run, probes = replay(model=smooth_net(), defense={"name": "perturb"}, epochs=2), []
    begin = run.step.begin

    def noted(epoch):
        state = torch.get_rng_state()
        begin(epoch)
        assert torch.equal(torch.get_rng_state(), state)
        probes.append(run.step._defense._probe.weight)

    run.step.begin = noted
    run.run((), ())
    assert len(probes) == 2
    assert not torch.allclose(probes[0], probes[1])


def test_batch_statistics_do_not_remember_the_probe(replay):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    run = replay(model=model, defense={"name": "perturb"})
    model.train()
    run.step.begin(1)
    assert int(model[1].num_batches_tracked) == 0
    assert torch.equal(model[1].running_mean, torch.zeros(8))


def test_the_attribute_can_be_the_secret(replay, blobs):
    sex = np.where(np.arange(120) % 2, "f", "m").astype("U20")
    sex[:5] = MISSING
    records = replace(blobs, columns={"sex": sex, "age": np.linspace(0, 1, 120), "one": np.zeros(120)})
    run = replay(model=smooth_net(), records=records, defense={"name": "perturb", "attribute": "sex"})
    assert run.run((), ())[-1].held_out_accuracy > 0.8
    assert secret_of(records, "sex").tolist()[:8] == [-1] * 5 + [0, 1, 0]
    with pytest.raises(DataError, match=r"train\.defense: attribute `age` is a number"):
        replay(records=records, defense={"name": "perturb", "attribute": "age"})
    with pytest.raises(DataError, match=r"train\.defense: the secret .* has one value among the members"):
        replay(records=records, defense={"name": "perturb", "attribute": "one"})
    numbers = replace(blobs, targets=torch.linspace(0, 1, 120), classes=None)
    with pytest.raises(DataError, match=r"train\.defense: defense `perturb` hides classes"):
        replay(model=nn.Linear(4, 1), records=numbers, loss="mse", defense={"name": "perturb"})


def test_a_defended_training_that_diverges_says_so(replay):
    with pytest.raises(TrainingDivergedError):
        replay(model=smooth_net(), defense=PRUNE, optimizer={"name": "sgd", "lr": 1e30}).run((), ())
