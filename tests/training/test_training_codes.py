"""Rows of whole numbers are codes where the model looks them up, whatever type they were saved in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ptaudit.training.forward import with_codes

CODES = torch.arange(12).reshape(6, 2)


def lookup() -> nn.Module:
    return nn.Sequential(nn.Embedding(12, 3), nn.Flatten(), nn.Linear(6, 2))


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(12, 3), nn.Linear(8, 2)

    def forward(self, ids, rest):
        return self.head(torch.cat([self.table(ids).flatten(1), rest], 1))


def never() -> nn.Module:
    raise AssertionError("no model is needed")


def test_numbers_that_a_model_looks_up_are_codes():
    found = with_codes(lookup, CODES.float())
    assert found.dtype == torch.int64
    assert torch.equal(found, CODES)


def test_numbers_that_it_computes_with_stay_numbers():
    assert with_codes(lambda: nn.Linear(2, 2), CODES.float()).dtype == torch.float32


def test_what_it_takes_in_no_form_is_left_for_the_error():
    assert with_codes(lambda: nn.Linear(3, 2), CODES.float()).dtype == torch.float32


@pytest.mark.parametrize("inputs", [CODES.float() + 0.5, CODES.float() - 1, CODES, CODES.float()[:, None, :, None]])
def test_no_model_is_built_for_what_cannot_be_codes(inputs):
    assert with_codes(never, inputs) is inputs


def test_of_several_inputs_those_that_are_whole():
    inputs = {"ids": CODES.float(), "rest": torch.randn(6, 2)}
    found = with_codes(Both, inputs)
    assert {name: x.dtype for name, x in found.items()} == {"ids": torch.int64, "rest": torch.float32}
    assert torch.equal(found["rest"], inputs["rest"])
