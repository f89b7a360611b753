"""How far the secret of a record moves its gradient: exactly, over all parameters, and with its own derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, grad_and_value
from torch.utils._pytree import tree_map

from ptaudit.canaries.hypothesis_pair import HypothesisPair
from ptaudit.gradients.agreement import attempt, tolerance
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.gradients.layers import ROOT
from ptaudit.gradients.record_losses import PerRecordLoss, RecordLosses, loss_at, over_records
from ptaudit.gradients.whole_gradients import holds, one_by_one, side_by_side, trainable
from ptaudit.model_input import Inputs, as_real, batched, mapped, rows, to_device

Gradient = dict[str, Tensor]
_GradientOf = Callable[[Mapping[str, Tensor], Any, Tensor], Gradient]

_NUMBERS = 1 << 26
"""Numbers of gradients that are held at once."""
_TINY = 1e-24
_CHECK_RECORDS = 3


class GradientSensitivity:
    """The norm of what a secret changes in the gradient that is seen: `clip(g(z, 1)) - clip(g(z, 0))`, or `clip(g(z))`.

    Records go through `torch.func` together where that gives the gradients of plain autograd, else one by one. The
    model is read in evaluation mode and left as found.

    Args:
        model: the model, on the device of what it is asked about.
        loss: per-record loss.
        question: what is secret.
        clip: norm that the gradient of a record, over all trainable parameters, is clipped to; None for none.
        seen: whether the adversary sees a layer, by its path; None for all.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: PerRecordLoss,
        question: HypothesisPair,
        clip: float | None = None,
        seen: Callable[[str], bool] | None = None,
    ) -> None:
        self.question, self.clip = question, clip
        self._model, self._loss = model, loss
        self._weights = {name: p.detach() for name, p in trainable(model).items()}
        self._device = next(model.parameters()).device
        self._seen = sorted(name for name in self._weights if seen is None or seen(name.rpartition(".")[0] or ROOT))
        self._at_once = max(1, _NUMBERS // (4 * max(1, sum(p.numel() for p in self._weights.values()))))
        self._together: bool | None = None

    def distances(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """One for each record, `(n,)`, float64, on the CPU."""
        found: Tensor = self._each(self._distance, self._distance, inputs, targets)
        return found.double()

    def slopes(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the distances by the inputs, `(n, ...)`, and the distances, `(n,)`."""

        def alone(gradient: _GradientOf, weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            x = x.detach().requires_grad_()
            distance = self._distance(gradient, weights, x, y)
            return torch.autograd.grad(distance, x)[0], distance.detach()

        slope, distance = self._each(grad_and_value(self._distance, argnums=2), alone, inputs, targets)
        return slope, distance.double()

    def differences(self, inputs: Inputs, targets: Tensor) -> Gradient:
        """What the secret changes in the parameters that are seen, `(n, ...)` each; its norms are the distances."""
        found: Gradient = self._each(self._difference, self._difference, inputs, targets)
        return found

    def losses(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """Loss of each record as it stands, `(n,)`."""
        with self._reading(), torch.no_grad():
            return self._records(inputs, targets)().cpu()

    def _distance(self, gradient: _GradientOf, weights: Mapping[str, Tensor], x: Inputs, y: Tensor) -> Tensor:
        return _norm(self._difference(gradient, weights, x, y))

    def _difference(self, gradient: _GradientOf, weights: Mapping[str, Tensor], x: Inputs, y: Tensor) -> Gradient:
        first, *second = (self._clipped(gradient(weights, variant, y)) for variant in self.question.variants(x))
        return {name: second[0][name] - first[name] if second else first[name] for name in self._seen}

    def _clipped(self, found: Gradient) -> Gradient:
        found = {name: as_real(g) for name, g in found.items()}
        if self.clip is None:
            return found
        scale = (self.clip / _norm(found)).clamp(max=1.0)
        return {name: g * scale for name, g in found.items()}

    def _each(self, one: Callable[..., Any], alone: Callable[..., Any], inputs: Inputs, targets: Tensor) -> Any:
        """A function of (gradient, weights, one record) for every record, on the CPU.

        Args:
            one: for `torch.func`.
            alone: the same for plain autograd.
            inputs: records.
            targets: theirs.
        """
        records = self._records(inputs, targets)
        with self._reading():
            if self._together is None:
                few, parameters = records.some(slice(_CHECK_RECORDS)), trainable(self._model)
                truth = one_by_one(few, parameters)
                self._together = holds(lambda: side_by_side(few, parameters), truth, tolerance((), self._device))
            if self._together:
                by_func, x, y = partial(one, grad(loss_at(self._model, self._loss))), records.inputs, records.targets
                found = attempt(lambda: over_records(by_func, self._weights, x, y, at_once=self._at_once))
                if found is not None:
                    return tree_map(Tensor.cpu, found)
                self._together = False
            each = [tree_map(_kept, alone(self._alone, self._weights, *record)) for record in _each(records)]
            return tree_map(lambda *parts: torch.stack(parts), *each)

    def _alone(self, weights: Mapping[str, Tensor], x: Inputs, y: Tensor) -> Gradient:
        """The gradient of one record by plain autograd, which itself can be differentiated."""
        loss = RecordLosses(self._model, self._loss, mapped(lambda leaf: leaf[None], x), y[None])().sum()
        parameters = trainable(self._model)
        found = torch.autograd.grad(loss, list(parameters.values()), create_graph=True, materialize_grads=True)
        return dict(zip(parameters, found))

    def _records(self, inputs: Inputs, targets: Tensor) -> RecordLosses:
        return RecordLosses(self._model, self._loss, to_device(inputs, self._device), targets.to(self._device))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with frozen_state(self._model, self._device), batched():
            yield


def _each(records: RecordLosses) -> Iterator[tuple[Inputs, Tensor]]:
    """Inputs and target of each record, without a dimension of records."""
    for i in torch.arange(len(records)):
        yield rows(records.inputs, i), records.targets[i]


def _kept(x: Tensor) -> Tensor:
    return x.detach().cpu()


def _norm(gradient: Gradient) -> Tensor:
    """Norm over all parameters; a little above 0, where its derivative exists."""
    squares = [g.square().sum() for g in gradient.values()]
    return (torch.stack(squares).sum() + _TINY).sqrt()
