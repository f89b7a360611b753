"""Searching for records that explain what is seen: how far simulated gradients are from it, and which way is down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from ptaudit.attacks.inversion.linear_layers import typical
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.attacks.inversion.simulation import Simulation
from ptaudit.errors import ModelError, in_one_line
from ptaudit.gradients.agreement import ERRORS
from ptaudit.progress import Progress

_CELLS = 1 << 22
"""Numbers of the simulated gradients of one piece."""

Variables = list[Tensor]
"""What is searched for in P problems, each `(P, ...)`: the numbers of the records, and scores of their labels where
these are not known."""

Distance = Callable[[Tensor, Tensor], Tensor]
"""(simulated, seen), both `(P, r, d)` -> `(P,)`, summed over rounds."""

Penalty = Callable[[Tensor, Tensor], Tensor]
"""(records `(P, R, *shape)`, problems `(P,)`) -> `(P,)`: how unlikely records look, whatever is seen."""


def squared(simulated: Tensor, seen: Tensor) -> Tensor:
    """Squared distance, in units of the squared norm of what is seen (DLG: Zhu et al., arXiv 1906.08935, eq. 4)."""
    size = seen.square().sum((1, 2)).clamp_min(torch.finfo(seen.dtype).tiny)
    return (simulated - seen).square().sum((1, 2)) / size


def cosine(simulated: Tensor, seen: Tensor) -> Tensor:
    """1 - the cosine of the angle between the two (Geiping et al., arXiv 2003.14053, eq. 4), mean over rounds."""
    return (1.0 - torch.cosine_similarity(simulated.expand_as(seen), seen, dim=2)).mean(1)


@dataclass(frozen=True)
class Matching:
    """B targets, each of which is searched for from several starts: problem p is about target `p // restarts`.

    Attributes:
        simulation: what records would show.
        seen: what is seen, `(B, r, d)`.
        granted: by the threat model.
        restarts: problems of each target.
        distance: of a simulation from what is seen.
        labels: classes that are known or recovered, `(B, R, ...)`; None: their scores are the second variable.
        penalty: what is added.
    """

    simulation: Simulation
    seen: Tensor
    granted: Granted
    restarts: int
    distance: Distance
    labels: Tensor | None
    penalty: Penalty | None = None

    @classmethod
    def of(
        cls, seen: SharedGradients, granted: Granted, restarts: int, distance: Distance, labels: Tensor | None
    ) -> Self:
        """Without a penalty.

        Raises:
            ModelError: an operation of the model has no second derivative.
        """
        simulation = Simulation(seen, granted)
        _check_twice(simulation, seen, granted)
        return cls(simulation, simulation.seen(seen), granted, restarts, distance, labels)

    def __len__(self) -> int:
        """Problems (P)."""
        return len(self.seen) * self.restarts

    def records(self, numbers: Tensor) -> Tensor:
        """Records `(P, R, *shape)` from numbers in units of their spread around their mean."""
        space = self.granted.space
        return space.mean.to(numbers) + space.std.to(numbers) * numbers

    def within_bounds(self, numbers: Tensor) -> Tensor:
        """The same numbers, none of them beyond what an input can be."""
        space = self.granted.space
        mean, std = space.mean.to(numbers), space.std.to(numbers)
        low, high = ((bound.to(numbers) - mean) / std for bound in (space.low, space.high))
        return torch.maximum(torch.minimum(numbers, high), low)

    def of_problems(self, problems: Tensor, variables: Variables) -> Tensor:
        """The objective `(p,)` of some problems `(p,)`, to be differentiated."""
        target = problems // self.restarts
        records = self.records(variables[0])
        labels = variables[1].softmax(-1) if self.labels is None else self.labels[target]
        value = self.distance(self.simulation(records, labels), self.seen[target])
        return value if self.penalty is None else value + self.penalty(records, problems)

    def slopes(self, problems: Tensor, variables: Variables) -> tuple[Tensor, Variables]:
        """The objective `(p,)` and its gradient by each variable, in pieces that bound memory."""
        rounds = self.seen.shape[1]
        at_once = max(1, _CELLS // (rounds * self.simulation.size))
        values, found = [], []
        for piece in torch.split(torch.arange(len(problems), device=problems.device), at_once):
            free = [variable[piece].detach().requires_grad_() for variable in variables]
            value = self.of_problems(problems[piece], free)
            found.append(torch.autograd.grad(value.sum(), free))
            values.append(value.detach())
        return torch.cat(values), [torch.cat(parts) for parts in zip(*found)]

    def start(self, generator: torch.Generator, records: int) -> Variables:
        """Random numbers to start from, and label scores where labels are unknown."""
        space, device = self.granted.space, self.seen.device
        shapes = [space.shape] if self.labels is not None else [space.shape, (space.classes or 0,)]
        return [torch.randn(len(self), records, *shape, generator=generator).to(device) for shape in shapes]


def _check_twice(simulation: Simulation, seen: SharedGradients, granted: Granted) -> None:
    """Refuses a model whose gradient cannot be differentiated by its inputs."""
    x = typical(granted.space, seen.records, granted.device)[None].requires_grad_()
    if granted.labels is None:
        y = torch.zeros(1, seen.records, dtype=torch.long, device=granted.device)
    else:
        y = granted.labels[:1]
    try:
        torch.autograd.grad(simulation(x, y).square().sum(), x)
    except torch.OutOfMemoryError:
        raise
    except ERRORS as error:
        raise ModelError(f"no second derivative: {in_one_line(error)}") from error


class Clock:
    """Counts the steps of a search, tells progress of them, and says when the seconds of the budget are over."""

    def __init__(self, budget: Budget, progress: Progress, what: str, steps: int) -> None:
        self._began, self._seconds = time.monotonic(), budget.seconds
        self._task = progress.task(what, steps)
        self.steps, self.ran_out = 0, False

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def goes_on(self) -> bool:
        """Whether there is time for a step."""
        self.ran_out = self.ran_out or self.seconds > self._seconds
        return not self.ran_out

    def step(self) -> None:
        """One is done."""
        self.steps += 1
        self._task.advance()

    def __enter__(self) -> Self:
        self._task.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.__exit__(kind, error, trace)


def chosen(matching: Matching, values: Tensor, variables: Variables, clock: Clock) -> Reconstruction:
    """Of each target the start that explains best what is seen; values that are no numbers explain nothing."""
    values = values.double().nan_to_num(torch.inf).view(-1, matching.restarts)
    best = values.argmin(1)
    problems = torch.arange(len(best), device=best.device) * matching.restarts + best
    numbers = matching.within_bounds(variables[0][problems])
    labels = variables[1][problems].argmax(-1) if matching.labels is None else matching.labels
    objective = values.gather(1, best[:, None]).squeeze(1).cpu()
    return Reconstruction(matching.records(numbers), labels, objective, clock.steps, clock.seconds, clock.ran_out)
