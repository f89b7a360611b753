"""What Gaussian noise on a gradient lets anybody know of an input: Fisher information, and the bounds that follow.

What is seen is clip(g(x)) + N(0, s^2 I), plus gradients that are known; J = d clip(g) / dx has p rows and d columns.
The Fisher information of x is J^T J / s^2.

- Fisher information loss (Hannun, Guo and van der Maaten, arXiv 2102.11673, definition 1): eta, the root of its largest
  eigenvalue, |J| / s. No unbiased estimator of x along any direction has a standard error below 1 / eta.
- Cramer-Rao (Guo et al., arXiv 2201.12383, theorem 2): no unbiased estimator has a mean squared error per number below
  d / trace. Of independent releases the information adds up, eta^2 as well as the trace.
- van Trees: an estimator that is biased towards what it knows beforehand has a mean squared error of at least
  1 / (trace / d + 1 / spread^2), on average over inputs with a Gaussian prior of this spread.
- Inversion influence (Zhang et al., arXiv 2309.13016, equation 5): who matches a gradient that was moved by delta lands
  (J^T J)^+ J^T delta away from x, to first order, at least |J^T delta| / |J|^2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def fisher_loss(largest_sq: ArrayLike, noise: float, rounds: int = 1) -> Array:
    """Fisher information loss eta, in 1 / (unit of the input).

    Args:
        largest_sq: square of the largest singular value of J, any shape.
        noise: standard deviation of the noise on each number of the gradient, above 0.
        rounds: independent releases of the same gradient.
    """
    return np.sqrt(rounds * np.asarray(largest_sq, np.float64)) / noise


def composed(losses: ArrayLike) -> Array:
    """Fisher information loss of several releases with independent noise: the root of the sum of squares.

    An upper bound: the directions of which each release tells most may differ.

    Args:
        losses: `(..., T)`, of T releases about the same record, whatever their weights were.
    """
    return np.asarray(np.sqrt(np.square(np.asarray(losses, np.float64)).sum(-1)))


def mean_information(sum_sq: ArrayLike, d: int, noise: float, rounds: int = 1) -> Array:
    """Trace of the Fisher information over d; its inverse is the least mean squared error of an unbiased estimator.

    Args:
        sum_sq: sum of the squared singular values of J, any shape.
        d: numbers of the input.
        noise: standard deviation of the noise, above 0.
        rounds: independent releases.
    """
    return rounds * np.asarray(sum_sq, np.float64) / (d * noise**2)


def least_mse(information: ArrayLike, spread: float = np.inf) -> Array:
    """Least mean squared error for each number of the input.

    Args:
        information: trace of the Fisher information over d, any shape.
        spread: standard deviation of what an estimator knows of each number beforehand; infinite for unbiased ones.
    """
    return np.asarray(1.0 / (np.asarray(information, np.float64) + spread**-2.0))


def influence_rmse(pulled: ArrayLike, largest_sq: ArrayLike, d: int) -> Array:
    """Least root mean squared error of who matches a gradient that was moved by delta.

    Args:
        pulled: |J^T delta|, any shape.
        largest_sq: square of the largest singular value of J.
        d: numbers of the input.
    """
    return np.asarray(np.asarray(pulled, np.float64) / (np.asarray(largest_sq, np.float64) * np.sqrt(d)))
