import importlib
import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from ptaudit.estimators.base import Measured, Pairs
from ptaudit.estimators.knn import derangements
from ptaudit.estimators.pairing import (
    derangement,
    entropy,
    first_of_each,
    mismatched,
    near_ceiling,
    samples,
    why_not_estimated,
)
from ptaudit.estimators.reduce import few, normal_scores, principal, standardised
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.stats.estimate import Estimate


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_derangement_of_four_is_as_likely_as_any_other():
    drawn, among = generator(), [p for p in permutations(range(4)) if all(i != v for i, v in enumerate(p))]
    count = dict.fromkeys(among, 0)
    for _ in range(1800):
        count[tuple(derangement(4, drawn).tolist())] += 1
    assert len(among) == 9
    assert chisquare(list(count.values())).pvalue > 1e-3


def test_a_derangement_is_a_permutation_without_fixed_points_and_repeats_with_its_seed():
    order = derangement(1000, generator(3))
    assert order.sort().values.equal(torch.arange(1000))
    assert not (order == torch.arange(1000)).any()
    assert order.equal(derangement(1000, generator(3)))
    assert len(derangement(0, generator())) == 0
    with pytest.raises(ValueError, match="cannot be deranged"):
        derangement(1, generator())


def test_mismatched_pairs_are_of_another_record_of_the_same_part():
    record = torch.tensor([7, 7, 1, 2, 2, 2, 30, 4, 5, 5, 7, 4])
    part = torch.tensor([0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 0, 2])
    for seed in range(50):
        source = mismatched(record, part, generator(seed))
        assert (record[source] != record).all()
        assert (part[source] == part).all()
        for one in record.unique():
            assert len(record[source][record == one].unique()) == 1, "the pairs of a record go to one other record"


def test_several_pairs_of_a_record_take_the_several_of_the_other_in_turn():
    record, part = torch.tensor([1, 0, 1, 0, 1]), torch.zeros(5, dtype=torch.int64)
    assert mismatched(record, part, generator()).tolist() == [1, 0, 3, 2, 1]


def test_a_part_of_one_record_cannot_be_mismatched():
    with pytest.raises(ValueError, match="cannot be deranged"):
        mismatched(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), generator())


def test_first_pairs_of_the_records_in_the_order_of_the_pairs():
    assert first_of_each(torch.tensor([9, 9, 3, 9, 3, 5])).tolist() == [0, 2, 5]
    assert first_of_each(torch.empty(0, dtype=torch.int64)).tolist() == []


def test_entropy_of_classes():
    assert entropy(torch.tensor([0, 1, 2, 3] * 5)) == pytest.approx(2.0)
    assert entropy(torch.tensor([4, 4, 4, 8])) == pytest.approx(0.75 * math.log2(4 / 3) + 0.5)


@pytest.mark.parametrize(
    ("value", "ceiling", "expected"),
    [(9.1, 10.0, True), (8.9, 10.0, False), (0.96, 1.0, True), (0.94, 1.0, False), (1.0, math.nan, False)],
)
def test_near_the_ceiling_is_within_a_bit_or_within_a_twentieth_of_a_low_one(value, ceiling, expected):
    assert near_ceiling(value, ceiling) is expected


def test_reasons_teach():
    x, y = torch.randn(50, 2, generator=generator()), torch.randn(50, 1, generator=generator(1))
    bad = x.clone()
    bad[3, 1] = math.inf
    assert why_not_estimated(x, y, 20) is None
    assert why_not_estimated(x[:19], y[:19], 20) == "19 records: needs at least 20 records"
    assert "x has values that are not finite" in why_not_estimated(bad, y, 20)
    assert "y has values that are not finite" in why_not_estimated(x, y * math.nan, 20)
    assert "y is constant" in why_not_estimated(x, torch.ones(50, 1), 20)
    assert "y is constant" in why_not_estimated(x, torch.ones(50, dtype=torch.int64), 20)
    twice = torch.arange(50) // 2
    assert "duplicates" in why_not_estimated(x[twice], y[twice], 20)
    assert "duplicates" in why_not_estimated(x[twice], torch.arange(50) % 3, 20)


def test_one_place_that_many_records_share_is_no_reason():
    x, y = torch.randn(50, 2, generator=generator()), torch.randn(50, 1, generator=generator(1))
    x[:40] = 0.0
    assert why_not_estimated(x, y, 20) is None
    assert why_not_estimated(x, torch.arange(50) % 3, 20) is None


def test_samples_take_the_first_pair_of_each_record_and_share_y():
    x = torch.arange(120.0).reshape(2, 60, 1)
    pairs = Pairs(x, torch.randn(1, 60, 2, generator=generator()), torch.arange(60) // 2, torch.arange(60) % 3)
    one, two = samples(pairs, 20)
    assert one.x.ravel().tolist() == list(range(0, 60, 2))
    assert two.x.ravel().tolist() == list(range(60, 120, 2))
    np.testing.assert_array_equal(one.y, two.y)


def test_standard_values_have_no_units_shifts_or_constants():
    points = np.random.default_rng(0).standard_normal((200, 3))
    moved = np.column_stack([points * [1e-6, 5.0, 1e8] + [1.0, -7.0, 0.0], np.full(200, 3.0)])
    np.testing.assert_allclose(standardised(moved), standardised(points), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(standardised(points).std(axis=0), 1.0)


def test_normal_scores_are_the_same_for_every_monotone_transform():
    points = np.random.default_rng(0).standard_normal((300, 2))
    scores = normal_scores(points)
    np.testing.assert_allclose(normal_scores(np.exp(3 * points)), scores)
    np.testing.assert_allclose(scores.std(axis=0), 1.0)
    assert normal_scores(np.column_stack([points, np.ones(300)])).shape == (300, 2)


def test_components_are_white_leading_and_without_rounding():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((400, 2)) * [5.0, 3.0]
    points = signal @ rng.standard_normal((2, 10))
    kept = principal(points - points.mean(axis=0), 6)
    assert kept.shape == (400, 2), "two directions are all there is"
    np.testing.assert_allclose(kept.T @ kept / 400, np.eye(2), atol=1e-8)
    assert few(points, 10).shape == (400, 10)
    assert few(rng.standard_normal((400, 20)), 8).shape == (400, 8)


def test_the_registry_is_complete_ordered_and_knows_its_options():
    assert list(ESTIMATORS) == ["ksg", "gaussian", "sliced", "infonce", "nwj", "mine", "smile"]
    assert ESTIMATORS["ksg"].complaint({"neighbours": 5}) is None
    assert "it takes neighbours" in ESTIMATORS["ksg"].complaint({"k": 5})
    assert "at least 1" in ESTIMATORS["ksg"].complaint({"neighbours": 0})
    assert "integer" in ESTIMATORS["sliced"].complaint({"projections": True})
    assert "separable, joint" in ESTIMATORS["mine"].complaint({"critic": "both"})
    with pytest.raises(ValueError, match="critic"):
        ESTIMATORS["ksg"](None, 0, critic="joint")


def test_defaults_of_the_options_are_those_of_the_functions():
    import inspect

    for name in ("ksg", "gaussian", "sliced"):
        known = inspect.signature(importlib.import_module(f"ptaudit.estimators.{name}").measure).parameters
        found = {key: known[key].default for key in list(known)[2:]}
        assert found == {key: option.default for key, option in ESTIMATORS[name].options.items()}


def test_names_are_known_without_torch():
    import subprocess
    import sys

    code = "import sys, ptaudit.estimators.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mismatched_pairs_stay_on_their_side_and_without_sides_nothing_changes():
    record, part = torch.arange(40) // 2, (torch.arange(40) >= 24).long()
    side = (torch.arange(40) // 2) % 2
    for seed in range(20):
        source = mismatched(record, part, generator(seed), side)
        assert (record[source] != record).all()
        assert (part[source] == part).all()
        assert (side[source] == side).all()
        one = torch.zeros_like(side)
        assert mismatched(record, part, generator(seed), one).equal(mismatched(record, part, generator(seed)))


def test_derangements_of_a_null_stay_on_their_side():
    side = np.arange(30) % 2
    for order, _ in derangements(30, 0, side):
        assert (side[order] == side).all()
        assert (order != np.arange(30)).all()
        assert sorted(order) == list(range(30))
    for (one, _), (other, _) in zip(derangements(30, 0), derangements(30, 0, np.zeros(30)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["ksg", "gaussian", "sliced"])
def test_estimators_by_neighbours_and_correlations_take_sides(name):
    x = torch.randn(1, 100, 1, generator=generator())
    pairs = Pairs(x, x + torch.randn(1, 100, 1, generator=generator(1)), torch.arange(100), torch.zeros(100))
    (plain,), (halves,) = (ESTIMATORS[name](replace(pairs, side=side), 0) for side in (None, torch.arange(100) % 2))
    assert halves.bits.value == plain.bits.value
    assert halves.bits.null != plain.bits.null


@pytest.mark.parametrize("name", ["ksg", "sliced"])
def test_what_is_left_without_classes_of_one_record_is_looked_at_again(name):
    x = torch.zeros(1, 60, 2)
    x[0, :5] = torch.randn(5, 2, generator=generator())
    classes = torch.cat([torch.arange(2, 7), torch.arange(55) % 2])[None]
    (found,) = ESTIMATORS[name](Pairs(x, classes, torch.arange(60), torch.zeros(60)), 0)
    assert found.bits.status == (
        "inconclusive: without the classes of a single record: x is constant: nothing can be told from it"
    )


@pytest.mark.parametrize(("value", "kept"), [(0.1, True), (-0.1, True), (-131.0, False)])
def test_an_interval_far_below_zero_is_a_failure_and_one_near_it_reaches_zero(monkeypatch, value, kept):
    draw = Estimate(value, value - 0.08, value + 0.08, 0.0, 7.0, 100)
    module = importlib.import_module("ptaudit.estimators.mine")
    monkeypatch.setattr(module, "measure", lambda pairs, seed: [Measured(draw, draw)])
    (found,) = ESTIMATORS["mine"](None, 0)
    assert found.bits.conclusive is kept
    if kept:
        assert found.bits.hi >= 0.0
        assert found.bits.value == value
    else:
        assert found.bits.status.startswith("inconclusive: the estimate is -131 bits")
