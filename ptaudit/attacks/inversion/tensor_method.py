"""Records from one gradient of a wide two-layer network at random weights, by moments (Wang, Lee and Lei, 2212.03714).

The network is f(x) = sum_j a_j s(w_j . x) with w_j standard normal. Of a batch with loss derivatives r_i by the output,
the gradient by a_j is g_j = sum_i r_i s(w_j . x_i). By Stein's identity, for records of norm 1,

    T = E g (w (x) w (x) w - terms of order one) = c_3 sum_i r_i x_i (x) x_i (x) x_i,

with c_k the k-th Hermite coefficient of s. The mean over m units estimates T with an error that falls as sqrt(d / m),
and its decomposition gives the x_i. Their signs come from c_2 sum_i r_i x_i x_i^T, estimated alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial.hermite_e import hermegauss, hermeval
from numpy.typing import NDArray

Array = NDArray[np.float64]

_AT_ONCE = 1 << 14
_NO_COEFFICIENT = 1e-6
_NODES, _CONTRACTIONS, _ROUNDS = 80, 8, 30


class NotIdentifiableError(ValueError):
    """A condition under which the gradient names its records is not met; the text says which."""


def hermite_coefficient(activation: Callable[[Array], Array], order: int) -> float:
    """E s(z) He_k(z) for standard normal z, by Gauss-Hermite quadrature: of a smooth s the mean of its k-th derivative.

    Args:
        activation: s, of numbers.
        order: k.
    """
    nodes, weights = hermegauss(_NODES)
    value = np.sum(weights * activation(nodes) * hermeval(nodes, [0.0] * order + [1.0]))
    return float(value / math.sqrt(2.0 * math.pi))


def reconstruct(
    gradient: Array,
    weights: Array,
    activation: Callable[[Array], Array],
    batch_size: int,
    generator: np.random.Generator,
) -> Array:
    """Records of a batch, in any order, each of norm 1.

    Args:
        gradient: of the loss of the batch by the output weights, `(m,)`.
        weights: of the first layer, standard normal, `(m, d)`.
        activation: s, elementwise.
        batch_size: records in the batch (B).
        generator: of the contractions that are tried.

    Returns:
        `(B, d)`; of an odd activation each up to its sign, which nothing tells: f is the same for -x and -r.

    Raises:
        NotIdentifiableError: more records than input numbers; an activation whose third Hermite coefficient is 0, as
            that of ReLU; records that span fewer directions than there are of them, or whose loss has no derivative.
    """
    d = weights.shape[1]
    if batch_size > d:
        raise NotIdentifiableError(f"{batch_size} records of {d} numbers are not linearly independent")
    third, second = (hermite_coefficient(activation, k) for k in (3, 2))
    if abs(third) < _NO_COEFFICIENT:
        raise NotIdentifiableError(
            "the third Hermite coefficient of the activation is 0: the third moment tells nothing"
        )
    moment = third_moment(gradient, weights) / third
    basis, size, _ = np.linalg.svd(moment.reshape(d, -1), full_matrices=False)
    if size[batch_size - 1] <= 1e-9 * max(float(size[0]), 1e-300) or size[0] == 0.0:
        raise NotIdentifiableError(
            "the records span fewer directions than there are of them, or their loss has no slope"
        )
    basis = basis[:, :batch_size]
    small = np.einsum("abc,ai,bj,ck->ijk", moment, basis, basis, basis)
    found = _decomposed(small, generator) @ basis.T
    return found if abs(second) < _NO_COEFFICIENT else _signed(found, moment, second_moment(gradient, weights) / second)


def third_moment(gradient: Array, weights: Array) -> Array:
    """Mean of g_j (w_j (x) w_j (x) w_j, less the identity times w_j in all three ways), `(d, d, d)`."""
    m, d = weights.shape
    cube = np.zeros((d, d * d))
    for start in range(0, m, _AT_ONCE):
        w, g = weights[start : start + _AT_ONCE], gradient[start : start + _AT_ONCE]
        cube += (w * g[:, None]).T @ (w[:, :, None] * w[:, None, :]).reshape(len(w), -1)
    first, identity = gradient @ weights / m, np.eye(d)
    ways = (np.einsum(f"a,bc->{order}", first, identity) for order in ("abc", "bac", "bca"))
    return np.asarray(cube.reshape(d, d, d) / m - sum(ways))


def second_moment(gradient: Array, weights: Array) -> Array:
    """Mean of g_j (w_j w_j^T - I), `(d, d)`."""
    return np.asarray(
        (weights * gradient[:, None]).T @ weights / len(weights) - gradient.mean() * np.eye(weights.shape[1])
    )


def _decomposed(tensor: Array, generator: np.random.Generator) -> Array:
    """Unit vectors `(B, B)` of a symmetric tensor that is a sum of B cubes: Jennrich's method, then least squares.

    Of several random contractions the one is kept whose vectors explain the tensor best.
    """
    tried = []
    for _ in range(_CONTRACTIONS):
        one, two = (np.einsum("ijk,k->ij", tensor, generator.standard_normal(len(tensor))) for _ in range(2))
        vectors = np.real(np.linalg.eig(one @ np.linalg.pinv(two))[1]).T
        tried.append(_refined(tensor, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
    return min(tried, key=lambda pair: pair[0])[1]


def _refined(tensor: Array, vectors: Array) -> tuple[float, Array]:
    """Alternating least squares; what is left unexplained, and the vectors."""
    flat = tensor.reshape(len(tensor), -1)
    for _ in range(_ROUNDS):
        pairs = (vectors[:, :, None] * vectors[:, None, :]).reshape(len(vectors), -1)
        fitted = (flat @ np.linalg.pinv(pairs)).T
        sizes = np.linalg.norm(fitted, axis=1, keepdims=True)
        vectors = fitted / np.maximum(sizes, 1e-300)
    cubes = np.einsum("ia,ib,ic->iabc", vectors, vectors, vectors).reshape(len(vectors), -1).T
    weight, *_ = np.linalg.lstsq(cubes, tensor.ravel(), rcond=None)
    return float(np.linalg.norm(cubes @ weight - tensor.ravel())), vectors


def _signed(vectors: Array, third: Array, second: Array) -> Array:
    """Each vector turned so that its weight among the cubes has the sign of its weight among the squares."""
    cubes = np.einsum("ia,ib,ic->iabc", vectors, vectors, vectors).reshape(len(vectors), -1).T
    squares = np.einsum("ia,ib->iab", vectors, vectors).reshape(len(vectors), -1).T
    odd, even = (np.linalg.lstsq(a, b.ravel(), rcond=None)[0] for a, b in ((cubes, third), (squares, second)))
    return np.asarray(vectors * np.where(odd * even < 0.0, -1.0, 1.0)[:, None])
