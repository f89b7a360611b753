"""Distance of subspaces: planted ones, the null, the angles, the interval, and what has none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ptaudit.stats.subspace import LEAST_RECORDS, subspace_distance

DIM, Q = 48, 5
AXES = np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, DIM)))[0]
SPREAD = np.linspace(3, 1, Q)


def drawn(rng, n, degrees=0.0, noise=0.1, tail=1.5):
    """Records in a Q-dimensional subspace, each axis turned by so many degrees into another, lengths log-normal."""
    turned = math.cos(math.radians(degrees)) * AXES[:, :Q] + math.sin(math.radians(degrees)) * AXES[:, Q : 2 * Q]
    inside = rng.standard_normal((n, Q)) * SPREAD @ turned.T
    return (inside + noise * rng.standard_normal((n, DIM))) * rng.lognormal(sigma=tail, size=(n, 1))


def two_groups(seed, sizes=(150, 150), degrees=0.0, noise=0.1):
    rng = np.random.default_rng(seed)
    tokens = np.concatenate([drawn(rng, sizes[0], noise=noise), drawn(rng, sizes[1], degrees, noise=noise)])
    return tokens, np.repeat([0, 1], sizes)


def test_orthogonal_subspaces_are_at_one_and_half_of_them_between():
    tokens, group = two_groups(1, degrees=90, noise=0.02)
    half = np.concatenate([tokens[:150], tokens[:150]])
    half[150:] = drawn(np.random.default_rng(9), 150, noise=0.02) @ AXES[:, np.r_[3:8, :3, 8:DIM]] @ AXES.T
    far, between = subspace_distance(np.stack([tokens, half]), group, 0)
    assert far.value == pytest.approx(1.0, abs=0.002)
    assert far.null + 0.3 < between.hi < 0.95
    for estimate in (far, between):
        assert estimate.lo <= estimate.value <= estimate.hi <= estimate.ceiling == 1.0
        assert (estimate.n, estimate.status, len(estimate.draws)) == (300, "ok", 1000)


@pytest.mark.parametrize("degrees", [10, 45, 80])
def test_lines_have_the_sine_of_their_angle(degrees, monkeypatch):
    monkeypatch.setattr(f"{__name__}.SPREAD", np.array([1.0, 0, 0, 0, 0]))
    tokens, group = two_groups(1, degrees=degrees, noise=0.002)
    (found,) = subspace_distance(tokens[None], group, 0)
    assert found.value == pytest.approx(math.sin(math.radians(degrees)), abs=0.02)
    assert found.null < 0.03


@pytest.mark.parametrize("sizes", [(150, 150), (600, 80)])
def test_the_same_subspace_has_the_distance_of_the_null(sizes):
    runs = [subspace_distance(two_groups(seed, sizes, noise=0.3)[0][None], two_groups(0, sizes)[1], seed)[0]
            for seed in range(40)]  # fmt: skip
    squares = np.array([run.value**2 - run.null**2 for run in runs])
    assert abs(squares.mean()) < 3 * squares.std() / math.sqrt(len(runs))
    assert np.mean([run.null**2 for run in runs]) > 5 * abs(squares.mean())
    # The interval of a run holds its own null: no false alarm.
    assert np.mean([run.lo <= run.null <= run.hi for run in runs]) >= 0.9


@pytest.mark.parametrize(("degrees", "sizes"), [(15, (150, 150)), (45, (500, 80))])
def test_the_interval_covers_the_distance_of_so_many_records(degrees, sizes):
    runs = [subspace_distance(two_groups(s, sizes, degrees)[0][None], two_groups(s, sizes)[1], s)[0] for s in range(60)]
    truth = math.sqrt(np.mean([run.value**2 for run in runs]))
    assert np.mean([run.lo <= truth <= run.hi for run in runs]) >= 0.88
    # Nor is it far too wide: at most twice what the runs spread.
    assert np.mean([run.hi - run.lo for run in runs]) < 8 * np.std([run.value for run in runs])


def test_lengths_of_gradients_do_not_count_and_layers_stand_alone():
    tokens, group = two_groups(3, degrees=30)
    other = tokens * np.random.default_rng(1).lognormal(sigma=3, size=(len(tokens), 1))
    both = subspace_distance(np.stack([tokens, other, two_groups(4)[0]]), group, 0)
    assert both[1].value == pytest.approx(both[0].value)
    assert both[2] == subspace_distance(two_groups(4)[0][None], group, 0)[0]


def test_pairs_of_more_groups_weigh_as_their_records():
    rng = np.random.default_rng(5)
    sizes = (300, 300, 100)
    tokens = np.concatenate([drawn(rng, n, degrees, 0.02) for n, degrees in zip(sizes, (0, 0, 90))])
    found = subspace_distance(tokens[None], np.repeat([0, 1, 2], sizes), 0)[0]
    apart = (300 * 100 + 300 * 100) / (300 * 300 + 300 * 100 + 300 * 100)
    assert found.value == pytest.approx(math.sqrt(apart), abs=0.02)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda tokens: np.where(np.arange(DIM) == 0, np.nan, tokens), "not finite"),
        (lambda tokens: np.zeros_like(tokens), "other than zero"),
        (lambda tokens: tokens[:, :1] * AXES[0], "one direction"),
    ],
)
def test_gradients_without_a_subspace_are_inconclusive(change, why):
    tokens, group = two_groups(0)
    (found,) = subspace_distance(change(tokens)[None], group, 0)
    assert found.status.startswith("inconclusive")
    assert why in found.status
    assert math.isnan(found.value)


def test_too_few_records_are_inconclusive_with_the_number_needed():
    tokens, group = two_groups(0, (150, LEAST_RECORDS - 1))
    assert f"{LEAST_RECORDS} records each" in subspace_distance(tokens[None], group, 0)[0].status
    tokens, group = two_groups(0, (150, LEAST_RECORDS))
    assert subspace_distance(tokens[None], group, 0)[0].conclusive
