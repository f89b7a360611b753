"""DP-SGD (Abadi et al. 2016) through Opacus: clip every record's gradient, add noise to the sum, step."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from opacus.optimizers import DPOptimizer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from ptaudit.defenses.dp.accounting import dp_of, epsilon, noise_multiplier
from ptaudit.errors import ModelError
from ptaudit.gradients.opacus_rules import CHECK_RECORDS, choose_way
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.whole_gradients import trainable
from ptaudit.training.epoch_snapshot import StepWatch
from ptaudit.training.seeding import PRIVACY, derived_seed
from ptaudit.training.steps.base import Batch, StepContext
from ptaudit.training.steps.passes import micro_batch

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec


class DpSgd:
    """Steps along (sum of clipped gradients + noise) / batch_size.

    Opacus' optimizer clips, adds and divides; the model is not wrapped, and no hook is left on it between two steps. A
    micro-batch bounds the gradients in memory. A parameter that a batch does not use has zero gradients and gets noise
    like the others. The noise comes from a generator of its own, seeded by (seed, epoch): it can be drawn again by
    whoever knows the seed, which is what a replay is for.

    Args:
        context: what is trained, on what; the noise has its seed.
        train: clipping, noise, batch size, micro-batches.

    Raises:
        ModelError: the model mixes records, or remembers statistics of them outside of its weights.
    """

    def __init__(self, context: StepContext, train: TrainSpec) -> None:
        dp = dp_of(train)
        assert dp is not None
        check_private(context.model)
        self._context, self._train = context, train
        self._members = len(context.members)
        self._parameters = trainable(context.model)
        self._noise = noise_multiplier(train, self._members)
        self._generator = torch.Generator(context.device)
        self._private = DPOptimizer(
            context.optimizer,
            noise_multiplier=self._noise,
            max_grad_norm=dp.clip,
            expected_batch_size=min(train.batch_size, self._members),
            generator=self._generator,
        )
        self._gradients = choose_way(self._losses(context.batch(context.members[:CHECK_RECORDS])))

    def begin(self, epoch: int) -> None:
        """Seed the noise of the epoch."""
        self._generator.manual_seed(derived_seed(self._context.seed, PRIVACY, epoch))

    def __call__(self, batch: Batch, number: int, watch: StepWatch | None = None) -> list[torch.Tensor]:
        """Clip, add noise, step; a batch without records is noise alone."""
        parts = batch.split(micro_batch(self._train))
        losses = []
        for part in parts:
            found = self._gradients(self._losses(part), _watched(watch, number, part))
            self._clip(found.of, len(part), last=part is parts[-1])
            losses.append(found.losses)
        if not parts:
            self._clip({}, 0, last=True)
        return losses

    def _losses(self, batch: Batch) -> RecordLosses:
        return RecordLosses(self._context.model, self._context.loss, batch.inputs, batch.targets)

    def _clip(self, gradients: Mapping[str, torch.Tensor], n: int, *, last: bool) -> None:
        """Adds clipped gradients to those before; after the last ones, noise is added and the step taken."""
        for name, parameter in self._parameters.items():
            own = gradients.get(name)
            # Opacus marks what it has seen, and two parameters can share one tensor: hence `detach`.
            sample = parameter.new_zeros(n, *parameter.shape) if own is None else own.detach()
            parameter.grad_sample = sample  # type: ignore[attr-defined]
        self._private.signal_skip_step(not last)
        self._private.step()
        self._private.zero_grad(set_to_none=True)

    def epsilon(self, steps: int) -> float | None:
        """Epsilon at the spec's delta, for adding or removing one member; infinite without noise."""
        return epsilon(self._train, self._members, self._noise, steps)

    def state(self) -> dict[str, Any]:
        """Empty: noise depends on the epoch, and what is spent on the number of steps."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing to take up."""


def check_private(model: nn.Module) -> None:
    """No layer mixes records or keeps statistics of them, and noise reaches every part of every parameter.

    Raises:
        ModelError: one does.
    """
    for name, module in model.named_modules():
        remembers = isinstance(module, _InstanceNorm) and module.track_running_stats
        if isinstance(module, _BatchNorm) or remembers:
            raise ModelError(
                f"{type(module).__name__} {name} keeps statistics of records, which DP-SGD cannot account for",
                where="train.defense",
                remedy="use GroupNorm in the model",
            )
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.is_complex():
            raise ModelError(
                f"parameter {name} is complex, and the noise of DP-SGD would cover its real part alone",
                where="train.defense",
                remedy="keep it as real numbers, (..., 2), and use it through torch.view_as_complex",
            )


def _watched(watch: StepWatch | None, number: int, part: Batch) -> AbstractContextManager[None]:
    index: np.ndarray[Any, np.dtype[np.int64]] = part.index
    return nullcontext() if watch is None else watch(number, index, 1.0)
