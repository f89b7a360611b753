"""Signals of outputs, of losses and of errors."""

import subprocess
import sys

import numpy as np
import pytest
from population import signals_of
from scipy.special import log_softmax, softmax

from ptaudit.attacks.membership.signals import References, Signals, from_errors, from_logits, from_losses, references


def logits(size=2.0, shape=(40, 6)):
    generator = np.random.default_rng(0)
    return size * generator.standard_normal(shape), generator.integers(shape[-1], size=shape[-2])


def test_losses_confidences_and_entropies_are_those_of_the_probabilities():
    values, labels = logits()
    found, p = from_logits(values, labels), softmax(values, axis=1)
    own = p[np.arange(40), labels]
    np.testing.assert_allclose(found.losses, -np.log(own))
    np.testing.assert_allclose(found.confidence, np.log(own / (1 - own)))
    rest = p * np.log(1 - p)
    expected = -(1 - own) * np.log(own) - (rest.sum(1) - rest[np.arange(40), labels])
    np.testing.assert_allclose(found.modified_entropy, expected)


def test_certain_predictions_are_still_told_apart():
    found = from_logits([[40.0, 0.0, 0.0], [50.0, 0.0, 0.0], [0.0, 60.0, 0.0]], [0, 0, 0])
    np.testing.assert_allclose(found.confidence[:2], [40 - np.log(2), 50 - np.log(2)])
    np.testing.assert_allclose(found.losses[:2], 2 * np.exp([-40.0, -50.0]))
    assert found.modified_entropy[0] > found.modified_entropy[1] > 0
    np.testing.assert_allclose(found.modified_entropy[2], 60.0 + 60.0, rtol=0.02)  # -log p_y - log(1 - p_1)


def test_losses_alone_give_the_same_confidence():
    values, labels = logits()
    by_logits, losses = from_logits(values, labels), -log_softmax(values, axis=1)[np.arange(40), labels]
    found = from_losses(losses)
    np.testing.assert_allclose(found.confidence, by_logits.confidence, rtol=1e-9)
    assert np.isfinite(from_losses([0.0, 1e-300, 1e300, np.inf]).confidence).all()


def test_errors_do_not_depend_on_the_unit():
    errors = np.random.default_rng(0).exponential(size=30)
    one, other = from_errors(errors, errors.mean()), from_errors(100.0 * errors, 100.0 * errors.mean())
    np.testing.assert_allclose(one.confidence, other.confidence)
    np.testing.assert_allclose(one.losses, other.losses)
    assert (np.diff(one.confidence[np.argsort(errors)]) < 0).all()
    with pytest.raises(ValueError, match="must be above 0, not 0"):
        from_errors(errors, 0.0)


def test_many_models_are_one_model_each():
    values, labels = logits(shape=(3, 20, 4))
    found = from_logits(values, labels)
    for model in range(3):
        alone = from_logits(values[model], labels)
        np.testing.assert_allclose(found.model(model).modified_entropy, alone.modified_entropy)
    assert found.records == 20


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        (np.zeros((4, 1)), [0] * 4, "need 2 or more classes; of a model with one output give the losses"),
        (np.zeros((4, 3)), [0] * 5, r"labels have shape \(5,\), logits are of 4 records"),
        (np.zeros((4, 3)), [0, 1, 2, 3], "labels reach from 0 to 3, logits have 3 classes"),
    ],
)
def test_labels_that_do_not_fit_are_refused(values, labels, message):
    with pytest.raises(ValueError, match=message):
        from_logits(values, labels)


def test_signals_and_masks_of_other_shapes_are_refused_with_their_names():
    with pytest.raises(ValueError, match=r"confidence \(4,\), losses \(5,\), loss_trace \(4, 3\), labels \(2,\)"):
        Signals(np.zeros(4), np.zeros(5), labels=np.zeros(2, np.int64), loss_trace=np.zeros((4, 3)))
    known = signals_of(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="signals and masks of one shape"):
        references(known, np.zeros((2, 5), dtype=bool))
    with pytest.raises(ValueError, match="cannot have been trained on a record and not"):
        References(known, np.ones((2, 4), dtype=bool), np.ones((2, 4), dtype=bool))


def test_attacks_need_no_torch():
    code = (
        "import sys, numpy as np; from ptaudit.attacks.membership.registry import ATTACKS; "
        "from ptaudit.attacks.membership.signals import from_losses; "
        "ATTACKS['loss'](from_losses(np.ones(3))); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
