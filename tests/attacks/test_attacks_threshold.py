"""The posterior of a membership score."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ptaudit.attacks.threshold import calibrate, fit_gradient_likelihood, log_odds


def scores(members, others, shift, seed=0):
    generator = np.random.default_rng(seed)
    values = np.concatenate([generator.standard_normal(members) + shift, generator.standard_normal(others)])
    return values, np.repeat([True, False], [members, others])


@pytest.mark.parametrize(
    ("members", "others", "shift"), [(200, 200, 0.3), (300, 60, 1.5), (40, 90, -2.0), (50, 50, 9.0)]
)
def test_log_odds_are_those_of_scikit_learn(members, others, shift):
    values, member = scores(members, others, shift)
    model = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=1000).fit(values[:, None], member)
    expected = float(model.intercept_[0]), float(model.coef_[0, 0])
    assert log_odds(values, member) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_scores_that_are_all_equal_say_nothing():
    member = np.repeat([True, False], [30, 30])
    found = calibrate(np.ones(60), member)
    assert found.bits(np.ones(60), member) == pytest.approx(np.zeros(60), abs=1e-6)


def test_bits_are_of_the_posterior_of_the_truth():
    values, member = scores(200, 200, 1.0)
    found = calibrate(values, member)
    intercept, slope = found.line
    p = 1 / (1 + np.exp(-(intercept + slope * found.normal_score(values))))
    np.testing.assert_allclose(found.bits(values, member), 1 + np.log2(np.where(member, p, 1 - p)), atol=1e-9)


def test_a_token_of_the_members_kind_has_the_higher_likelihood():
    generator = torch.Generator().manual_seed(0)
    inside, outside = (
        torch.randn(1, 400, 16, generator=generator, dtype=torch.float64) + shift for shift in (1.0, 0.0)
    )
    model = fit_gradient_likelihood(inside[:, :200], outside[:, :200])
    assert float((model.score(inside[:, 200:]) > 0).double().mean()) > 0.9
    assert float((model.score(outside[:, 200:]) > 0).double().mean()) < 0.1
