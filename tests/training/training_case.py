"""Records and runs that tests of training and of its defenses share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from ptaudit.data import Records
from ptaudit.data.split import Split, make_split
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.training.loss import make_loss
from ptaudit.training.trainer import Replay

CPU = torch.device("cpu")


@pytest.fixture
def blobs() -> Records:
    """120 records of three well separated classes."""
    return make_blobs()


def make_blobs() -> Records:
    """The same in every process."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 3
    inputs = torch.randn(120, 4, generator=generator) + 2 * nn.functional.one_hot(targets, 4)
    return Records(inputs, targets, 3)


@pytest.fixture(autouse=True)
def fixed_weights() -> None:
    """Models that a test makes by itself have the same weights each time."""
    torch.manual_seed(0)


@pytest.fixture
def small_net() -> Callable[..., nn.Module]:
    """Makes a net with dropout, so that its randomness is under test too."""

    def make(seed: int = 0) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))

    return make


@pytest.fixture
def replay(blobs: Records, small_net: Callable[..., nn.Module]) -> Callable[..., Replay]:
    """Makes a fresh run over the blobs; keywords go to `train`."""

    def make(
        *, model: nn.Module | None = None, records: Records | None = None, seed: int = 0, **train: object
    ) -> Replay:
        records = blobs if records is None else records
        settings = {"epochs": 4, "batch_size": 16, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}} | train
        spec = TrainSpec.model_validate(settings)
        split: Split = make_split(len(records), DataSpec(source="sklearn:iris"))
        model = small_net() if model is None else model
        return Replay(model, records, split, spec, make_loss(spec.loss, spec.label_smoothing), seed, CPU)

    return make
