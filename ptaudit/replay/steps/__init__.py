"""Ways to take a training step, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ptaudit.replay.accounting import need_opacus
from ptaudit.replay.loss import PerRecordLoss
from ptaudit.replay.steps.base import Batch, Seen, Step
from ptaudit.replay.steps.passes import Passes
from ptaudit.replay.steps.plain import Plain
from ptaudit.replay.steps.sam import Sam

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec

__all__ = ["Batch", "Seen", "Step", "make_step"]


def make_step(
    model: nn.Module,
    loss: PerRecordLoss,
    train: TrainSpec,
    optimizer: torch.optim.Optimizer,
    trial: Batch,
    members: int,
    seed: int,
    device: torch.device,
) -> Step:
    """The step of the spec.

    Args:
        model: the model, on `device`.
        loss: per-record loss.
        train: the spec.
        optimizer: what is stepped.
        trial: a few records to try things on.
        members: how many records are trained on.
        seed: seed of whatever the step draws.
        device: where the model is.

    Raises:
        PtauditError: Opacus is needed and absent, or the model does not fit DP-SGD.
    """
    if train.defense is not None:
        need_opacus()
        from ptaudit.replay.steps.dp_sgd import DpSgd

        return DpSgd(model, loss, train, optimizer, trial, members, seed, device)
    passes = Passes(model, loss, train, optimizer, device)
    return Plain(passes) if train.sam is None else Sam(passes, train.sam)
