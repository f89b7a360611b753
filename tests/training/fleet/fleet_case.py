"""Fleets that tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from ptaudit.data import Records
from ptaudit.spec.model import TrainSpec
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.loss import train_loss
from ptaudit.training.seeding import seeded


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def make_context(
    records: Records,
    model: Callable[[], nn.Module] = mlp,
    *,
    pool: int | None = None,
    seed: int = 0,
    **train: object,
) -> FleetContext:
    """What a fleet is trained on, looked at before training and after every epoch; further keywords go to `train`."""

    def build(own: int) -> nn.Module:
        with seeded(own):
            return model()

    settings = {"epochs": 2, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}} | train
    spec = TrainSpec.model_validate(settings)
    index = np.random.default_rng(3).permutation(len(records))[:pool]
    epochs = tuple(range(spec.epochs + 1))
    return FleetContext(records, index, spec, train_loss(spec), build, epochs, seed, torch.device("cpu"))


@pytest.fixture
def fleet_context(blobs: Records) -> Callable[..., FleetContext]:
    """`make_context` with the blobs, where no other records are named."""

    def make(
        model: Callable[[], nn.Module] = mlp, *, records: Records | None = None, **settings: object
    ) -> FleetContext:
        return make_context(blobs if records is None else records, model, **settings)

    return make
