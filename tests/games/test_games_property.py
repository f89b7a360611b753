"""The property game: exact bits of a planted property, a coin as prior at every batch size, numbers needed."""

import pytest
import torch
from identity_truth import gaussian
from inference_truth import observed, planted, property_bits

from ptaudit.games.property import measure as property
from ptaudit.views import View
from ptaudit.views.observation import TokenObservation

N = 2000


def measured(tokens, has, m=1, noise=0.0, families=("linear",), own=None, seed=0):
    view, now = View("v", m, noise_std=noise), TokenObservation(tokens.double(), noise)
    return property.measure(has, observed(view, now, own=own, seed=seed), families)


@pytest.mark.parametrize("family", ["likelihood-ratio", "linear"])
@pytest.mark.parametrize(
    ("distance", "m", "noise", "share"),
    [(2.0, 1, 0.0, 0.3), (4.0, 2, 1.0, 0.1), (8.0, 8, 0.0, 0.2), (12.0, 32, 0.0, 0.05)],
)
def test_planted_property(distance, m, noise, share, family):
    expected = property_bits(distance, m, noise)
    found = measured(*planted(N, 16, distance, share, 1), m, noise, [family])[family]["bits"][0]
    assert found.status == "ok"
    assert found.ceiling == pytest.approx(1.0)
    assert found.lo <= expected
    assert found.value >= 0.8 * expected


@pytest.mark.parametrize("m", [1, 2, 8, 32, 90])
def test_the_prior_is_a_coin_at_every_batch_size(m):
    has = torch.arange(N) % 20 == 0
    records = torch.arange(0, N // 2)
    batches = property.drawing(has, View("v", m))(records, 1000, torch.Generator().manual_seed(0))
    holding = has[batches.members[0]].sum(-1)
    assert (holding == batches.secret).all()
    assert float(batches.secret.double().mean()) == 0.5
    assert (batches.prior == 0.5).all()
    # As many different first records with as without it, each in as many batches.
    units = [batches.unit[batches.secret == value].unique(return_counts=True) for value in (0, 1)]
    assert len(units[0][0]) == len(units[1][0])
    assert torch.cat([counts for _, counts in units]).unique().numel() == 1


def test_no_property_gives_nothing():
    has = torch.arange(N) % 10 == 0
    found = measured(gaussian(N, 16, 2)[None], has, 4)["linear"]
    assert found["bits"][0].value < 0.03
    assert abs(found["bits"][0].null) < 0.03
    assert found["accuracy"][0].null == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("has", "m", "own", "words"),
    [
        (torch.arange(N) < 23, 1, None, "needs 24 records with the property, has 23"),
        (torch.arange(N) < 1500, 32, None, "needs 640 records without the property for batches of 32, has 500"),
        (torch.arange(N) % 50 == 0, 1, 100, "needs 601 records of the adversary's own"),
    ],
)
def test_too_few_are_inconclusive_with_the_number_needed(has, m, own, words):
    found = measured(gaussian(N, 16, 3)[None], has, m, own=own)["linear"]["auc"][0]
    assert not found.conclusive
    assert words in found.status
