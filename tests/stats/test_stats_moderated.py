import numpy as np
import pytest

from ptaudit.stats.moderated import moderated, variance_prior


def drawn(generator, n, dof, prior):
    """Variances (n,) of `dof` degrees of freedom, whose true ones are scaled inverse chi-square with centre 2."""
    true = 2.0 * prior / generator.chisquare(prior, n) if prior else np.full(n, 2.0)
    return true, true * generator.chisquare(dof, n) / dof


@pytest.mark.parametrize("prior", [4.0, 20.0])
def test_the_prior_of_the_variances_is_found(prior):
    _, variance = drawn(np.random.default_rng(0), 20000, 6, prior)
    strength, centre = variance_prior(variance, np.full(20000, 6.0))
    assert strength == pytest.approx(prior, rel=0.15)
    assert centre == pytest.approx(2.0, rel=0.03)


def test_records_that_differ_by_chance_share_a_variance_and_others_keep_theirs():
    generator = np.random.default_rng(1)
    _, alike = drawn(generator, 500, 5, 0)
    np.testing.assert_allclose(moderated(alike, np.full(500, 5.0)), 2.0, rtol=0.25)
    own = np.exp(generator.normal(0.0, 4.0, 500)) * generator.chisquare(60, 500) / 60
    assert np.median(np.abs(np.log(moderated(own, np.full(500, 60.0)) / own))) < 0.05


def test_a_moderated_variance_is_nearer_to_the_true_one():
    true, variance = drawn(np.random.default_rng(2), 3000, 4, 8.0)
    found = moderated(variance, np.full(3000, 4.0))
    off, plain = (np.square(np.log(each / true)).mean() for each in (found, variance))
    assert off < 0.5 * plain
