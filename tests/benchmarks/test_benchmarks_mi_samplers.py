"""The known answers of the benchmark of mutual information, each found again by another way."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import digamma, logsumexp

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import mi_laws as laws
from mi_samplers import TASKS, dense, sparse

N = 40_000
BY_NAME = {task.name: task for task in TASKS}


def draws(task, n=N, seed=0):
    return task.sample(n, np.random.default_rng(seed))


# Log densities by scipy.stats (of the whole, of x and of y), in nats


def normal_log(law, x, y):
    c, d = law.covariance, law.dx
    parts = (x, c[:d, :d]), (y, c[d:, d:]), (np.hstack([x, y]), c)
    return [stats.multivariate_normal.logpdf(z, cov=m) for z, m in parts]


def student_log(law, x, y):
    c, d = law.normal.covariance, law.normal.dx
    parts = (x, c[:d, :d]), (y, c[d:, d:]), (np.hstack([x, y]), c)
    return [stats.multivariate_t.logpdf(z, shape=m, df=law.freedom) for z, m in parts]


def noise_log(law, x, y):
    e = law.half_width
    of_y = (np.minimum(y + e, 1) - np.maximum(y - e, 0)) / (2 * e)
    given = np.where(np.abs(y - x) <= e, 1 / (2 * e), 0.0)
    return [np.zeros(len(x)), np.log(of_y)[:, 0], np.log(given)[:, 0]]


def mixture_log(law, x, y):
    of_x, of_y, whole = [], [], []
    for w, m, c in zip(law.weights, law.means, law.covariances, strict=True):
        of_x.append(math.log(w) + stats.norm.logpdf(x[:, 0], m[0], math.sqrt(c[0, 0])))
        of_y.append(math.log(w) + stats.norm.logpdf(y[:, 0], m[1], math.sqrt(c[1, 1])))
        whole.append(math.log(w) + stats.multivariate_normal.logpdf(np.hstack([x, y]), m, c))
    return [logsumexp(part, axis=0) for part in (of_x, of_y, whole)]


def signs_log(law, x, y):
    classes = 2**law.informative
    centres = np.zeros((classes, law.dx))
    for bit in range(law.informative):
        centres[:, bit] = [law.shift * (1 if c & 2**bit else -1) for c in range(classes)]
    given = np.stack([stats.multivariate_normal.logpdf(x, centre) for centre in centres])
    prior = np.full(len(x), -math.log(classes))
    return [logsumexp(given, axis=0) + prior, prior, given[y, np.arange(len(x))] + prior]


def steps_log(law, x, y):
    classes = np.arange(law.classes)
    of_x = ((x > classes) & (x < classes + 2)).sum(1) / (2 * law.classes)
    inside = (x[:, 0] > y) & (x[:, 0] < y + 2)
    prior = np.full(len(x), -math.log(law.classes))
    return [np.log(of_x), prior, np.log(inside / 2) + prior]


def counts_log(law, x, y):
    x = x[:, 0]
    given = law.zeros * (y == 0) + (1 - law.zeros) * stats.poisson.pmf(y, x)
    alone = law.zeros * (y == 0) + (1 - law.zeros) * stats.geom.pmf(y + 1, 0.5)
    return [stats.expon.logpdf(x), np.log(alone), np.log(given) + stats.expon.logpdf(x)]


LOG = {
    laws.Normal: normal_log,
    laws.Student: student_log,
    laws.UniformNoise: noise_log,
    laws.Mixture: mixture_log,
    laws.Signs: signs_log,
    laws.Steps: steps_log,
    laws.Counts: counts_log,
}


def log_ratio(law, x, y):
    """Log of the joint density over the product of the marginal ones, in bits, maps undone."""
    if isinstance(law, laws.Mapped):
        return log_ratio(law.law, law.x.inverse(x), law.y.inverse(y))
    if isinstance(law, laws.Together):
        return sum(log_ratio(part, x[:, [i]], y[:, [i]]) for i, part in enumerate(law.laws))
    of_x, of_y, whole = LOG[type(law)](law, x, y)
    return (whole - of_x - of_y) / math.log(2)


@pytest.mark.parametrize("task", [task for task in TASKS if not task.independent], ids=lambda task: task.name)
def test_the_answer_is_the_mean_log_density_ratio(task):
    ratio = log_ratio(task.law, *draws(task))
    assert np.isfinite(ratio).all()
    error = ratio.std() / math.sqrt(N)
    assert error < 0.015
    assert abs(ratio.mean() - task.bits) < 4.5 * error + 1e-9


@pytest.mark.parametrize("task", [task for task in TASKS if not task.independent], ids=lambda task: task.name)
def test_draws_follow_the_stated_density(task):
    """P(ratio > t) under the product of the marginals equals E[1 / ratio; ratio > t] under the pair.

    A wrong joint or marginal density breaks it.
    """
    x, y = draws(task)
    apart = np.random.default_rng(2).permutation(N)
    with np.errstate(divide="ignore"):  # -inf where the pair cannot be
        matched, mismatched = log_ratio(task.law, x, y), log_ratio(task.law, x, y[apart])
    for t in (-1.0, 0.0, 1.0):
        under_pair = np.where(matched > t, 2.0**-matched, 0.0)
        under_product = mismatched > t
        error = math.hypot(under_pair.std(), under_product.std()) / math.sqrt(N)
        assert abs(under_pair.mean() - under_product.mean()) < 4.5 * error + 1e-9


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_shapes_and_seeds(task):
    x, y = draws(task, 5_000)
    assert x.shape == (5_000, task.dx)
    assert y.shape == ((5_000, task.dy) if task.dy else (5_000,))
    assert y.dtype == (np.float64 if task.dy else np.int64)
    assert np.isfinite(x).all()
    assert all(np.array_equal(a, b) for a, b in zip(draws(task, 5_000), (x, y), strict=True))
    assert not np.array_equal(draws(task, 5_000, seed=2)[0], x)


CDF = {
    "normal-dense-5x5": stats.norm.cdf,
    "normal-sparse-25x25": stats.norm.cdf,
    "student-1-1x1": stats.t(1).cdf,
    "student-2-3x3": stats.t(2).cdf,
    "student-3-5x5": stats.t(3).cdf,
    "student-5-5x5": stats.t(5).cdf,
    "asinh-student-1-2x2": lambda x: stats.t(1).cdf(np.sinh(x)),
    "half-cube-5x5": lambda x: stats.norm.cdf(np.sign(x) * np.abs(x) ** (2 / 3)),
    "uniform-1x1": stats.uniform.cdf,
    "mixture-cross-1x1": stats.norm.cdf,
    "independent-student-2x2": stats.t(2).cdf,
    "independent-normal-5x5": stats.norm.cdf,
}


@pytest.mark.parametrize("name", CDF)
def test_every_coordinate_has_the_known_distribution(name):
    for side in draws(BY_NAME[name], 5_000):
        for column in side.T:
            assert stats.kstest(column, CDF[name]).pvalue > 1e-5


def test_distributions_of_the_other_marginals():
    x, y = draws(BY_NAME["noise-0.75-1x1"], 5_000)
    assert stats.kstest(x[:, 0], stats.uniform.cdf).pvalue > 1e-5
    assert stats.kstest((y - x)[:, 0], stats.uniform(-0.75, 1.5).cdf).pvalue > 1e-5
    x, y = draws(BY_NAME["classes-counts-1d"], 5_000)
    assert stats.kstest(x[:, 0], stats.expon.cdf).pvalue > 1e-5
    expected = 0.85 * stats.geom.pmf(np.arange(4) + 1, 0.5) + 0.15 * (np.arange(4) == 0)
    assert stats.chisquare(np.bincount(y)[:4], expected / expected.sum() * (y < 4).sum()).pvalue > 1e-5
    for name, classes in {"classes-2-1d": 2, "classes-8-5d": 8, "classes-steps-1d": 5}.items():
        assert stats.chisquare(np.bincount(draws(BY_NAME[name], 5_000)[1], minlength=classes)).pvalue > 1e-5


@pytest.mark.parametrize("task", [task for task in TASKS if task.independent], ids=lambda task: task.name)
def test_independent_pairs_have_nothing_to_find(task):
    x, y = draws(task)
    assert task.bits == 0
    for column in y.T if task.dy else [y]:
        rows = column if not task.dy else np.searchsorted(np.quantile(column, [0.2, 0.4, 0.6, 0.8]), column)
        columns = np.searchsorted(np.quantile(x[:, 0], [0.1, 0.3, 0.5, 0.7, 0.9]), x[:, 0])
        table = np.zeros((rows.max() + 1, 6))
        np.add.at(table, (rows, columns), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-5


@pytest.mark.parametrize("task", [t for t in TASKS if isinstance(t.law, laws.Mapped)], ids=lambda task: task.name)
def test_maps_can_be_undone(task):
    """Information is the same after a map that can be undone: here, that it can be."""
    inner, outer = task.law.law.sample(2_000, np.random.default_rng(3)), draws(task, 2_000, seed=3)
    for before, after, way in zip(inner, outer, (task.law.x, task.law.y), strict=True):
        assert np.allclose(way.inverse(after), before, rtol=1e-6, atol=1e-7)
        assert way.forward(before) is before or not np.allclose(after, before)


def test_spirals_turn_and_keep_lengths():
    task = BY_NAME["spiral-5x5"]
    before, after = task.law.law.sample(500, np.random.default_rng(4))[0], draws(task, 500, seed=4)[0]
    assert np.allclose(np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1))


def test_closed_forms_of_the_papers():
    """Values printed by Czyż et al. and Gao et al., or derived from their formulas by hand."""
    assert dense(1, 1, 0.75).bits == pytest.approx(-0.5 * math.log2(1 - 0.75**2))
    assert sparse(5, 5).bits == pytest.approx(-math.log2(1 - 0.8**2))
    assert laws.Student(sparse(1, 1, 0), 1).bits == pytest.approx(cauchy_by_integration(2400), abs=1.5e-3)
    assert laws.Steps(5).bits == pytest.approx((math.log(5) - 4 * math.log(2) / 5) / math.log(2))
    k = np.arange(1, 200)
    series = 2 * math.log(2) + digamma(1) - (np.log(k) * 0.5**k).sum()
    assert laws.Counts(0.0).bits == pytest.approx(series / math.log(2), abs=1e-8)
    both = laws.UniformNoise(0.5), laws.UniformNoise(0.5 + 1e-9)
    assert both[0].bits == pytest.approx(both[1].bits)
    assert laws.Signs(20.0, 3, 3).bits == pytest.approx(3.0)


def cauchy_by_integration(steps):
    """Information of the circular Cauchy law, over the plane of both quantiles."""
    u = (np.arange(steps) + 0.5) / steps
    x = np.tan(math.pi * (u - 0.5))
    squares = x**2
    # Under the product of the marginals every (u, v) is equally likely, so that I is the mean of ratio * log ratio.
    ratio = math.pi / 2 * (1 + squares[:, None]) * (1 + squares) / (1 + squares[:, None] + squares) ** 1.5
    return float((ratio * np.log2(ratio)).mean())
