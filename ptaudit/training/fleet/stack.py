"""Reference models that are trained as one program: every operation is that of all of them, by `torch.func`."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import vmap

from ptaudit.errors import TrainingDivergedError
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.gradients.record_losses import functional
from ptaudit.model_input import Inputs, batched, joined, mapped
from ptaudit.training.augment import augment_generator
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.signals import observed, said
from ptaudit.training.optimizer import make_optimizer, set_rate
from ptaudit.training.sampling import epoch_batches
from ptaudit.training.steps.passes import micro_batch

_NOT_ZERO = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to a norm."""
_BATCH = 512
"""Records, counted once per model, that are looked at in one pass, where a step does not have more."""


class Stack:
    """S reference models as one program, each with its own records, order, optimizer state and clipping.

    Optimizers of the spec treat every number by itself: one of them steps along the weights of all models. What a model
    becomes is what it would become alone, but for the order of sums.

    Args:
        context: what they are trained on and with.
        models: which ones, with equally many members.
        modules: the models with their initial weights, which are copied.

    Attributes:
        trained: (weights and buffers by path, inputs `(S, b, ...)`) -> outputs of a pass in training, `(S, b, ...)`.
        weights: parameters of all models by path, `(S, ...)`.
        buffers: buffers of all models by path, `(S, ...)`.
    """

    def __init__(self, context: FleetContext, models: Sequence[int], modules: Sequence[nn.Module]) -> None:
        self.models = tuple(models)
        self._context, self._module = context, modules[0].train()
        self._output = functional(self._module)
        self.trained: Callable[[Mapping[str, Tensor], Inputs], Any] = vmap(self._output, in_dims=(0, 0))
        self._seeds = [context.training_seed(model) for model in models]
        self._members = [context.split(model).members for model in models]
        self.weights = _stacked([dict(module.named_parameters()) for module in modules])
        self.buffers = _stacked([dict(module.named_buffers()) for module in modules])
        fused = all(weight.is_floating_point() for weight in self.weights.values())  # many weights: one pass over them
        self._optimizer = make_optimizer(self.weights.values(), context.train.optimizer, fused=fused)

    def train_epoch(self, epoch: int) -> None:
        """Train an epoch, 1 the first.

        Raises:
            TrainingDivergedError: the loss of a model is not finite.
        """
        train = self._context.train
        set_rate(self._optimizer, train, epoch)
        draws = [augment_generator(seed, epoch) for seed in self._seeds]
        orders = [epoch_batches(train, *one, epoch) for one in zip(self._members, self._seeds)]
        losses = torch.zeros(len(self.models), device=self._context.device)
        for index in zip(*orders, strict=True):
            losses += self.step(np.stack(index), draws)
        for model, loss in zip(self.models, losses.tolist()):
            if not math.isfinite(loss):
                raise TrainingDivergedError(
                    f"the training loss of reference model {model} is {loss} in epoch {epoch}",
                    remedy="lower train.optimizer.lr",
                )

    def signals(self, epoch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Outputs `(S, Q n, ...)` and losses `(S, Q n)` on the pool in Q queries."""
        at_once = max(micro_batch(self._context.train), _BATCH // len(self.models))

        def observe(inputs: Inputs, targets: Tensor) -> tuple[Tensor, Tensor]:
            with batched():
                outputs = vmap(self._output, in_dims=(0, None))({**self.weights, **self.buffers}, inputs)
            return self._said(outputs, targets.expand(len(self.models), *targets.shape))

        with frozen_state(self._module, self._context.device):
            return self._context.looked_at(lambda batch, index: observed(batch, index, observe, at_once))

    def time_steps(self, steps: int) -> float:
        """Median seconds of a step, after one to warm up. Changes the weights: for models to throw away."""
        draws, times = [augment_generator(seed, 1) for seed in self._seeds], []
        for _ in range(steps + 1):
            began = time.perf_counter()
            self.step(self.first_batch, draws).sum().item()  # waits for the device
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:])

    @property
    def first_batch(self) -> NDArray[np.int64]:
        """Records of one step, `(S, b)`, to try it out on."""
        return np.stack([members[: self._context.train.batch_size] for members in self._members])

    def step(self, index: NDArray[np.int64], draws: Sequence[torch.Generator]) -> Tensor:
        """Change the weights.

        Args:
            index: `(S, b)`, the records of every model.
            draws: for the augmentation, one per model.

        Returns:
            The sum of the losses of every model at the weights before the step, `(S,)`.
        """
        inputs, targets = self._context.batch(index)
        losses = self.backward(self._augmented(inputs, draws), targets)
        if self._context.train.clip_norm is not None:
            _clip([w.grad for w in self.weights.values() if w.grad is not None], self._context.train.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return losses

    def backward(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """Adds the gradient of every model's mean loss to `.grad` of the weights.

        Args:
            inputs: `(S, b, ...)`.
            targets: `(S, b, ...)`.

        Returns:
            The sum of the losses of every model, `(S,)`.
        """
        records, size = targets.shape[1], micro_batch(self._context.train)
        found = torch.zeros(len(self.models), device=targets.device)
        for start in range(0, records, size):
            part = slice(None), slice(start, start + size)
            with batched():
                outputs = self.trained({**self.weights, **self.buffers}, _at(inputs, part))
            _, losses = self._said(outputs, targets[part])
            torch.autograd.backward(losses.sum() / records)
            found += losses.detach().sum(1)
        return found

    def _said(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and losses `(S, b)`; the loss takes the records of all models in one.

        Args:
            outputs: of the models, `(S, b, ...)`.
            targets: `(S, b, ...)`.
        """
        flat, losses = said(self._context.loss, _flat(outputs), _flat(targets))
        return flat.unflatten(0, targets.shape[:2]), losses.unflatten(0, targets.shape[:2])  # type: ignore[no-untyped-call]

    def _augmented(self, inputs: Inputs, draws: Sequence[torch.Generator]) -> Inputs:
        augment = self._context.augment
        if augment is None:
            return inputs
        return joined([_at(augment(_at(inputs, i), own), None) for i, own in enumerate(draws)])


def _stacked(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of S models by path, `(S, ...)` each, copied; those of the first decide what is trained.

    `torch.func.stack_module_state` asks for models of one class, and a class of a user's file is another each time the
    file is read.
    """
    found = {path: torch.stack([model[path].detach() for model in models]) for path in models[0]}
    return {path: tensor.requires_grad_(models[0][path].requires_grad) for path, tensor in found.items()}


def _at(inputs: Inputs, index: int | tuple[slice, ...] | None) -> Inputs:
    return mapped(lambda leaf: leaf[index], inputs)


def _flat(outputs: Any) -> Any:
    """Records of all models one after the other; what is no tensor as it is."""
    return outputs.flatten(0, 1) if isinstance(outputs, Tensor) else outputs


def _clip(gradients: Sequence[Tensor], most: float) -> None:
    """Scales the gradients `(S, ...)` of every model so that their common norm is at most `most`."""
    squares = [torch.linalg.vector_norm(gradient.flatten(1), dim=1).square() for gradient in gradients]
    factor = (most / (torch.stack(squares).sum(0).sqrt() + _NOT_ZERO)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(factor.reshape(-1, *[1] * (gradient.dim() - 1)))
