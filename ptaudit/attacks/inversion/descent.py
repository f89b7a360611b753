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
        pull: what is added to the slopes of the numbers of all problems together, `(P, R, *shape)`.
        noise: standard deviation of what is added to the numbers at every step, in units of the rate.
    """

    rate: float
    schedule: Callable[[float], float]
    direction: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor] = torch.zeros_like
    noise: float = 0.0

    def minimise(
        self, matching: Matching, start: Variables, iterations: int, clock: Clock, generator: torch.Generator
    ) -> tuple[Tensor, Variables]:
        """The lowest objective `(P,)` that each problem came to, and where."""
        free = [variable.clone().requires_grad_() for variable in start]
        numbers = free[0]
        adam = torch.optim.Adam(free, lr=self.rate)
        every = torch.arange(len(matching), device=numbers.device)
        least = torch.full((len(matching),), torch.inf, device=numbers.device)
        best = [variable.clone() for variable in start]
        for done in range(iterations):
            if not clock.goes_on():
                break
            value, slopes = matching.slopes(every, free)
            lower = value < least
            least = torch.where(lower, value, least)
            for kept, variable in zip(best, free):
                kept[lower] = variable.detach()[lower]
            slopes[0] = slopes[0] + self.pull(numbers.detach())
            for variable, slope in zip(free, slopes):
                variable.grad = self.direction(slope.nan_to_num(0.0))
            rate = self.rate * self.schedule(done / iterations)
            adam.param_groups[0]["lr"] = rate
            adam.step()
            with torch.no_grad():
                if self.noise:
                    numbers.add_(torch.randn(numbers.shape, generator=generator).to(numbers), alpha=self.noise * rate)
                numbers.copy_(matching.within_bounds(numbers))
            clock.step()
        return least, best
