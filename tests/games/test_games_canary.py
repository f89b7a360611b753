"""The canary game: bounds below the true epsilon and near it, exact answers, and what is said without noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from epsilon_truth import gaussian_mechanism_epsilon, sigma_for
from inference_truth import channel_bits
from scipy import stats
from torch import nn

from ptaudit.canaries import GradientSensitivity, HypothesisPair
from ptaudit.games.canary import scores as canary
from ptaudit.spec.canaries import CanarySpec
from ptaudit.training.loss import mse
from ptaudit.views import View

DELTA = 1e-5


def asked(games: int) -> CanarySpec:
    return CanarySpec(kinds=["natural"], about=["membership"], games=games, delta=DELTA)


def noisy(sigma: float, clip: float = 1.0, rounds: int = 1) -> View:
    return View("dp", 8, rounds, clip=clip, noise_std=sigma * clip)


def bounds(distance: float, view: View, games: int, adjacency: str, repetitions: int) -> dict[str, np.ndarray]:
    found = [
        canary.known_others(np.full(8, distance), view, asked(games), adjacency, seed) for seed in range(repetitions)
    ]
    return {test: np.array([f[test]["epsilon_lo"].value for f in found]) for test in ("gaussian-dp", "clopper-pearson")}


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0, 8.0])
@pytest.mark.parametrize(("adjacency", "furthest"), [("add/remove", 1.0), ("replace-one", 2.0)])
def test_bounds_are_below_the_true_epsilon(epsilon: float, adjacency: str, furthest: float) -> None:
    """In at least 95 % of repetitions, for the worst canary that there can be."""
    view = noisy(sigma_for(epsilon, DELTA, adjacency))
    for test, found in bounds(furthest, view, 1000, adjacency, 200).items():
        allowed = stats.binom.ppf(0.999, 200, 0.05)
        assert (found > epsilon).sum() <= allowed, test
        assert epsilon == pytest.approx(
            canary.known_others(np.ones(8), view, asked(100), adjacency, 0)[test]["epsilon_lo"].ceiling, rel=1e-6
        )


@pytest.mark.parametrize(("epsilon", "games"), [(4.0, 1000), (8.0, 1000), (1.0, 10_000)])
def test_the_worst_canary_shows_half_of_epsilon(epsilon: float, games: int) -> None:
    found = bounds(2.0, noisy(sigma_for(epsilon, DELTA, "replace-one")), games, "replace-one", 40)["gaussian-dp"]
    assert np.median(found) >= epsilon / 2


def test_one_step_end_to_end_from_gradient_to_bound() -> None:
    """Crafted canaries of a real step: of a regression, whose gradient turns round with the attribute."""
    draw = torch.Generator().manual_seed(0)
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[4.0, 0.0, 0.0]]))
        model.bias.zero_()
    codes = torch.tensor([[-1.0], [1.0]])
    question = HypothesisPair("attribute", "a", 0, codes, (0, 1))
    inputs = 0.1 * torch.randn(16, 3, generator=draw)
    targets = torch.zeros(16)
    distance = GradientSensitivity(model, mse, question, 0.5).distances(inputs, targets).numpy()
    assert distance.max() < 1.0
    for epsilon in (4.0, 8.0):
        view = noisy(sigma_for(epsilon, DELTA, "replace-one"), clip=0.5)
        found = [canary.known_others(distance, view, asked(1000), "replace-one", seed) for seed in range(60)]
        values = np.array([f["gaussian-dp"]["epsilon_lo"].value for f in found])
        assert (values <= epsilon).mean() >= 0.95
        assert np.median(values) >= 0.4 * epsilon


def test_the_projection_is_that_of_noise_in_the_whole_space() -> None:
    """Draws in 2,000 dimensions, others taken out and projected, are distributed as the game draws them."""
    draw = np.random.default_rng(0)
    low, high, others = draw.normal(size=(3, 2000)) / 50
    sigma, games = 0.7, 2000
    change = high - low
    mu = float(np.linalg.norm(change)) / sigma
    drawn = canary._ratios(mu, 2 * games, [3, 0])
    for secret, ratios in zip((low, high), drawn):
        seen = others + secret + sigma * draw.normal(size=(games, 2000))
        projected = (seen - others - low) @ change / np.linalg.norm(change)
        assert stats.ks_2samp(mu * (projected / sigma - mu / 2), ratios).pvalue > 0.001


def test_several_rounds_are_as_one_with_less_noise() -> None:
    one = canary.known_others(np.linspace(0.1, 1, 8), noisy(1.0), asked(500), "add/remove", 0)
    four = canary.known_others(np.linspace(0.1, 1, 8), noisy(2.0, rounds=4), asked(500), "add/remove", 0)
    for test, metrics in one.items():
        for metric, estimate in metrics.items():
            assert four[test][metric].value == pytest.approx(estimate.value, abs=1e-9)
            assert four[test][metric].ceiling == pytest.approx(estimate.ceiling, rel=1e-9)
    whole = gaussian_mechanism_epsilon(2.0, DELTA, "add/remove", 4)
    assert four["gaussian-dp"]["epsilon_lo"].ceiling == pytest.approx(whole)


@pytest.mark.parametrize("mu", [0.0, 0.3, 1.0, 3.0, 8.0])
def test_area_and_bits_are_exact(mu: float) -> None:
    found = canary.known_others(np.full(8, mu), View("dp", 4, clip=10.0, noise_std=1.0), asked(100), "add/remove", 0)
    noise = np.random.default_rng(0).standard_normal((2, 400_000))
    ratios = mu * (noise[0] - mu / 2), mu * (noise[1] + mu / 2)
    bits = 1 - np.mean([np.logaddexp(0, ratios[0]).mean(), np.logaddexp(0, -ratios[1]).mean()]) / math.log(2)
    attack = found["likelihood-ratio"]
    assert attack["bits"].value == pytest.approx(bits, abs=3e-3)
    assert attack["auc"].value == pytest.approx((ratios[1] > ratios[0]).mean() if mu else 0.5, abs=3e-3)


def test_a_secret_that_changes_nothing_shows_nothing() -> None:
    found = canary.known_others(np.zeros(8), noisy(1.0), asked(1000), "replace-one", 0)
    assert found["gaussian-dp"]["epsilon_lo"].value == 0.0
    assert found["clopper-pearson"]["epsilon_lo"].value == 0.0
    assert found["likelihood-ratio"]["auc"].value == 0.5


def test_intervals_hold_the_epsilon_of_the_attack() -> None:
    """From the bound to the upper end; no wider than the mechanism's own epsilon."""
    view = noisy(sigma_for(4.0, DELTA, "replace-one"))
    own = gaussian_mechanism_epsilon(sigma_for(4.0, DELTA, "replace-one"), DELTA, "add/remove")  # half the distance
    held = 0
    for seed in range(100):
        bound = canary.known_others(np.ones(8), view, asked(1000), "replace-one", seed)["gaussian-dp"]["epsilon_lo"]
        assert bound.value == bound.lo <= bound.hi <= bound.ceiling
        held += bound.lo <= own <= bound.hi
    assert held >= 90


def gaussian_tokens(size: float, n: int = 2400, k: int = 16, canaries: int = 32) -> canary.CanaryTokens:
    draw = torch.Generator().manual_seed(1)
    others = torch.randn(n, k, generator=draw, dtype=torch.float64)
    low = torch.randn(canaries, k, generator=draw, dtype=torch.float64)
    way = torch.nn.functional.normalize(torch.randn(canaries, k, generator=draw, dtype=torch.float64), dim=1)
    return canary.CanaryTokens(low, low + size * way, others)


@pytest.mark.parametrize(("m", "rounds"), [(5, 1), (5, 4), (17, 1)])
def test_without_noise_the_linear_discriminant_meets_the_exact_answer(m: int, rounds: int) -> None:
    """Others that are Gaussian: the area is that of two Gaussians at known distance."""
    found = canary.unknown_others(gaussian_tokens(2.0), View("batch", m, rounds), 8000, 0)
    mu = 2.0 * math.sqrt(rounds / (m - 1))
    assert found["auc"].value == pytest.approx(stats.norm.cdf(mu / math.sqrt(2)), abs=0.03)
    exact = channel_bits(mu)
    assert found["bits"].value == pytest.approx(exact, abs=0.05)
    assert found["bits"].value <= exact + 0.03
    assert abs(found["bits"].null) < 0.1


def test_without_noise_and_without_a_difference_nothing_is_learnt() -> None:
    false = 0
    for seed in range(20):
        found = canary.unknown_others(gaussian_tokens(0.0), View("batch", 5), 1000, seed)
        assert found["bits"].value < 0.03
        false += not found["auc"].lo <= 0.5 <= found["auc"].hi
    assert false <= 4


def test_without_noise_and_alone_everything_is_learnt() -> None:
    tokens = gaussian_tokens(1.0)
    found = canary.unknown_others(tokens, View("record", 1), 1000, 0)
    assert found["bits"].value == found["auc"].value == 1.0
    assert found["bits"].lo < 1.0
    half = canary.CanaryTokens(tokens.low, torch.cat([tokens.low[:16], tokens.high[16:]]), tokens.others)
    assert canary.unknown_others(half, View("record", 1), 1000, 0)["bits"].value == 0.5


@pytest.mark.slow
def test_the_intervals_without_noise_cover() -> None:
    held = 0
    for seed in range(200):
        draw = torch.Generator().manual_seed(seed)
        tokens = gaussian_tokens(2.0, n=1200)
        fresh = canary.CanaryTokens(tokens.low, tokens.high, torch.randn(1200, 16, generator=draw, dtype=torch.float64))
        found = canary.unknown_others(fresh, View("batch", 5), 1000, seed)["auc"]
        held += found.lo <= stats.norm.cdf(1 / math.sqrt(2)) <= found.hi
    assert held >= 180


def test_the_same_batch_in_every_round_shows_no_more() -> None:
    once, fixed, fresh = (
        canary.unknown_others(gaussian_tokens(1.0), view, 2000, 0)
        for view in (View("one", 17), View("fixed", 17, 8, fixed_batch=True), View("fresh", 17, 8))
    )
    assert fixed == once
    assert fresh["auc"].lo > once["auc"].hi


@pytest.mark.slow
def test_the_intervals_of_few_canaries_among_heavy_tails_cover() -> None:
    """Against the mean over runs, as no exact answer is known."""
    found = []
    for seed in range(300):
        draw = torch.Generator().manual_seed(seed)
        others = torch.randn(320, 8, generator=draw, dtype=torch.float64)
        others = others / torch.rand(320, 1, generator=draw, dtype=torch.float64) ** 0.45
        high = 2.0 * torch.randn(40, 8, generator=draw, dtype=torch.float64)
        one = canary.unknown_others(canary.CanaryTokens(torch.zeros_like(high), high, others), View("v", 8), 2000, seed)
        found.append([[e.value, e.lo, e.hi] for e in (one["auc"], one["bits"])])
    value, lo, hi = np.moveaxis(np.array(found), -1, 0)
    held = ((lo <= value.mean(0)) & (value.mean(0) <= hi)).mean(0)
    assert held.min() >= 0.91, held


def test_scores_that_are_not_finite_are_no_result() -> None:
    tokens = gaussian_tokens(1.0)
    tokens.others[3] = torch.nan
    found = canary.unknown_others(tokens, View("batch", 5), 1000, 0)
    assert {metric: e.conclusive for metric, e in found.items()} == {"auc": False, "bits": False}
