"""Training of P critics as one tensor program, each ended by its own held-out part.

Every problem sees the same batches and begins with the same draw; its weights, its best weights and its end are its
own. A problem that has ended leaves the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ptaudit.estimators.bounds import FAR, Bound, Rivals, rivals
from ptaudit.estimators.critics import Critic, Weights
from ptaudit.estimators.start import Start

GAINS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Gains of the closed form from which training may begin; at 0 the critic says nothing."""

PROGRESS = 5e-4
"""Least gain, in nats, that counts as progress on the held-out part."""

_BETAS = (0.9, 0.99)
_LONGEST_STEP = 1.0
_LOST = math.exp(FAR / 3.0)
"""Mean density ratio of mismatched pairs, ideally 1, above which a critic has left the range that its loss sees."""


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast.

    Attributes:
        rate: step size of Adam.
        decay: decoupled weight decay of matrices, a share of the weight for each step of size 1.
        average: memory of the running average of weights, which is what is judged and kept.
        every: steps between two looks at the held-out part.
        patience: looks without progress after which a problem ends.
        steps: most steps.
    """

    rate: float = 3e-3
    decay: float = 0.1
    average: float = 0.98
    every: int = 20
    patience: int = 8
    steps: int = 3000


PLAN = TrainingPlan()


@dataclass(frozen=True)
class CriticPart:
    """Pairs that critics are trained, stopped or read on.

    Attributes:
        pairs: of P problems.
        record: the record of each pair, `(n,)`.
        side: side of each pair, see `Pairs`.
    """

    pairs: Start
    record: Tensor
    side: Tensor | None = None

    @classmethod
    def at(cls, ready: Start, record: Tensor, side: Tensor | None, index: Tensor) -> CriticPart:
        """Some of the pairs."""
        return cls(ready.pairs(index), record[index], None if side is None else side[index])

    @cached_property
    def rivals(self) -> Rivals:
        """Who may stand in for the y of each pair."""
        return rivals(self.record, self.side)


@dataclass(frozen=True)
class Trained:
    """Critics at their best on the held-out part, and at the last look before they diverged, if they did."""

    best: Weights
    last: Weights


def batches(pairs: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless epochs of batches, each epoch in a new order; what does not fill a batch is left out."""
    size = min(size, pairs)
    while True:
        order = torch.randperm(pairs, generator=generator)
        yield from torch.split(order[: pairs - pairs % size], size)


def train(
    bound: Bound, critic: Critic, parts: tuple[CriticPart, CriticPart], seed: int, plan: TrainingPlan = PLAN
) -> Trained:
    """Train and end by early stopping.

    Args:
        bound: what is made large.
        critic: family of critics.
        parts: training pairs, and held-out ones that end the training.
        seed: of the first weights and of the batches.
        plan: how long and how fast.
    """
    known, record, side = parts[0].pairs, parts[0].record, parts[0].side
    stop, stopping = parts[1].pairs, parts[1].rivals
    weights = _first(bound, critic.begin(known, seed), critic, stop, stopping)
    best, last = [w.clone() for w in weights], [w.clone() for w in weights]
    top = _value(bound, critic, weights, stop, stopping)
    drawn = batches(len(record), critic.batch, torch.Generator().manual_seed(seed + 1))
    single = rivals(torch.arange(min(critic.batch, len(record)), device=record.device))
    alone = side is None and len(torch.unique(record)) == len(record)
    run = _Run(weights, known, stop, torch.arange(len(top), device=top.device))
    waited = torch.zeros_like(top)
    for step in range(1, plan.steps + 1):
        index = next(drawn).to(record.device)
        among = single if alone else rivals(record[index], None if side is None else side[index])
        run.step(bound, critic, index, among, plan)
        if step % plan.every:
            continue
        value = _value(bound, critic, run.smooth, run.stop, stopping)
        better = value > top[run.live] + PROGRESS
        where = run.live[better]
        top[where], waited[run.live] = value[better], waited[run.live] + 1
        waited[where] = 0
        for kept, now in zip(best, run.smooth, strict=True):
            kept[where] = now[better]
        sound = torch.stack([torch.isfinite(w).flatten(1).all(1) for w in run.smooth]).all(0)
        sound &= ~(run.memory > _LOST)
        for kept, now in zip(last, run.smooth, strict=True):
            kept[run.live[sound]] = now[sound]
        ends = (waited[run.live] >= plan.patience) | ~torch.isfinite(value)
        if bool(ends.any()):
            run.keep(~ends)
        if not len(run.live):
            break
    return Trained(tuple(best), tuple(last))


@torch.no_grad()
def _first(bound: Bound, weights: Weights, critic: Critic, stop: Start, stopping: Rivals) -> Weights:
    """The gain of the closed form that does best on the held-out part."""
    scores = critic.scores(weights, stop, stop)
    tried = torch.stack([best_choice(bound, gain * scores, stopping)[0] for gain in GAINS])
    gain = torch.tensor(GAINS, device=tried.device)[tried.argmax(0)]
    return gain[:, None, None], *weights[1:]


def best_choice(bound: Bound, scores: Tensor, stopping: Rivals) -> tuple[Tensor, Tensor]:
    """The bound with the best choice that goes with it, and that choice, `(P,)`; what is not finite never wins."""
    choices = bound.choices(scores, stopping)
    top = bound.means(scores, stopping, choices).nan_to_num(-torch.inf, -torch.inf, -torch.inf).max(1)
    return top.values, choices.gather(1, top.indices[:, None])[:, 0]


@torch.no_grad()
def _value(bound: Bound, critic: Critic, weights: Weights, stop: Start, stopping: Rivals) -> Tensor:
    return best_choice(bound, critic.scores(weights, stop, stop), stopping)[0]


class _Run:
    """The problems that are still trained: weights, their running average and the moments of Adam (2015)."""

    def __init__(self, weights: Weights, known: Start, stop: Start, live: Tensor) -> None:
        self.weights = tuple(w.clone().requires_grad_() for w in weights)
        self.smooth = tuple(w.clone() for w in weights)
        self.first, self.second = (tuple(torch.zeros_like(w) for w in weights) for _ in range(2))
        self.memory = torch.full((len(live),), torch.nan, device=live.device)
        self.known, self.stop, self.live, self.steps = known, stop, live, 0

    def step(self, bound: Bound, critic: Critic, index: Tensor, among: Rivals, plan: TrainingPlan) -> None:
        """One step of Adam with the gradient of each problem held to a longest length."""
        batch = self.known.pairs(index)
        loss, self.memory = bound.loss(critic.scores(self.weights, batch, batch), among, self.memory)
        gradients = torch.autograd.grad(loss.sum(), self.weights)
        self.steps += 1
        with torch.no_grad():
            length = sum(g.flatten(1).square().sum(1) for g in gradients)
            assert isinstance(length, Tensor)
            scale = (_LONGEST_STEP / length.sqrt().clamp_min(1e-12)).clamp_max(1.0)
            correction = (1.0 - _BETAS[1] ** self.steps) ** 0.5 / (1.0 - _BETAS[0] ** self.steps)
            memory = min(plan.average, self.steps / (self.steps + 10.0))
            for w, g, m, v, s in zip(self.weights, gradients, self.first, self.second, self.smooth, strict=True):
                g = g * scale.view(-1, *[1] * (g.dim() - 1))
                m.lerp_(g, 1.0 - _BETAS[0])
                v.lerp_(g * g, 1.0 - _BETAS[1])
                if w.shape[1] > 1:
                    w.mul_(1.0 - plan.rate * plan.decay)
                w.addcdiv_(m, v.sqrt().add_(1e-8), value=-plan.rate * correction)
                s.lerp_(w, 1.0 - memory)

    def keep(self, live: Tensor) -> None:
        """Only these problems go on."""
        self.weights = tuple(w.detach()[live].requires_grad_() for w in self.weights)
        self.smooth, self.first, self.second = (
            tuple(w[live] for w in each) for each in (self.smooth, self.first, self.second)
        )
        self.memory, self.live = self.memory[live], self.live[live]
        self.known, self.stop = self.known.problems(live), self.stop.problems(live)
