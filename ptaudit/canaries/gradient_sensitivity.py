"""How far the secret of a record moves its gradient: exactly, over all parameters, and with its own derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, vmap
from torch.utils._pytree import tree_map

from ptaudit.canaries.hypothesis_pair import Question
from ptaudit.gradients.frozen_state import quiet
from ptaudit.gradients.layers import ROOT
from ptaudit.training.batch import Inputs, as_real, batched, call, count, mapped, rows, to_device
from ptaudit.training.loss import PerRecordLoss

Gradient = dict[str, Tensor]

_NUMBERS = 1 << 26
"""Numbers of gradients that are held at once."""
_TINY = 1e-24


class Pull:
    """The norm of what a secret changes in the gradient that is seen: `clip(g(z, 1)) - clip(g(z, 0))`, or `clip(g(z))`.

    Records go through `torch.func` together where the model allows, else one by one. The model is read in evaluation
    mode and left as found.

    Args:
        model: the model, on `device`.
        loss: per-record loss.
        question: what is secret.
        clip: norm that the gradient of a record, over all trainable parameters, is clipped to; None for none.
        seen: whether the adversary sees a layer, by its path; None for all.
        device: where the model is.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: PerRecordLoss,
        question: Question,
        clip: float | None = None,
        seen: Callable[[str], bool] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.question, self.clip = question, clip
        self._model, self._loss, self._device = model, loss, torch.device(device)
        self._parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        self._seen = {name for name in self._parameters if seen is None or seen(name.rpartition(".")[0] or ROOT)}
        self._at_once = max(1, _NUMBERS // (4 * max(1, sum(p.numel() for p in self._parameters.values()))))
        self._together = True

    def distances(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """One for each record, `(n,)`, float64, on the CPU."""
        found: Tensor = self._each(self._distance, inputs, targets)
        return found.double()

    def slopes(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the distances by the inputs, `(n, ...)`, and the distances, `(n,)`."""
        slope, distance = self._each(grad_and_value(self._distance), inputs, targets)
        return slope, distance.double()

    def differences(self, inputs: Inputs, targets: Tensor) -> Gradient:
        """What the secret changes in the parameters that are seen, `(n, ...)` each; its norms are the distances."""
        found: Gradient = self._each(self._difference, inputs, targets)
        return found

    def losses(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """Loss of each record as it stands, `(n,)`."""
        with self._reading(), torch.no_grad():
            return self._loss(call(self._model, to_device(inputs, self._device)), targets.to(self._device)).cpu()

    def _distance(self, x: Inputs, y: Tensor) -> Tensor:
        return _norm(self._difference(x, y))

    def _difference(self, x: Inputs, y: Tensor) -> Gradient:
        first, *second = (self._clipped(variant, y) for variant in self.question.variants(x))
        return {name: second[0][name] - first[name] if second else first[name] for name in sorted(self._seen)}

    def _clipped(self, x: Inputs, y: Tensor) -> Gradient:
        found = {name: as_real(g) for name, g in grad(self._loss_of)(self._parameters, x, y).items()}
        if self.clip is None:
            return found
        scale = (self.clip / _norm(found)).clamp(max=1.0)
        return {name: g * scale for name, g in found.items()}

    def _loss_of(self, parameters: Mapping[str, Tensor], x: Inputs, y: Tensor) -> Tensor:
        one = mapped(lambda leaf: leaf.unsqueeze(0), x)
        args, named = ((), one) if isinstance(one, dict) else ((one,) if isinstance(one, Tensor) else one, {})
        output = functional_call(self._model, dict(parameters), args, named)
        output = output if isinstance(output, Tensor) else getattr(output, "logits", output)
        return self._loss(output, y.unsqueeze(0)).sum()

    def _each(self, one: Callable[[Any, Tensor], Any], inputs: Inputs, targets: Tensor) -> Any:
        """A function of one record for every record, on the CPU."""
        x, y = to_device(inputs, self._device), targets.to(self._device)
        with self._reading(), torch.no_grad():
            if self._together:
                try:
                    return tree_map(Tensor.cpu, vmap(one, chunk_size=self._at_once)(x, y))
                except torch.OutOfMemoryError:
                    raise
                except Exception:  # whatever an operation without a batching rule raises
                    self._together = False
            found = [tree_map(Tensor.cpu, one(rows(x, _only(i)), y[i])) for i in range(count(x))]
            return tree_map(lambda *parts: torch.stack(parts), *found)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with quiet(self._model, self._device), batched():
            yield


def _only(i: int) -> Any:
    return i


def _norm(gradient: Gradient) -> Tensor:
    """Norm over all parameters; a little above 0, where its derivative exists."""
    squares = [g.square().sum() for g in gradient.values()]
    return (torch.stack(squares).sum() + _TINY).sqrt()
