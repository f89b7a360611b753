import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from ptaudit.estimators.base import Pairs
from ptaudit.estimators.gaussian import excess, measure, pseudo_values
from ptaudit.estimators.reduce import principal


def measured(x, y, seed=0, **options):
    """Of P problems, x (P, n, d) and y (P, n, d) or classes (P, n)."""
    x, y = torch.as_tensor(np.asarray(x)), torch.as_tensor(np.asarray(y))
    n = x.shape[1]
    return measure(Pairs(x, y, torch.arange(n), torch.zeros(n, dtype=torch.int64)), seed, **options)


def bits(x, y, **options):
    return measured(np.asarray(x)[None], np.asarray(y)[None], **options)[0].bits


def ends(found):
    return found.value, found.lo, found.hi, found.null, found.n, found.status


def sparse(n, d, rho, shared, problems=1, seed=0):
    """d × d coordinates of which `shared` pairs are correlated."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, problems, n, d))
    y[..., :shared] = rho * x[..., :shared] + math.sqrt(1 - rho**2) * y[..., :shared]
    return x, y, -0.5 * shared * math.log2(1 - rho**2)


def dense(n, d, rho, seed=0):
    """d × d coordinates, all correlated with all."""
    rng = np.random.default_rng(seed)
    both = math.sqrt(1 - rho) * rng.standard_normal((n, 2 * d)) + math.sqrt(rho) * rng.standard_normal((n, 1))

    def log_det(p):
        return math.log2(1 - rho) * (p - 1) + math.log2(1 + (p - 1) * rho)

    return both[:, :d], both[:, d:], 0.5 * (2 * log_det(d) - log_det(2 * d))


@pytest.mark.parametrize("d", [1, 2, 5, 25])
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_normal_tasks_are_within_five_per_cent(d, kind):
    if kind == "dense":
        x, y, true = dense(10_000, d, 0.5)
    else:
        (x,), (y,), true = sparse(10_000, d, 0.8, min(d, 2))
    found = bits(x, y)
    assert found.value == pytest.approx(true, rel=0.05)
    assert math.isnan(found.ceiling)


@pytest.mark.parametrize("transform", [np.exp, np.arcsinh, lambda t: t**3])
def test_margins_do_not_matter(transform):
    x, y, _ = sparse(500, 3, 0.7, 3)
    assert bits(transform(x[0]), 1e6 * y[0]).value == pytest.approx(bits(x[0], y[0]).value, abs=1e-9)


@pytest.mark.parametrize(("n", "d", "rho"), [(200, 2, 0.6), (300, 10, 0.5), (500, 25, 0.8)])
def test_it_has_no_bias_with_few_records(n, d, rho):
    x, y, true = sparse(n, d, rho, 2, problems=30)
    values = [one.bits.value for one in measured(x, y)]
    assert np.mean(values) == pytest.approx(true, abs=3 * np.std(values) / math.sqrt(30) + 0.01 * true)


@pytest.mark.parametrize(("n", "d"), [(100, 1), (500, 25), (200, 5)])
def test_independence_is_zero_within_the_interval(n, d):
    x, y, _ = sparse(n, d, 0.0, 0, problems=40)
    found = [one.bits for one in measured(x, y)]
    assert np.mean([one.lo <= 0.0 <= one.hi for one in found]) >= 0.9
    assert abs(np.mean([one.null for one in found])) < 0.01


@pytest.mark.parametrize(("n", "d", "rho"), [(200, 1, 0.6), (500, 5, 0.5), (500, 25, 0.3)])
def test_the_interval_covers(n, d, rho):
    x, y, true = sparse(n, d, rho, d, problems=60)
    found = [one.bits for one in measured(x, y)]
    assert np.mean([one.lo <= true <= one.hi for one in found]) >= 0.88
    half = np.mean([one.hi - one.lo for one in found]) / 2
    assert half < 1.6 * 1.96 * np.std([one.value for one in found])


def test_pseudo_values_are_those_of_leaving_each_record_out():
    x, y, _ = sparse(80, 3, 0.7, 2)
    x, y = (principal(side[0] - side[0].mean(axis=0), 3) for side in (x, y))

    def plug_in(a, b):
        def log_det(points):
            return np.linalg.slogdet(np.cov(points.T))[1] / math.log(2)

        return 0.5 * (log_det(a) + log_det(b) - log_det(np.hstack([a, b])))

    values = pseudo_values(x, y, *np.linalg.svd(x.T @ y / 80, full_matrices=False))
    left_out = [80 * plug_in(x, y) - 79 * plug_in(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(80)]
    np.testing.assert_allclose(values - values.mean(), left_out - np.mean(left_out), atol=1e-8)


def test_the_excess_is_that_of_many_samples():
    rng = np.random.default_rng(0)
    plug = []
    for _ in range(3000):
        r = np.corrcoef(rng.standard_normal((3, 12)))
        plug.append(-0.5 * math.log2(np.linalg.det(r) / (1 - r[0, 1] ** 2)))
    assert excess(12, 2, 1) == pytest.approx(np.mean(plug), abs=4 * np.std(plug) / math.sqrt(3000))


def test_it_is_a_lower_bound_on_one_coordinate_each_and_blind_without_correlation():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 1))
    even = bits(x, x**2 + 0.1 * rng.standard_normal((2000, 1)))
    assert abs(even.value) < 0.02
    # Student's t with one degree of freedom: 0.809 bits, of which the correlation of the scores shows half.
    y = 0.7 * x + math.sqrt(0.51) * rng.standard_normal((2000, 1))
    radius = np.sqrt(1 / rng.chisquare(1, (2000, 1)))
    assert bits(x * radius, y * radius).hi < 0.809


def test_clusters_are_overestimated_as_the_head_of_the_file_says():
    rng = np.random.default_rng(0)
    which = rng.integers(0, 10, 2000)
    x, y = (rng.standard_normal((10, 6))[which] + 0.02 * rng.standard_normal((2000, 6)) for _ in range(2))
    assert bits(x, y).lo > math.log2(10)


def class_bits(centres):
    """I(X;Y) of X = centre of the class + standard normal noise, equal classes, by numerical integration."""
    centres = np.asarray(centres, dtype=float)

    def density(t):
        return np.mean(np.exp(-0.5 * (t - centres) ** 2)) / math.sqrt(2 * math.pi)

    entropy, _ = quad(lambda t: -density(t) * math.log(density(t)), centres.min() - 8, centres.max() + 8, limit=300)
    return (entropy - 0.5 * math.log(2 * math.pi * math.e)) / math.log(2)


def test_classes_have_nearly_their_information_and_never_more():
    rng = np.random.default_rng(0)
    for centres in ([0, 1], [0, 2, 4, 6]):
        y = rng.integers(0, len(centres), (2, 2000))
        x = rng.standard_normal((2, 2000, 4))
        x[..., 0] += np.asarray(centres)[y]
        found = [one.bits for one in measured(x, y)]
        true = class_bits(centres)
        assert 0.8 * true < np.mean([one.value for one in found]) < true + 0.02
        assert all(one.lo < true for one in found)


def test_classes_that_say_nothing_give_nothing():
    rng = np.random.default_rng(0)
    found = [one.bits for one in measured(rng.standard_normal((12, 200, 8)), rng.integers(0, 5, (12, 200)))]
    assert np.mean([one.lo > 0.0 for one in found]) <= 0.17
    assert abs(np.mean([one.value for one in found])) < 0.02
    assert abs(np.mean([one.null for one in found])) < 0.02


def test_classes_apart_reach_their_entropy_and_no_more():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 600)
    found = bits(5.0 * rng.standard_normal((4, 6))[y] + rng.standard_normal((600, 6)), y)
    assert found.status == "saturated"
    assert found.ceiling - 0.05 < found.value <= found.ceiling
    assert found.ceiling == pytest.approx(2.0, abs=0.02)


def test_many_coordinates_are_reduced_and_only_lose():
    rng = np.random.default_rng(0)
    (hidden,), (y,), true = sparse(800, 2, 0.9, 2)
    x = hidden @ rng.standard_normal((2, 200)) + 0.3 * rng.standard_normal((800, 200))
    assert 0.7 * true < bits(x, y).value < true + 0.1
    assert bits(x, y, coordinates=1).value < 0.8 * true


def test_the_order_of_the_pairs_does_not_matter_and_seeds_repeat():
    x, y, _ = sparse(300, 3, 0.7, 3)
    order = np.random.default_rng(0).permutation(300)
    assert bits(x[0, order], y[0, order]).value == pytest.approx(bits(x[0], y[0]).value, abs=1e-9)
    assert ends(bits(x[0], y[0])) == ends(bits(x[0], y[0]))


def test_matched_minus_mismatched_is_the_value_less_the_null():
    x, y, _ = sparse(300, 3, 0.7, 3)
    found = measured(x, y)[0]
    assert found.matched_minus_mismatched.value == pytest.approx(found.bits.value - found.bits.null)


def test_a_bad_problem_is_told_and_disturbs_no_other():
    x, y, _ = sparse(100, 2, 0.8, 2, problems=5)
    x[1, 5, 0], x[2], y[3] = math.nan, 1.0, x[3]
    found = [one.bits for one in measured(x, y)]
    assert ends(found[0]) == ends(bits(x[0], y[0]))
    assert ends(found[4]) == ends(bits(x[4], y[4]))
    for one, reason in zip(found[1:4], ("not finite", "constant", "infinite")):
        assert one.status.startswith("inconclusive")
        assert reason in one.status
    assert "needs at least 20 records" in bits(x[0, :10], y[0, :10]).status
    assert "at least two of each" in bits(x[0], np.arange(100)).status
