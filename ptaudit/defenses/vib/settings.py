"""The bottleneck in the spec and in words; `bottleneck.py` has the layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, Literal

from ptaudit.spec.base import Count
from ptaudit.spec.defenses import DefenseSpec, OnePositive, Positive

if TYPE_CHECKING:
    from torch import nn

    from ptaudit.gradients.record_losses import PerRecordLoss
    from ptaudit.model_input import Inputs
    from ptaudit.spec.train import TrainSpec


class VibDefense(DefenseSpec):
    """`vib`: a variational information bottleneck before the last linear layer; only in training."""

    name: Literal["vib"]
    """Which defense."""
    beta: Positive
    """Weight of the information that may pass."""
    width: Count | None = None
    """Numbers in the code; default as many as the last layer takes."""

    parameter: ClassVar[str] = "beta"
    acts_on: ClassVar[Literal["labels", "pass", "gradient", "sum"]] = "pass"
    stochastic: ClassVar[bool] = True
    in_model: ClassVar[bool] = True

    @property
    def detail(self) -> str:
        """The width, if it is given: `w16`."""
        return "" if self.width is None else f"w{self.width}"

    def during(self, model: nn.Module) -> AbstractContextManager[None]:
        """Codes are sampled, anew for every record of every batch that is seen."""
        from ptaudit.defenses.vib.bottleneck import sampling

        return sampling(model)

    def why_not(self, model: nn.Module, classes: int | None) -> str:
        """The bottleneck itself is a layer of the model, put there and trained by `train.defense`."""
        from ptaudit.defenses.vib.bottleneck import bottlenecks

        return "" if bottlenecks(model) else "the model was not trained with an information bottleneck"

    def loss(self, loss: PerRecordLoss) -> PerRecordLoss:
        """With the bottleneck's term."""
        from ptaudit.defenses.vib.bottleneck import PenalisedLoss

        return PenalisedLoss(loss, self.beta)

    def insert(self, model: nn.Module, inputs: Inputs, loss: PerRecordLoss, seed: int) -> None:
        """A bottleneck hangs on the last layer."""
        from ptaudit.defenses.last_linear import find_place
        from ptaudit.defenses.vib.bottleneck import PenalisedLoss, insert_bottleneck

        assert isinstance(loss, PenalisedLoss)
        insert_bottleneck(find_place(model, inputs), self.width, loss, seed)

    def is_inserted(self, model: nn.Module, loss: PerRecordLoss) -> bool:
        """Whether there is one, and the loss has its term."""
        from ptaudit.defenses.vib.bottleneck import PenalisedLoss, bottlenecks

        return isinstance(loss, PenalisedLoss) and bool(bottlenecks(model))

    def notes(self, train: TrainSpec, members: int, before: str) -> Iterator[str]:
        """What is in the losses, and when the code is random."""
        yield (
            f"The model has an information bottleneck before its last layer (VIB, beta {self.beta:g}). Losses have its "
            f"term in them: the ones reported, the ones whose gradient was read, and the ones that membership is "
            f"guessed from. Its code is drawn at random in training and in views of defense `vib`; elsewhere it was "
            f"the mean."
        )


class VibTraining(VibDefense):
    """`vib`: a variational information bottleneck before the last linear layer."""

    beta: OnePositive
    """Weight of the information that may pass."""
