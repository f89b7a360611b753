"""The largest eigenvalue by products: exact in the whole space, a lower bound before, and as near as is promised."""

from __future__ import annotations

import math

import pytest
import torch

from ptaudit.gradients.lanczos import largest_ritz_value, relative_gap


def starts(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def matrices(n, d, rank, seed=0):
    factor = torch.randn(n, d, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return factor @ factor.mT


def times(a):
    return lambda v: torch.einsum("nij,nj->ni", a, v)


def test_with_as_many_steps_as_numbers_it_is_exact():
    a = matrices(6, 9, 9)
    found = largest_ritz_value(times(a), starts(6, 9), 20)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(a)[:, -1])
    assert relative_gap(9, 9, 0.01) == relative_gap(20, 9, 0.01) == 0.0


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_an_exhausted_space_is_exact_and_zero_is_zero(rank):
    a = matrices(4, 30, rank) if rank else torch.zeros(4, 30, 30, dtype=torch.float64)
    found = largest_ritz_value(times(a), starts(4, 30), 12)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(a)[:, -1].clamp_min(0.0), rtol=1e-8, atol=1e-12)


def test_it_grows_with_the_steps_and_stays_below():
    a = matrices(5, 60, 60)
    top = torch.linalg.eigvalsh(a)[:, -1]
    found = torch.stack([largest_ritz_value(times(a), starts(5, 60), k) for k in (1, 2, 4, 8, 16)])
    assert bool((found[1:] >= found[:-1] - 1e-9).all())
    assert bool((found <= top * (1 + 1e-9)).all())


@pytest.mark.parametrize("spectrum", ["flat with one above", "even", "one"])
@pytest.mark.parametrize("steps", [6, 12])
def test_the_gap_is_exceeded_no_more_often_than_promised(spectrum, steps):
    d, trials, error = 400, 400, 0.1
    values = {
        "flat with one above": torch.cat([torch.ones(d - 1), torch.tensor([1.05])]),
        "even": torch.linspace(0.0, 1.0, d),
        "one": torch.cat([torch.zeros(d - 1), torch.ones(1)]),
    }[spectrum].double()
    found = largest_ritz_value(lambda v: values * v, starts(trials, d), steps)
    gap = 1.0 - found / values.max()
    allowed = relative_gap(steps, d, error)
    assert float((gap > allowed).double().mean()) <= error + 2.5 * math.sqrt(error / trials)
    assert float(gap.min()) >= -1e-12


def test_few_steps_promise_nothing():
    assert relative_gap(3, 1000, 1e-4) == 1.0
    assert relative_gap(40, 1000, 1e-4) < 0.05
