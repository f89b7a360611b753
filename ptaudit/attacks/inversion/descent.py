"""Adam on many independent problems side by side, within the bounds of what an input can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.inversion.matching import Clock, Matching, Variables


@dataclass(frozen=True)
class Descent:
    """How a search goes down.

    Attributes:
        rate: learning rate, in units of the spread of the inputs.
        schedule: share of the iterations that are done -> factor of the rate.
        direction: what is handed to Adam in the place of a slope.
    """

    rate: float
    schedule: Callable[[float], float]
    direction: Callable[[Tensor], Tensor]

    def minimise(self, matching: Matching, start: Variables, iterations: int, clock: Clock) -> tuple[Tensor, Variables]:
        """The lowest objective `(P,)` that each problem came to, and where."""
        free = [variable.clone().requires_grad_() for variable in start]
        adam = torch.optim.Adam(free, lr=self.rate)
        every = torch.arange(len(matching), device=start[0].device)
        least = torch.full((len(matching),), torch.inf, device=start[0].device)
        best = [variable.clone() for variable in start]
        for done in range(iterations):
            if not clock.goes_on():
                break
            value, slopes = matching.slopes(every, free)
            lower = value < least
            least = torch.where(lower, value, least)
            for kept, variable, slope in zip(best, free, slopes):
                kept[lower] = variable.detach()[lower]
                variable.grad = self.direction(slope.nan_to_num(0.0))
            for group in adam.param_groups:
                group["lr"] = self.rate * self.schedule(done / iterations)
            adam.step()
            with torch.no_grad():
                free[0].copy_(matching.within_bounds(free[0]))
            clock.step()
        return least, best
