"""Dropout in the spec and in words; `modules.py` has what it does to a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, Literal

from ptaudit.spec.defenses import DefenseSpec, OneShare, Share

if TYPE_CHECKING:
    from torch import nn

    from ptaudit.gradients.record_losses import PerRecordLoss
    from ptaudit.model_input import Inputs
    from ptaudit.spec.train import TrainSpec


class DropoutDefense(DefenseSpec):
    """`dropout`: the gradient is that of a network with dropout before its last linear layer."""

    name: Literal["dropout"]
    """Which defense."""
    rate: Share
    """Share of the features that are dropped; dropout layers of the model get it too."""

    parameter: ClassVar[str] = "rate"
    acts_on: ClassVar[Literal["labels", "pass", "gradient", "sum"]] = "pass"
    stochastic: ClassVar[bool] = True
    switches_dropout_on: ClassVar[bool] = True

    def during(self, model: nn.Module) -> AbstractContextManager[None]:
        """Features are dropped, anew for every record of every batch that is seen."""
        from ptaudit.defenses.dropout.modules import dropping

        return dropping(model, self.rate)

    def why_not(self, model: nn.Module, classes: int | None) -> str:
        """Nothing to drop from."""
        from ptaudit.defenses.dropout.modules import last_linear, own_dropout

        if own_dropout(model) or last_linear(model) is not None:
            return ""
        return "dropout needs a linear layer to stand before, or dropout modules in the model"

    def insert(self, model: nn.Module, inputs: Inputs, loss: PerRecordLoss, seed: int) -> None:
        """A dropout layer hangs on the last layer, and those of the model get its rate."""
        from ptaudit.defenses.dropout.modules import insert_dropout
        from ptaudit.defenses.last_linear import find_place

        insert_dropout(model, find_place(model, inputs), self.rate)

    def is_inserted(self, model: nn.Module, loss: PerRecordLoss) -> bool:
        """Whether a layer drops at its rate."""
        return any(getattr(module, "p", None) == self.rate for module in model.modules())

    def notes(self, train: TrainSpec, members: int, before: str) -> Iterator[str]:
        """Where features were dropped."""
        yield f"Dropout layers have the rate {self.rate:g}, with one right before the last layer."


class DropoutTraining(DropoutDefense):
    """`dropout`: dropout before the last linear layer."""

    rate: OneShare
    """Share of the features that are dropped; dropout layers of the model get it too."""
