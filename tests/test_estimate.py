"""`ptaudit.estimate` as its users call it; what it finds is tested in games/."""

import numpy as np
import pytest
import torch

from ptaudit.estimate import Estimate, identity_bits

TOKENS = np.random.default_rng(0).normal(size=(256, 16))


def test_returns_an_estimate_with_everything_needed_to_believe_it():
    found = identity_bits(TOKENS, batch_size=4, noise=0.5, candidates=32, seed=1)
    assert isinstance(found, Estimate)
    assert 0.0 < found.lo < found.value < found.hi < found.ceiling == 5.0
    assert abs(found.null) < 0.05
    assert found.n == 256
    assert found.status == "dim-limited"
    assert found.draws.shape == (1000,)
    assert found.draws.std() == pytest.approx((found.hi - found.lo) / 4, rel=0.3)


@pytest.mark.parametrize("kind", [lambda x: x.tolist(), torch.tensor, lambda x: torch.tensor(x, requires_grad=True)])
def test_arrays_lists_and_tensors_are_the_same_to_it(kind):
    assert identity_bits(kind(TOKENS), 4) == identity_bits(TOKENS, 4)


def test_single_precision_says_the_same():
    found = identity_bits(torch.tensor(TOKENS, dtype=torch.float32), 4)
    assert found.value == pytest.approx(identity_bits(TOKENS, 4).value, abs=1e-3)


def test_leaves_its_input_and_the_global_generators_alone():
    given = torch.tensor(TOKENS)
    before, state, numpy_state = given.clone(), torch.get_rng_state(), np.random.get_state()[1].copy()
    identity_bits(given, 4, noise=1.0, rounds=2)
    assert torch.equal(given, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_more_noise_and_larger_batches_hide_more():
    by_noise = [identity_bits(TOKENS, 1, noise=s).value for s in (1.0, 2.0, 4.0, 16.0)]
    by_batch = [identity_bits(TOKENS, m).value for m in (1, 2, 4, 8)]
    assert by_noise == sorted(by_noise, reverse=True)
    assert by_batch == sorted(by_batch, reverse=True)


@pytest.mark.parametrize("tokens", [np.zeros(5), np.zeros((4, 4, 4)), np.zeros((100, 0))])
def test_tokens_must_be_a_matrix(tokens):
    with pytest.raises(ValueError, match="shape"):
        identity_bits(tokens)


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"rounds": 0}, {"candidates": 1}, {"noise": -1.0}, {"noise": float("nan")}]
)
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        identity_bits(TOKENS, **wrong)


def test_no_records_are_inconclusive():
    assert not identity_bits(np.zeros((0, 4)), 1).conclusive
