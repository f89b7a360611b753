"""The one measure by which faster ways to gradients are held against plain autograd."""

from __future__ import annotations

import math

import pytest
import torch

from ptaudit.gradients.agreement import agrees, attempt, rounding

TRUTH = [torch.tensor([3.0, 4.0]), torch.zeros(2)]


def far(*gaps: float) -> list[torch.Tensor]:
    """The truth with its first numbers off by so much."""
    return [true + torch.tensor([gap, 0.0]) for true, gap in zip(TRUTH, gaps, strict=True)]


@pytest.mark.parametrize(
    ("gaps", "same"),
    [
        ((0.0, 0.0), True),
        ((0.05, 0.0), True),  # 1 % of 5, and a floor of 1 % of that
        ((0.06, 0.0), False),
        ((0.0, 0.0004), True),  # what is 0 in truth may be off by 1 % of 1 % of all
        ((0.0, 0.001), False),
        ((math.nan, 0.0), False),
        ((0.0, math.inf), False),
    ],
)
def test_each_tensor_is_held_against_its_own_size_and_zeros_against_that_of_all(gaps, same):
    assert agrees(lambda: far(*gaps), TRUTH, 0.01) is same


def test_what_rounding_explains_of_three_tensors():
    sizes = torch.tensor([3.0, 0.0, 4.0])
    torch.testing.assert_close(rounding(sizes, 0.1), torch.tensor([0.305, 0.005, 0.405]))


def test_a_way_that_cannot_be_gone_is_none_but_a_full_device_is_told():
    def broken():
        raise NotImplementedError("no batching rule")

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert attempt(broken) is None
    assert not agrees(broken, TRUTH, 0.01)
    with pytest.raises(torch.OutOfMemoryError):
        agrees(full, TRUTH, 0.01)
