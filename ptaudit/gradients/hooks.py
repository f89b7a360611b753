"""What listens at one layer while gradients flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.errors import in_one_line
from ptaudit.gradients.functional import UseOf
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, ContributionOf, UnsupportedError, Use
from ptaudit.gradients.rules.projection import Projection, plain, projection
from ptaudit.gradients.rules.tied import tied

HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Reading:
    """A layer to be read by its rule; without a sketch only its norm is wanted.

    Attributes:
        places: for a layer that is read by expanding its parameters, how, by their names (see `expand.py`).
        shared: whether the module is used once for all records, so that its output has to be expanded.
    """

    layer: Layer
    rule: ContributionOf
    sketch: LayerSketch | None
    places: dict[str, int] | None = None
    shared: bool = False

    @property
    def expands(self) -> bool:
        """Whether the model meets tensors of another shape meanwhile."""
        return self.places is not None or self.shared


@dataclass(eq=False)
class _Call:
    use_of: UseOf
    grad: Tensor | None = None

    def forget(self) -> None:
        """Lets go of all tensors: the hook that holds this call lives as long as the graph."""
        self.use_of, self.grad = _over, None


def _over(grad: Tensor) -> Use:
    raise UnsupportedError("a gradient came after the layer was read")


class Tap:
    """Collects the uses of one layer; runs its rule when the last awaited gradient has arrived.

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
        self._calls: list[_Call] = []
        self._inside = 0

    def before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Forward pre-hook: what `use` tells from here on happens inside the module."""
        self._inside = 0

    def after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Forward hook; no gradient is wanted inside the first pass of an activation checkpoint."""
        inputs = [*args, *kwargs.values()]
        seen, self._inside = self._inside, 0
        if seen or not torch.is_grad_enabled() or not inputs or not isinstance(output, Tensor):
            return None
        given = inputs[0].detach()
        if self.reading.shared:
            given, output = (x.expand(self._n, *x.shape[x.shape[0] == 1 :]) for x in (given, output))
        return self.use(output, lambda grad: Use(given, grad))

    def use(self, output: Tensor, use_of: UseOf) -> Tensor:
        """Takes note of a use; returns the output that the model goes on with."""
        call = _Call(use_of)
        self._calls.append(call)
        self._inside += 1
        output = self._tracked(output)
        output.register_hook(lambda grad: self._arrive(call, grad))  # type: ignore[no-untyped-call]
        return output

    def finish(self) -> None:
        """Runs the rule on the calls that got a gradient, when some call never did."""
        if self.result is None and not self.failure:
            self._run()

    def _tracked(self, output: Tensor) -> Tensor:
        if not output.requires_grad:
            root = output.detach().requires_grad_()
            self._roots.append(root)
            return root.clone()
        # An in-place operation on a view rewrites the history of its base and would lose the hook.
        return output.clone() if output._base is not None else output

    def _arrive(self, call: _Call, grad: Tensor) -> None:
        call.grad = grad.detach()
        self.half |= grad.dtype in HALF
        if all(other.grad is not None for other in self._calls):
            self._run()

    def _run(self) -> None:
        found = [(call.use_of, call.grad) for call in self._calls if call.grad is not None]
        for call in self._calls:
            call.forget()
        self._calls = []
        if not found:
            return
        if self.result is not None:
            self.failure = "rule: the module was called again during the backward pass"
            return
        try:
            with torch.no_grad(), torch.autocast(found[0][1].device.type, enabled=False):
                self.result = self._rule([use_of(grad) for use_of, grad in found])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a rule meets what its author did not think of: the layer is read another way
            self.failure = f"rule: {in_one_line(error)}"

    def _rule(self, uses: Sequence[Use]) -> Contribution:
        rule = self.reading.rule
        if any(isinstance(use, Projection) for use in uses):
            if isinstance(self.layer.module, nn.Embedding):
                rule = tied
            elif isinstance(self.layer.module, nn.Linear):
                whole = plain(self.layer, uses)
                rule, uses = (projection, uses) if whole is None else (rule, whole)
        return rule(self.layer, uses, self._n, self.reading.sketch)
