"""Sharpness-aware minimisation: the gradient is taken where the loss is worst nearby, and followed from here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ptaudit.gradients.frozen_state import restored
from ptaudit.training.epoch_snapshot import StepWatch
from ptaudit.training.steps.base import Batch
from ptaudit.training.steps.passes import Passes, PlainStep

if TYPE_CHECKING:
    from ptaudit.spec.model import SamSpec

_LEAST_SIZE = 0.01
"""Added to the size of every weight by the adaptive kind, so that a weight of 0 can move (eta of Kwon et al. 2021)."""


class Sam(PlainStep):
    """Steps along the gradient at w + e, e = rho T(w)^2 g / |T(w) g|.

    T(w) is 1 (Foret et al. 2021) or, adaptive, |w| + 0.01 (Kwon et al. 2021). g is the gradient of the whole batch, all
    micro-batches together; e does not depend on the scale of the loss. Statistics of BatchNorm see the first pass only;
    dropout is drawn anew in the second. If g is not finite there is no second pass: fp16 then leaves the step out and
    lowers its scale.
    """

    def __init__(self, passes: Passes, spec: SamSpec) -> None:
        super().__init__(passes)
        self._spec = spec

    def __call__(self, batch: Batch, number: int, watch: StepWatch | None = None) -> list[Tensor]:
        """Look at the weights themselves, then follow the gradient beside them."""
        passes = self._passes
        losses = passes.backward(batch, number, watch)
        steps = self._way_up()
        if steps is not None:
            passes.optimizer.zero_grad(set_to_none=True)
            with restored(p for p, _ in steps), frozen_statistics(passes.model):
                with torch.no_grad():
                    for parameter, step in steps:
                        parameter.add_(step)
                passes.backward(batch, number)
        passes.update()
        return losses

    @torch.no_grad()
    def _way_up(self) -> list[tuple[nn.Parameter, torch.Tensor]] | None:
        """The parameters that have a gradient, each with its e; None if the gradient is not finite."""
        used = [p for p in self._passes.parameters if p.grad is not None]
        sizes = [p.abs() + _LEAST_SIZE if self._spec.adaptive else torch.ones_like(p) for p in used]
        scaled = [size * p.grad for p, size in zip(used, sizes) if p.grad is not None]
        norm = torch.stack([part.norm() for part in scaled]).norm() if scaled else torch.zeros(())
        if not bool(norm.isfinite()):
            return None
        factor = self._spec.rho / norm.clamp_min(torch.finfo(norm.dtype).tiny)
        return [(p, size * part * factor) for p, size, part in zip(used, sizes, scaled)]


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Batch statistics are used and not remembered."""
    tracking = [m for m in model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    try:
        for module in tracking:
            module.track_running_stats = False
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
