"""The membership game: known answers, nulls, a network that memorised, directions of scores, statuses."""

import math

import numpy as np
import pytest
import torch
from identity_truth import gaussian, student
from scipy.stats import binom, norm
from torch import nn

from ptaudit.data import Records
from ptaudit.data.split import make_split
from ptaudit.games.membership import measure as membership
from ptaudit.games.membership.measure import RecordSignals
from ptaudit.sketches.reader import TokenReader
from ptaudit.spec.model import DataSpec, TrainSpec
from ptaudit.training.loss import make_loss
from ptaudit.training.trainer import Replay

CPU = torch.device("cpu")
ADVERSARIES = ("loss", "gradient-norm", "gradient-likelihood")


def measure(*arguments):
    """What the game found, by adversary and row."""
    return membership.measure(*arguments).lines


def side(tokens, loss):
    rows = (tokens if tokens.dim() == 3 else tokens[None]).double()
    return RecordSignals(rows, rows.square().sum(-1), loss)


def null_side(n, seed, tokens=gaussian):
    return side(tokens(n, 16, seed), gaussian(n, 1, 1000 + seed)[:, 0].exp())


# Known answers


def shifted_losses(n, shift, seed):
    """Log-losses of members are unit normal and `shift` lower than those of the others."""
    member = side(gaussian(n, 16, seed), (gaussian(n, 1, seed + 1)[:, 0] - shift).exp())
    return member, side(gaussian(n, 16, seed + 2), gaussian(n, 1, seed + 3)[:, 0].exp())


def exact_bits(shift):
    """I(membership; log-loss) of two unit normals at even odds."""
    grid = np.linspace(-10 - shift, 10, 20_001)
    inside, outside = norm.pdf(grid, -shift), norm.pdf(grid)
    total = (inside + outside) / 2
    terms = sum(p / 2 * np.log2(np.where(p > 0, p / total, 1.0)) for p in (inside, outside))
    return float(terms.sum() * (grid[1] - grid[0]))


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_losses_of_known_distribution(shift):
    n = 2000
    found = measure(*shifted_losses(n, shift, 20))["loss", 0]
    assert found["auc"].lo <= norm.cdf(shift / math.sqrt(2)) <= found["auc"].hi
    assert found["accuracy"].lo <= norm.cdf(shift / 2) <= found["accuracy"].hi + 0.01
    assert found["bits"].value == pytest.approx(exact_bits(shift), rel=0.15)
    assert found["bits"].lo <= exact_bits(shift)
    assert found["tpr_at_fpr_0.01"].lo <= norm.cdf(shift + norm.ppf(0.01)) <= found["tpr_at_fpr_0.01"].hi
    assert found["auc"].n == 2 * n
    assert found["bits"].ceiling == found["auc"].ceiling == 1.0


def test_scores_are_higher_for_members():
    """Members have lower losses and smaller gradients; the likelihood learns its own direction."""
    n = 400
    members = side(0.5 * gaussian(n, 16, 30), gaussian(n, 1, 31)[:, 0].exp() * 0.5)
    others = side(gaussian(n, 16, 32), gaussian(n, 1, 33)[:, 0].exp())
    right, wrong = measure(members, others), measure(others, members)
    for adversary in ("loss", "gradient-norm"):
        assert right[adversary, 0]["auc"].lo > 0.5
        assert wrong[adversary, 0]["auc"].hi < 0.5
    for found in (right, wrong):
        assert found["gradient-likelihood", 0]["auc"].value > 0.95


def test_a_planted_layer_is_the_one_that_is_named():
    n, rows = 400, 4
    inside, outside = (gaussian(rows * n, 16, seed).view(rows, n, 16).clone() for seed in (40, 41))
    inside[2, :, :4] += 1.0  # a shift of length 2 between unit normals
    loss = torch.ones(n)
    found = measure(side(inside, loss), side(outside, loss))
    auc = [found["gradient-likelihood", row]["auc"] for row in range(rows)]
    assert max(range(rows), key=lambda row: auc[row].value) == 2
    exact = norm.cdf(math.sqrt(2))  # the best any adversary can do
    assert auc[2].lo > 0.75
    assert auc[2].lo <= exact
    assert all(abs(auc[row].value - 0.5) < 0.1 for row in (0, 1, 3))


def test_only_the_joint_row_has_a_loss():
    found = measure(null_side(60, 45), null_side(60, 46))
    assert set(found) == {(adversary, 0) for adversary in ADVERSARIES}
    tokens = gaussian(180, 16, 47).view(3, 60, 16)
    found = measure(side(tokens, torch.ones(60)), side(tokens, torch.ones(60)))
    assert [key for key in found if key[0] == "loss"] == [("loss", 2)]
    assert len(found) == 7


# A network that memorised


@pytest.fixture(scope="module")
def memoriser():
    """Tokens of members and others of an MLP that knows the random labels of its members by heart."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(240, 20, generator=generator)
    records = Records(inputs, torch.randint(4, (240,), generator=generator), 4)
    split = make_split(240, DataSpec(source="sklearn:iris"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 4))
    train = TrainSpec.model_validate({"epochs": 60, "batch_size": 20, "optimizer": {"name": "adam", "lr": 0.005}})
    loss = make_loss("cross_entropy")
    reader = TokenReader(model, loss, 16)
    reader.prepare(*records.batch(torch.arange(32)))
    seen = {}

    def read(moment):
        parts = [reader.read(*records.batch(torch.from_numpy(index))) for index in (split.members, split.held_out)]
        seen[moment.epoch] = (moment.stats, *(RecordSignals(t.values.double(), t.norm_sq, t.loss) for t in parts))

    Replay(model, records, split, train, loss, 0, CPU).run([0, 60], [read])
    return seen


def test_a_network_that_memorised_random_labels_tells_its_members(memoriser):
    stats, members, others = memoriser[60]
    assert stats.train_loss < 0.05
    assert stats.held_out_accuracy < 0.45
    found = measure(members, others)
    assert found["loss", 1]["auc"].value > 0.95
    assert found["loss", 1]["bits"].value > 0.5
    assert found["loss", 1]["accuracy"].value > 0.9
    for row in (0, 1):
        assert found["gradient-norm", row]["auc"].value > 0.95
        assert found["gradient-likelihood", row]["auc"].value > 0.95


def test_before_it_was_trained_it_told_nothing(memoriser):
    _, members, others = memoriser[0]
    for estimates in measure(members, others).values():
        assert estimates["auc"].lo <= 0.5 <= estimates["auc"].hi
        assert estimates["bits"].lo == 0.0


# Nulls


def beyond_chance(runs, probability=0.05, level=1e-3):
    """Most misses of an honest 95 % interval in that many independent runs, but for one chance in 1,000."""
    return int(binom.isf(level, runs, probability))


@pytest.mark.parametrize("tokens", [gaussian, student])
def test_auc_of_no_signal_is_a_half_within_the_interval(tokens):
    runs = 30
    misses = dict.fromkeys(ADVERSARIES, 0)
    alarms = 0
    for seed in range(runs):
        found = measure(null_side(60, 2 * seed, tokens), null_side(60, 2 * seed + 1, tokens), seed)
        for adversary in ADVERSARIES:
            auc = found[adversary, 0]["auc"]
            misses[adversary] += not auc.lo <= 0.5 <= auc.hi
            alarms += found[adversary, 0]["bits"].lo > 0.0
            assert auc.null == pytest.approx(0.5, abs=0.05)
    assert all(count <= beyond_chance(runs) for count in misses.values()), misses
    assert alarms <= beyond_chance(3 * runs, 0.025)


def test_unequal_sides_are_no_signal():
    """More members than others: neither AUC nor bits nor the balanced accuracy mistake the share for a leak."""
    found = measure(null_side(600, 60), null_side(150, 61))
    for adversary in ADVERSARIES:
        one = found[adversary, 0]
        assert one["auc"].lo <= 0.5 <= one["auc"].hi
        assert one["accuracy"].lo <= 0.5 <= one["accuracy"].hi
        assert one["bits"].value < 0.02


def test_equal_scores_tell_nothing():
    same = side(torch.ones(100, 16), torch.ones(100))
    for estimates in measure(same, same).values():
        assert estimates["auc"].value == 0.5
        assert estimates["bits"].value == pytest.approx(0.0, abs=1e-3)


# Statuses


@pytest.mark.parametrize(("others", "conclusive"), [(498, False), (500, True)])
def test_tpr_needs_five_expected_false_positives(others, conclusive):
    found = measure(null_side(500, 70), null_side(others, 71))["loss", 0]
    assert found["tpr_at_fpr_0.01"].conclusive is conclusive
    assert not found["tpr_at_fpr_0.001"].conclusive
    assert "5000 non-members" in found["tpr_at_fpr_0.001"].status
    assert found["auc"].conclusive


@pytest.mark.parametrize(("inside", "outside"), [(39, 400), (400, 39)])
def test_too_few_records_are_inconclusive_with_the_number_needed(inside, outside):
    for estimates in measure(null_side(inside, 72), null_side(outside, 73)).values():
        for estimate in estimates.values():
            assert estimate.status == "inconclusive: needs 40 members and as many non-members, has 39"
            assert math.isnan(estimate.value)


def test_an_odd_number_of_records_is_played():
    found = measure(null_side(401, 5), null_side(403, 6))
    assert all(found[name, 0]["auc"].conclusive for name in ADVERSARIES)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_inconclusive(bad):
    members = null_side(100, 74)
    members.loss[3] = bad
    found = measure(members, null_side(100, 75))
    assert found["loss", 0]["auc"].status == "inconclusive: scores that are not finite"
    assert found["gradient-norm", 0]["auc"].conclusive


def test_the_same_seed_gives_the_same_numbers():
    sides = null_side(100, 76), null_side(100, 77)
    one, same, other = (measure(*sides, seed)["gradient-likelihood", 0] for seed in (1, 1, 2))
    assert one["auc"] == same["auc"]
    assert (one["auc"].draws == same["auc"].draws).all()
    assert one["auc"].value != other["auc"].value


def test_scores_are_those_of_the_records_whatever_half_they_are_in():
    """Normal scores keep the order of the losses within a half; one record of an odd number has none."""
    members, others = null_side(61, 78), null_side(60, 79)
    inside, outside = membership.measure(members, others, 0).normal["loss", 0]
    assert (np.isnan(inside).sum(), np.isnan(outside).sum()) == (1, 0)
    for scores, one in ((inside, members), (outside, others)):
        there = np.isfinite(scores)
        assert np.corrcoef(scores[there], -np.log(one.loss.numpy()[there]))[0, 1] > 0.95
