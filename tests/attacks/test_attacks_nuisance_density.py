"""Densities of what hides a candidate."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf

from ptaudit.attacks.nuisance_density import (
    GAUSSIAN,
    STUDENT_DEGREES,
    NuisanceDensity,
    cholesky,
    fit_gaussian,
    fit_noise,
    fit_student,
    ledoit_wolf,
    log_density,
    next_student,
    refined,
    sharpened,
    shrinkage,
    squared_distances,
)


def points(rows, n, k, seed=0):
    return torch.randn(rows, n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mixed(n, k, seed=0):
    """Correlated points with scales from 0.3 to 3."""
    mix = points(1, k, k, seed + 1)[0] * torch.logspace(-0.5, 0.5, k, dtype=torch.float64)
    return points(1, n, k, seed)[0] @ mix, mix.T @ mix


def test_squared_distances_are_those_of_cdist():
    """To the rounding of the float32 result; points that lie far out would show a product in float32."""
    a, b = points(3, 11, 5), 10.0 + points(3, 7, 5, 1)
    found = squared_distances(a, b)
    for row in range(3):
        np.testing.assert_allclose(found[row], cdist(a[row], b[row], "sqeuclidean"), rtol=1e-6)


def test_squared_distances_of_equal_points_are_not_negative():
    a = 1e6 + points(1, 50, 16)
    assert float(squared_distances(a, a).min()) >= 0.0


@pytest.mark.parametrize(("n", "k"), [(20, 40), (50, 16), (400, 16)])
def test_shrinkage_is_that_of_scikit_learn(n, k):
    batch = torch.stack([points(1, n, k, 3)[0], mixed(n, k, 5)[0]])
    centred = batch - batch.mean(1, keepdim=True)
    plain = centred.mT @ centred / n
    for row in range(2):
        scatter, intensity = sklearn_ledoit_wolf(centred[row].numpy(), assume_centered=True)
        assert float(shrinkage(centred, plain)[row]) == pytest.approx(intensity, rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(ledoit_wolf(centred)[row], scatter, rtol=1e-8, atol=1e-12)


def stretched(n, k, spread, seed=0):
    """Points whose standard deviations span a factor of `spread` in a turned frame, and their scatter."""
    turn = torch.linalg.qr(points(1, k, k, seed + 1)[0]).Q
    mix = torch.logspace(0, math.log10(spread), k, dtype=torch.float64)[:, None] * turn
    return points(1, n, k, seed)[0] @ mix, mix.T @ mix


def excess(found, scatter):
    """Nats of log-likelihood that a centred Gaussian of the found scatter loses to the true one, per fresh point."""
    log_det = torch.linalg.slogdet(found).logabsdet - torch.linalg.slogdet(scatter).logabsdet
    return 0.5 * float(log_det + torch.linalg.solve(found, scatter).diagonal().sum() - len(scatter))


def covariance(sample):
    """The refined scatter."""
    factor = refined(cholesky(ledoit_wolf(sample)), sample)[0]
    return factor @ factor.T


@pytest.mark.parametrize(
    ("n", "k", "spread", "share"), [(64, 16, 100.0, 0.5), (256, 16, 100.0, 0.25), (512, 64, 30.0, 0.75)]
)
def test_refined_shrinkage_is_better_on_anisotropic_points(n, k, spread, share):
    """A sphere lifts the small directions; measured shares of what that costs: 0.40, 0.15 and 0.62.

    Where the directions span a factor of ten only, 64 points of 16 coordinates gain nothing (1.04): both are tried.
    """
    plain, better = [], []
    for seed in range(0, 10, 2):
        sample, scatter = stretched(n, k, spread, seed)
        plain.append(excess(ledoit_wolf(sample[None])[0], scatter))
        better.append(excess(covariance(sample[None]), scatter))
    assert 0.0 < np.mean(better) < share * np.mean(plain)


def test_refined_shrinkage_costs_little_on_a_sphere():
    """256 points of 16 coordinates without any shrinkage cost about k(k+1)/4n = 0.27 nats."""
    sample, eye = points(1, 256, 16, 40), torch.eye(16, dtype=torch.float64)
    assert excess(covariance(sample), eye) < 0.1


def test_sharpened_shrinks_toward_the_estimate_before_it():
    """The same as bringing the points to where that is a sphere, shrinking there, and going back."""
    sample, _ = mixed(60, 6, 41)
    factor = cholesky(mixed(60, 6, 43)[1][None])
    white = torch.linalg.solve_triangular(factor, sample[None].mT, upper=False).mT
    found = sharpened(factor, white)
    assert not found.triu(1).any()
    expected = factor @ ledoit_wolf(white) @ factor.mT
    torch.testing.assert_close(found @ found.mT, expected, rtol=1e-6, atol=1e-8)


def test_sharpened_by_a_good_estimate_beats_the_sphere():
    sample, scatter = stretched(64, 16, 100.0, 44)
    factor = cholesky(scatter[None])
    white = torch.linalg.solve_triangular(factor, sample[None].mT, upper=False).mT
    found = sharpened(factor, white)[0]
    assert excess(found @ found.T, scatter) < 0.1 * excess(ledoit_wolf(sample[None])[0], scatter)


def test_equal_tokens_keep_the_estimate_before_them():
    """Also as one row among others, whose estimates do not change."""
    factor = cholesky(torch.stack([mixed(9, 4, seed)[1] for seed in (45, 46)]))
    white = torch.cat([torch.zeros(1, 50, 4, dtype=torch.float64), points(1, 50, 4, 47)])
    found = sharpened(factor, white)
    torch.testing.assert_close(found[0], factor[0])
    torch.testing.assert_close(found[1:], sharpened(factor[1:], white[1:]))


@pytest.mark.parametrize("nu", [1.0, 3.0, 30.0])
def test_log_density_is_that_of_scipy_up_to_a_constant(nu):
    k = 6
    x = points(1, 20, k)[0] * 3.0
    found = log_density(x.square().sum(1), nu, k).numpy()
    expected = stats.multivariate_t(np.zeros(k), np.eye(k), df=nu).logpdf(x.numpy())
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-5, atol=1e-5)


def test_log_density_without_tails_is_the_gaussian():
    x = points(1, 20, 6)[0]
    found = log_density(x.square().sum(1), GAUSSIAN, 6).numpy()
    expected = stats.multivariate_normal(np.zeros(6)).logpdf(x.numpy())
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-5, atol=1e-5)


def test_whitening_gives_the_distance_of_mahalanobis():
    _, scatter = mixed(10, 4)
    density = NuisanceDensity(torch.ones(1, 4, dtype=torch.float64), cholesky(scatter[None]), (GAUSSIAN,))
    views, known = points(1, 3, 4, 7), points(1, 2, 4, 8)
    found = density.distances(views, known)[0]
    inverse = torch.linalg.inv(scatter)
    for g in range(3):
        for j in range(2):
            left = views[0, g] - known[0, j] - 1.0
            assert float(found[g, j]) == pytest.approx(float(left @ inverse @ left), rel=1e-6)


@pytest.mark.parametrize("refine", [False, True])
def test_gaussian_of_a_batch_is_that_of_the_sum_of_the_others(refine):
    tokens, scatter = mixed(4000, 6, 9)
    density = fit_gaussian((tokens + 2.0)[None], others=7, noise=1.5, refine=refine)
    expected = 7 * scatter + 1.5**2 * torch.eye(6, dtype=torch.float64)
    found = (density.factor @ density.factor.mT)[0]
    assert float((found - expected).norm() / expected.norm()) < 0.06
    torch.testing.assert_close(density.mean[0], torch.full((6,), 14.0, dtype=torch.float64), rtol=0.05, atol=0.3)


def test_a_mean_that_is_noise_is_shrunk_and_a_real_one_is_kept():
    tokens = points(1, 100, 32, 10)
    small = fit_gaussian(tokens, 1, 0.0).mean.norm()
    assert float(small) < 0.5 * float(tokens.mean(1).norm())
    large = fit_gaussian(tokens + 5.0, 1, 0.0).mean
    torch.testing.assert_close(large, (tokens + 5.0).mean(1), rtol=0.01, atol=0.0)


def test_noise_alone_is_known_exactly():
    density = fit_noise(points(2, 5, 3), 2.0)
    assert not density.mean.any()
    torch.testing.assert_close(density.factor, 2.0 * torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    assert density.tails == (GAUSSIAN,)


def shape_error(density, scatter):
    """Relative error of the scatter, each scaled to trace k."""
    found = (density.factor @ density.factor.mT)[0]
    one, other = found / found.diagonal().mean(), scatter / scatter.diagonal().mean()
    return float((one - other).norm() / other.norm())


def student_sample(n, k, df, seed):
    tokens, scatter = mixed(n, k, seed)
    chi_sq = np.random.default_rng(seed).chisquare(df, size=(n, 1))
    return tokens / torch.as_tensor(np.sqrt(chi_sq / df)), scatter


@pytest.mark.parametrize("df", [1, 3, 10])
def test_m_estimates_find_location_and_shape_of_student_points(df):
    sample, scatter = student_sample(2000, 8, df, 20)
    place = torch.linspace(-5.0, 5.0, 8, dtype=torch.float64)
    fits = fit_student((sample + place)[None])
    assert [fit.tails for fit in fits] == [(nu,) for nu in STUDENT_DEGREES]
    matched = fits[STUDENT_DEGREES.index(float(df))]
    assert shape_error(matched, scatter) < 0.15
    error = torch.linalg.solve_triangular(
        torch.linalg.cholesky(scatter), (matched.mean[0] - place)[:, None], upper=False
    )
    # Each coordinate of a location has an error of about (1 + 1/df) / sqrt(n).
    assert float(error.norm()) < 3.0 * math.sqrt(8 * (1 + 1 / df) / 2000)


def test_m_estimates_survive_a_few_huge_outliers():
    sample, scatter = mixed(1000, 8, 22)
    sample[:50] = 1000.0 * points(1, 50, 8, 23)[0] + 3000.0
    robust = fit_student(sample[None])[0]
    gaussian = fit_gaussian(sample[None], 1, 0.0)
    assert shape_error(robust, scatter) < 0.35
    assert shape_error(gaussian, scatter) > 1.0
    size = torch.linalg.cholesky(scatter)
    error = torch.linalg.solve_triangular(size, robust.mean[0][:, None], upper=False)
    assert float(error.norm()) < 1.0
    assert float((robust.factor @ robust.factor.mT)[0].diagonal().mean()) < 4.0 * float(scatter.diagonal().mean())


def test_rows_are_fitted_on_their_own():
    first, second = mixed(300, 5, 30)[0], 100.0 * points(1, 300, 5, 31)[0]
    both = fit_student(torch.stack([first, second]))
    alone = fit_student(first[None])
    for joint, single in zip(both, alone):
        torch.testing.assert_close(joint.factor[:1], single.factor)
        torch.testing.assert_close(joint.mean[:1], single.mean)


@pytest.mark.parametrize(
    "tokens", [torch.zeros(2, 40, 6), torch.full((2, 40, 6), 1 / 3), points(2, 40, 1).expand(2, 40, 6)]
)
def test_flat_tokens_still_have_a_finite_fit(tokens):
    gaussians = [fit_gaussian(tokens.double(), 3, 0.0, refine) for refine in (False, True)]
    for density in [*gaussians, *fit_student(tokens.double())]:
        assert bool(torch.isfinite(density.factor).all())
        assert bool(torch.isfinite(density.distances(tokens.double(), tokens.double())).all())


def test_sums_of_very_different_sizes_have_a_density():
    generator = torch.Generator().manual_seed(0)
    size = 10.0 ** torch.linspace(-3.0, 25.0, 60, dtype=torch.float64)
    points = size[:, None] * torch.randn(1, 60, 32, generator=generator, dtype=torch.float64)
    found = [fit_gaussian(points, 3, 0.0, refine=True), *fit_student(points)]
    assert all(bool(one.factor.isfinite().all()) and bool(one.mean.isfinite().all()) for one in found)
    giant = torch.randn(1, 60, 32, generator=generator)
    giant[..., 0] *= 5e9  # the square of its variance is no float32
    assert bool(sharpened(torch.eye(32)[None], giant).isfinite().all())


@pytest.mark.parametrize(("scale", "origin"), [(1.0, 0.0), (1e-30, 0.0), (1e-3, 1e3), (1e20, 0.0)])
def test_distances_in_float32_lose_nothing(scale, origin):
    """Against float64: directions that span a factor of 1000, any size, and a mean a million times the spread."""
    sample, _ = stretched(400, 16, 1000.0, 50)
    tokens = (scale * sample + origin)[None]
    density = fit_gaussian(tokens[:, :200], 3, 0.0, refine=True)
    views, known = tokens[:, 200:300] + 3 * tokens.mean(1, keepdim=True), tokens[:, 300:]
    expected = squared_distances(density.whiten(views - density.mean[:, None]), density.whiten(known))
    found = density.distances(views, known)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


def test_distances_stay_finite_where_the_known_records_were_all_equal():
    density = fit_gaussian(torch.zeros(1, 50, 8, dtype=torch.float64), 3, 0.0)
    found = density.distances(points(1, 5, 8), points(1, 4, 8, 1))
    assert bool(torch.isfinite(found).all())


def test_a_student_by_steps_is_that_of_the_whole_chain():
    sample = points(2, 300, 8, 51)
    whole, first = fit_student(sample), fit_student(sample, upto=1.0)
    assert [f.tails for f in first] == [(1.0,)]
    torch.testing.assert_close(first[0].factor, whole[0].factor)
    torch.testing.assert_close(next_student(sample, first[0], 3.0).factor, whole[1].factor)
