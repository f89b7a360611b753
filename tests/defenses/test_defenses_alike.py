"""Every defense does the same on a view as in training."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ptaudit.context.epoch_context import clip_factor
from ptaudit.data.split import make_split
from ptaudit.defenses import label_dp
from ptaudit.gradients.matrices import BatchSums
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.spec.registry import DEFENSES, TRAIN_DEFENSES
from ptaudit.stats.randomised_response import randomise
from ptaudit.training.defender import Defender
from ptaudit.training.loss import train_loss
from ptaudit.training.trainer import Replay
from ptaudit.views.gradients import BatchGradients
from ptaudit.views.joint import Joint
from ptaudit.views.replayed import ReplayedObservation, batch_gradients
from ptaudit.views.view import View

SETTINGS = {
    "dp": {"clip": 0.5, "noise_multiplier": 0.0},
    "prune": {"ratio": 0.3},
    "sign": {},
    "perturb": {"size": 0.4},
    "dropout": {"rate": 0.4},
    "label_dp": {"epsilon": 0.7},
    "vib": {"beta": 0.1, "width": 5},
}


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def case(blobs, name: str) -> SimpleNamespace:
    """The defense on a view, and a run with it that takes one step of learning rate 1 on all members."""
    shown = DEFENSES.read({"name": name, **SETTINGS[name]})
    optimizer = {"name": "sgd", "lr": 1.0}
    spec = {"epochs": 1, "batch_size": 64, "optimizer": optimizer, "defense": shown.training()}
    train = TrainSpec.model_validate(spec)
    loss, model = train_loss(train), net()
    train.defense.insert(model, blobs.inputs[:4], loss, 0)
    split = make_split(len(blobs), DataSpec(source="sklearn:iris"))
    run = Replay(model, blobs, split, train, loss, 0, torch.device("cpu"))
    return SimpleNamespace(shown=shown, trained=train.defense, run=run, members=torch.from_numpy(split.members))


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def followed(run: Replay, seed: int = 5) -> torch.Tensor:
    """The gradient that a step on all members follows, (d,)."""
    before = flat(run.model)
    run.model.train()
    torch.manual_seed(seed)
    run.step(run._batch(run.split.members), 1)
    return before - flat(run.model)


def test_no_defense_is_left_out():
    assert SETTINGS.keys() == DEFENSES.classes.keys()
    assert {DEFENSES.read({"name": n, **SETTINGS[n]}).training()["name"] for n in SETTINGS} == set(
        TRAIN_DEFENSES.classes
    )


@pytest.mark.parametrize("name", [n for n in SETTINGS if DEFENSES.classes[n].acts_on == "gradient"])
def test_gradients_are_changed_alike(blobs, name):
    """Random ones, with ties; and that of a batch, as a step follows it and as a view shows it."""
    made = case(blobs, name)
    made.run.step.begin(1)
    trained = made.run.step._defense
    width = len(flat(made.run.model))
    gradients = torch.randn(9, width, generator=torch.Generator().manual_seed(0))
    gradients[5:] = gradients[5:].mul(2).round()
    one, other = made.shown, trained
    if name == "perturb":
        one, other = (defense.with_probe(gradients, torch.arange(9) % 3) for defense in (one, other))
    found = one.gradient(gradients, torch.Generator())
    assert torch.equal(found, other.gradient(gradients, torch.Generator()))
    torch.testing.assert_close(found[3:4], other.gradient(gradients[3:4], torch.Generator()))
    assert not torch.equal(found, gradients)

    model, batch = made.run.model, made.members[None]
    for module in model.modules():  # a view has it off
        module.p = 0.0
    reader = TokenReader(model, made.run.loss, 16)
    reader.prepare(blobs.inputs, blobs.targets)
    values = reader.read(blobs.inputs, blobs.targets).values.double()
    view = View("v", batch.shape[1], defense=trained)
    batches = batch_gradients(reader.source, blobs.inputs, blobs.targets, view)
    shared = {layer.name: () for layer in reader.layers}
    observation = ReplayedObservation.of(reader, batches, view, Joint.of(values), shared)
    (seen,) = observation._delivered(batch, None, torch.Generator())
    torch.testing.assert_close(followed(made.run), seen[0], rtol=1e-4, atol=1e-6)


def test_perturbations_prepare_alike_from_the_same_records(blobs):
    made = case(blobs, "perturb")
    run = made.run
    run.model.eval()
    reader = TokenReader(run.model, run.loss, 16)
    reader.prepare(blobs.inputs, blobs.targets)
    of_view = BatchGradients(reader.source, *blobs.batch(made.members))

    def probe(defense, way):
        defender = Defender(blobs, run.split, made.members.numpy(), 3, 30, len(flat(run.model)), 0, way)
        return defense.prepared(defender)._probe.weight

    ours = probe(made.shown, lambda own, batches: torch.cat(list(of_view.read(batches, None, torch.Generator()))))
    torch.testing.assert_close(ours, probe(made.trained, run.step._read), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", [n for n in SETTINGS if DEFENSES.classes[n].acts_on == "pass"])
def test_passes_draw_alike(blobs, name):
    """The same seed gives the same gradient: of the training's model in training mode, and of a view in evaluation."""
    made, twin = case(blobs, name), case(blobs, name)
    if made.shown.in_model:
        made.run.model[2].p = 0.0  # the model's own dropout is off in such a view
    expected = followed(made.run)
    model = (twin.run.model if made.shown.in_model else net()).eval()
    with made.shown.during(model):
        torch.manual_seed(5)
        total = twin.run.loss(model(blobs.inputs[made.members]), blobs.targets[made.members]).mean()
    found = torch.autograd.grad(total, list(model.parameters()))
    torch.testing.assert_close(torch.cat([g.flatten() for g in found]), expected, rtol=1e-4, atol=1e-6)


def test_labels_are_answered_alike(blobs, monkeypatch):
    """With the same uniform draws."""
    made, draws = case(blobs, "label_dp"), np.random.default_rng(0).random(120)
    monkeypatch.setattr(
        label_dp,
        "randomise",
        lambda labels, prior, epsilon, _: randomise(labels, prior, epsilon, draws[: labels.size].reshape(labels.shape)),
    )
    relabelled = made.trained.relabelled(blobs, made.run.split, 0).targets[made.members]
    defender = Defender(blobs, made.run.split, made.members.numpy(), 1, 1, 1, 0, lambda own, batches: batches)
    shown = made.shown.prepared(defender).labels(blobs.targets[made.members].view(4, -1), torch.Generator())
    assert torch.equal(shown.flatten(), relabelled)
    assert not torch.equal(relabelled, blobs.targets[made.members])


def test_records_are_clipped_alike(blobs):
    """The sum of clipped gradients, as DP-SGD follows it and as a view has it of its matrices."""
    pytest.importorskip("opacus")
    made = case(blobs, "dp")
    model = made.run.model
    view = made.shown.on(View("v", len(made.members)))
    reader = TokenReader(model.eval(), made.run.loss, 16)
    reader.prepare(blobs.inputs, blobs.targets)
    factor = clip_factor(view.clip, reader.read(blobs.inputs, blobs.targets))
    assert int((factor[made.members] < 1).sum()) > 5
    (seen,) = (
        BatchSums(reader.gradients(blobs.inputs, blobs.targets))
        .clipped(factor)
        .read(made.members[None], torch.Generator())
    )
    for module in model.modules():
        module.p = 0.0
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    made.run.step.begin(1)
    followed(made.run)
    for at, matrix in zip(("0", "3", "5"), (layer[0][0] for layer in seen)):
        layer = model.get_submodule(at)
        moved = torch.cat([before[f"{at}.weight"] - layer.weight, (before[f"{at}.bias"] - layer.bias)[:, None]], 1)
        torch.testing.assert_close(len(made.members) * moved, matrix.float(), rtol=1e-3, atol=1e-4)
