"""What noise lets anybody know: against closed forms, and against estimators that reach the bounds in simulation."""

from __future__ import annotations

import numpy as np
import pytest

from ptaudit.stats.fisher import composed, fisher_loss, influence_rmse, least_mse, mean_information


def singular(jacobian):
    sizes = np.linalg.svd(jacobian, compute_uv=False)
    return sizes[0] ** 2, (sizes**2).sum()


def test_the_loss_is_the_largest_singular_value_over_the_noise():
    jacobian = np.diag([3.0, 4.0])
    largest, total = singular(jacobian)
    assert fisher_loss(largest, 2.0) == 2.0
    assert mean_information(total, 2, 2.0) == 25.0 / 8.0
    assert least_mse(3.125) == 0.32


def test_releases_add_up_in_squares():
    assert composed([3.0, 4.0]) == 5.0
    assert composed([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0]]).tolist() == [2.0, 2.0]
    assert fisher_loss(9.0, 1.5, rounds=4) == pytest.approx(composed([fisher_loss(9.0, 1.5)] * 4))
    # Of the same Jacobian it is exact, of others a bound: the loss of both seen together is no more.
    one, two = (np.random.default_rng(seed).standard_normal((9, 4)) for seed in (0, 1))
    both = fisher_loss(singular(np.concatenate([one, two]))[0], 1.0)
    assert both <= composed([fisher_loss(singular(j)[0], 1.0) for j in (one, two)])


def test_an_efficient_estimator_reaches_the_bounds_of_a_linear_release_and_never_beats_them():
    """y = J x + noise: least squares is unbiased and efficient, with covariance s^2 (J^T J)^-1."""
    generator = np.random.default_rng(0)
    jacobian, noise, d = generator.standard_normal((40, 5)), 0.3, 5
    largest, total = singular(jacobian)
    errors = noise * generator.standard_normal((20_000, 40)) @ np.linalg.pinv(jacobian).T
    top = np.linalg.svd(jacobian)[2][0]
    assert (errors @ top).std() == pytest.approx(1.0 / fisher_loss(largest, noise), rel=0.03)
    least = least_mse(mean_information(total, d, noise))
    exact = noise**2 * np.trace(np.linalg.inv(jacobian.T @ jacobian)) / d
    assert (errors**2).mean() == pytest.approx(exact, rel=0.03)
    assert exact >= least
    # With equal singular values the two are one.
    equal, _ = np.linalg.qr(jacobian)
    assert least_mse(mean_information(singular(equal)[1], d, noise)) == pytest.approx(noise**2)


def test_who_knows_the_spread_beats_unbiased_estimators_but_not_the_bound_of_the_prior():
    generator = np.random.default_rng(0)
    jacobian, noise, spread, d = np.linalg.qr(generator.standard_normal((30, 6)))[0], 0.8, 0.5, 6
    x = spread * generator.standard_normal((20_000, d))
    seen = x @ jacobian.T + noise * generator.standard_normal((20_000, 30))
    posterior = seen @ jacobian / noise**2 / (1.0 / noise**2 + 1.0 / spread**2)
    information = mean_information(singular(jacobian)[1], d, noise)
    error = ((posterior - x) ** 2).mean()
    assert error < least_mse(information)
    assert error == pytest.approx(least_mse(information, spread), rel=0.02)
    assert least_mse(0.0, spread) == spread**2


def test_inversion_influence_is_a_bound_on_where_matching_lands():
    """Who matches a gradient moved by delta lands J^+ delta away."""
    generator = np.random.default_rng(0)
    jacobian, delta = generator.standard_normal((12, 4)), generator.standard_normal((50, 12))
    landed = np.sqrt(((delta @ np.linalg.pinv(jacobian).T) ** 2).mean(1))
    bound = influence_rmse(np.linalg.norm(delta @ jacobian, axis=1), singular(jacobian)[0], 4)
    assert (bound <= landed).all()
    equal, _ = np.linalg.qr(jacobian)
    landed = np.sqrt(((delta @ equal) ** 2).mean(1))
    np.testing.assert_allclose(influence_rmse(np.linalg.norm(delta @ equal, axis=1), 1.0, 4), landed)
