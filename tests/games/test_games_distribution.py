"""The distribution game: exact bits of planted ratios, the ceiling of what the batch itself tells, draws, numbers."""

import math

import pytest
import torch
from identity_truth import gaussian
from inference_truth import observed, planted, ratio_bits

from ptaudit.games.distribution import measure as distribution
from ptaudit.views import View
from ptaudit.views.observation import TokenObservation

N = 2400


def measured(tokens, has, ratios, m=1, families=("linear",), own=None, rounds=1):
    view, now = View("v", m, rounds), TokenObservation(tokens.double())
    return distribution.measure(has, ratios, observed(view, now, own=own), families)


@pytest.mark.parametrize("family", ["likelihood-ratio", "linear"])
@pytest.mark.parametrize(
    ("distance", "m", "ratios"),
    [(3.0, 1, (0.1, 0.9)), (3.0, 2, (0.2, 0.8)), (2.0, 8, (0.2, 0.8)), (1.0, 32, (0.2, 0.5, 0.8))],
)
def test_planted_ratios(distance, m, ratios, family):
    expected = ratio_bits(distance, m, ratios)
    found = measured(*planted(N, 16, distance, 0.5, 1), ratios, m, [family])[family]["bits"][0]
    assert found.status == "ok"
    assert found.lo <= expected
    assert found.value >= 0.8 * expected


@pytest.mark.parametrize(("m", "ratios"), [(1, (0.2, 0.8)), (1, (0.0, 1.0)), (4, (0.1, 0.5, 0.9)), (16, (0.3, 0.7))])
def test_the_ceiling_is_what_the_batch_itself_tells(m, ratios):
    """Tokens that name the property without fail leave only the draw of the batch."""
    ceiling = distribution.ceiling(ratios, m)
    assert ceiling == pytest.approx(ratio_bits(200.0, m, ratios), rel=0.01)
    assert ceiling <= math.log2(len(ratios)) + 1e-12
    found = measured(*planted(N, 16, 60.0, 0.5, 2), ratios, m)["linear"]["bits"][0]
    assert found.ceiling == ceiling
    assert 0.9 * ceiling <= found.value <= ceiling
    assert found.lo < ceiling


def test_batches_are_drawn_at_their_ratio():
    has = torch.arange(600) < 300
    draw = distribution.drawing(has, (0.1, 0.6), View("v", 10, rounds=2))
    batches = draw(torch.arange(600), 4000, torch.Generator().manual_seed(0))
    assert batches.members.shape == (2, 4000, 10)
    assert (batches.members.sort(-1).values.diff() > 0).all()
    for value, ratio in ((0, 0.1), (1, 0.6)):
        holding = has[batches.members[:, batches.secret == value]].sum(-1).double()
        assert float(holding.mean()) == pytest.approx(10 * ratio, abs=0.1)
        assert float(holding.var()) == pytest.approx(10 * ratio * (1 - ratio), rel=0.1)
    assert (batches.unit == -1).all()
    assert (batches.prior == 0.5).all()
    times = torch.bincount(batches.members.flatten(), minlength=600).double()
    for some in (times[:300], times[300:]):
        assert float(((some - some.mean()).square() / some.mean()).sum()) < 390  # chi-square, 299 degrees of freedom


def test_tokens_that_do_not_show_it_give_nothing():
    found = measured(gaussian(N, 16, 3)[None], torch.arange(N) % 2 == 0, (0.2, 0.8), 16)["linear"]["bits"][0]
    assert found.value < 0.03
    assert found.lo == 0.0


def test_more_rounds_tell_more():
    tokens, has = planted(N, 16, 2.0, 0.5, 4)
    one, four = (measured(tokens, has, (0.3, 0.7), 4, rounds=r)["linear"]["bits"][0] for r in (1, 4))
    assert four.lo > one.hi


@pytest.mark.parametrize(
    ("has", "m", "own", "words"),
    [
        (torch.arange(N) < 100, 8, None, "needs 140 records with the property for batches of 8, has 100"),
        (torch.arange(N) >= 50, 1, None, "has"),
        (torch.arange(N) < 60, 4, 200, "records with the property for batches of 4, has 60"),
        (torch.arange(N) < 1200, 128, None, "needs 2560 records for batches of 128"),
    ],
)
def test_too_few_are_inconclusive_with_the_number_needed(has, m, own, words):
    found = measured(gaussian(N, 16, 5)[None], has, (0.2, 0.8), m, own=own)["linear"]["bits"][0]
    if words == "has":  # few records without the property are enough for single records
        assert found.conclusive
        return
    assert not found.conclusive
    assert words in found.status
