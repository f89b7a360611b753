"""Critics f(x, y): a closed form with a gain, and what a network adds to it. P of them are one tensor program.

The network begins at zero, and every problem begins with the same draw, so that a problem learns the same alone and
beside others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ptaudit.estimators.start import Start

_AT_ONCE = 2**18
"""Networks on pairs that are held in memory at once."""

Weights = tuple[Tensor, ...]
"""Parameters of P critics, each `(P, ...)`; the first is the gain of the closed form, `(P, 1, 1)`."""


class Critic(Protocol):
    """A family of critics."""

    @property
    def batch(self) -> int:
        """Pairs of a training step."""

    @property
    def stop(self) -> int:
        """Most pairs to look at when training may end."""

    def begin(self, like: Start, seed: int) -> Weights:
        """Weights of critics that are the closed form, gain 1."""

    def scores(self, weights: Weights, x: Start, y: Start) -> Tensor:
        """f of every x with every y, `(P, A, B)`."""


def _closed_form(x: Start, y: Start) -> Tensor:
    return torch.baddbmm(x.a[..., None] + y.b[:, None], x.u, y.v.mT)


def _layer(inputs: int, outputs: int, problems: int, generator: torch.Generator, like: Tensor) -> Weights:
    """Matrix and bias, uniform as in `torch.nn.Linear`, the same for every problem."""
    reach = 1.0 / math.sqrt(inputs)
    drawn = (torch.rand(inputs + 1, outputs, generator=generator) * 2.0 - 1.0) * reach
    drawn = drawn.to(like.device).expand(problems, -1, -1)
    return drawn[:, :-1].clone(), drawn[:, -1:].clone()


def _linear(points: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias, points, matrix)


@dataclass(frozen=True)
class Separable:
    """Dot product of two learned embeddings and a term for each side: n² scores cost n networks."""

    hidden: int = 64
    embedding: int = 32
    batch: int = 256
    stop: int = 1024

    def begin(self, like: Start, seed: int) -> Weights:
        """See `Critic`."""
        generator, problems = torch.Generator().manual_seed(seed), len(like.x)
        weights = [torch.ones(problems, 1, 1, device=like.x.device)]
        for side in (like.x, like.y):
            for inputs, outputs in (
                (side.shape[-1], self.hidden),
                (self.hidden, self.hidden),
                (self.hidden, self.embedding + 1),
            ):
                weights += _layer(inputs, outputs, problems, generator, side)
        # f is zero where the embeddings of y are, and learns because those of x are not; so is the term of x.
        weights[-1].zero_()
        weights[-2].zero_()
        weights[5][..., -1] = 0.0
        weights[6][..., -1] = 0.0
        return tuple(weights)

    def scores(self, weights: Weights, x: Start, y: Start) -> Tensor:
        """See `Critic`."""
        gain, one, two = weights[0], _network(x.x, weights[1:7]), _network(y.y, weights[7:13])
        left = torch.cat([one[..., :-1], gain * x.u], -1)
        right = torch.cat([two[..., :-1], y.v], -1)
        terms = (one[..., -1] + gain[..., 0] * x.a)[..., None] + (two[..., -1] + gain[..., 0] * y.b)[:, None]
        return torch.baddbmm(terms, left, right.mT)


@dataclass(frozen=True)
class JointCritic:
    """A network on both sides at once: may know any f, and costs n² networks."""

    hidden: int = 48
    batch: int = 64
    stop: int = 256

    def begin(self, like: Start, seed: int) -> Weights:
        """See `Critic`."""
        generator, problems = torch.Generator().manual_seed(seed), len(like.x)
        weights = [torch.ones(problems, 1, 1, device=like.x.device)]
        inputs = like.x.shape[-1] + like.y.shape[-1]
        for wide, outputs in ((inputs, self.hidden), (self.hidden, self.hidden), (self.hidden, 1)):
            weights += _layer(wide, outputs, problems, generator, like.x)
        weights[-1].zero_()
        weights[-2].zero_()
        return tuple(weights)

    def scores(self, weights: Weights, x: Start, y: Start) -> Tensor:
        """See `Critic`."""
        size = max(1, _AT_ONCE // (len(x.x) * y.y.shape[1]))
        some = torch.split(torch.arange(x.x.shape[1], device=x.x.device), size)
        return torch.cat([self._scores(weights, x.pairs(rows), y) for rows in some], 1)

    def _scores(self, weights: Weights, x: Start, y: Start) -> Tensor:
        gain, matrix, bias, *rest = weights
        d, (p, m), n = x.x.shape[-1], x.x.shape[:2], y.y.shape[1]
        left, right = torch.baddbmm(bias, x.x, matrix[:, :d]), y.y @ matrix[:, d:]
        first = torch.relu(left[:, :, None] + right[:, None]).view(p, m * n, -1)
        second = torch.relu(_linear(first, rest[0], rest[1]))
        return _linear(second, rest[2], rest[3]).view(p, m, n) + gain * _closed_form(x, y)


def _network(points: Tensor, weights: Weights) -> Tensor:
    first = torch.relu(_linear(points, weights[0], weights[1]))
    second = torch.relu(_linear(first, weights[2], weights[3]))
    return _linear(second, weights[4], weights[5])


CRITICS: dict[str, Critic] = {"separable": Separable(), "joint": JointCritic()}
