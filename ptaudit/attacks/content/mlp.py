"""Decoders with one hidden layer, stopped early."""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.attacks.content.family import Family, Task, best_of
from ptaudit.attacks.usable.mlp import number_path


def network(task: Task) -> Tensor:
    """See `family.Decoder`: the network of `usable.mlp` for numbers."""
    generator = torch.Generator().manual_seed(task.seed)
    answers = number_path(task.known[None], task.targets, task.unseen[None], generator)
    return best_of(answers[:, :, 0].transpose(0, 1), task.truth)


FAMILY = Family(network, screened=True)
