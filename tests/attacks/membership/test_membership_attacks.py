"""Every membership attack against a slow loop, and what must not change it."""

from dataclasses import replace

import numpy as np
import pytest
import slow
from population import halves, population, signals_of, with_gradients

from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import References, from_logits, references

OF_RECORDS = ("labels", "features", "known_outside")
EVERY = pytest.mark.parametrize("name", list(ATTACKS))


def case(models=8, n=40, seed=0, spreads=0.5):
    """A target, and references of which records have 3 or 4 on either side."""
    generator = np.random.default_rng(seed)
    people = population(n, generator, spreads=spreads)
    included = halves(models, n, generator)
    known = with_gradients(people.signals(included, generator), generator)
    used = generator.permuted(np.broadcast_to(np.arange(models)[:, None] > 0, (models, n)), axis=0)
    used |= np.cumsum(included == included[:1], axis=0) > 3
    target = with_gradients(people.signals(generator.random((1, n)) < 0.5, generator), generator).model(0)
    return target, References(known, included & used, ~included & used)


@EVERY
@pytest.mark.parametrize("spreads", [0.0, 1.0])
def test_it_is_what_a_loop_over_records_and_models_finds(name, spreads):
    learns = name == "shadow-classifier"
    target, known = case(n=300 if learns else 40, spreads=spreads)
    expected = getattr(slow, name.replace("-", "_"))(target, known.signals, known.inside, known.outside)
    np.testing.assert_allclose(ATTACKS[name](target, known), expected, rtol=1e-6, atol=1e-9)
    assert len(set(expected)) > 4


@EVERY
def test_records_may_come_in_any_order(name):
    target, known = case()
    order = np.random.default_rng(1).permutation(target.records)
    moved = References(reordered(known.signals, order), known.inside[:, order], known.outside[:, order])
    scores = ATTACKS[name](target, known)
    np.testing.assert_allclose(ATTACKS[name](reordered(target, order), moved), scores[order], rtol=1e-9, atol=1e-12)


def reordered(signals, order):
    names = [name for name, value in vars(signals).items() if value is not None]
    found = {name: getattr(signals, name)[..., order] for name in names if name != "features"}
    return replace(signals, **found, features=signals.features[order])


@EVERY
def test_reference_models_may_come_in_any_order(name):
    target, known = case()
    order = np.random.default_rng(1).permutation(len(known.inside))
    names = [name for name, value in vars(known.signals).items() if value is not None and name not in OF_RECORDS]
    signals = replace(known.signals, **{name: getattr(known.signals, name)[order] for name in names})
    moved = References(signals, known.inside[order], known.outside[order])
    np.testing.assert_allclose(ATTACKS[name](target, moved), ATTACKS[name](target, known), rtol=1e-9, atol=1e-12)


FURTHER = ("loss-trace", "quantile-regression", "adversarial-distance", "gradient-norm", "update-product")
OF_OUTPUTS = [name for name in ATTACKS if name not in FURTHER]


@pytest.mark.parametrize("name", OF_OUTPUTS)
def test_a_constant_added_to_the_logits_changes_nothing(name):
    generator = np.random.default_rng(0)
    logits, labels = 2.0 * generator.standard_normal((9, 30, 5)), generator.integers(5, size=30)
    included = halves(8, 30, generator)
    moved = logits + 50.0 * generator.standard_normal((9, 30, 1))
    one, other = (
        ATTACKS[name](from_logits(some[0], labels), references(from_logits(some[1:], labels), included))
        for some in (logits, moved)
    )
    np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", OF_OUTPUTS)
@pytest.mark.parametrize("size", [1e3, 1e8, 1e300])
def test_extreme_logits_give_finite_scores(name, size):
    generator = np.random.default_rng(0)
    logits, labels = size * generator.standard_normal((9, 30, 5)), generator.integers(5, size=30)
    logits[:, :3, 0], labels[:3] = -np.inf, 0  # a true class that is ruled out
    logits[:, 3:6] = 0.0  # no class preferred, no spread over models
    known = references(from_logits(logits[1:], labels), halves(8, 30, generator))
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(ATTACKS[name](from_logits(logits[0], labels), known)).all()


@pytest.mark.parametrize("name", ["lira-online", "lira-online-global", "bavaria-online", "bavaria-offline"])
def test_likelihood_ratios_do_not_depend_on_the_unit_of_the_statistic(name):
    target, known = case()
    asked, seen = (replace(some, confidence=3.0 - 7.0 * some.confidence) for some in (target, known.signals))
    other = ATTACKS[name](asked, References(seen, known.inside, known.outside))
    sign = -1.0 if "offline" in name else 1.0  # only who knows members' side is told that members have the high values
    np.testing.assert_allclose(other, sign * ATTACKS[name](target, known), rtol=1e-5, atol=1e-7)


def test_models_that_are_on_neither_side_are_not_looked_at():
    target, known = case()
    neither = ~(known.inside | known.outside)
    assert neither.any()
    junk = np.where(neither, 1e6, known.signals.confidence)
    moved = References(signals_of(junk), known.inside, known.outside)
    for name in OF_OUTPUTS:
        np.testing.assert_allclose(ATTACKS[name](target, moved), ATTACKS[name](target, known), rtol=1e-9)
