"""Leave-one-out uniqueness: against the explicit pseudo-inverse, records outside the span, ranks, the top share."""

import math

import numpy as np
import pytest
import torch

from ptaudit.estimators.uniqueness import leverage, measure, ranks, scores


def gaussian(n, k, seed, rows=1):
    return torch.randn(rows, n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_by_one(tokens):
    """g_i^T (sum over the others of g_j g_j^T)^+ g_i, by a pseudo-inverse for every record."""
    found = []
    for i, token in enumerate(tokens):
        others = torch.cat([tokens[:i], tokens[i + 1 :]])
        found.append(token @ torch.linalg.pinv(others.T @ others, hermitian=True) @ token)
    return torch.stack(found)


def heavy(n, k, seed):
    return gaussian(n, k, seed) * gaussian(n, 1, seed + 1).mul(2.0).exp() + 0.5


def low_rank(n, k, seed):
    return gaussian(n, 3, seed) @ gaussian(3, k, seed + 1)


@pytest.mark.parametrize("kind", [gaussian, heavy, low_rank])
@pytest.mark.parametrize(("n", "k"), [(30, 8), (200, 8), (12, 8)])
def test_equals_the_explicit_leave_one_out(kind, n, k):
    tokens = kind(n, k, 1)
    found = scores(tokens)[0]
    assert torch.allclose(found, one_by_one(tokens[0]), rtol=1e-5)
    assert found.isfinite().all()


def test_layers_side_by_side_are_layers_alone():
    tokens = torch.cat([gaussian(50, 6, 2), heavy(50, 6, 3), low_rank(50, 6, 4)])
    together = scores(tokens)
    for layer, found in zip(tokens, together):
        assert torch.allclose(scores(layer[None])[0], found, rtol=1e-9)


def test_an_invertible_map_changes_nothing():
    tokens, twist = gaussian(60, 5, 5), gaussian(5, 5, 6)
    assert torch.allclose(scores(tokens), scores(1e4 * tokens @ twist), rtol=1e-6)


def test_a_record_outside_the_span_of_the_others_is_infinitely_unique():
    tokens = gaussian(40, 6, 7)
    tokens[0, :, 5] = 0.0
    tokens[0, 3, 5] = 0.01  # small, but in a direction of its own
    found = scores(tokens)[0]
    assert math.isinf(found[3])
    assert found.isinf().sum() == 1
    assert ranks(found[None])[0, 3] == 1.0
    assert float(one_by_one(tokens[0])[3]) < float(found[found.isfinite()].max())  # what the pseudo-inverse alone says


def test_fewer_records_than_coordinates_are_all_outside():
    found = scores(gaussian(5, 8, 8))
    assert found.isinf().all()
    assert (ranks(found) == 0.5).all()


def test_zero_and_repeated_records():
    tokens = gaussian(50, 4, 9)
    tokens[0, 0] = 0.0
    tokens[0, 1] = tokens[0, 2] = 1e6 * tokens[0, 3]
    found = scores(tokens)[0]
    assert found[0] == 0.0
    assert float(found[1]) == pytest.approx(1.0, abs=1e-3)  # of a pair, each hides the other
    assert torch.allclose(found, one_by_one(tokens[0]), rtol=1e-3)
    assert (scores(torch.zeros(1, 10, 3)) == 0.0).all()


def test_single_precision_adds_no_directions():
    tokens = low_rank(300, 20, 10)
    assert float(leverage(tokens.float().double()).sum()) == pytest.approx(3.0, abs=1e-6)
    assert torch.allclose(leverage(tokens.float()), leverage(tokens), atol=1e-5)


def test_leverages_add_up_to_the_directions():
    for tokens, span in ((gaussian(100, 7, 11), 7), (low_rank(100, 7, 12), 3), (gaussian(5, 9, 13), 5)):
        assert float(leverage(tokens).sum()) == pytest.approx(span)


def test_ranks_run_from_zero_to_one_and_share_ties():
    assert ranks(torch.tensor([[3.0, 1.0, torch.inf], [2.0, 2.0, 0.0]])).tolist() == [
        [0.5, 0.0, 1.0],
        [0.75, 0.75, 0.0],
    ]
    assert ranks(torch.tensor([[4.0]])).tolist() == [[0.5]]


# The top share


def test_gaussian_tokens_carry_what_the_null_says():
    found = measure(torch.cat([gaussian(1000, 10, 14), 100.0 * gaussian(1000, 10, 15) @ gaussian(10, 10, 16)]), 0)
    for estimate in found["top_share"]:
        assert estimate.status == "ok"
        assert estimate.lo <= estimate.null <= estimate.hi
        assert estimate.value == pytest.approx(estimate.null, rel=0.1)
        assert estimate.ceiling == 1.0
        assert estimate.n == 1000


def test_ten_giants_carry_nearly_all():
    tokens = gaussian(1000, 10, 17)
    tokens[0, :10] *= 1e4
    found = measure(tokens, 0)["top_share"][0]
    assert found.value > 0.99
    assert found.value > 5 * found.null
    assert found.hi <= found.ceiling


def test_the_ceiling_is_that_of_records_at_leverage_one():
    tokens = gaussian(1000, 40, 18)
    tokens[0, :10] *= 1e4
    found = measure(tokens, 0)["top_share"][0]
    assert found.ceiling == pytest.approx(10 / 40)
    assert 0.95 * found.ceiling < found.value <= found.ceiling


@pytest.mark.parametrize(("tail", "least"), [(0.0, 0.9), (0.5, 0.75)])
def test_intervals_hold_the_mean_share_of_fresh_records(tail, least):
    found = []
    for seed in range(40):
        tokens = gaussian(1000, 4, 100 + seed) * gaussian(1000, 1, 900 + seed).mul(tail).exp()
        found.append(measure(tokens, seed)["top_share"][0])
    share = np.mean([e.value for e in found])
    assert np.mean([e.lo <= share <= e.hi for e in found]) >= least
    spread = np.std([e.value for e in found])
    assert np.mean([e.hi - e.lo for e in found]) < 8 * spread


def test_the_same_seed_gives_the_same_numbers():
    tokens = heavy(300, 5, 20)
    one, same = (measure(tokens, 3)["top_share"][0] for _ in range(2))
    assert one == same
    assert (one.draws == same.draws).all()
    assert one.draws.mean() == pytest.approx(one.value, rel=0.02)


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (gaussian(50, 4, 21), "needs 100 records, has 50"),
        (gaussian(150, 100, 22), "needs 200 records for 100 directions, has 150"),
        (torch.zeros(1, 200, 4), "all zero"),
        (torch.full((1, 200, 4), math.nan), "not finite"),
    ],
)
def test_tokens_that_cannot_be_ranked_are_inconclusive(tokens, reason):
    good = gaussian(tokens.shape[1], 2, 23)
    padded = torch.cat([tokens, torch.nn.functional.pad(good, (0, tokens.shape[2] - 2))])
    found = measure(padded, 0)["top_share"]
    assert not found[0].conclusive
    assert reason in found[0].status
    assert found[1].conclusive == (tokens.shape[1] >= 100)


def test_a_layer_with_tokens_that_are_not_finite_is_nan_and_its_neighbours_are_not():
    tokens = gaussian(30, 4, 0, rows=3)
    bad = tokens.clone()
    bad[1, 3, 2], bad[2, 5, 0] = math.nan, math.inf
    found = scores(bad)
    torch.testing.assert_close(found[0], scores(tokens)[0])
    assert bool(found[1:].isnan().all())
    assert bool(ranks(found)[1:].isnan().all())
    torch.testing.assert_close(ranks(found)[0], ranks(scores(tokens))[0])
