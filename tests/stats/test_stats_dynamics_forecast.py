import numpy as np
import pytest
from fleets_in_motion import fleet
from scipy import stats

from ptaudit.stats.dynamics import forecast as forecast_module
from ptaudit.stats.dynamics.apart import effect
from ptaudit.stats.dynamics.attainable import attainable_auc
from ptaudit.stats.dynamics.features import fleet_features, run_features
from ptaudit.stats.dynamics.forecast import cross_fitted, early_warning, forecast, halves, most_vulnerable
from ptaudit.stats.dynamics.plane import points
from ptaudit.stats.dynamics.top_share import precision_at
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import auc, auc_estimate


def in_pairs(generator, models, n):
    """Memberships of a fleet whose models 2k and 2k + 1 are trained on complements."""
    first = generator.random((models // 2, n)) < 0.5
    return np.stack([first, ~first], 1).reshape(models, n)


def growing(seed, models=64, n=600, epochs=5, size=4.0):
    """A tenth of the records becomes exposed, from the third epoch on and ever more; and which."""
    generator = np.random.default_rng(seed)
    risky = np.arange(n) % 10 == 0
    shift = size * np.maximum(np.arange(epochs) - 1.0, 0.0)[:, None] / (epochs - 2) * risky
    inside = in_pairs(generator, models, n)
    for half in halves(models, seed=0):  # enough models on each side of each record in either half
        few = np.minimum(inside[half].sum(0), (~inside[half]).sum(0)) < 4
        inside[:, few] = (np.arange(models) % 2 == 0)[:, None]
    return fleet(generator, models, n, shift, inside=inside), risky


def test_halves_share_no_model_and_keep_pairs_together():
    one, other = halves(32, seed=0)
    assert sorted([*one, *other]) == list(range(32))
    assert len(one) == len(other) == 16
    assert (one[::2] + 1 == one[1::2]).all()
    assert (one[::2] % 2 == 0).all()
    assert [len(half) for half in halves(6, seed=1)] == [2, 4]
    assert not np.array_equal(one, halves(32, seed=5)[0])
    with pytest.raises(ValueError, match="even number of models from 4 on, not 7"):
        halves(7, seed=0)


def test_a_warning_comes_once_the_records_begin_to_move():
    drawn, risky = growing(0)
    one, other = (drawn.some(half) for half in halves(drawn.models, seed=0))
    vulnerable = most_vulnerable(effect(other)[-1])
    assert vulnerable.sum() == 60
    assert (vulnerable & risky).sum() > 50
    found = early_warning(fleet_features(one), vulnerable, effect(one)[-1], seed=0, draws=300)
    assert found.agreement_auc.lo > 0.9
    start = found.forecasts[0]
    assert start.auc.lo <= 0.55
    assert start.precision.lo <= start.precision.null + 0.05
    assert found.first == found.first_of_attainable == 3.0
    assert found.attainable_auc.value >= found.agreement_auc.value
    last = found.forecasts[-1]
    assert last.auc.lo > 0.9
    assert last.precision.value > 0.8
    assert last.precision.null == pytest.approx(0.1)
    assert last.single_auc.keys() == last.single_precision.keys() == fleet_features(one)[1.0].keys()
    assert last.single_auc["effect"].value == pytest.approx(found.agreement_auc.value)


def test_without_signal_nothing_is_foretold():
    firsts, over = [], 0
    for seed in range(12):
        drawn, _ = growing(seed, models=32, n=500, epochs=3, size=0.0)
        one, other = (drawn.some(half) for half in halves(drawn.models, seed=0))
        found = early_warning(
            fleet_features(one), most_vulnerable(effect(other)[-1]), effect(one)[-1], seed=seed, draws=100
        )
        firsts.append(found.first)
        over += found.forecasts[-1].auc.lo > 0.5
    assert firsts.count(None) >= 11
    assert over <= 2


def test_one_fleet_for_features_and_labels_would_foretell_its_own_noise():
    """Why there are halves: without any signal, the same models' noise at an earlier epoch says what it will be."""
    drawn, _ = growing(1, models=32, n=500, epochs=3, size=0.0)
    same = forecast(fleet_features(drawn)[1.0], most_vulnerable(effect(drawn)[-1]), seed=0)
    assert same.auc.lo > 0.6


def test_features_that_say_different_things_are_better_together():
    """Labels of two independent causes, of which each feature knows one: known AUCs."""
    generator = np.random.default_rng(0)
    x, y, noise = generator.standard_normal((3, 3000))
    vulnerable = most_vulnerable(x + y, 0.1)
    found = forecast({"x": np.exp(x), "y": -y, "noise": noise}, vulnerable, seed=0)
    assert found.auc.value > 0.99
    assert found.beats_each
    assert found.gain.value == pytest.approx(found.auc.value - max(one.value for one in found.single_auc.values()))
    assert found.single_auc["x"].value == pytest.approx(found.single_auc["y"].value, abs=0.05)
    assert found.single_auc["noise"].value < 0.56
    alone = forecast({"x": x, "noise": noise}, vulnerable, seed=0)
    assert not alone.beats_each
    assert alone.auc.value == pytest.approx(alone.single_auc["x"].value, abs=0.02)


def test_the_auc_of_a_feature_is_that_of_its_distance():
    generator = np.random.default_rng(2)
    vulnerable = np.arange(4000) % 8 == 0
    feature = generator.standard_normal(4000) + 1.5 * vulnerable
    found = forecast({"feature": feature, "turned": -feature}, vulnerable, seed=0)
    truth = stats.norm.cdf(1.5 / np.sqrt(2.0))
    for one in (found.auc, *found.single_auc.values()):
        assert one.lo <= truth <= one.hi
    assert found.auc.hi - found.auc.lo < 0.06


def test_a_record_is_not_foretold_from_its_own_label():
    """A regression on as many features as there are records in a fold would know each by heart."""
    generator = np.random.default_rng(3)
    vulnerable = generator.random(200) < 0.3
    features = {str(k): generator.standard_normal(200) for k in range(60)}
    odds = cross_fitted(features, vulnerable, seed=0)
    assert abs(np.corrcoef(odds, vulnerable)[0, 1]) < 0.2


def test_too_few_labels_are_inconclusive_and_wrong_features_are_named():
    few = np.arange(100) < 10
    found = forecast({"x": np.arange(100.0)}, few, seed=0)
    for one in (found.auc, found.gain, found.precision, found.single_auc["x"]):
        assert "there are 10 and 90" in one.status
    assert not found.beats_each
    assert early_warning({1.0: {"x": np.arange(100.0)}}, few, np.arange(100.0), seed=0).first is None
    with pytest.raises(ValueError, match="must be 100 finite numbers, short, broken"):
        forecast({"short": np.zeros(9), "good": np.zeros(100), "broken": np.full(100, np.nan)}, few, seed=0)
    with pytest.raises(ValueError, match="there are none"):
        forecast({}, few, seed=0)
    with pytest.raises(ValueError, match="features of one epoch at least"):
        early_warning({}, few, np.arange(100.0), seed=0)


def test_precision_is_that_of_the_records_that_come_first():
    generator = np.random.default_rng(0)
    wanted = generator.random(1000) < 0.2
    scores = generator.standard_normal(1000) + 2.0 * wanted
    found = precision_at(scores, wanted, 0.05, seed=0)
    assert found.value == pytest.approx(wanted[np.argsort(-scores)[:50]].mean())
    assert found.n == 50
    assert found.lo < found.value < found.hi
    assert found.null == pytest.approx(wanted.mean())
    equal = precision_at(np.zeros(1000), wanted, 0.05, seed=0)
    assert equal.value == pytest.approx(wanted.mean())
    assert precision_at(scores, np.arange(1000) < 10, 0.05, seed=0).ceiling == pytest.approx(0.2)
    assert (
        "1 % of records needs 500 of them, there are 400"
        in precision_at(scores[:400], wanted[:400], 0.01, seed=0).status
    )
    with pytest.raises(ValueError, match="above 0 and at most 1, not 0"):
        precision_at(scores, wanted, 0.0, seed=0)


def test_the_interval_of_a_precision_covers_it():
    generator, covered = np.random.default_rng(0), []
    cut = stats.norm.isf(0.01)
    probability = stats.norm.sf(cut - 1.0) * 0.1 / (stats.norm.sf(cut - 1.0) * 0.1 + stats.norm.sf(cut) * 0.9)
    top = 0.1 * stats.norm.sf(cut - 1.0) + 0.9 * stats.norm.sf(cut)
    for _ in range(100):
        wanted = generator.random(2000) < 0.1
        found = precision_at(generator.standard_normal(2000) + wanted, wanted, top, seed=0, draws=100)
        covered.append(found.lo <= probability <= found.hi)
    assert np.mean(covered) >= 0.93


def test_features_of_a_fleet_know_nothing_of_later_epochs():
    drawn, _ = growing(0, models=16, n=40, epochs=4)
    found = fleet_features(drawn)
    for place in range(4):
        early = fleet_features(drawn.until(place))[place + 1.0]
        for name, values in early.items():
            np.testing.assert_allclose(values, found[place + 1.0][name], err_msg=name)
    apart = effect(drawn)
    np.testing.assert_allclose(found[3.0]["mean_effect"], apart[:3].mean(0))
    np.testing.assert_allclose(found[3.0]["largest_effect"], apart[:3].max(0))
    np.testing.assert_allclose(found[3.0]["effect_gain"], apart[2] - apart[1])
    np.testing.assert_allclose(found[4.0]["advantage"], points(drawn)[3, :, 1] - points(drawn)[3, :, 0])


def test_features_of_a_run_are_those_of_its_losses_up_to_the_epoch():
    losses = np.array([[4.0, 1.0], [2.0, 1.0], [0.0, 1.0], [9.0, 9.0]])
    epochs = np.array([1.0, 2.0, 4.0, 8.0])
    found = run_features(epochs, losses, losses + 1.0, np.array([5.0, 6.0]))
    assert {name: values.tolist() for name, values in found[4.0].items()} == {
        "loss": [0.0, 1.0], "mean_loss": [2.0, 1.0], "loss_iqr": [2.0, 0.0], "loss_fall": [4.0, 0.0],
        "gradient_norm": [1.0, 2.0], "mean_gradient_norm": [3.0, 2.0], "uniqueness": [5.0, 6.0],
    }  # fmt: skip
    assert "uniqueness" not in run_features(epochs, losses)[1.0]
    assert list(found) == epochs.tolist()
    with pytest.raises(ValueError, match=r"gradient norms must be \(4, 2\) finite numbers"):
        run_features(epochs, losses, losses[:2])
    with pytest.raises(ValueError, match="uniqueness must be"):
        run_features(epochs, losses, None, np.array([np.inf, 0.0]))
    with pytest.raises(ValueError, match="losses of 4 epochs need as many"):
        run_features(epochs[:3], losses)


@pytest.mark.parametrize(("noise", "share"), [(1.0, 0.1), (0.3, 0.02), (3.0, 0.3)])
def test_the_attainable_auc_is_that_of_the_true_risk(noise, share):
    generator = np.random.default_rng(0)
    risk = generator.standard_normal(20000)
    one, other = risk + noise * generator.standard_normal((2, 20000))
    label = most_vulnerable(other, share)
    agreement = auc_estimate(one[label], one[~label], seed=0, draws=50)
    found = attainable_auc(agreement, share)
    assert found.value == pytest.approx(auc(risk[label], risk[~label]), abs=0.02)
    assert found.lo > agreement.value
    assert found.lo < found.value < found.hi
    assert found.draws.mean() == pytest.approx(found.value, abs=0.01)


def test_halves_that_do_not_agree_let_nothing_be_attained():
    found = attainable_auc(Estimate(0.49, 0.45, 0.53, 0.5, 1.0, 100), 0.1)
    assert found.value == found.lo == 0.5 < found.hi
    assert attainable_auc(Estimate(1.0, 0.9, 1.0, 0.5, 1.0, 100), 0.1).value == pytest.approx(1.0)
    assert "few" in attainable_auc(inconclusive("few"), 0.1).status
    with pytest.raises(ValueError, match="between 0 and 1, not 1"):
        attainable_auc(found, 1.0)


@pytest.mark.slow
def test_without_a_signal_a_forecast_from_few_records_is_neither_above_nor_below_a_guess():
    """Odds of regressions fitted on different folds, put together, are below it: each has seen the other's records."""
    generator, found, together = np.random.default_rng(1), [], []
    for seed in range(400):
        vulnerable = generator.permutation(200) < 20
        features = {"x": generator.standard_normal(200)}
        found.append(forecast(features, vulnerable, seed=seed, draws=2).auc.value)
        odds = cross_fitted(features, vulnerable, seed=seed)
        together.append(auc(odds[vulnerable], odds[~vulnerable]))
    assert np.mean(found) == pytest.approx(0.5, abs=0.013)  # 2.7 standard errors
    assert np.mean(found) > np.mean(together) + 0.01


def test_records_are_compared_as_their_own_regression_orders_them(monkeypatch):
    """What a fold's regression adds to all its records says nothing of any of them."""
    generator = np.random.default_rng(0)
    vulnerable = generator.permutation(500) < 100
    odds = generator.standard_normal(500) + 2.0 * vulnerable
    folds = forecast_module._folds(vulnerable, 0)
    found = []
    for shift in (0.0, 5.0):
        monkeypatch.setattr(forecast_module, "cross_fitted", lambda *_, shift=shift, **__: odds + shift * folds)
        found.append(forecast({"x": odds}, vulnerable, seed=0, draws=20))
    assert found[0].auc.value == found[1].auc.value
    assert found[0].precision.value == found[1].precision.value
    assert found[0].auc.value == pytest.approx(auc(odds[vulnerable], odds[~vulnerable]), abs=0.01)
