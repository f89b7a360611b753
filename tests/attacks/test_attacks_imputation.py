"""The guess without the gradient: known posteriors, never fitted on the record it answers for, rare values."""

import numpy as np
import pytest

from ptaudit.attacks.imputation import impute

N = 1500


def loss(prior, secret):
    return float(-np.log2(prior[np.arange(len(secret)), secret]).mean())


def test_a_determined_field_is_known():
    generator = np.random.default_rng(0)
    secret = generator.integers(3, size=N)
    prior = impute(np.eye(3)[secret], secret)
    assert loss(prior, secret) < 0.01
    assert (prior > 0).all()
    assert prior.sum(1) == pytest.approx(np.ones(N))


def test_it_comes_near_the_exact_posterior():
    """A logistic field: the exact posterior is known, and so is the loss that nobody beats."""
    generator = np.random.default_rng(1)
    x = generator.standard_normal((4000, 5))
    chance = 1.0 / (1.0 + np.exp(-3.0 * x[:, 0] + 1.0))
    secret = (generator.random(4000) < chance).astype(np.int64)
    exact = loss(np.stack([1.0 - chance, chance], 1), secret)
    assert loss(impute(x, secret), secret) == pytest.approx(exact, abs=0.02)


def test_trees_find_what_lines_do_not():
    generator = np.random.default_rng(2)
    x = generator.uniform(-1, 1, (3000, 2))
    secret = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    assert loss(impute(x, secret), secret) < 0.4


def test_noise_is_not_remembered():
    """Each record has its own column of random numbers: whoever is fitted on it could learn it by heart."""
    generator = np.random.default_rng(3)
    secret = generator.integers(2, size=400)
    prior = impute(generator.standard_normal((400, 60)), secret)
    assert loss(prior, secret) == pytest.approx(1.0, abs=0.03)


def test_a_record_is_answered_for_by_others():
    """Turning round one record's value does not change what is said of its fold's other records, nor of itself."""
    generator = np.random.default_rng(4)
    x, secret = generator.standard_normal((400, 3)), generator.integers(2, size=400)
    before = impute(x, secret)
    for record in range(3):
        other = secret.copy()
        other[record] = 1 - other[record]
        assert (impute(x, other)[record] == before[record]).all()


def test_missing_and_rare_values():
    generator = np.random.default_rng(5)
    secret = generator.integers(2, size=N)
    x = np.eye(2)[secret]
    secret[:300] = -1
    secret[300] = 2
    prior = impute(x, secret)
    assert prior.shape == (N, 3)
    assert (prior > 0).all()
    assert prior[301:, 2].max() < 0.05
    assert (prior[:300].argmax(1) == x[:300].argmax(1)).all()


def test_too_few():
    with pytest.raises(ValueError, match="needs 8 records with a value, has 3"):
        impute(np.zeros((10, 2)), np.array([0, 1, 1] + [-1] * 7))
