"""Posteriors over observed batches: what each family sees, calibration, priors, odd observations."""

import math

import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

from ptaudit.attacks.batch import FitObservations, ObservedGames, PlayedObservations, noted, prepare
from ptaudit.attacks.batch.choice import answer, choose_setting
from ptaudit.attacks.batch.gaussian import likelihoods
from ptaudit.attacks.batch.noted import NARROW
from ptaudit.attacks.registry import COMBINED, OF_BATCHES

HALF = math.log(0.5)


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coins(n, seed, share=0.5):
    return (torch.rand(n, generator=torch.Generator().manual_seed(seed)) < share).long()


def seen(games, seed, tell, rows=1, rounds=1, k=4, prior=(0.5, 0.5)):
    """Games of Gaussian observations that `tell(views, secret)` changes."""
    secret = coins(games, 100 + seed, prior[1])
    views = tell(drawn(rounds, rows, games, k, seed=seed), secret)
    return FitObservations(views, secret, torch.tensor(prior, dtype=torch.float64).expand(games, -1))


def shift(views, secret, by=1.5):
    views[..., 0] += by * secret
    return views


def xor(views, secret):
    """Two coordinates of equal sign for one value, of opposite sign for the other."""
    views[..., 0] = views[..., 0].abs() + 0.5
    sign = torch.where(drawn(len(secret), seed=len(secret)) > 0, 1.0, -1.0)
    views[..., 1] = (views[..., 1].abs() + 0.5) * sign * torch.where(secret == 1, 1.0, -1.0)
    views[..., 0] *= sign
    return views


def nothing(views, secret):
    return views


def play(family, tell=shift, games=(1200, 600, 1200), groups=((0,),), **options):
    fit, choose, played = (seen(n, seed, tell, **options) for seed, n in enumerate(games))
    log_q, null = prepare(ObservedGames(fit, choose, played), groups, family, 0)
    return log_q, null, played


def bits(log_q, secret, prior=HALF):
    return ((log_q.gather(-1, secret[None, :, None].expand(len(log_q), -1, 1)).squeeze(-1) - prior) / math.log(2)).mean(
        1
    )


@pytest.mark.parametrize("family", [name for name in OF_BATCHES if name != COMBINED])
def test_a_planted_shift_is_found_and_the_null_is_nothing(family):
    log_q, null, played = play(family)
    assert float(bits(log_q, played.secret)) > 0.18  # the exact posterior has 0.32
    assert abs(float(bits(null, played.secret.roll(1)))) < 0.03
    assert torch.allclose(log_q.exp().sum(-1), torch.ones(1, len(played.secret), dtype=torch.float64))


@pytest.mark.parametrize(
    ("family", "least", "most"), [("mlp", 0.5, 1.0), ("forest", 0.5, 1.0), ("linear", -0.03, 0.03)]
)
def test_an_xor_is_seen_by_those_who_can(family, least, most):
    log_q, _, played = play(family, xor)
    assert least < float(bits(log_q, played.secret)) < most


def test_a_difference_of_scatter_is_seen_by_the_likelihood_ratio():
    log_q, _, played = play("likelihood-ratio", lambda views, secret: views * (1.0 + secret[:, None]))
    assert float(bits(log_q, played.secret)) > 0.25
    log_q, _, played = play("linear", lambda views, secret: views * (1.0 + secret[:, None]))
    assert abs(float(bits(log_q, played.secret))) < 0.03


def test_rounds_add_up():
    once, _, played = play("likelihood-ratio", rounds=1)
    twice, _, again = play("likelihood-ratio", rounds=4)
    # Four independent rounds are one of twice the distance: 0.71 bits instead of 0.32.
    assert float(bits(once, played.secret)) == pytest.approx(0.32, abs=0.05)
    assert float(bits(twice, again.secret)) == pytest.approx(0.79, abs=0.08)


def test_gaussian_classes_agree_with_scikit_learn():
    known, secret, unseen = drawn(1, 20_000, 5, seed=1), coins(20_000, 2), drawn(1, 50, 5, seed=3)
    known[0, :, 0] += 1.2 * secret
    known[0, :, 1] *= 1.0 + secret
    found = likelihoods(known, secret[None], 2, unseen)[0]
    mine = (found[:, 0, :, 1] - found[:, 0, :, 0]).numpy()
    one, two, new = known[0].numpy(), secret.numpy(), unseen[0].numpy()
    common = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5]).fit(one, two).decision_function(new)
    each = QuadraticDiscriminantAnalysis(priors=[0.5, 0.5]).fit(one, two).decision_function(new)
    assert mine[0] == pytest.approx(common, abs=0.02)
    assert mine[4] == pytest.approx(common, abs=0.02)
    assert mine[16] == pytest.approx(each, abs=0.1)


def test_calibration_finds_the_scale_of_what_is_too_sure():
    secret, prior = coins(4000, 1), torch.full((4000, 2), 0.5, dtype=torch.float64)
    exact = 1.5 * (drawn(4000, seed=2) + 1.5 * secret) - 1.125
    ratios = torch.stack([torch.zeros_like(exact), 4.0 * exact], -1)[None, None]
    choice = choose_setting(ratios, prior, secret)
    assert float(choice.slope) == pytest.approx(0.25, rel=0.45)
    assert float(choice.bits) == pytest.approx(0.32, abs=0.03)


def test_nothing_learned_is_the_prior_of_each_game():
    secret = coins(500, 1, 0.8)
    prior = torch.rand(500, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    prior /= prior.sum(1, keepdim=True)
    found = answer(
        torch.zeros(1, 1, 500, 2, dtype=torch.float64),
        prior,
        choose_setting(torch.zeros(1, 1, 500, 2).double(), prior, secret),
    )
    assert torch.allclose(found[0].exp(), prior)


def test_unequal_priors_change_the_answer_and_not_what_was_learned():
    fit, choose = seen(1500, 0, shift), seen(800, 1, shift)
    views = drawn(1, 1, 400, 4, seed=9)
    even, uneven = torch.full((400, 2), 0.5).double(), torch.tensor([0.9, 0.1]).double().expand(400, -1)
    one, two = (
        prepare(ObservedGames(fit, choose, PlayedObservations(views, prior)), ((0,),), "likelihood-ratio", 0)[0][0]
        for prior in (even, uneven)
    )
    assert float(one[:, 1].exp().mean()) > 0.25
    assert float(two[:, 1].exp().mean()) < 0.15
    assert torch.equal(one[:, 1].argsort(), two[:, 1].argsort())


def test_an_impossible_value_stays_impossible():
    prior = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    games = [seen(n, n, shift) for n in (600, 300, 200)]
    fit, choose, played = (FitObservations(g.views, g.secret, prior.expand(len(g.secret), -1)) for g in games)
    for family in [name for name in OF_BATCHES if name != COMBINED]:
        log_q, null = prepare(ObservedGames(fit, choose, played), ((0,),), family, 0)
        assert bool(torch.isfinite(log_q).all() and torch.isfinite(null).all()), family
        assert float(log_q[..., 2].max()) < -100.0
        assert float(bits(log_q, played.secret)) > 0.1


def test_the_joint_line_finds_the_leaky_row():
    def last(views, secret):
        views[:, 2, :, 0] += 2.0 * secret
        return views

    log_q, _, played = play("linear", last, rows=3, groups=((0, 1, 2), (0,), (1,), (2,)))
    found = bits(log_q, played.secret)
    assert torch.equal(log_q[0], log_q[3])
    assert float(found[0]) > 0.4
    assert float(found[1:3].abs().max()) < 0.03


def test_a_row_that_is_not_finite_is_not_a_number_and_disturbs_no_other():
    def broken(views, secret):
        views = shift(views, secret)
        views[0, 1, 7, 2] = torch.inf if len(secret) == 1200 else 0.0
        return views

    for family in ("likelihood-ratio", "linear"):
        log_q, null, _ = play(family, broken, rows=2, groups=((0, 1), (0,), (1,)), games=(1200, 600, 800))
        alone, _, _ = play(family, lambda v, s: broken(v, s), rows=2, groups=((0,),), games=(1200, 600, 800))
        assert bool(torch.isnan(log_q[[0, 2]]).all() and torch.isnan(null[[0, 2]]).all())
        assert torch.equal(log_q[1], alone[0])


@pytest.mark.parametrize("family", [name for name in OF_BATCHES if name != COMBINED])
def test_units_do_not_matter_and_a_constant_row_says_nothing(family):
    def scaled(by):
        return lambda views, secret: shift(views, secret) * by

    one, _, played = play(family, scaled(2.0**-100), games=(600, 300, 200))
    two, _, _ = play(family, scaled(2.0**100), games=(600, 300, 200))
    assert torch.allclose(one, two, atol=1e-6)
    flat, null, _ = play(family, lambda views, secret: torch.zeros_like(views), games=(600, 300, 200))
    assert torch.allclose(flat.exp(), played.prior, atol=0.05)
    assert bool(torch.isfinite(null).all())


@pytest.mark.parametrize("family", [name for name in OF_BATCHES if name != COMBINED])
def test_the_same_seed_gives_the_same(family):
    one, two = (play(family, games=(400, 200, 200))[:2] for _ in range(2))
    assert all(torch.equal(*same) for same in zip(one, two))


def test_giants_do_not_hide_a_shift():
    def heavy(views, secret):
        giant = coins(len(secret), 5 + len(secret), 0.02)
        return shift(views, secret) * (1.0 + 1e4 * giant[:, None])

    log_q, _, played = play("likelihood-ratio", heavy)
    assert float(bits(log_q, played.secret)) > 0.22
    assert float(log_q.min()) > -8.0


def test_an_unknown_family_is_an_error():
    with pytest.raises(ValueError, match="unknown family 'svm': one of combined, likelihood-ratio, linear"):
        play("svm")


@pytest.mark.parametrize("family", NARROW)
def test_few_numbers_that_tell_are_not_drowned_by_many_that_do_not(family, monkeypatch):
    """Six numbers are shifted by the secret, 700 are noise: of those that go with the secret most more is learned."""
    n = 2000
    secret = coins(3 * n, 1)
    numbers = drawn(3 * n, 706, seed=2).float()
    numbers[:, :6] += 0.8 * secret[:, None]
    share = torch.nn.functional.one_hot(secret[:n], 2).float()

    def found():
        ratios = noted.ratios(numbers[:n], share[None], numbers[n:], family, 0)[0]
        posterior = ratios.double().log_softmax(-1)
        told = (posterior.gather(-1, secret[n:].expand(len(ratios), -1)[..., None])[..., 0] - HALF) / math.log(2)
        return told[told[:, :n].mean(1).argmax(), n:].mean()

    with_few = found()
    monkeypatch.setattr(noted, "FEW", 10_000)
    assert with_few > found() + 0.05
