"""How well the numbers of a batch agree with those of a user's other records: a weight for each number, learned.

Users differ in what their records share: an input that few have in common says more than one that most have. So the
weights of a conditional logit (McFadden, 1974) are learned on batches whose user is known: the score of a candidate is
sum_c w_c x_c y_c - q_c y_c^2 of standardised numbers x of the batch and y of the candidate's known records.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PENALTY = 1000.0
"""Penalty on squared weights, in nats of all games together."""

FARTHEST = 6.0
"""Farthest number in standard deviations."""

LEAST_SPREAD = 1e-6

STEPS = 25


@dataclass(frozen=True)
class Scale:
    """Standard scale of numbers: mean and standard deviation of those that vary, `(f,)`."""

    varied: Tensor
    mean: Tensor
    spread: Tensor

    @classmethod
    def of(cls, numbers: Tensor, varied: Tensor) -> Scale:
        """That of numbers `(T, K, F)`, of which `varied` are kept."""
        some = numbers[..., varied].flatten(0, 1)
        return cls(varied, some.mean(0), some.std(0) if some.shape[1] else some.sum(0))

    def __call__(self, numbers: Tensor) -> Tensor:
        """Numbers `(T, K, F)` in standard deviations, `(T, K, f)`."""
        return ((numbers[..., self.varied] - self.mean) / self.spread).clamp(-FARTHEST, FARTHEST)


@dataclass(frozen=True)
class Agreement:
    """Fitted weights.

    Attributes:
        seen: scale of the numbers of batches.
        known: scale of those of the candidates' known records.
        weights: of products and of squares, `(2, f)`.
    """

    seen: Scale
    known: Scale
    weights: Tensor

    def scores(self, seen: Tensor, known: Tensor) -> Tensor:
        """Scores of every candidate of a set for each of its batches, `(T, K, K)`, from numbers `(T, K, F)` of both."""
        return _scores(self.weights, self.seen(seen), self.known(known))


def fit_agreement(seen: Tensor, known: Tensor, secret: Tensor) -> Agreement:
    """Learn the weights.

    Args:
        seen: numbers of the batches of T sets, `(T, K, F)` float32.
        known: mean numbers of other records of each batch's user, `(T, K, F)`; users of a set are each other's rivals.
        secret: place of the true user of each batch in its set, `(T, K)`.
    """
    varied = (seen.flatten(0, 1).std(0) > LEAST_SPREAD) & (known.flatten(0, 1).std(0) > LEAST_SPREAD)
    scales = Scale.of(seen, varied), Scale.of(known, varied)
    x, y = scales[0](seen), scales[1](known)
    start = x.new_tensor([0.01, 0.001])[:, None]
    weights = start.repeat(1, x.shape[-1]).requires_grad_()
    truth, decay = secret.flatten(), PENALTY / secret.numel()
    optimizer = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(_scores(weights, x, y).flatten(0, 1), truth)
        value = value + decay * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    if bool(varied.any()):
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Agreement(*scales, weights.detach())


def _scores(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    product, square = weights
    scores: Tensor = (x * product) @ y.mT - (y.square() @ square.abs())[:, None]
    return scores
