"""Epsilon bounds against brute force, closed forms and limits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from epsilon_truth import gaussian_mechanism_epsilon, sigma_for
from scipy import integrate, stats

from ptaudit.stats.epsilon import (
    Guesses,
    Threshold,
    choose_threshold,
    clopper_pearson,
    count_correct,
    gaussian_delta,
    gaussian_dp,
    gaussian_epsilon,
    gaussian_mu,
    one_run,
    p_value,
    replace_one_epsilon,
)

ATTRIBUTE = {"delta": 1e-5, "adjacency": "replace-one"}


def binomial_at_most(errors, n, rate):
    return math.fsum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(errors + 1))


def brute_upper(errors, n, tail=0.025):
    """The rate at which so few errors have probability `tail`, by bisection on the sum itself."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_at_most(errors, n, middle) > tail else (low, middle)
    return 1.0 if errors == n else low


def played(false_positive, n0, false_negative, n1):
    """Scores with these errors at threshold 0.5."""
    h0 = np.r_[np.ones(false_positive), np.zeros(n0 - false_positive)]
    h1 = np.r_[np.zeros(false_negative), np.ones(n1 - false_negative)]
    return Threshold.fixed(0.5), h0, h1


# Clopper-Pearson


@pytest.mark.parametrize(
    ("fp", "n0", "fn", "n1"), [(0, 40, 3, 60), (2, 50, 2, 50), (7, 100, 40, 80), (1, 300, 150, 300)]
)
@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.1])
def test_clopper_pearson_is_the_inverted_binomial(fp, n0, fn, n1, delta):
    fpr, fnr = brute_upper(fp, n0), brute_upper(fn, n1)
    expected = max(math.log((1 - delta - fnr) / fpr), math.log(max(1 - delta - fpr, 1e-300) / fnr), 0.0)
    bound = clopper_pearson(*played(fp, n0, fn, n1), delta=delta, adjacency="add/remove")
    assert bound.rates == pytest.approx((fpr, fnr), rel=1e-9)
    assert bound.value == pytest.approx(expected, rel=1e-8)
    assert (bound.n, bound.adjacency, bound.method, bound.delta) == (n0 + n1, "add/remove", "clopper-pearson", delta)


def test_the_better_of_both_directions_counts():
    rare_false_positives = clopper_pearson(*played(0, 1000, 900, 1000), **ATTRIBUTE)
    rare_false_negatives = clopper_pearson(*played(900, 1000, 0, 1000), **ATTRIBUTE)
    assert rare_false_positives.value == pytest.approx(rare_false_negatives.value)
    assert rare_false_positives.value > 2.0


@pytest.mark.parametrize("method", [clopper_pearson, gaussian_dp])
def test_no_games_and_games_lost_show_nothing(method):
    for fp, n0, fn, n1 in [(0, 0, 0, 0), (0, 50, 0, 0), (0, 0, 0, 50), (50, 50, 50, 50), (25, 50, 25, 50)]:
        bound = method(*played(fp, n0, fn, n1), **ATTRIBUTE)
        assert bound.value == 0.0
    assert method(*played(0, 0, 0, 0), **ATTRIBUTE).ceiling == 0.0


@pytest.mark.parametrize("method", [clopper_pearson, gaussian_dp])
def test_perfect_games_reach_the_ceiling_and_grow_with_their_number(method):
    found = [method(*played(0, n, 0, n), **ATTRIBUTE) for n in (20, 200, 2000)]
    assert [bound.value for bound in found] == [bound.ceiling for bound in found]
    assert found[0].value < found[1].value < found[2].value < math.inf
    worse = [method(*played(errors, 200, errors, 200), **ATTRIBUTE).value for errors in (0, 1, 5, 20, 60)]
    assert worse == sorted(worse, reverse=True)
    assert worse[0] == found[1].value > worse[1]


@pytest.mark.parametrize("method", [clopper_pearson, gaussian_dp])
def test_more_confidence_and_more_delta_show_less(method):
    games = played(10, 400, 10, 400)
    by_confidence = [method(*games, **ATTRIBUTE, confidence=c).value for c in (0.5, 0.9, 0.95, 0.999)]
    assert by_confidence == sorted(by_confidence, reverse=True)
    by_delta = [method(*games, delta=d, adjacency="add/remove").value for d in (1e-9, 1e-5, 1e-2, 0.3)]
    assert by_delta == sorted(by_delta, reverse=True)
    assert by_delta[0] > by_delta[-1]


# Thresholds


def test_a_threshold_is_not_reported_on_its_own_games():
    rng = np.random.default_rng(0)
    h0, h1 = rng.standard_normal(200), rng.standard_normal(200) + 2
    threshold = choose_threshold(h0, h1, 1e-5)
    for method in (clopper_pearson, gaussian_dp):
        with pytest.raises(ValueError, match="these very games"):
            method(threshold, h0, h1, **ATTRIBUTE)
        with pytest.raises(ValueError, match="these very games"):
            method(threshold, rng.permutation(h0), rng.standard_normal(200), **ATTRIBUTE)
        assert method(threshold, rng.standard_normal(200), rng.standard_normal(200) + 2, **ATTRIBUTE).value > 0
    assert threshold.games == 400


def test_games_that_are_all_won_may_repeat_themselves():
    """Noiseless views: zeros and ones again and again are no sign of the same games."""
    h0, h1 = np.zeros(50), np.ones(50)
    assert clopper_pearson(choose_threshold(h0, h1, 1e-5), h0, h1, **ATTRIBUTE).value == pytest.approx(
        math.log((1 - 1e-5 - brute_upper(0, 50)) / brute_upper(0, 50))
    )


@pytest.mark.parametrize("criterion", ["clopper-pearson", "gaussian-dp"])
def test_the_chosen_threshold_is_the_best_of_all(criterion):
    rng = np.random.default_rng(1)
    h0, h1 = np.round(rng.normal(0, 1, 150), 2), np.round(rng.normal(1.5, 1, 150), 2)
    method = {"clopper-pearson": clopper_pearson, "gaussian-dp": gaussian_dp}[criterion]
    every = [method(Threshold.fixed(t), h0, h1, **ATTRIBUTE).value for t in np.unique(np.r_[h0, h1])]
    chosen = Threshold.fixed(choose_threshold(h0, h1, 1e-5, criterion).value)
    assert method(chosen, h0, h1, **ATTRIBUTE).value == pytest.approx(max(every))


def test_infinite_scores_are_scores():
    h0, h1 = np.r_[np.full(30, -np.inf), 0.0], np.r_[np.full(30, np.inf), 0.0]
    threshold = choose_threshold(h0, h1, 1e-5)
    assert -np.inf < threshold.value
    assert clopper_pearson(threshold, h0, h1, **ATTRIBUTE).value > 1


def test_what_is_impossible_is_refused():
    fine = played(1, 9, 1, 9)
    for wrong in ({"delta": 1.0}, {"delta": -0.1}, {"confidence": 1.0}, {"adjacency": "neighbours"}):
        for method in (clopper_pearson, gaussian_dp):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                method(*fine, **ATTRIBUTE | wrong)
        if "confidence" not in wrong:
            with pytest.raises(ValueError, match=next(iter(wrong))):
                one_run(Guesses(1, 1), 1, 5, **ATTRIBUTE | wrong)
    with pytest.raises(ValueError, match="NaN"):
        clopper_pearson(fine[0], [math.nan], [1.0], **ATTRIBUTE)
    with pytest.raises(ValueError, match="without it"):
        gaussian_dp(*fine, delta=0.0, adjacency="replace-one")
    with pytest.raises(ValueError, match="no games"):
        choose_threshold([], [], 1e-5)
    with pytest.raises(ValueError, match="criterion"):
        choose_threshold([0.0], [1.0], 1e-5, "best")
    with pytest.raises(ValueError, match="number"):
        Threshold.fixed(math.nan)
    with pytest.raises(ValueError, match="3 right of 2"):
        one_run(Guesses(1, 1), 3, 5, **ATTRIBUTE)
    with pytest.raises(ValueError, match="about 1 canaries"):
        one_run(Guesses(1, 1), 0, 1, **ATTRIBUTE)


# The Gaussian mechanism


@pytest.mark.parametrize("mu", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, 4.0])
def test_delta_is_the_hockey_stick_divergence(mu, epsilon):
    """The integral of the positive part of p - e^eps q for two unit Gaussians at distance mu."""
    crossing = epsilon / mu + mu / 2

    def excess(x):
        return stats.norm.pdf(x, mu) - math.exp(epsilon) * stats.norm.pdf(x)

    expected, _ = integrate.quad(excess, crossing, crossing + 12 + mu, epsabs=1e-15)
    assert gaussian_delta(epsilon, mu) == pytest.approx(expected, rel=1e-6, abs=1e-13)


def test_epsilon_and_sigma_are_inverses():
    for mu in (1e-3, 0.1, 1.0, 5.0, 30.0):
        for delta in (1e-12, 1e-5, 1e-2):
            epsilon = gaussian_epsilon(mu, delta)
            assert epsilon == 0.0 or gaussian_delta(epsilon, mu) == pytest.approx(delta, rel=1e-6)
    for epsilon in (0.01, 0.5, 1, 4, 8, 50):
        for steps in (1, 100):
            sigma = {a: sigma_for(epsilon, 1e-5, a, steps) for a in ("add/remove", "replace-one")}
            assert sigma["replace-one"] == pytest.approx(2 * sigma["add/remove"])
            for adjacency, noise in sigma.items():
                assert gaussian_mechanism_epsilon(noise, 1e-5, adjacency, steps) == pytest.approx(epsilon, rel=1e-8)


def test_known_figures_of_the_gaussian_mechanism():
    """One step at the noise of 1 has epsilon 4.377 at delta 1e-5 by the analytic Gaussian mechanism."""
    assert gaussian_mechanism_epsilon(1.0, 1e-5, "add/remove") == pytest.approx(4.3768, abs=5e-4)
    assert gaussian_mu(2.0, "replace-one", 9) == pytest.approx(3.0)


def test_limits_of_the_mechanism():
    assert gaussian_mechanism_epsilon(0.0, 1e-5, "add/remove") == math.inf
    assert gaussian_mechanism_epsilon(1.0, 0.0, "add/remove") == math.inf
    assert gaussian_mechanism_epsilon(1.0, 1e-5, "add/remove", steps=0) == 0.0
    assert gaussian_mechanism_epsilon(1e6, 1e-5, "add/remove") == 0.0
    assert gaussian_delta(1.0, math.inf) == 1.0
    with pytest.raises(ValueError, match="at least 0"):
        gaussian_mu(-1.0, "add/remove")
    with pytest.raises(ValueError, match="adjacency"):
        gaussian_mu(1.0, "swap")


def test_group_privacy_is_above_the_exact_replace_one_epsilon():
    for sigma in (0.5, 1.0, 4.0, 20.0):
        bound = replace_one_epsilon(lambda d, s=sigma: gaussian_mechanism_epsilon(s, d, "add/remove"), 1e-5)
        exact = gaussian_mechanism_epsilon(sigma, 1e-5, "replace-one")
        single = gaussian_mechanism_epsilon(sigma, 1e-5, "add/remove")
        assert exact <= bound <= 2 * exact + 1
        assert bound >= 2 * single
    assert replace_one_epsilon(lambda d: 1.0, 1e-5) == 2.0  # a pure epsilon doubles
    assert replace_one_epsilon(lambda d: math.inf, 1e-5) == math.inf


def test_group_privacy_of_a_sampled_run():
    """With Opacus' accountant for sampled batches; the delta used up is within the one allowed."""
    accountants = pytest.importorskip("opacus.accountants")
    accountant = accountants.RDPAccountant()
    accountant.history = [(1.0, 0.01, 200)]
    asked = {}

    def epsilon(delta):
        asked[delta] = float(accountant.get_epsilon(delta=delta))
        return asked[delta]

    bound = replace_one_epsilon(epsilon, 1e-5)
    share = max(d for d, e in asked.items() if 2 * e == bound)
    assert bound > 2 * epsilon(1e-5)
    assert (1 + math.exp(bound / 2)) * share <= 1e-5 * (1 + 1e-9)


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
def test_gaussian_dp_converges_to_the_mechanism(mu):
    """With error rates of the best threshold and very many games only the true epsilon is left."""
    n = 10**6
    errors = round(n * stats.norm.cdf(-mu / 2))
    bound = gaussian_dp(*played(errors, n, errors, n), **ATTRIBUTE)
    assert 0.96 * mu < bound.mu < mu
    assert bound.value == pytest.approx(gaussian_epsilon(bound.mu, 1e-5))
    assert bound.value < gaussian_epsilon(mu, 1e-5) < 1.1 * bound.value


# One run


def exact_p_value(m, r, v, odds, delta):
    """The theorem in exact fractions; `odds` is e^epsilon."""
    accuracy = odds / (1 + odds)

    def at_least(count):
        terms = (math.comb(r, i) * accuracy**i * (1 - accuracy) ** (r - i) for i in range(max(count, 0), r + 1))
        return sum(terms, Fraction(0))

    alpha = max((at_least(v - i) - at_least(v)) / i for i in range(1, m + 1))
    return float(min(at_least(v) + 2 * m * delta * alpha, Fraction(1)))


@pytest.mark.parametrize(
    ("m", "r", "v"), [(1, 1, 1), (10, 10, 10), (20, 10, 9), (30, 30, 17), (40, 12, 0), (25, 20, 20)]
)
@pytest.mark.parametrize("odds", [Fraction(1), Fraction(3), Fraction(50)])
@pytest.mark.parametrize("delta", [Fraction(0), Fraction(1, 10**5), Fraction(1, 100)])
def test_p_value_is_the_theorem(m, r, v, odds, delta):
    found = p_value(m, r, v, math.log(odds), float(delta))
    assert float(found) == pytest.approx(exact_p_value(m, r, v, odds, delta), rel=1e-9)


def test_p_value_bounds_every_distribution_of_coins_that_was_enumerated():
    """Randomised response is the worst mechanism without delta: its own probability of v right guesses is reached."""
    m, epsilon = 6, 1.3
    accuracy = 1 / (1 + math.exp(-epsilon))
    for v in range(m + 1):
        found = 0.0
        for outcome in np.ndindex(*(2,) * m):
            if sum(outcome) >= v:
                found += accuracy ** sum(outcome) * (1 - accuracy) ** (m - sum(outcome))
        assert float(p_value(m, m, v, epsilon, 0.0)) == pytest.approx(found)


def test_one_run_with_all_guesses_right_is_closed_form():
    for made in (5, 50, 500):
        bound = one_run(Guesses(made, 0), made, 1000, delta=0.0, adjacency="add/remove")
        accuracy = 0.05 ** (1 / made)
        assert bound.value == pytest.approx(math.log(accuracy / (1 - accuracy)), rel=1e-6)
        assert bound.value == bound.ceiling
        assert (bound.n, bound.correct) == (1000, (made, made))


def test_one_run_shows_nothing_where_nothing_is_to_see():
    for guesses, right in [(Guesses(0, 0), 0), (Guesses(2, 2), 4), (Guesses(50, 50), 50), (Guesses(100, 0), 0)]:
        assert one_run(guesses, right, 100, **ATTRIBUTE).value == 0.0
    assert one_run(Guesses(0, 0), 0, 0, **ATTRIBUTE).value == 0.0


def test_one_run_is_monotone():
    right = [one_run(Guesses(50, 50), v, 200, **ATTRIBUTE).value for v in range(50, 101, 5)]
    assert right == sorted(right)
    assert right[-1] > right[-2] > 0
    canaries = [one_run(Guesses(50, 50), 95, m, delta=1e-3, adjacency="add/remove").value for m in (100, 1000, 10_000)]
    assert canaries == sorted(canaries, reverse=True)
    assert canaries[0] > canaries[-1]
    by_delta = [one_run(Guesses(50, 50), 95, 100, delta=d, adjacency="add/remove").value for d in (0, 1e-9, 1e-5, 1e-3)]
    assert by_delta == sorted(by_delta, reverse=True)
    assert by_delta[0] == pytest.approx(by_delta[1], rel=1e-3)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_every_epsilon_below_the_bound_is_rejected_and_the_next_is_not(delta):
    bound = one_run(Guesses(40, 40), 70, 300, delta=delta, adjacency="add/remove").value
    assert bound > 0.5
    assert (p_value(300, 80, 70, np.linspace(0, bound - 1e-9, 1000), delta) < 0.05).all()
    assert p_value(300, 80, 70, bound + 1e-6, delta) >= 0.05 - 1e-9


def test_guesses_are_the_extremes_and_equal_scores_are_drawn():
    scores, secrets = np.array([5.0, -4.0, 0.1, 3.0, -2.0]), np.array([1, 0, 1, 0, 1])
    assert count_correct(Guesses(1, 1), scores, secrets, 0) == 2
    assert count_correct(Guesses(2, 2), scores, secrets, 0) == 2
    sorted_by_secret = np.repeat([0, 1], 500)
    blind = [count_correct(Guesses(100, 100), np.zeros(1000), sorted_by_secret, seed) for seed in range(20)]
    assert 85 < np.mean(blind) < 115
    with pytest.raises(ValueError, match="zeros and ones"):
        count_correct(Guesses(1, 0), scores, secrets + 1, 0)
    with pytest.raises(ValueError, match="6 guesses about 5"):
        count_correct(Guesses(3, 3), scores, secrets, 0)
    with pytest.raises(ValueError, match="at least 0"):
        Guesses(-1, 3)
