"""A table like Adult, small, and a network on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from ptaudit.data import Records, open_source
from ptaudit.data.split import Split, make_split
from ptaudit.spec.model import DataSpec

FIELDS = ("sex", "work", "level")


def table(n: int, seed: int = 0) -> pd.DataFrame:
    """Two numbers, two categories and a whole number; the label depends on all of them."""
    draw = np.random.default_rng(seed)
    sex, work = draw.integers(2, size=n), draw.integers(4, size=n)
    level, age, hours = draw.integers(6, size=n), draw.normal(40, 12, n), draw.exponential(1.0, n)
    pull = 0.05 * (age - 40) + 0.8 * hours + 0.5 * (level - 2) + 0.7 * sex - 0.6 * (work == 1) - 0.8
    rich = draw.random(n) < 1 / (1 + np.exp(-pull))
    names = {"sex": np.where(sex, "Male", "Female"), "work": np.array([*"abcd"])[work]}
    return pd.DataFrame({"age": age, **names, "level": level, "hours": hours, "rich": rich.astype(int)})


def records_of(folder: Path, frame: pd.DataFrame, **data: object) -> tuple[Records, Split]:
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    spec = DataSpec(source=f"csv:{path}", label="rich", **data)
    source = open_source(spec)
    split = make_split(len(source), spec, source.columns)
    return source.records(split.members), split


def trained(records: Records, members: np.ndarray, hidden: int = 16, steps: int = 150) -> nn.Module:
    """A network after some steps of training."""
    torch.manual_seed(0)
    width = records.inputs.shape[1]
    model = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, records.classes))
    optimizer, draw = torch.optim.Adam(model.parameters(), 0.01), np.random.default_rng(0)
    for _ in range(steps):
        inputs, targets = records.batch(torch.from_numpy(draw.choice(members, 64)))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model


def autograd(model: nn.Module, loss, inputs, target, clip=None) -> torch.Tensor:
    """The gradient of one record, the slow and obvious way."""
    total = loss(model(inputs[None]), target[None]).sum()
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(total, list(model.parameters()))])
    return flat if clip is None else flat * min(1.0, clip / float(flat.norm()))
