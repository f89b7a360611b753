"""Joint distributions of (x, y) whose mutual information is known, each with its draws.

Closed forms and constructions after Czyż, Grabowski, Vogt, Beerenwinkel and Marx, "Beyond Normal: On the Evaluation of
Mutual Information Estimators" (NeurIPS 2023), and Gao, Kannan, Oh and Viswanath, "Estimating Mutual Information for
Discrete-Continuous Mixtures" (NeurIPS 2017). Where there is no closed form, the integral is one-dimensional or over a
plane and smooth, and is taken to 1e-6 bit or better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import integrate
from scipy.special import digamma, gammaln, xlogy

Array = NDArray[np.float64]
Draws = tuple[Array, NDArray[np.float64] | NDArray[np.int64]]
"""x, (n, dx), and y, (n, dy), or classes (n,)."""


class Law(Protocol):
    """A joint distribution."""

    @property
    def bits(self) -> float:
        """I(X; Y)."""

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """n independent pairs."""


@dataclass(frozen=True, eq=False)
class Normal:
    """Jointly normal with mean 0; the first `dx` coordinates are x."""

    covariance: Array
    dx: int

    @cached_property
    def bits(self) -> float:
        """Half the log ratio of the determinants."""
        whole, x, y = self.covariance, self.covariance[: self.dx, : self.dx], self.covariance[self.dx :, self.dx :]
        parts = [float(np.linalg.slogdet(matrix)[1]) for matrix in (x, y, whole)]
        return 0.5 * (parts[0] + parts[1] - parts[2]) / math.log(2)

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """By the Cholesky factor."""
        both = rng.standard_normal((n, len(self.covariance))) @ np.linalg.cholesky(self.covariance).T
        return both[:, : self.dx], both[:, self.dx :]


@dataclass(frozen=True, eq=False)
class Student:
    """Jointly Student-t: a normal pair divided by one common chi; dependent even without correlation."""

    normal: Normal
    freedom: float

    @cached_property
    def bits(self) -> float:
        """That of the normal and what the common scale adds (Czyż et al., appendix; Arellano-Valle et al. 2013)."""
        dx, both = self.normal.dx, len(self.normal.covariance)
        # Entropies of x, y and the pair, each with its sign; what the zero-dimensional one would add closes the sum.
        halves = [((self.freedom + d) / 2, sign) for d, sign in ((dx, 1), (both - dx, 1), (both, -1), (0, -1))]
        added = sum(sign * (h * float(digamma(h)) - float(gammaln(h))) for h, sign in halves)
        return self.normal.bits + added / math.log(2)

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """Normal draws over the root of chi-square over its degrees of freedom."""
        x, y = self.normal.sample(n, rng)
        scale = np.sqrt(rng.chisquare(self.freedom, size=(n, 1)) / self.freedom)
        return x / scale, y / scale


@dataclass(frozen=True)
class UniformNoise:
    """x uniform in (0, 1), y = x + noise uniform in (-half_width, half_width)."""

    half_width: float

    @property
    def bits(self) -> float:
        """Entropy of y, a trapezoid, less that of the noise."""
        e = self.half_width
        return (e - math.log(2 * e) if e <= 0.5 else 1 / (4 * e)) / math.log(2)

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """A column each."""
        x = rng.uniform(size=(n, 1))
        return x, x + rng.uniform(-self.half_width, self.half_width, size=(n, 1))


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of normals in the plane: x and y one coordinate each."""

    weights: Sequence[float]
    means: Array
    covariances: Array

    @cached_property
    def bits(self) -> float:
        """By the trapezoidal rule over the plane, which converges geometrically for sums of Gaussians."""
        deviation = np.sqrt(self.covariances.diagonal(axis1=1, axis2=2))
        low, high = (self.means - 9 * deviation).min(0), (self.means + 9 * deviation).max(0)
        x, y = (np.linspace(low[i], high[i], 2001) for i in range(2))
        joint = sum(
            w * _plane_density(x, y, m, c) for w, m, c in zip(self.weights, self.means, self.covariances, strict=True)
        )
        cell = (x[1] - x[0]) * (y[1] - y[0])
        of_x, of_y = joint.sum(1) * (y[1] - y[0]), joint.sum(0) * (x[1] - x[0])
        entropies = -xlogy(of_x, of_x).sum() * (x[1] - x[0]) - xlogy(of_y, of_y).sum() * (y[1] - y[0])
        return float(entropies + xlogy(joint, joint).sum() * cell) / math.log(2)

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """A component for each pair, then its normal."""
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        factor = np.linalg.cholesky(self.covariances)[component]
        both = self.means[component] + np.einsum("nij,nj->ni", factor, rng.standard_normal((n, 2)))
        return both[:, :1], both[:, 1:]


def _plane_density(x: Array, y: Array, mean: Array, covariance: Array) -> Array:
    """Of a normal on a grid, (len(x), len(y))."""
    inverse = np.linalg.inv(covariance)
    u, v = (x - mean[0])[:, None], (y - mean[1])[None, :]
    square = inverse[0, 0] * u**2 + 2 * inverse[0, 1] * u * v + inverse[1, 1] * v**2
    return np.exp(-square / 2) / (2 * math.pi * math.sqrt(np.linalg.det(covariance)))


@dataclass(frozen=True)
class Signs:
    """2**informative equal classes; x is standard normal, and each bit of the class moves one coordinate by ±shift."""

    shift: float
    informative: int
    dx: int

    @cached_property
    def bits(self) -> float:
        """Each bit tells its own coordinate: the entropy of two equal normals less that of one, as often."""

        def density(x: float) -> float:
            return sum(math.exp(-0.5 * (x - m) ** 2) for m in (-self.shift, self.shift)) / (2 * math.sqrt(2 * math.pi))

        reach = self.shift + 12
        entropy = integrate.quad(lambda x: -xlogy(density(x), density(x)), -reach, reach, limit=200)[0]
        return self.informative * (entropy - 0.5 * math.log(2 * math.pi * math.e)) / math.log(2)

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """Classes first, then x given the class."""
        classes = rng.integers(2**self.informative, size=n)
        x = rng.standard_normal((n, self.dx))
        for bit in range(self.informative):
            x[:, bit] += np.where(classes >> bit & 1, self.shift, -self.shift)
        return x, classes


@dataclass(frozen=True)
class Steps:
    """Classes 0 to m - 1, equally likely; x uniform in (class, class + 2) (Gao et al. 2017, experiment I)."""

    classes: int

    @property
    def bits(self) -> float:
        """Between neighbours one bit is lost, except at both ends."""
        return math.log2(self.classes) - (self.classes - 1) / self.classes

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """Classes first."""
        classes = rng.integers(self.classes, size=n)
        return (classes + rng.uniform(0, 2, size=n))[:, None], classes


@dataclass(frozen=True)
class Counts:
    """x exponential; y is 0 with probability `zeros`, else Poisson of mean x (after Gao et al. 2017, experiment III).

    The closed form printed there counts the added zeros as if they could be told from those of the Poisson; it holds
    for `zeros` = 0 only.
    """

    zeros: float

    def given(self, y: int, x: float) -> float:
        """P(y | x)."""
        poisson = math.exp(xlogy(y, x) - x - math.lgamma(y + 1))
        return self.zeros * (y == 0) + (1 - self.zeros) * poisson

    @cached_property
    def bits(self) -> float:
        """One integral for each count; counts over 60 have probability 2**-61."""

        def part(y: int) -> float:
            alone = self.zeros * (y == 0) + (1 - self.zeros) * 2.0 ** -(y + 1)
            return integrate.quad(
                lambda x: math.exp(-x) * xlogy(self.given(y, x), self.given(y, x) / alone), 0, 120, limit=400
            )[0]

        return sum(map(part, range(61))) / math.log(2)

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """Counts are classes."""
        x = rng.exponential(size=n)
        return x[:, None], np.where(rng.uniform(size=n) < self.zeros, 0, rng.poisson(x)).astype(np.int64)


@dataclass(frozen=True)
class Apart:
    """x of one law and y of an independent draw of another: nothing to find."""

    left: Law
    right: Law

    bits = 0.0

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """Two draws, one side of each."""
        return self.left.sample(n, rng)[0], self.right.sample(n, rng)[1]


@dataclass(frozen=True)
class Together:
    """Independent pairs side by side: information adds up."""

    laws: Sequence[Law]

    @property
    def bits(self) -> float:
        """The sum."""
        return sum(law.bits for law in self.laws)

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """Coordinates in the order of the laws."""
        draws = [law.sample(n, rng) for law in self.laws]
        x, y = (np.concatenate([draw[side] for draw in draws], axis=1) for side in range(2))
        return x, y


@dataclass(frozen=True)
class Map:
    """A map of the rows that can be undone."""

    forward: Callable[[Array], Array]
    inverse: Callable[[Array], Array]


@dataclass(frozen=True)
class Mapped:
    """x and y of a law, each through a map that can be undone: the information stays."""

    law: Law
    x: Map
    y: Map

    @property
    def bits(self) -> float:
        """That of the law."""
        return self.law.bits

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """Mapped draws of the law."""
        x, y = self.law.sample(n, rng)
        return self.x.forward(x), self.y.forward(y)
