import math

import numpy as np
import pytest
from scipy import optimize, stats

from ptaudit.stats.epsilon import Guesses, count_correct, gaussian_epsilon, one_run, one_run_gaussian
from ptaudit.stats.epsilon.one_run_gaussian import gaussian_curve, rejected

DELTA = 1e-5


def bound(guesses, correct, canaries, delta=DELTA):
    return one_run_gaussian(guesses, correct, canaries, delta=delta, adjacency="add/remove")


def largest_tail(slopes, canaries, guesses, correct):
    """Most probability of `correct` right guesses or more by linear programming, of a curve that is the maximum of
    lines (slope, intercept), from the inequalities as they stand."""
    count = np.arange(guesses + 1)
    right = [np.where(count >= i, count, 0) / canaries for i in range(guesses + 2)]
    wrong = [np.where(count >= i, guesses - count, 0) / canaries for i in range(guesses + 2)]
    rows = [(slope * right[i] - wrong[i - 1], -at) for i in range(1, guesses + 1) for slope, at in slopes]
    found = optimize.linprog(
        -(count >= correct).astype(float), A_ub=[row for row, _ in rows], b_ub=[limit for _, limit in rows],
        A_eq=[np.ones(guesses + 1)], b_eq=[1.0],
    )  # fmt: skip
    return -found.fun


@pytest.mark.parametrize(("canaries", "guesses", "correct"), [(12, 12, 9), (30, 12, 11), (20, 15, 15), (10, 10, 6)])
@pytest.mark.parametrize("slopes", [[(math.exp(-1.0), 0.0)], [(0.3, 0.0), (0.8, -0.05), (2.0, -0.9)]])
def test_it_rejects_exactly_what_the_linear_programme_excludes(canaries, guesses, correct, slopes):
    def curve(x):
        return np.max([slope * x + at for slope, at in slopes], axis=0)

    most = largest_tail(slopes, canaries, guesses, correct)
    around = np.array([most - 1e-4, most + 1e-4])
    assert rejected(curve, canaries, guesses, correct, around).tolist() == [False, True]


def test_what_rejects_a_mu_rejects_all_below():
    mu = np.linspace(0.0, 5.0, 101)
    found = rejected(gaussian_curve(mu), 200, 100, 90, np.full(101, 0.05))
    assert found[0]
    assert not found[-1]
    assert (np.diff(found.astype(int)) <= 0).all()
    edge = float(mu[found][-1])
    assert bound(Guesses(50, 50), 90, 200).mu == pytest.approx(edge, abs=0.05)
    assert bound(Guesses(50, 50), 90, 200).mu >= edge


@pytest.mark.parametrize(
    ("mu", "canaries", "first", "zeroth"), [(0.5, 400, 200, 200), (2.0, 300, 40, 40), (3.0, 100, 30, 0)]
)
def test_a_gaussian_mechanism_is_not_called_worse_than_it_is(mu, canaries, first, zeroth):
    """Independent canaries, each seen through the noise alone: the best that a mu-GDP mechanism allows."""
    generator, guesses, repetitions = np.random.default_rng(0), Guesses(first, zeroth), 1000
    secrets = generator.random((repetitions, canaries)) < 0.5
    seen = mu * secrets + generator.standard_normal(secrets.shape)
    right = np.array([count_correct(guesses, *game, seed=0) for game in zip(seen, secrets.astype(int))])
    found = {int(v): bound(guesses, int(v), canaries) for v in np.unique(right)}
    above = sum(found[int(v)].mu > mu for v in right)
    assert above <= stats.binom.ppf(0.999, repetitions, 0.05)
    typical = found[int(np.median(right))]
    assert typical.value == pytest.approx(gaussian_epsilon(typical.mu, DELTA))
    assert typical.mu > 0.25 * mu


@pytest.mark.parametrize("mu", [1.0, 2.0])
@pytest.mark.parametrize(("canaries", "guesses"), [(1000, 1000), (1000, 200), (10000, 1000)])
def test_it_is_above_the_bound_for_all_mechanisms(mu, canaries, guesses):
    """Of right guesses that are typical of a Gaussian mechanism; many abstained from, or all guessed."""
    cut = stats.norm.isf(guesses / 2 / canaries) if guesses < canaries else 0.0
    at = optimize.brentq(lambda x: stats.norm.sf(x) + stats.norm.sf(x - mu) - guesses / canaries, -9, 9 + cut)
    correct = round(guesses * stats.norm.sf(at - mu) / (stats.norm.sf(at) + stats.norm.sf(at - mu)))
    asked = Guesses(guesses - guesses // 2, guesses // 2)
    new, old = (
        rule(asked, correct, canaries, delta=DELTA, adjacency="add/remove") for rule in (one_run_gaussian, one_run)
    )
    assert new.value > old.value
    assert new.value <= gaussian_epsilon(mu, DELTA)


def test_more_right_guesses_give_more_and_all_right_the_ceiling():
    guesses = Guesses(20, 20)
    found = [bound(guesses, correct, 100) for correct in range(0, 41, 5)]
    values = [one.value for one in found]
    assert values == sorted(values)
    assert values[0] == values[4] == 0.0
    assert found[-1].value == found[-1].ceiling == found[0].ceiling > 1.0
    assert (found[-1].method, found[-1].correct, found[-1].n) == ("one-run-gaussian", (40, 40), 100)


def test_what_cannot_be_is_refused():
    assert bound(Guesses(0, 0), 0, 10).value == 0.0
    with pytest.raises(ValueError, match="11 right of 10 guesses about 20 canaries"):
        bound(Guesses(5, 5), 11, 20)
    with pytest.raises(ValueError, match="10 right of 10 guesses about 9 canaries"):
        bound(Guesses(5, 5), 10, 9)
    with pytest.raises(ValueError, match="delta must be above 0"):
        bound(Guesses(5, 5), 5, 20, delta=0.0)
