"""Stacking: repeats change nothing, the useless gets no weight, the random gives nothing, exclusions are finite."""

import math

import numpy as np
import pytest
import torch
from attack_cases import generator

from ptaudit.attacks import stacking
from ptaudit.attacks.calibration import MOST_CAUTIOUS, SHARES, cautious_share, gain
from ptaudit.attacks.stacking import MOST, RIDGE, SETTLED, FittedStack, calmed, fit_stack, within

K = 32


def prior(games, k=K):
    return torch.full((games, k), 1.0 / k, dtype=torch.float64)


def scores_of(secret, power, seed, components=1, k=K):
    """Exact log-likelihood ratios: Gaussian, of distance `power`, with the secret's shifted."""
    x = torch.randn(components, len(secret), k, generator=generator(seed))
    x.scatter_add_(2, secret.expand(components, -1)[..., None], torch.full((components, len(secret), 1), power))
    return power * x - power**2 / 2


def secrets(games, seed, k=K):
    return torch.randint(0, k, (games,), generator=generator(seed))


def held_out(stack, scores, secret, k=K):
    """Bits of other games."""
    found = stack.log_posterior(scores, prior(len(secret), k)).gather(1, secret[:, None])
    return float(found.mean()) / math.log(2.0) + math.log2(k)


def test_exact_ratios_are_left_as_they_are():
    one, two = secrets(4000, 0), secrets(4000, 1)
    fitted = fit_stack(scores_of(one, 2.0, 2), one, prior(4000), 1e-3)
    assert float(fitted.weights) == pytest.approx(1.0, abs=0.1)
    scores = scores_of(two, 2.0, 3)
    exact = FittedStack(torch.ones(1, dtype=torch.float64), 0.0, fitted.games)
    assert held_out(fitted, scores, two) > 0.98 * held_out(exact, scores, two)


def test_independent_components_add_up():
    one, two = secrets(4000, 0), secrets(4000, 1)
    fitted = fit_stack(scores_of(one, 1.2, 2, 3), one, prior(4000), 1e-3)
    scores = scores_of(two, 1.2, 3, 3)
    exact = FittedStack(torch.ones(3, dtype=torch.float64), 0.0, fitted.games)
    assert held_out(fitted, scores, two) > 0.97 * held_out(exact, scores, two)


def test_a_component_that_is_repeated_changes_nothing():
    one, two = secrets(1000, 0), secrets(1000, 1)
    fit, asked = scores_of(one, 1.5, 2, 2), scores_of(two, 1.5, 3, 2)
    few = fit_stack(fit, one, prior(1000), 1e-3)
    repeat = [0] + [1] * 10
    many = fit_stack(fit[repeat], one, prior(1000), 1e-3)
    assert held_out(many, asked[repeat], two) == pytest.approx(held_out(few, asked, two), abs=0.01)
    assert held_out(few, asked, two) > 1.0


def test_useless_components_get_almost_no_weight():
    one, two = secrets(2000, 0), secrets(2000, 1)
    noise = torch.randn(6, 2000, K, generator=generator(9)), torch.randn(6, 2000, K, generator=generator(10))
    fit, asked = (torch.cat([scores_of(s, 2.0, 2 + i), noise[i]]) for i, s in enumerate((one, two)))
    fitted, alone = fit_stack(fit, one, prior(2000), 1e-3), fit_stack(fit[:1], one, prior(2000), 1e-3)
    assert float(fitted.weights[1:].max()) < 0.1
    assert float(fitted.weights.min()) >= 0.0
    assert held_out(fitted, asked, two) > held_out(alone, asked[:1], two) - 0.02


def test_a_component_that_points_the_wrong_way_is_left_out():
    one = secrets(1000, 0)
    fitted = fit_stack(-scores_of(one, 2.0, 2), one, prior(1000), 1e-3)
    assert float(fitted.weights) == 0.0
    assert abs(fitted.bits) < 1e-3


@pytest.mark.parametrize("seed", range(6))
def test_random_labels_give_nothing(seed):
    """Eight strong scores that have nothing to do with the secret."""
    true, one, two = (secrets(600, 10 * seed + i) for i in range(3))
    fitted = fit_stack(scores_of(true, 3.0, seed, 8), one, prior(600), 1.0 / 601)
    assert -0.03 <= held_out(fitted, scores_of(true, 3.0, seed + 50, 8), two) <= 0.01


def test_one_false_exclusion_costs_finite_bits():
    """All games but one are won; in that one the secret is excluded with certainty."""
    one = secrets(500, 0)
    scores = scores_of(one, 2.0, 2)
    scores.scatter_(2, one.expand(1, -1)[..., None], 1e4)
    fitted = fit_stack(scores, one, prior(500), 1.0 / 501)
    assert fitted.share >= 1.0 / 501
    lost = scores[:, :1].clone()
    lost[0, 0, one[0]] = -1e4
    assert held_out(fitted, lost, one[:1]) > -math.log2(501) - 1e-6
    scores[0, 0, one[0]] = -1e4
    again = fit_stack(scores, one, prior(500), 1.0 / 501)
    assert 4.5 < again.bits < 5.0


def test_scores_without_bounds_are_fitted():
    one = secrets(200, 0)
    scores = torch.cat([1e30 * torch.randn(1, 200, K, generator=generator()), scores_of(one, 2.0, 2)])
    fitted = fit_stack(scores, one, prior(200), 1e-3)
    assert bool(torch.isfinite(fitted.weights).all())
    assert math.isfinite(fitted.bits)


def test_an_uneven_prior_is_the_answer_of_who_knows_nothing():
    p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64).expand(900, -1)
    secret = torch.multinomial(p, 1, generator=generator()).squeeze(1)
    fitted = fit_stack(torch.randn(2, 900, 3, generator=generator(1)), secret, p, 1e-3)
    found = fitted.log_posterior(torch.randn(2, 900, 3, generator=generator(2)), p).exp()
    assert float((found - p).abs().max()) < 0.1
    assert abs(fitted.bits) < 0.01
    torch.testing.assert_close(found.sum(1), torch.ones(900, dtype=torch.float64))


def test_fitting_against_some_rivals_is_fitting_against_all():
    """With 256 values weights are those of 64 rivals each, as in conditional logit under sampling."""
    k = 256
    one, two = secrets(1500, 0, k), secrets(1500, 1, k)
    fit, asked = scores_of(one, 2.0, 2, 2, k), scores_of(two, 2.0, 3, 2, k)
    fitted = fit_stack(fit, one, prior(1500, k), 1e-3)
    exact = FittedStack(torch.ones(2, dtype=torch.float64), 0.0, fitted.games)
    assert held_out(fitted, asked, two, k) > 0.97 * held_out(exact, asked, two, k)


def test_constants_of_a_game_do_not_matter():
    one = secrets(300, 0)
    scores = scores_of(one, 2.0, 2, 2)
    shifted = scores + 50.0 * torch.randn(2, 300, 1, generator=generator(5))
    a, b = (fit_stack(s, one, prior(300), 1e-3) for s in (scores, shifted))
    torch.testing.assert_close(a.weights, b.weights, rtol=1e-3, atol=1e-3)


def test_the_gradient_of_the_loss():
    one = secrets(50, 0)
    few = stacking._against_few(scores_of(one, 1.0, 2, 4), one, prior(50))
    for share in (1e-3, 0.3):
        weights = np.array([0.0, 0.3, 1.0, 2.0])
        _, slope = stacking._loss(weights, *few, share)
        for i in range(4):
            step = 1e-6 * np.eye(4)[i]
            ends = [stacking._loss(weights + sign * step, *few, share)[0] for sign in (1, -1)]
            assert slope[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_the_loss_is_the_cross_entropy():
    one = secrets(50, 0)
    scores = scores_of(one, 1.0, 2, 2)
    weights = np.array([0.4, 0.9])
    value, _ = stacking._loss(weights, *stacking._against_few(scores, one, prior(50)), 0.05)
    stack = FittedStack(torch.from_numpy(weights), 0.05, torch.zeros(1))
    found = stack.log_posterior(scores, prior(50)).gather(1, one[:, None])
    assert value == pytest.approx(-float(found.mean()) / math.log(2.0) + RIDGE * float(weights @ weights), rel=1e-6)


def test_better_by_more_than_chance():
    same = torch.randn(400, generator=generator())
    one = FittedStack(torch.ones(1), 0.1, same)
    assert FittedStack(torch.ones(1), 0.1, same + 0.1).beats(one)
    assert not FittedStack(torch.ones(1), 0.1, same + 0.001 * torch.randn(400, generator=generator(1)) - 0.001).beats(
        one
    )


# Shares of the prior


def test_a_share_bounds_what_a_game_may_cost():
    ratio = torch.tensor([5.0, 0.0, -800.0])
    found = gain(ratio, 0.01)
    assert float(found[2]) == pytest.approx(math.log2(0.01))
    assert float(found[1]) == pytest.approx(0.0, abs=1e-9)
    assert gain(ratio, 1.0).abs().max() == 0.0


@pytest.mark.parametrize("least", [1e-4, 1.0 / 501, 0.3])
def test_a_share_is_never_below_the_least(least):
    for ratio in (torch.full((500,), 3.0), torch.randn(500, generator=generator()), torch.full((500,), -50.0)):
        assert cautious_share(ratio, least) >= least


def test_a_sure_posterior_keeps_a_small_share_and_a_wrong_one_the_prior():
    assert cautious_share(torch.full((500,), 3.0), 1e-3) == 1e-3
    assert cautious_share(torch.full((500,), -3.0), 1e-3) == 1.0


def test_caution_alone_does_not_hide_a_small_leak():
    """Bits so noisy that any share is within one standard error: no more than the most cautious one is chosen."""
    ratio = 0.3 * torch.randn(20, generator=generator()) + 0.05
    best = max((1e-3, *SHARES, 1.0), key=lambda share: float(gain(ratio, share).mean()))
    assert cautious_share(ratio, 1e-3) <= max(best, MOST_CAUTIOUS)


def test_a_share_costs_at_most_one_standard_error():
    ratio = 1.5 * torch.randn(300, generator=generator()) + 1.0
    share = cautious_share(ratio, 1e-3)
    tried = [gain(ratio, s) for s in (1e-3, *SHARES[2:], 1.0)]
    best = max(tried, key=lambda b: float(b.mean()))
    lost = best - gain(ratio, share)
    assert float(lost.mean()) <= float(lost.std()) / 300**0.5 + 1e-9


def test_log_likelihood_ratios_are_within_what_settles_a_game():
    secret = secrets(2000, 20)
    scores = scores_of(secret, 1.0, 21)
    bounded, loudest = calmed(scores, secret)
    assert torch.equal(bounded, scores)
    assert loudest.item() == pytest.approx(math.log(SETTLED * K))


def test_bounds_are_what_a_row_says_of_most_members():
    secret = secrets(2000, 22)
    scores = 100.0 * scores_of(secret, 2.0, 23)
    bounded, loudest = calmed(scores, secret)
    typical = scores.median(-1, keepdim=True).values
    apart = (scores - typical).gather(2, secret[None, :, None])
    assert float((apart <= loudest[:, None, None]).double().mean()) == pytest.approx(MOST, abs=0.001)
    assert float((bounded - typical).abs().max()) <= float(loudest) * (1 + 1e-6)
    inside = (scores - typical).abs() <= loudest[:, None, None]
    assert torch.equal(bounded[inside], scores[inside])


def outshouted(secret, seed, wrong):
    """A row that tells well, and one that in a game of twenty says thousands of nats: of the member, or of another."""
    quiet, loud = scores_of(secret, 4.0, seed), scores_of(secret, 0.5, seed + 1)
    games = torch.arange(0, len(secret), 20)
    loud[0, games, (secret[games] + wrong) % K] += 5000.0
    return torch.cat([quiet, loud])


def test_a_row_that_shouts_at_what_it_has_never_seen_does_not_undo_what_others_know():
    """Its shouts were right in the games that it was fitted to, and are wrong in others."""
    one, two = secrets(4000, 24), secrets(4000, 25)
    own, others = outshouted(one, 26, 0), outshouted(two, 28, 1)
    clean = held_out(fit_stack(own[:1], one, prior(4000), 1e-3), others[:1], two)
    bare = held_out(fit_stack(own, one, prior(4000), 1e-3), others, two)
    bounded, loudest = calmed(own, one)
    calm = held_out(fit_stack(bounded, one, prior(4000), 1e-3), within(others, loudest), two)
    assert bare < clean - 0.3
    assert calm > clean - 0.05
