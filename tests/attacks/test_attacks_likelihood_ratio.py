"""The white-box adversary: family, choice and rival losses."""

import math

import pytest
import torch

from ptaudit.attacks.calibration import FINE, Calibration, calibrated_gain, shifted, top_hit, uniform, unseen
from ptaudit.attacks.densities import Own, sub_token, sub_tokens
from ptaudit.attacks.likelihood_ratio import fit_likelihood_ratio, rival_losses
from ptaudit.attacks.observed_density import Effort
from ptaudit.views import View


def gaussian(rows, n, k, seed=0):
    return torch.randn(rows, n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("k", "sizes"), [(256, [16, 64, 256]), (64, [16, 64]), (16, [16]), (20, [16, 20])])
def test_sub_tokens_are_distinct_coordinates_of_each_size(k, sizes):
    found = sub_tokens(k)
    assert [len(c) for c in found] == sizes
    assert all(len(c.unique()) == len(c) and int(c.max()) < k for c in found)


def test_sixteen_coordinates_of_a_square_token_are_its_diagonal():
    assert sub_token(256, 16).tolist() == [17 * i for i in range(16)]


def test_rows_choose_their_own_member():
    """Light tails and heavy ones side by side: the heavy row wants few degrees of freedom.

    A light row takes 5 or more: the heaviest tail that costs it next to nothing.
    """
    light = gaussian(1, 256, 16)
    heavy = gaussian(1, 256, 16, 1) / gaussian(1, 256, 1, 2).abs()
    posterior = fit_likelihood_ratio(Own(torch.cat([light, heavy]), View("v", 2)), seeded(), Effort())
    chosen = {row: member.nu for rows, member, *_ in posterior.fitted.parts for row in rows}
    assert set(chosen) == {0, 1}
    assert chosen[0] > 3.0 >= chosen[1]
    assert bool((posterior.fitted.bits > 0.5).all())


def test_noise_alone_needs_no_choice():
    posterior = fit_likelihood_ratio(Own(gaussian(2, 64, 32), View("v", 1, noise_std=2.0)), seeded(), Effort())
    assert len(posterior.fitted.parts) == 1
    assert posterior.full.tolist() == [True, True]


def test_shuffled_games_are_calibrated_to_the_prior():
    posterior = fit_likelihood_ratio(Own(gaussian(1, 256, 16), View("v", 4)), seeded(), Effort())
    assert float(posterior.fitted.shuffled.share) >= 0.85
    assert float(posterior.fitted.real.share) < 0.5


@pytest.mark.parametrize(("m", "n"), [(2, 32), (8, 128)])
def test_a_certain_adversary_keeps_the_share_of_the_prior_that_her_records_cannot_exclude(m, n):
    """Tokens so long that no game is in doubt want no prior at all, and get the least that is allowed."""
    posterior = fit_likelihood_ratio(Own(gaussian(1, n, 256, 7), View("v", m)), seeded(), Effort())
    least = min(share for share in FINE.shares if share >= unseen(m - 1, n))
    assert float(posterior.fitted.real.share) == least
    noise_only = fit_likelihood_ratio(Own(gaussian(1, n, 256, 7), View("v", 1, noise_std=0.1)), seeded(), Effort())
    assert float(noise_only.fitted.real.share) <= 1e-3


def test_anisotropic_tokens_do_not_choose_shrinkage_to_a_sphere():
    """That is the Gaussian at place 0; standard deviations span a factor of 1000."""
    scales = torch.logspace(0, 3, 16, dtype=torch.float64)
    posterior = fit_likelihood_ratio(Own(gaussian(1, 256, 16, 8) * scales, View("v", 2)), seeded(), Effort())
    [(_, member, *_)] = posterior.fitted.parts
    assert member.place >= 1
    plain = fit_likelihood_ratio(Own(gaussian(1, 256, 16, 8), View("v", 2)), seeded(), Effort())
    # A linear map leaves the exact posterior as it is; a sphere alone loses most of it.
    assert float(posterior.fitted.bits) > 0.85 * float(plain.fitted.bits)


def test_constant_rows_are_left_with_the_prior():
    """Their posterior is even at any share; none is surer than the others, and nothing overflows."""
    rows = torch.stack([torch.full((64, 16), 1 / 3, dtype=torch.float64), gaussian(1, 64, 16, 9)[0]])
    posterior = fit_likelihood_ratio(Own(rows, View("v", 2)), seeded(), Effort())
    assert float(posterior.fitted.bits[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(posterior.fitted.real.share[0]) == 1.0
    assert float(posterior.fitted.bits[1]) > 1.0


def test_rival_losses_are_what_the_target_loses_by_their_presence():
    """Against leaving each rival out of the game, at a share of the prior that hardly counts."""
    scores = gaussian(1, 6, 4, 3)
    secret = torch.tensor([0, 1, 2, 3, 0, 1])
    share = 1e-9
    one = torch.ones(1, dtype=torch.float64)
    found = rival_losses(shifted(scores), secret, Calibration(one, share * one))
    p = scores[0].softmax(-1)
    for j in range(4):
        expected = [math.log2(1.0 - float(p[g, j])) for g in range(6) if secret[g] != j]
        # Mean over as many games as a candidate is a rival in, were secrets even.
        assert float(found[0, 0, j]) == pytest.approx(sum(expected) / (6 * 0.75), abs=1e-5)
        order = p.argsort(1, descending=True)
        robbed = [order[g, :2].tolist() == [j, int(secret[g])] for g in range(6)]
        assert float(found[1, 0, j]) == pytest.approx(-sum(robbed) / (6 * 0.75))


def test_a_posterior_scores_games_as_its_calibration_says():
    tokens = gaussian(1, 128, 16, 4)
    posterior = fit_likelihood_ratio(Own(tokens, View("v", 1, noise_std=1.0)), seeded(), Effort())
    known = gaussian(1, 8, 16, 5)
    secret = torch.arange(8)
    views = [known + gaussian(1, 8, 16, 6)]
    low = posterior.scores(views, known)
    scores = -0.5 * torch.cdist(views[0], known).square()
    torch.testing.assert_close(low, shifted(scores), atol=1e-4, rtol=1e-4)
    real = posterior.fitted.real
    found, expected = (calibrated_gain(s, uniform(8, scores), real, secret) for s in (low, shifted(scores)))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(top_hit(low, secret), (scores.argmax(-1) == secret).double())
