"""`ptaudit.estimate` as its users call it; what it finds is tested in games/, estimators/ and adversaries/."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from ptaudit.estimate import Estimate, identity_bits, mutual_information, uniqueness, usable_information
from ptaudit.estimators.base import REPORT, STOP, TRAIN, Measured
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.stats.estimate import inconclusive

TOKENS = np.random.default_rng(0).normal(size=(256, 16))


def test_returns_an_estimate_with_everything_needed_to_believe_it():
    found = identity_bits(TOKENS, batch_size=4, noise=0.5, candidates=32, seed=1)
    assert isinstance(found, Estimate)
    assert 0.0 < found.lo < found.value < found.hi < found.ceiling == 5.0
    assert abs(found.null) < 0.05
    assert found.n == 256
    assert found.status == "dim-limited"
    assert found.draws.shape == (1000,)
    assert found.draws.std() == pytest.approx((found.hi - found.lo) / 4, rel=0.3)


@pytest.mark.parametrize("kind", [lambda x: x.tolist(), torch.tensor, lambda x: torch.tensor(x, requires_grad=True)])
def test_arrays_lists_and_tensors_are_the_same_to_it(kind):
    assert identity_bits(kind(TOKENS), 4) == identity_bits(TOKENS, 4)


def test_single_precision_says_the_same():
    found = identity_bits(torch.tensor(TOKENS, dtype=torch.float32), 4)
    assert found.value == pytest.approx(identity_bits(TOKENS, 4).value, abs=1e-3)


def test_leaves_its_input_and_the_global_generators_alone():
    given = torch.tensor(TOKENS)
    before, state, numpy_state = given.clone(), torch.get_rng_state(), np.random.get_state()[1].copy()
    identity_bits(given, 4, noise=1.0, rounds=2)
    assert torch.equal(given, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_more_noise_and_larger_batches_hide_more():
    by_noise = [identity_bits(TOKENS, 1, noise=s).value for s in (1.0, 2.0, 4.0, 16.0)]
    by_batch = [identity_bits(TOKENS, m).value for m in (1, 2, 4, 8)]
    assert by_noise == sorted(by_noise, reverse=True)
    assert by_batch == sorted(by_batch, reverse=True)


@pytest.mark.parametrize("tokens", [np.zeros(5), np.zeros((4, 4, 4)), np.zeros((100, 0))])
def test_tokens_must_be_a_matrix(tokens):
    with pytest.raises(ValueError, match="shape"):
        identity_bits(tokens)


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"rounds": 0}, {"candidates": 1}, {"noise": -1.0}, {"noise": float("nan")}]
)
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        identity_bits(TOKENS, **wrong)


def test_no_records_are_inconclusive():
    assert not identity_bits(np.zeros((0, 4)), 1).conclusive


# Two sides


def line(n=600, r=0.9, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    return x, r * x + math.sqrt(1 - r * r) * generator.normal(size=n)


def classes(n=600, distance=4.0, seed=0):
    generator = np.random.default_rng(seed)
    secret = generator.integers(2, size=n)
    return generator.normal(size=(n, 2)) + distance * secret[:, None], secret


EXACT = -0.5 * math.log2(1 - 0.81)


def test_mutual_information_of_a_line():
    found = mutual_information(*line())
    assert isinstance(found, Estimate)
    assert found.lo <= EXACT <= found.hi
    assert found.n == 600
    assert mutual_information(*line(), estimator="gaussian").value == pytest.approx(EXACT, abs=0.15)


@pytest.mark.parametrize("estimator", ["infonce", "nwj", "mine", "smile"])
def test_critics_are_asked_by_name(estimator):
    x, y = line(500)
    assert mutual_information(x, y, estimator=estimator).value > 0.5


@pytest.mark.parametrize(
    "kind",
    [
        list,
        lambda v: torch.tensor(v, requires_grad=True),
        lambda v: torch.tensor(v)[:, None],
        pd.Series,
        lambda v: pd.DataFrame({"a": v}),
        lambda v: pd.Series(v, dtype="Float64"),
        lambda v: v.astype(object),
    ],
)
def test_both_sides_are_taken_as_anything_that_is_an_array(kind):
    x, y = line()
    assert mutual_information(kind(x), kind(y)) == mutual_information(x, y)


@pytest.mark.parametrize(
    "kind",
    [
        lambda s: s.astype(bool),
        lambda s: np.where(s, "yes", "no"),
        lambda s: np.where(s, "yes", "no").astype(object),
        lambda s: pd.Series(np.where(s, "yes", "no"), dtype="category"),
        lambda s: pd.Series(10 * s + 3, dtype="Int64"),
        lambda s: torch.tensor(s),
        lambda s: s.astype(np.uint8).tolist(),
    ],
)
def test_integers_booleans_and_words_are_classes(kind):
    tokens, secret = classes()
    assert mutual_information(tokens, kind(secret)).value == pytest.approx(1.0, abs=0.1)
    found = usable_information(tokens, kind(secret))
    assert found.value == pytest.approx(0.97, abs=0.05)
    assert found.ceiling == pytest.approx(1.0, abs=0.01)


def test_either_side_may_be_the_classes():
    tokens, secret = classes()
    assert mutual_information(secret, tokens) == mutual_information(tokens, secret)


def test_floats_are_numbers_even_where_they_are_whole():
    tokens, secret = classes()
    assert math.isnan(usable_information(tokens, secret.astype(float)).ceiling)


def test_parts_are_drawn_at_random_and_every_row_is_a_record(monkeypatch):
    seen = []

    def spy(pairs, seed, **options):
        seen.append((pairs, seed, options))
        return [Measured(inconclusive("a spy"), inconclusive("a spy"))]

    monkeypatch.setattr("ptaudit.estimate.ESTIMATORS", {"ksg": spy})
    mutual_information(*line(), seed=4, neighbours=5)
    mutual_information(*line(), seed=5)
    pairs, seed, options = seen[0]
    assert (seed, options) == (4, {"neighbours": 5})
    assert [int((pairs.part == part).sum()) for part in (TRAIN, STOP, REPORT)] == [360, 120, 120]
    assert torch.equal(pairs.record, torch.arange(600))
    assert not torch.equal(pairs.part, seen[1][0].part)
    assert (pairs.part[:360] != TRAIN).any()


@pytest.mark.parametrize("ask", [mutual_information, usable_information])
@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.zeros((10, 2)), np.zeros(9), "10 records .* 9"),
        (np.zeros((10, 2, 2)), np.zeros(10), "shape"),
        (np.zeros((10, 0)), np.zeros(10), "shape"),
        (3.0, np.zeros(10), "shape"),
        (np.where(np.arange(10) == 7, np.nan, 1.0), np.zeros(10), "missing or infinite .* record 7"),
        (np.zeros(10), np.where(np.arange(10) == 3, np.inf, 1.0), "missing or infinite .* record 3"),
        (np.zeros(10), ["a", None, *"bcdefghi"], "missing .* record 1"),
        (np.zeros(3), pd.Series([1, None, 2], dtype="Int64"), "missing .* record 1"),
        ([["a", "b"]] * 10, np.zeros(10), "must hold numbers"),
        ([[1.0], [1.0, 2.0]], [1.0, 2.0], "one row a record"),
        (np.zeros(3), ["a", 1.5, {}], "must hold numbers"),
    ],
)
def test_sides_that_are_none_are_refused_with_what_to_do(ask, x, y, reason):
    with pytest.raises(ValueError, match=reason):
        ask(x, y)


def test_names_and_options_that_are_unknown_are_refused_with_the_nearest():
    x, y = line(50)
    with pytest.raises(ValueError, match="did you mean `infonce`"):
        mutual_information(x, y, estimator="infonc")
    with pytest.raises(ValueError, match="did you mean `linear`"):
        usable_information(x, y, family="linaer")
    with pytest.raises(ValueError, match=r"neighbour.*it takes neighbours"):
        mutual_information(x, y, neighbour=3)
    with pytest.raises(ValueError, match="at least 1"):
        mutual_information(x, y, neighbours=0)


def test_classes_on_both_sides_are_counted_not_estimated():
    secret = classes()[1]
    with pytest.raises(ValueError, match="both classes"):
        mutual_information(secret, secret)
    assert usable_information(secret, secret).value == pytest.approx(1.0, abs=0.01)


def test_what_says_nothing_is_inconclusive():
    x, y = line(600)
    assert "constant" in mutual_information(np.zeros(600), y).status
    assert not mutual_information(x[:3], y[:3]).conclusive
    assert "needs 80 records" in usable_information(x[:50], y[:50]).status


@pytest.mark.parametrize("estimator", ["ksg", "gaussian"])
def test_the_value_is_the_estimators_own(estimator):
    generator = np.random.default_rng(1)
    values = [mutual_information(*generator.normal(size=(2, 200)), estimator=estimator).value for _ in range(8)]
    assert min(values) < 0.0


def test_uniqueness_ranks_records():
    tokens = TOKENS.copy()
    tokens[17] *= 50.0
    tokens[3] = 0.0
    found = uniqueness(tokens)
    assert found.shape == (256,)
    assert found[17] == 1.0
    assert found[3] == 0.0
    assert sorted(found) == pytest.approx(list(np.linspace(0, 1, 256)))
    with pytest.raises(ValueError, match="record 2"):
        uniqueness(np.where(np.arange(256)[:, None] == 2, np.nan, TOKENS))


def test_nothing_given_is_changed_and_no_global_generator_moves():
    tokens, secret = classes(200)
    before, state, numpy_state = tokens.copy(), torch.get_rng_state(), np.random.get_state()[1].copy()
    for _ in range(2):
        mutual_information(tokens, secret)
        usable_information(tokens, secret)
        uniqueness(tokens)
    assert (tokens == before).all()
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_the_package_is_imported_without_torch():
    code = "import sys, ptaudit; assert 'torch' not in sys.modules; ptaudit.estimate; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_estimator_is_there():
    assert list(ESTIMATORS) == ["ksg", "gaussian", "sliced", "infonce", "nwj", "mine", "smile"]
