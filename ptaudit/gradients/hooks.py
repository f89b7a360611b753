"""What listens at one layer while gradients flow."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.errors import in_one_line
from ptaudit.gradients.agreement import HALF
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.linear_calls import ModuleCallOf
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules import fitting
from ptaudit.gradients.rules.base import Contribution, ContributionOf, ModuleCall, Rule, UnsupportedError


@dataclass(frozen=True)
class Reading:
    """A layer to be read by its rule; without a sketch only its norm is wanted.

    Attributes:
        axes: for a layer that is read by expanding its parameters, how, by their names (see `expand.py`).
        shared: whether the module is used once for all records, so that its output has to be expanded.
    """

    layer: Layer
    rule: Rule
    sketch: LayerSketch | None
    axes: dict[str, int] | None = None
    shared: bool = False

    @property
    def expands(self) -> bool:
        """Whether the model meets tensors of another shape meanwhile."""
        return self.axes is not None or self.shared


@dataclass(eq=False)
class _Awaited:
    call_of: ModuleCallOf
    grad: Tensor | None = None

    def forget(self) -> None:
        """Lets go of all tensors: the hook that holds this call lives as long as the graph."""
        self.call_of, self.grad = _over, None


def _over(grad: Tensor) -> ModuleCall:
    raise UnsupportedError("a gradient came after the layer was read")


class LayerHook:
    """Collects the calls of one layer; runs its rule when the last awaited gradient has arrived.

    Attributes:
        result: the contribution; None where no gradient reached the layer.
        failure: why the rule does not apply.
        half: whether gradients of reduced precision were seen.
    """

    def __init__(self, reading: Reading, n: int, roots: list[Tensor]) -> None:
        self.reading = reading
        self.layer = reading.layer
        self.half = False
        self.result: Contribution | None = None
        self.failure = ""
        self._n = n
        self._roots = roots
        self._awaited: list[_Awaited] = []
        self._inside = 0

    def attach(self, stack: ExitStack) -> None:
        """Listens at the module until the stack is closed."""
        stack.callback(self.layer.module.register_forward_pre_hook(self._before).remove)
        stack.callback(self.layer.module.register_forward_hook(self._after, with_kwargs=True).remove)

    def note(self, output: Tensor, call_of: ModuleCallOf) -> Tensor:
        """Takes note of a call; returns the output that the model goes on with."""
        awaited = _Awaited(call_of)
        self._awaited.append(awaited)
        self._inside += 1
        output = self._tracked(output)
        output.register_hook(partial(self._arrive, awaited))  # type: ignore[no-untyped-call]
        return output

    def finish(self) -> None:
        """Runs the rule on the calls that got a gradient, when some call never did."""
        arrived = [awaited for awaited in self._awaited if awaited.grad is not None]
        for awaited in self._awaited:
            if awaited.grad is None:
                awaited.forget()
        self._awaited = arrived
        if arrived and arrived[0].grad is not None and self.result is None and not self.failure:
            self._arrive(arrived[0], arrived[0].grad)

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """What `note` is told from here on happens inside the module."""
        self._inside = 0

    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """No gradient is wanted inside the first pass of an activation checkpoint."""
        inputs = [*args, *kwargs.values()]
        seen, self._inside = self._inside, 0
        if seen or not torch.is_grad_enabled() or not inputs or not isinstance(output, Tensor):
            return None
        given = inputs[0].detach()
        if self.reading.shared:
            given, output = (x.expand(self._n, *x.shape[x.shape[0] == 1 :]) for x in (given, output))
        return self.note(output, partial(ModuleCall, given))

    def _tracked(self, output: Tensor) -> Tensor:
        if not output.requires_grad:
            root = output.detach().requires_grad_()
            self._roots.append(root)
            return root.clone()
        # An in-place operation on a view rewrites the history of its base and would lose the hook.
        return output.clone() if output._base is not None else output

    def _arrive(self, awaited: _Awaited, grad: Tensor) -> None:
        awaited.grad = grad.detach()
        self.half |= grad.dtype in HALF
        found = [(other.call_of, other.grad) for other in self._awaited if other.grad is not None]
        if len(found) < len(self._awaited):
            return
        for other in self._awaited:
            other.forget()
        self._awaited = []
        if self.result is not None:
            self.failure = "rule: the module was called again during the backward pass"
            return
        try:
            with torch.no_grad(), torch.autocast(found[0][1].device.type, enabled=False):
                calls = [call_of(grad) for call_of, grad in found]
                rule, fit = fitting(self.reading.rule, self.layer, calls, self._n)
                self.result = self._way(rule)(self.layer, fit, self._n, self.reading.sketch)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a rule meets what its author did not think of: the layer is read another way
            self.failure = f"rule: {in_one_line(error)}"

    def _way(self, rule: Rule) -> ContributionOf:
        return rule.contribution
