import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from ptaudit.estimators.base import Pairs
from ptaudit.estimators.knn import NeighbourProblem
from ptaudit.estimators.ksg import measure
from ptaudit.estimators.pairing import Sample
from ptaudit.estimators.reduce import normal_scores, standardised


def pairs(x, y):
    x, y = torch.as_tensor(np.asarray(x)), torch.as_tensor(np.asarray(y))
    n = x.shape[1]
    return Pairs(x, y, torch.arange(n), torch.zeros(n, dtype=torch.int64))


def bits(x, y, seed=0, **options):
    """Of one problem, x (n, d) and y (n, d) or classes (n,)."""
    return measure(pairs(np.asarray(x)[None], np.asarray(y)[None]), seed, **options)[0].bits


def normal(n, rho, d=1, problems=1, seed=0):
    """P samples of d independent bivariate normal pairs."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((problems, n, d))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((problems, n, d))


def normal_bits(rho, d=1):
    return -0.5 * d * math.log2(1 - rho**2)


def class_bits(centres):
    """I(X;Y) of X = centre of the class + standard normal noise, equal classes, by numerical integration."""
    centres = np.asarray(centres, dtype=float)

    def density(t):
        return np.mean(np.exp(-0.5 * (t - centres) ** 2)) / math.sqrt(2 * math.pi)

    entropy, _ = quad(lambda t: -density(t) * math.log(density(t)), centres.min() - 8, centres.max() + 8, limit=300)
    return (entropy - 0.5 * math.log(2 * math.pi * math.e)) / math.log(2)


def obvious(x, y, k):
    """Kraskov's first algorithm and Ross's, loop by loop, in bits: the definition."""
    n, total = len(x), 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        dx = {j: max(abs(x[i] - x[j])) for j in others}
        if y.ndim == 1:
            mine = [j for j in others if y[j] == y[i]]
            use = min(k, len(mine))
            radius = sorted(dx[j] for j in mine)[use - 1]
            ny = len(mine)
        else:
            dy = {j: max(abs(y[i] - y[j])) for j in others}
            use, radius = k, sorted(max(dx[j], dy[j]) for j in others)[k - 1]
            ny = sum(dy[j] < radius for j in others)
        nx = sum(dx[j] < radius for j in others)
        total += digamma(use) + digamma(n) - digamma(nx + 1) - digamma(ny + 1)
    return total / n / math.log(2)


@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (1, 3), (2, 2), (4, 1)])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_counts_are_those_of_the_definition(dx, dy, k):
    rng = np.random.default_rng(dx + 10 * dy)
    x = rng.standard_normal((70, dx))
    y = x[:, :1] + rng.standard_normal((70, dy))
    raw, ranks = (bits(x, y, neighbours=k, margins=margins).value for margins in ("raw", "ranks"))
    assert raw == pytest.approx(obvious(standardised(x), standardised(y), k), abs=1e-9)
    assert ranks == pytest.approx(obvious(normal_scores(x), normal_scores(y, 1), k), abs=1e-9)


@pytest.mark.parametrize("d", [1, 3])
def test_counts_for_classes_are_those_of_the_definition(d):
    rng = np.random.default_rng(d)
    y = rng.choice(4, size=120, p=[0.5, 0.3, 0.18, 0.02])
    x = standardised(y[:, None] + rng.standard_normal((120, d)))
    assert np.bincount(y).min() >= 2
    assert bits(x, y, margins="raw").value == pytest.approx(obvious(x, y, 3), abs=1e-9)


@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (2, 1), (3, 2), (1, 0), (2, 0)])
def test_pseudo_values_are_those_of_leaving_each_record_out(dx, dy):
    rng = np.random.default_rng(7)
    classes = rng.integers(0, 3, 60) if dy == 0 else None
    x, y = rng.standard_normal((60, dx)), rng.standard_normal((60, dy))
    y += x[:, :1] if dy else 0.0
    whole = NeighbourProblem(Sample(x, y, classes), 0).local(3)
    for i in range(60):
        kept = np.arange(60) != i
        rest = NeighbourProblem(Sample(x, y, classes).among(kept), 0).local(3)
        assert whole.pseudo[i] == pytest.approx(60 * whole.term.mean() - 59 * rest.term.mean(), abs=1e-4)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("rho", [0.3, 0.8, 0.97])
def test_agrees_with_scikit_learn_on_numbers(rho, k):
    x, y = normal(1500, rho)
    theirs = mutual_info_regression(x[0], y[0, :, 0], n_neighbors=k, random_state=0)[0] / math.log(2)
    assert bits(x[0], y[0], neighbours=k, margins="raw").value == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("transform", [np.exp, np.arcsinh, lambda t: t**3])
def test_agrees_with_scikit_learn_on_other_margins(transform):
    x, y = normal(1500, 0.8, seed=4)
    x = transform(x[0])
    theirs = mutual_info_regression(x, y[0, :, 0], random_state=0)[0] / math.log(2)
    assert bits(x, y[0], margins="raw").value == pytest.approx(theirs, rel=0.01)


def test_a_monotone_transform_of_a_coordinate_changes_nothing():
    x, y = normal(500, 0.8, 2)
    assert bits(x[0] ** 3, np.exp(y[0])).value == pytest.approx(bits(x[0], y[0]).value, abs=1e-9)


def test_agrees_with_scikit_learn_on_classes():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 1500)
    x = 2.0 * y[:, None] + rng.standard_normal((1500, 1))
    theirs = mutual_info_classif(x, y, discrete_features=False, random_state=0)[0] / math.log(2)
    assert bits(x, y, margins="raw").value == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize(("d", "rho"), [(1, 0.3), (1, 0.6), (1, 0.9), (1, 0.99), (2, 0.0), (2, 0.5), (2, 0.8)])
def test_normal_pairs_have_their_information(d, rho):
    found = measure(pairs(*normal(1500, rho, d, problems=2)), 0)
    assert np.mean([one.bits.value for one in found]) == pytest.approx(normal_bits(rho, d), abs=0.05)


@pytest.mark.parametrize("d", [1, 2])
def test_ten_thousand_records_are_within_a_twentieth_of_a_bit(d):
    x, y = normal(10_000, 0.8, d, seed=2)
    sample = Sample(normal_scores(x[0]), normal_scores(y[0], 1), None)
    assert NeighbourProblem(sample, 0).local(3).term.mean() == pytest.approx(normal_bits(0.8, d), abs=0.05)


@pytest.mark.parametrize("centres", [[0, 1], [0, 2, 4, 6], [0, 0, 5]])
def test_classes_have_their_information(centres):
    rng = np.random.default_rng(1)
    y = rng.integers(0, len(centres), (3, 1500))
    x = np.asarray(centres)[y][:, :, None] + rng.standard_normal((3, 1500, 1))
    value = np.mean([one.bits.value for one in measure(pairs(x, y), 0)])
    assert value == pytest.approx(class_bits(centres), abs=0.04)


def test_a_place_shared_by_half_of_the_records_is_counted_right():
    rng = np.random.default_rng(0)
    (z,), (y,) = normal(4000, 0.9, seed=5)
    x = np.where(rng.random((4000, 1)) < 0.5, 0.0, z + 10.0)
    assert bits(x, y).value == pytest.approx(0.5 * normal_bits(0.9), abs=0.06)


def test_two_values_written_as_numbers_are_counted_right():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4000)
    x = 2.0 * y[:, None] + rng.standard_normal((4000, 1))
    assert bits(x, y[:, None].astype(float)).value == pytest.approx(class_bits([0, 2]), abs=0.05)


@pytest.mark.parametrize("classes", [0, 2, 10])
def test_independence_is_zero_within_the_interval(classes):
    rng = np.random.default_rng(11)
    x = rng.standard_normal((30, 120, 2))
    y = rng.integers(0, classes, (30, 120)) if classes else rng.standard_normal((30, 120, 1))
    found = [one.bits for one in measure(pairs(x, y), 0)]
    assert np.mean([one.lo <= 0.0 <= one.hi for one in found]) >= 0.9
    assert abs(np.mean([one.value for one in found])) < 0.03
    assert abs(np.mean([one.null for one in found])) < 0.03
    assert not any(one.status == "saturated" for one in found)


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_the_interval_covers(rho):
    found = [one.bits for one in measure(pairs(*normal(150, rho, problems=40, seed=1)), 0)]
    covered = np.mean([one.lo <= normal_bits(rho) <= one.hi for one in found])
    assert covered >= 0.88
    half = np.mean([one.hi - one.lo for one in found]) / 2
    assert half < 1.7 * 1.96 * np.std([one.value for one in found]), "and is not idly wide"


@pytest.mark.slow
@pytest.mark.parametrize("n", [500, 2000])
@pytest.mark.parametrize(("d", "rho"), [(1, 0.0), (1, 0.5), (1, 0.9), (2, 0.5)])
def test_the_interval_covers_at_length(d, rho, n):
    found = [one.bits for one in measure(pairs(*normal(n, rho, d, problems=200, seed=1)), 0)]
    covered = np.mean([one.lo <= normal_bits(rho, d) <= one.hi for one in found])
    assert covered >= 0.92


def test_units_do_not_matter():
    x, y = normal(400, 0.7, 2)
    moved = bits(1e-7 * x[0] + 3.0, y[0] * [1e6, 1.0])
    assert moved.value == pytest.approx(bits(x[0], y[0]).value, abs=1e-9)


def test_the_order_of_the_pairs_does_not_matter():
    x, y = normal(400, 0.7, 2)
    order = np.random.default_rng(0).permutation(400)
    assert bits(x[0, order], y[0, order]).value == pytest.approx(bits(x[0], y[0]).value, abs=1e-9)


def test_the_sides_may_be_exchanged():
    x, y = normal(400, 0.7, 2)
    assert bits(y[0], x[0]).value == pytest.approx(bits(x[0], y[0]).value, abs=0.01), (
        "but for ties on the grid of ranks"
    )


def test_the_same_seed_gives_the_same_numbers():
    x, y = normal(300, 0.7, problems=2)
    assert measure(pairs(x, y), 3) == measure(pairs(x, y), 3)
    np.testing.assert_array_equal(bits(x[0], y[0]).draws, bits(x[0], y[0]).draws)


def test_matched_minus_mismatched_is_the_value_less_the_null_and_less_certain():
    x, y = normal(300, 0.7)
    found = measure(pairs(x, y), 0)[0]
    gap = found.matched_minus_mismatched
    assert gap.value == pytest.approx(found.bits.value - found.bits.null)
    assert gap.hi - gap.lo > found.bits.hi - found.bits.lo


def test_equal_sides_are_saturated_at_the_ceiling():
    x, _ = normal(300, 0.0)
    found = bits(x[0], x[0])
    assert found.status == "saturated"
    assert found.ceiling - 0.5 < found.value <= found.ceiling + 1e-9
    far = 100.0 * np.arange(300)[:, None] % 400
    known = bits(far + x[0], (far[:, 0] / 100).astype(int))
    assert known.status == "saturated"
    assert known.ceiling - 0.05 < known.value <= known.ceiling + 1e-9
    assert known.ceiling == pytest.approx(2.0, abs=0.02)


def test_strong_dependence_in_many_dimensions_is_said_to_be_underestimated():
    x, y = normal(500, 0.9, 5)
    found = bits(x[0], y[0])
    assert found.hi < normal_bits(0.9, 5)
    assert found.status == "saturated"


def test_many_coordinates_are_reduced_and_only_lose():
    rng = np.random.default_rng(0)
    hidden, y = (side[0] for side in normal(800, 0.9, 2))
    x = hidden @ rng.standard_normal((2, 40)) + 0.1 * rng.standard_normal((800, 40))
    assert 0.4 * normal_bits(0.9, 2) < bits(x, y).value < normal_bits(0.9, 2)
    assert bits(x, y, coordinates=2).value > bits(x, y, coordinates=30).value, "few are better where few say all"


def test_only_the_first_pair_of_a_record_counts():
    x, y = normal(200, 0.8)
    other = normal(200, 0.0, seed=9)
    both = [torch.as_tensor(np.concatenate([a, b], axis=1)) for a, b in zip((x, y), other)]
    twice = Pairs(*both, torch.arange(400) % 200, torch.zeros(400, dtype=torch.int64))
    assert measure(twice, 0) == measure(pairs(x, y), 0)


def test_a_bad_problem_is_told_and_disturbs_no_other():
    x, y = normal(100, 0.8, 2, problems=5)
    x[1, 5, 0], x[2] = math.nan, 1.0
    x[3], y[3] = x[3][np.arange(100) // 4], y[3][np.arange(100) // 4]
    found = [one.bits for one in measure(pairs(x, y), 0)]
    assert found[0] == bits(x[0], y[0])
    assert found[4] == bits(x[4], y[4])
    for one, reason in zip(found[1:4], ("not finite", "constant", "duplicates")):
        assert one.status.startswith("inconclusive")
        assert reason in one.status
        assert not one.conclusive


def test_too_few_records_and_lonely_classes_are_told():
    x, y = normal(100, 0.8)
    assert "needs at least 20 records" in bits(x[0, :10], y[0, :10]).status
    assert "needs at least 40 records" in bits(x[0, :30], y[0, :30], neighbours=8).status
    assert "at least two of each" in bits(x[0], np.arange(100)).status
    assert "constant" in bits(x[0], np.zeros(100, dtype=int)).status


def test_a_lonely_class_is_left_out():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    x = 2.0 * y[:, None] + rng.standard_normal((200, 1))
    alone = bits(np.vstack([x, [[1.0]]]), np.append(y, 7))
    assert alone.n == 201
    assert alone.value == pytest.approx(bits(x, y).value, abs=0.01)
