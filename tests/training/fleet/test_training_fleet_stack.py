"""A model in a stack is the model that training it alone gives."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ptaudit.data import Records
from ptaudit.errors import TrainingDivergedError
from ptaudit.training.fleet.alone import Alone
from ptaudit.training.fleet.stack import Stack
from ptaudit.training.fleet.stackable import why_not_stacked

sys.path.insert(0, str(Path(__file__).parents[3] / "sample_models"))

from lenet import lenet
from mlp import mlp
from resnet20 import BasicBlock
from transformer import transformer

MODELS = (0, 2, 4)


def pictures(n: int = 50) -> Records:
    generator = torch.Generator().manual_seed(1)
    return Records(torch.randn(n, 1, 8, 8, generator=generator), torch.arange(n) % 3, 3)


def messages(n: int = 50) -> Records:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 20, (n, 6), generator=generator)
    return Records({"ids": ids, "mask": (ids > 3).long()}, torch.arange(n) % 3, 3)


def small_resnet(norm: str = "group") -> nn.Module:
    """A convolution, two blocks of which one halves the picture, and a linear layer."""
    blocks = BasicBlock(8, 8, norm), BasicBlock(8, 16, norm)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)
    )


CASES = {
    "mlp": (lambda: mlp(4, 3, (8, 8)), None),
    "lenet": (lambda: lenet(3, 1, 8), pictures),
    "resnet": (small_resnet, pictures),
    "batch norm": (lambda: small_resnet("batch"), pictures),
    "transformer": (
        lambda: transformer(20, length=6, width=8, heads=2, layers=1, num_classes=3, dropout=0.0),
        messages,
    ),
}

TRAININGS = {
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.1}},
    "momentum": {"optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
    "adam": {"optimizer": {"name": "adam", "lr": 0.01}, "schedule": {"name": "cosine", "warmup_epochs": 1}},
    "adamw": {"optimizer": {"name": "adamw", "weight_decay": 0.1}, "schedule": {"name": "exponential", "gamma": 0.5}},
    "clipped": {"clip_norm": 0.3, "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.5}},
    "micro-batches": {"accumulate": 3, "label_smoothing": 0.1},
}


def hold(context) -> None:
    """Train models both ways; weights, buffers, outputs and losses must be the same at every epoch."""
    assert why_not_stacked(context) == ""
    stack = Stack(context, MODELS, [context.build(context.training_seed(model)) for model in MODELS])
    singles = [Alone(context, model) for model in MODELS]
    for epoch in context.epochs:
        for training in (stack, *singles) if epoch else ():
            training.train_epoch(epoch)
        outputs, losses = stack.signals(epoch)
        for i, single in enumerate(singles):
            model = single.replay.model
            for name, value in (*model.named_parameters(), *model.named_buffers()):
                own = (stack.weights | stack.buffers)[name][i]
                torch.testing.assert_close(own, value, rtol=1e-3, atol=2e-5, msg=name)
            for found, expected in zip((outputs[i], losses[i]), single.signals(epoch)):
                np.testing.assert_allclose(found, expected[0], rtol=1e-3, atol=2e-4)
    assert not np.allclose(outputs[0], outputs[1], atol=0.01)  # they are different models


@pytest.mark.parametrize("name", CASES)
def test_a_model_in_a_stack_is_the_model_alone(name, fleet_context):
    model, records = CASES[name]
    train = {"optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}, "batch_size": 11}  # 25 members: the last 3
    hold(fleet_context(model, **({} if records is None else {"records": records()}), **train))


@pytest.mark.parametrize("name", TRAININGS)
def test_optimizer_schedule_and_clipping_are_each_models_own(name, fleet_context):
    hold(fleet_context(batch_size=25, **TRAININGS[name]))  # 60 members: the last batch has 10


def test_clipping_binds_for_some_models_only(fleet_context):
    """A norm between those of the models: common clipping would be seen."""
    context = fleet_context(epochs=1)
    modules = [context.build(context.training_seed(model)) for model in MODELS]
    stack = Stack(context, MODELS, modules)
    stack.backward(*context.batch(stack.first_batch))
    norms = torch.stack([w.grad.flatten(1).norm(dim=1) for w in stack.weights.values()]).norm(dim=0)
    between = float(norms.sort().values[:2].mean())
    hold(fleet_context(epochs=1, clip_norm=between))


def test_augmentation_is_drawn_for_each_model_by_itself(fleet_context):
    def noisy(inputs, generator):
        return inputs + torch.randn(inputs.shape, generator=generator)

    hold(replace(fleet_context(batch_size=25), augment=noisy))


def test_a_frozen_and_a_shared_layer(fleet_context):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.one = nn.Linear(4, 8), nn.Linear(8, 8)
            self.other, self.last = self.one, nn.Linear(8, 3)
            self.first.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.other(self.one(self.first(x)).relu()).relu())

    hold(fleet_context(Tied))


def test_a_diverged_model_is_named(fleet_context):
    context = fleet_context(optimizer={"name": "sgd", "lr": 1e30})
    stack = Stack(context, MODELS, [context.build(context.training_seed(model)) for model in MODELS])
    with pytest.raises(TrainingDivergedError, match=r"reference model 0 is .* in epoch 1 \(lower train.optimizer.lr"):
        stack.train_epoch(1)
