"""What an attacker knows of an audited training: weights of an epoch, audited records, and gradients by autograd alone.

The package replays the training and says which records are audited. Everything from the gradient on is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """One epoch of a training, as the attacker knows it.

    Attributes:
        model: with the weights of the epoch, in eval mode.
        loss: of outputs and targets, per record.
        inputs: of all records: a tensor, a tuple or a dict of tensors.
        targets: of all records.
        members: the audited records.
        spare: records that are neither audited nor needed for games; to learn what goes with what.
        columns: further columns of all records.
        fields: input columns with few values: (codes, first place, how each value is encoded).
    """

    model: nn.Module
    loss: Any
    inputs: Any
    targets: Tensor
    members: Index
    spare: Index
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    fields: Mapping[str, tuple[Index, int, Tensor]] = field(default_factory=dict)

    def batch(self, index: Index) -> tuple[Any, Tensor]:
        """Inputs and targets of some records."""
        rows = torch.from_numpy(np.asarray(index))
        return _rows(self.inputs, rows), self.targets[rows]

    def with_value(self, index: Index, name: str, value: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some records, as they would be with another value of a field."""
        x, y = self.batch(index)
        _, start, levels = self.fields[name]
        x = x.clone()
        x[:, start : start + levels.shape[1]] = levels[value]
        return x, y


def open_worlds(spec_path: Path, epochs: Sequence[int]) -> dict[int, World]:
    """Replay the training of a spec and keep the weights of some epochs.

    Args:
        spec_path: the YAML spec.
        epochs: which ones; 0 is before training.
    """
    from ptaudit.auditing.opening import open_session
    from ptaudit.spec.load import load
    from ptaudit.training.trainer import Replay

    spec = load(spec_path)
    cpu = torch.device("cpu")
    session = open_session(spec, cpu)
    seed = spec.train.all_seeds[0]
    model, kept = session.model(seed), {}

    def keep(moment: Any) -> None:
        kept[moment.epoch] = {name: value.clone() for name, value in moment.model.state_dict().items()}

    Replay(model, session.records, session.split, spec.train, session.loss, seed, cpu, session.augment).run(
        set(epochs), [keep]
    )
    everyone = np.concatenate([session.split.members, session.split.held_out])
    records = session.records
    fields = {name: (one.codes, one.start, one.levels) for name, one in records.fields.items()}
    what = (session.loss, records.inputs, records.targets, session.members, np.setdiff1d(everyone, session.members))
    worlds = {}
    for epoch, state in kept.items():
        frozen = session.model(seed)
        frozen.load_state_dict(state)
        worlds[epoch] = World(frozen.eval(), *what, records.columns, fields)
    return worlds


def _rows(inputs: Any, rows: Tensor) -> Any:
    if isinstance(inputs, Tensor):
        return inputs[rows]
    if isinstance(inputs, Mapping):
        return {name: value[rows] for name, value in inputs.items()}
    return tuple(value[rows] for value in inputs)


def forward(model: nn.Module, inputs: Any) -> Tensor:
    """Call a model with a tensor, a tuple (in order) or a dict (by name)."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
