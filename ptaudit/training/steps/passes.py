"""Forward and backward passes in the precision and the micro-batches of the spec, and the update that follows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ptaudit.errors import ModelError
from ptaudit.gradients.autograd import differentiate, filled
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import as_real, call
from ptaudit.training.epoch_snapshot import StepWatch
from ptaudit.training.steps.base import Batch

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Passes:
    """Gradients of batches, and the step of the optimizer along them.

    fp16 gradients are kept from vanishing by a scale on the loss that grows and shrinks with them (Micikevicius et al.
    2018); a step whose gradient overflows is left out and the scale halved, as everywhere.

    Args:
        model: the model, on `device`.
        loss: per-record loss.
        train: precision, batch size, micro-batches and clipping.
        optimizer: what is stepped.
        device: where the model is.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: PerRecordLoss,
        train: TrainSpec,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self._loss = loss
        self._clip_norm = train.clip_norm
        self._size = micro_batch(train)
        self._precision, self._half = train.precision, _HALF.get(train.precision)
        self._device = device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=train.precision == "fp16")

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer moves."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def backward(self, batch: Batch, number: int, watch: StepWatch | None = None) -> list[Tensor]:
        """Adds the gradient of the batch's mean loss to `.grad`, times the scale of the loss.

        Every record weighs 1/n, in whatever micro-batch it is.
        """
        found = []
        for part in batch.split(self._size):
            with self._watched(watch, number, part, len(batch)), self._explained():
                losses = self._forward(part)
                torch.autograd.backward(self._scaler.scale(losses.sum() / len(batch)))
            found.append(losses.detach())
        return found

    def update(self, change: Callable[[Tensor], Tensor] | None = None) -> None:
        """Clips the gradient, steps along it and clears it.

        Args:
            change: what becomes of the gradient before the step, all parameters in one row (d,).
        """
        if self._clip_norm is not None or change is not None:
            self._scaler.unscale_(self.optimizer)
        if self._clip_norm is not None:
            clip_grad_norm_(self.parameters, self._clip_norm)
        if change is not None:
            _put(self.parameters, change(_row(self.parameters, [p.grad for p in self.parameters])))
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def gradient(self, batch: Batch) -> Tensor:
        """Gradient of the batch's mean loss in float32, all parameters in one row (d,); `.grad` is not touched."""
        losses = self._loss(call(self.model, batch.inputs), batch.targets) / len(batch)
        found = differentiate(losses, self.model, {str(i): p for i, p in enumerate(self.parameters)})
        return _row(self.parameters, list(found.values()))

    def state(self) -> dict[str, Any]:
        """The scale of the loss and its history; empty without one."""
        return dict(self._scaler.state_dict())

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with a scale."""
        if state:
            self._scaler.load_state_dict(dict(state))

    def _forward(self, batch: Batch) -> Tensor:
        with torch.autocast(self._device, dtype=self._half, enabled=self._half is not None):
            output = call(self.model, batch.inputs)
            if isinstance(output, Tensor) and output.dtype in _HALF.values():
                output = output.float()
            return self._loss(output, batch.targets)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The model has run in float32 before: what fails now fails for the precision."""
        try:
            yield
        except RuntimeError as error:
            if self._half is None or isinstance(error, torch.OutOfMemoryError):
                raise
            what = str(error).strip().split("\n", 1)[0]
            raise ModelError(
                f"the model cannot be trained in {self._precision}: {what}",
                where="train.precision",
                remedy="use float32, or another precision",
            ) from error

    def _watched(self, watch: StepWatch | None, number: int, part: Batch, records: int) -> AbstractContextManager[None]:
        if watch is None:
            return nullcontext()
        return watch(number, part.index, records / self._scaler.get_scale())


def micro_batch(train: TrainSpec) -> int:
    """Records in one forward pass."""
    return math.ceil(train.batch_size / train.accumulate)


def _row(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> Tensor:
    """Gradients as one row; zeros where there is none."""
    return torch.cat([as_real(filled(g, p).detach()).flatten() for p, g in zip(parameters, gradients)])


def _put(parameters: Sequence[nn.Parameter], row: Tensor) -> None:
    """The parts of a row as gradients of the parameters that had one."""
    for parameter, part in zip(parameters, torch.split(row, [as_real(p).numel() for p in parameters])):
        if parameter.grad is not None:
            own = part.reshape(as_real(parameter).shape)
            parameter.grad = (torch.view_as_complex(own) if parameter.is_complex() else own).to(parameter)


class PlainStep:
    """Ordinary steps."""

    def __init__(self, passes: Passes) -> None:
        self._passes = passes

    def begin(self, epoch: int) -> None:
        """Nothing depends on the epoch."""

    def __call__(self, batch: Batch, number: int, watch: StepWatch | None = None) -> list[Tensor]:
        """Follow the gradient of the batch."""
        losses = self._passes.backward(batch, number, watch)
        self._passes.update()
        return losses

    def epsilon(self, steps: int) -> float | None:
        """None: no privacy is promised."""
        return None

    def state(self) -> dict[str, Any]:
        """The scale of the loss."""
        return self._passes.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with a scale of the loss."""
        self._passes.load(state)
