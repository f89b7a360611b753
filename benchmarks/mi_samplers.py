"""The tasks of the benchmark of mutual information: samplers with names and known answers.

`TASKS` holds them in the order of the tables. Families follow Czyż et al. 2023; the classes follow Gao et al. 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from mi_laws import (
    Apart,
    Array,
    Counts,
    Draws,
    Law,
    Map,
    Mapped,
    Mixture,
    Normal,
    Signs,
    Steps,
    Student,
    Together,
    UniformNoise,
)
from scipy.linalg import expm
from scipy.special import ndtr, ndtri


@dataclass(frozen=True)
class Sampler:
    """One task.

    Attributes:
        name: its name in the tables.
        dx: coordinates of x.
        dy: coordinates of y, 0 where y are classes.
        law: the joint distribution.
    """

    name: str
    dx: int
    dy: int
    law: Law

    @property
    def dims(self) -> str:
        """For example `2x5`, or `1xclasses`."""
        return f"{self.dx}x{self.dy or 'classes'}"

    @property
    def bits(self) -> float:
        """The answer."""
        return self.law.bits

    @property
    def normal(self) -> bool:
        """Whether the pair is jointly normal: canonical correlations then tell everything."""
        return isinstance(self.law, Normal)

    @property
    def independent(self) -> bool:
        """Whether there is nothing to find."""
        return isinstance(self.law, Apart)

    def sample(self, n: int, rng: np.random.Generator) -> Draws:
        """n pairs: x (n, dx), and y (n, dy) or int64 classes (n,)."""
        return self.law.sample(n, rng)


# Correlations


def dense(dx: int, dy: int, correlation: float = 0.5) -> Normal:
    """Every two coordinates have the same correlation."""
    both = dx + dy
    return Normal(np.full((both, both), correlation) + (1 - correlation) * np.eye(both), dx)


def sparse(dx: int, dy: int, pairs: int = 2, correlation: float = 0.8) -> Normal:
    """The first coordinates of x and y go together in pairs, all others go alone."""
    covariance = np.eye(dx + dy)
    for i in range(pairs):
        covariance[i, dx + i] = covariance[dx + i, i] = correlation
    return Normal(covariance, dx)


# Maps that can be undone

SAME = Map(lambda x: x, lambda x: x)
ASINH = Map(np.arcsinh, np.sinh)
HALF_CUBE = Map(lambda x: x * np.sqrt(np.abs(x)), lambda x: np.sign(x) * np.cbrt(x**2))
UNIFORM = Map(ndtr, ndtri)


def _rolled(x: Array) -> Array:
    angle = 1.5 * math.pi * (1 + 2 * ndtr(x))
    return np.concatenate([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 21


def _unrolled(x: Array) -> Array:
    return ndtri((21 * np.linalg.norm(x, axis=1, keepdims=True) / (1.5 * math.pi) - 1) / 2)


SWISS_ROLL = Map(_rolled, _unrolled)
"""One coordinate, made uniform, wound up in the plane."""


def spiral(d: int, speed: float = 1 / 3) -> Map:
    """Turns each point by an angle that grows with its squared length: in the planes (0, 1), (1, 2), ... at once."""
    generator = np.diag(np.full(d - 1, speed), 1) - np.diag(np.full(d - 1, speed), -1)
    # exp(s A) for every s at once, by the eigenvectors of the Hermitian i A.
    values, vectors = np.linalg.eigh(1j * generator)

    def turn(x: Array, way: float) -> Array:
        phases = np.exp(-1j * way * values * (x**2).sum(1, keepdims=True))
        return ((x @ vectors.conj() * phases) @ vectors.T).real

    return Map(lambda x: turn(x, 1.0), lambda x: turn(x, -1.0))


def rotation(d: int, angle: float = 0.6) -> Map:
    """Mixes neighbouring coordinates."""
    matrix = expm(np.diag(np.full(d - 1, angle), 1) - np.diag(np.full(d - 1, angle), -1))
    return Map(lambda x: x @ matrix.T, lambda x: x @ matrix)


# Mixtures


def _plane(deviation_x: float, deviation_y: float, correlation: float) -> Array:
    off = correlation * deviation_x * deviation_y
    return np.array([[deviation_x**2, off], [off, deviation_y**2]])


CROSS = Mixture((0.5, 0.5), np.zeros((2, 2)), np.stack([_plane(1, 1, 0.9), _plane(1, 1, -0.9)]))
"""An X: uncorrelated, yet dependent."""

OUTLIERS = Mixture((0.8, 0.2), np.zeros((2, 2)), np.stack([_plane(1, 1, 0.95), _plane(3, 3, 0)]))
"""A tight relation, and one pair in five without it and three times as wide."""

CLUSTERS = Mixture(
    (0.4, 0.3, 0.2, 0.1),
    np.array([[-2, -1], [0, 2], [2, 0], [4, 3]]),
    np.stack([_plane(0.5, 0.5, 0), _plane(0.6, 0.4, 0.5), _plane(0.4, 0.7, -0.5), _plane(0.3, 0.3, 0)]),
)
"""Four groups, each with its own shape."""


# The tasks


def _tasks() -> list[Sampler]:
    both = sparse(3, 3), sparse(5, 5), sparse(25, 25)
    small, planes = dense(1, 1, 0.75), Together((CROSS, CLUSTERS))
    lone = [Student(sparse(d, d, 0), 2) for d in (1, 2)]
    return [
        Sampler("normal-1x1", 1, 1, small),
        Sampler("normal-strong-1x1", 1, 1, dense(1, 1, 0.98)),
        Sampler("normal-weak-1x1", 1, 1, dense(1, 1, 0.5)),
        Sampler("normal-dense-2x2", 2, 2, dense(2, 2)),
        Sampler("normal-dense-3x3", 3, 3, dense(3, 3)),
        Sampler("normal-dense-5x5", 5, 5, dense(5, 5)),
        Sampler("normal-dense-25x25", 25, 25, dense(25, 25)),
        Sampler("normal-dense-2x5", 2, 5, dense(2, 5)),
        Sampler("normal-sparse-2x2", 2, 2, sparse(2, 2)),
        Sampler("normal-sparse-3x3", 3, 3, both[0]),
        Sampler("normal-sparse-5x5", 5, 5, both[1]),
        Sampler("normal-sparse-25x25", 25, 25, both[2]),
        Sampler("student-1-1x1", 1, 1, Student(small, 1)),
        *(Sampler(f"student-{nu}-2x2", 2, 2, Student(sparse(2, 2, 0), nu)) for nu in (1, 2, 3, 5)),
        Sampler("student-2-3x3", 3, 3, Student(both[0], 2)),
        Sampler("student-3-5x5", 5, 5, Student(both[1], 3)),
        Sampler("student-5-5x5", 5, 5, Student(sparse(5, 5, 0), 5)),
        Sampler("asinh-normal-1x1", 1, 1, Mapped(small, ASINH, ASINH)),
        Sampler("asinh-student-1-1x1", 1, 1, Mapped(Student(small, 1), ASINH, ASINH)),
        Sampler("asinh-student-1-2x2", 2, 2, Mapped(Student(sparse(2, 2, 0), 1), ASINH, ASINH)),
        Sampler("asinh-student-2-3x3", 3, 3, Mapped(Student(both[0], 2), ASINH, ASINH)),
        Sampler("half-cube-1x1", 1, 1, Mapped(small, HALF_CUBE, HALF_CUBE)),
        Sampler("half-cube-5x5", 5, 5, Mapped(both[1], HALF_CUBE, HALF_CUBE)),
        Sampler("half-cube-25x25", 25, 25, Mapped(both[2], HALF_CUBE, HALF_CUBE)),
        Sampler("uniform-1x1", 1, 1, Mapped(small, UNIFORM, UNIFORM)),
        Sampler("noise-0.1-1x1", 1, 1, UniformNoise(0.1)),
        Sampler("noise-0.75-1x1", 1, 1, UniformNoise(0.75)),
        Sampler("swiss-roll-2x1", 2, 1, Mapped(small, SWISS_ROLL, UNIFORM)),
        Sampler("spiral-3x3", 3, 3, Mapped(both[0], spiral(3), SAME)),
        Sampler("spiral-5x5", 5, 5, Mapped(both[1], spiral(5), spiral(5))),
        Sampler("spiral-25x25", 25, 25, Mapped(both[2], spiral(25), SAME)),
        Sampler("mixture-cross-1x1", 1, 1, CROSS),
        Sampler("mixture-outliers-1x1", 1, 1, OUTLIERS),
        Sampler("mixture-clusters-1x1", 1, 1, CLUSTERS),
        Sampler("mixture-turned-2x2", 2, 2, Mapped(planes, rotation(2), rotation(2, -0.4))),
        Sampler("classes-2-1d", 1, 0, Signs(1.0, 1, 1)),
        Sampler("classes-8-5d", 5, 0, Signs(1.0, 3, 5)),
        Sampler("classes-steps-1d", 1, 0, Steps(5)),
        Sampler("classes-counts-1d", 1, 0, Counts(0.15)),
        Sampler("independent-normal-1x1", 1, 1, Apart(small, small)),
        Sampler("independent-normal-5x5", 5, 5, Apart(dense(5, 5), dense(5, 5))),
        Sampler("independent-student-1x1", 1, 1, Apart(lone[0], lone[0])),
        Sampler("independent-student-2x2", 2, 2, Apart(lone[1], lone[1])),
        Sampler("independent-classes-1d", 1, 0, Apart(small, Steps(5))),
    ]


TASKS = _tasks()
