import math

import numpy as np
import pytest
import torch

from ptaudit.estimators import ksg
from ptaudit.estimators.base import Pairs
from ptaudit.estimators.sliced import measure, turned


def pairs(x, y):
    x, y = torch.as_tensor(np.asarray(x)), torch.as_tensor(np.asarray(y))
    n = x.shape[1]
    return Pairs(x, y, torch.arange(n), torch.zeros(n, dtype=torch.int64))


def bits(x, y, seed=0, **options):
    return measure(pairs(np.asarray(x)[None], np.asarray(y)[None]), seed, **options)[0].bits


def normal(n, rho, d, problems=1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((problems, n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((problems, n, d))


def sliced_bits(rho, d, draws=20_000):
    """Projections of d independent normal pairs are normal with correlation rho · cos of the angle between them."""
    rng = np.random.default_rng(1)
    u, v = rng.standard_normal((2, draws, d))
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    return float(np.mean(-0.5 * np.log2(1 - (rho * cosine) ** 2)))


@pytest.mark.parametrize("d", [2, 4])
def test_normal_pairs_have_their_sliced_information(d):
    x, y = normal(500, 0.9, d, problems=6)
    true = sliced_bits(0.9, d)
    found = [bits(x[i], y[i], seed=i, projections=32) for i in range(6)]
    assert sum(one.lo <= true <= one.hi for one in found) >= 4
    assert np.mean([one.value for one in found]) == pytest.approx(true, abs=0.08)


def test_one_coordinate_each_is_the_nearest_neighbour_estimate():
    x, y = normal(300, 0.8, 1)
    assert bits(x[0], y[0]).value == pytest.approx(ksg.measure(pairs(x, y), 0)[0].bits.value, abs=1e-9)


def test_it_never_exceeds_the_information_and_grows_with_the_slices():
    x, y = normal(600, 0.8, 3)
    true = -1.5 * math.log2(1 - 0.64)
    one, two, all_three = (bits(x[0], y[0], projections=16, slice_dim=d).value for d in (1, 2, 3))
    assert one < two < all_three < true + 0.1
    assert all_three > 0.8 * true, "slices of all dimensions only turn"


def test_independence_is_zero_within_the_interval():
    rng = np.random.default_rng(0)
    for y in (rng.standard_normal((20, 100, 3)), rng.integers(0, 3, (20, 100))):
        found = [one.bits for one in measure(pairs(rng.standard_normal((20, 100, 5)), y), 0, projections=8)]
        assert np.mean([one.lo <= 0.0 <= one.hi for one in found]) >= 0.85
        assert abs(np.mean([one.null for one in found])) < 0.04


def test_more_projections_leave_a_narrower_interval():
    x, y = normal(500, 0.9, 2)
    few, many = (bits(x[0], y[0], projections=p) for p in (4, 32))
    assert many.hi - many.lo < 0.8 * (few.hi - few.lo)


def test_classes_are_not_projected():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 500)
    x = rng.standard_normal((500, 2)) + 6.0 * y[:, None]
    found = bits(x, y, projections=32)
    assert 0.5 < found.value < 1.0
    assert found.ceiling == pytest.approx(1.0, abs=0.01)


def test_subspaces_are_turned_at_random_and_points_keep_their_shape():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200, 6))
    assert turned(points, 2, rng).shape == (200, 2)
    assert turned(points[:, :1], 2, rng).shape == (200, 1)
    assert turned(np.empty((200, 0)), 2, rng).shape == (200, 0)
    assert not np.allclose(turned(points, 1, rng), turned(points, 1, rng))


def test_units_and_the_order_of_the_pairs_do_not_matter_and_seeds_repeat():
    x, y = normal(200, 0.8, 3)
    value = bits(x[0], y[0], projections=8).value
    order = np.random.default_rng(0).permutation(200)
    assert bits(x[0] * [1e-6, 1.0, 1e6], y[0], projections=8).value == pytest.approx(value, abs=1e-9)
    assert bits(x[0, order], y[0, order], projections=8).value == pytest.approx(value, abs=1e-9)
    assert bits(x[0], y[0], projections=8).value == value
    assert bits(x[0], y[0], seed=1, projections=8).value != value


def test_a_bad_problem_is_told_and_disturbs_no_other():
    x, y = normal(100, 0.8, 2, problems=4)
    x[1, 5, 0], x[2] = math.nan, 1.0
    found = [one.bits for one in measure(pairs(x, y), 0, projections=4)]
    assert found[0] == bits(x[0], y[0], projections=4)
    assert found[3] == bits(x[3], y[3], projections=4)
    assert "not finite" in found[1].status
    assert "constant" in found[2].status
    assert "needs at least 20 records" in bits(x[0, :10], y[0, :10]).status
    assert "at least two of each" in bits(x[0], np.arange(100)).status
