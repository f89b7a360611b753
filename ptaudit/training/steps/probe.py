"""A defender's own probe: it guesses from a gradient which values of a secret its batch holds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 0.01
_ITERATIONS = 100
_FLAT = 1e-6  # directions in which the examples hardly differ


@dataclass(frozen=True)
class Probe:
    """A linear softmax over gradients, kept by the B gradients that it is a combination of: d can be millions.

    logits(g) = A X (g - centre) / scale + bias, where the rows of X are the B gradients, centred and scaled too.

    Attributes:
        examples: X, (B, d).
        weights: A, (K, B).
        bias: (K,).
        centre: (d,).
        scale: root mean square of the lengths of the centred gradients.
    """

    examples: Tensor
    weights: Tensor
    bias: Tensor
    centre: Tensor
    scale: float

    def logits(self, gradient: Tensor) -> Tensor:
        """Scores (K,) of the values, from a gradient (d,)."""
        products = self.examples @ ((gradient - self.centre) / self.scale)
        return self.weights @ products + self.bias

    def uphill(self, gradient: Tensor, mix: Tensor) -> Tensor:
        """The unit vector (d,) along which the cross-entropy to the true mix (K,) of the batch grows fastest.

        Zero where it grows nowhere.
        """
        error = self.logits(gradient).softmax(0) - mix
        way = self.examples.T @ (self.weights.T @ error)
        unit: Tensor = way / way.norm().clamp_min(torch.finfo(way.dtype).tiny)
        return unit


def fit(gradients: Tensor, mixes: Tensor, ridge: float = RIDGE) -> Probe:
    """Softmax regression: mean cross-entropy + ridge / 2 |W|^2, with the bias free.

    It is solved in the space that the B examples span, in float64 on the CPU.

    Args:
        gradients: one a batch, (B, d).
        mixes: share of each value among the records of the batch, (B, K).
        ridge: weight of the squared length of W.
    """
    centre = gradients.mean(0)
    scale = float((gradients - centre).square().sum(1).mean().sqrt()) or 1.0
    x = (gradients - centre) / scale
    values, vectors = torch.linalg.eigh((x @ x.T).double().cpu())
    sizes = values.clamp_min(0).sqrt()
    weights, bias = _softmax_regression(vectors * sizes, mixes.double().cpu(), ridge)
    back = torch.where(sizes > _FLAT * sizes.max(), 1 / sizes, 0.0)
    return Probe(x, (weights * back @ vectors.T).to(x), bias.to(x), centre, scale)


def _softmax_regression(z: Tensor, truth: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Weights (K, k) and bias (K,) for features (B, k) and shares of the values (B, K)."""
    weights = torch.zeros(truth.shape[1], z.shape[1], dtype=z.dtype, requires_grad=True)
    bias = torch.zeros(truth.shape[1], dtype=z.dtype, requires_grad=True)
    solver = torch.optim.LBFGS([weights, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = -(truth * (z @ weights.T + bias).log_softmax(1)).sum(1).mean() + 0.5 * ridge * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach(), bias.detach()
