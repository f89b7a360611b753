"""Layers that a defense of the training puts into the user's model, right before its last linear layer.

They hang on that layer: nothing of the model is renamed or replaced, and an `nn.Sequential` stays as long as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ptaudit.errors import ModelError
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import Inputs
from ptaudit.spec.defenses import DropoutDefense, VibDefense
from ptaudit.training.layers.bottleneck import Bottleneck, PenalisedLoss, insert_bottleneck, sampling
from ptaudit.training.layers.dropout import insert_dropout
from ptaudit.training.layers.last_linear import find_place

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec

__all__ = ["Bottleneck", "PenalisedLoss", "check_inserted", "insert", "penalised", "sampling"]


def penalised(loss: PerRecordLoss, train: TrainSpec) -> PerRecordLoss:
    """The loss that is trained and read: with the bottleneck's term, where there is one.

    It belongs to one training: models that `insert` ties to it may be called in turn, each right before its loss.
    """
    defense = train.defense
    return PenalisedLoss(loss, defense.beta) if isinstance(defense, VibDefense) else loss


def insert(model: nn.Module, train: TrainSpec, inputs: Inputs, seed: int, loss: PerRecordLoss) -> nn.Module:
    """Put the layers of `train.defense` into the model, in place; for most defenses there are none.

    Args:
        model: as it was built, on any device.
        train: the spec.
        inputs: a few records on that device, to see which layer comes last.
        seed: seed of the initial weights of what is inserted.
        loss: what `penalised` returned.

    Returns:
        The model.

    Raises:
        ModelError: the model does not take the inputs, or its last layer is not linear.
    """
    defense = train.defense
    if isinstance(defense, VibDefense):
        assert isinstance(loss, PenalisedLoss)
        insert_bottleneck(find_place(model, inputs), defense.width, loss, seed)
    elif isinstance(defense, DropoutDefense):
        insert_dropout(model, find_place(model, inputs), defense.rate)
    return model


def check_inserted(model: nn.Module, train: TrainSpec, loss: PerRecordLoss) -> None:
    """The layers of the defense are there: without them a training would be taken for a defended one.

    Raises:
        ModelError: they are not.
    """
    defense, modules = train.defense, list(model.modules())
    if isinstance(defense, VibDefense):
        found = isinstance(loss, PenalisedLoss) and any(isinstance(module, Bottleneck) for module in modules)
    elif isinstance(defense, DropoutDefense):
        found = any(isinstance(module, _DropoutNd) and module.p == defense.rate for module in modules)
    else:
        return
    if not found:
        raise ModelError(
            f"the layer of defense `{defense.name}` is not in the model",
            where="train.defense",
            remedy="put it there with ptaudit.training.layers.insert",
        )
