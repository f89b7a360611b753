"""A small table with planted secrets, and specs of inference audits on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

COLUMNS = ("colour", "a", "b", "c", "label", "owner", "kind")
"""`colour` red or blue moves `a` and the label; `kind` is no input, and moves `b`; `owner` moves `c` and the label."""

DEFENSES: dict[str, dict[str, Any]] = {
    "dp": {"name": "dp", "clip": 1.0, "noise_multiplier": 0.5},
    "prune": {"name": "prune", "ratio": 0.8},
    "sign": {"name": "sign"},
    "perturb": {"name": "perturb", "attribute": "colour", "size": 0.5},
    "dropout": {"name": "dropout", "rate": 0.5},
    "label_dp": {"name": "label_dp", "epsilon": 1.0},
}

FEW = {"fit_batches": 512}

GAMES: list[dict[str, Any]] = [
    {"name": "attribute", "attribute": "colour"},
    {"name": "attribute", "attribute": "kind", "id": "latent", "adversary": ["likelihood-ratio", "linear"], **FEW},
    {"name": "property", "attribute": "colour", "values": ["red"], "adversary": "linear", **FEW},
    {"name": "distribution", "attribute": "colour", "values": ["red"], "adversary": "linear", **FEW},
    {"name": "user", "candidates": 8},
]


def table(folder: Path, records: int = 800, users: int = 100) -> Path:
    """Writes the table; the same every time."""
    draw = np.random.default_rng(0)
    owner = draw.permutation(np.arange(records) % users)
    red, kind = draw.random(records) < 0.4, draw.random(records) < 0.5
    place = draw.normal(size=users)
    label = (draw.random(records) + np.where(place[owner] > 0, 0.5, -0.5) < np.where(red, 0.8, 0.3)).astype(int)
    columns = {
        "colour": np.where(red, "red", "blue"),
        "a": draw.normal(size=records) + label,
        "b": draw.normal(size=records) + 4.0 * kind,
        "c": 0.3 * draw.normal(size=records) + 2.0 * place[owner],
        "label": label,
        "owner": [f"u{number:03d}" for number in owner],
        "kind": np.where(kind, "odd", "even"),
    }
    path = folder / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    (folder / "models.py").write_text(
        "from torch import nn\n\n"
        "def net(hidden=8, inputs=6):\n"
        "    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 2))\n"
    )
    return path


def spec(folder: Path, **changes: Any) -> Path:
    """Writes the table, and a spec with changed parts: `audit` and `data` are merged, all else is put in."""
    table(folder)
    content: dict[str, Any] = {
        "version": 1,
        "name": "inference",
        "model": {"entry": "models.py:net"},
        "data": {
            "source": "csv:table.csv", "label": "label", "attributes": ["colour", "kind"], "user": "owner",
            "drop": ["kind"], "held_out": 0.25,
        },
        "train": {"epochs": 1, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.1}},
        "audit": {
            "epochs": [1], "tokens": {"dim": 16}, "views": [{"name": "pair", "batch_size": 2}], "games": GAMES,
        },
    }  # fmt: skip
    for key, value in changes.items():
        content[key] = {**content[key], **value} if key in ("audit", "data", "train") else value
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
