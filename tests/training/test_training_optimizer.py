from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from ptaudit.spec.model import OptimizerSpec, ScheduleSpec
from ptaudit.training.optimizer import make_optimizer, rate_factor

EPOCHS = 7


@pytest.mark.parametrize(
    ("schedule", "torch_schedule"),
    [
        ({"name": "cosine"}, lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)),
        (
            {"name": "step", "step_size": 2, "gamma": 0.5},
            lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5),
        ),
        ({"name": "exponential", "gamma": 0.9}, lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=0.9)),
        ({"name": "constant"}, lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1.0)),
    ],
)
def test_schedules_agree_with_torch(schedule, torch_schedule):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch_schedule(optimizer)
    for epoch in range(1, EPOCHS + 1):
        assert rate_factor(ScheduleSpec(**schedule), epoch, EPOCHS) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_warm_up_rises_linearly_and_the_schedule_starts_after_it():
    warm = ScheduleSpec(name="cosine", warmup_epochs=3)
    assert [rate_factor(warm, epoch, 3 + EPOCHS) for epoch in (1, 2, 3)] == pytest.approx([0.25, 0.5, 0.75])
    cosine = ScheduleSpec(name="cosine")
    for epoch in range(1, EPOCHS + 1):
        assert rate_factor(warm, 3 + epoch, 3 + EPOCHS) == pytest.approx(rate_factor(cosine, epoch, EPOCHS))


@pytest.mark.parametrize(
    ("spec", "kind", "expected"),
    [
        (
            {"name": "sgd", "lr": 0.3, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
            torch.optim.SGD,
            {"lr": 0.3, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
        ),
        (
            {"name": "adam", "lr": 0.2, "betas": (0.8, 0.9), "weight_decay": 0.02},
            torch.optim.Adam,
            {"lr": 0.2, "betas": (0.8, 0.9), "weight_decay": 0.02},
        ),
        ({"name": "adamw", "lr": 0.1, "weight_decay": 0.03}, torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.03}),
    ],
)
def test_every_setting_reaches_the_optimizer(spec, kind, expected):
    optimizer = make_optimizer(nn.Linear(2, 2).parameters(), OptimizerSpec.model_validate(spec))
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in expected} == expected
