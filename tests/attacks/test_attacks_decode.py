"""Records that are read off the gradient of a small batch."""

import numpy as np
import pytest
import torch
from attack_cases import generator

from ptaudit.attacks.decode import Decoder

FIELDS, UNITS = (3, 4, 5, 6), 40


def inputs_of(n, seed=0):
    """One category of each field, one number out of nine, and 1 for the bias."""
    g = generator(seed)
    fields = [torch.nn.functional.one_hot(torch.randint(size, (n,), generator=g), size) for size in FIELDS]
    numbers = torch.linspace(-1.0, 1.0, 9)[torch.randint(9, (n, 1), generator=g)]
    return torch.cat([*fields, numbers, torch.ones(n, 1)], 1).float()


def batch_of(inputs, seed=1):
    g = generator(seed)
    errors = torch.randn(len(inputs), UNITS, generator=g) * (torch.rand(len(inputs), UNITS, generator=g) < 0.5)
    return (errors.mT @ inputs)[None]


@pytest.mark.parametrize("m", [1, 3, 8])
def test_all_records_are_found(m):
    own, inside = inputs_of(600), inputs_of(m, 5)
    decoder = Decoder.of(own)
    (found,) = decoder.records(batch_of(inside))
    apart = torch.cdist(inside.double(), torch.from_numpy(found))
    assert apart.amin(1).max() < 1e-3
    count = decoder.counts(batch_of(inside))[0]
    assert count[0] == len(found) >= count[2 * len(decoder.binary) + 1] >= m


def test_inputs_exclude_each_other_within_a_field_alone():
    decoder = Decoder.of(inputs_of(600))
    start = 0
    for size in FIELDS:
        block = decoder.apart[start : start + size, start : start + size]
        assert (block == 1.0 - np.eye(size)).all()
        start += size
    assert decoder.apart.sum() == sum(size * (size - 1) for size in FIELDS)


def test_a_batch_of_larger_rank_is_left_alone():
    decoder = Decoder.of(inputs_of(600))
    assert not decoder.counts(batch_of(inputs_of(30, 3))).any()
    assert not decoder.counts(torch.zeros(1, UNITS, 20)).any()


def test_only_where_most_inputs_are_binary_and_there_is_a_bias():
    own = inputs_of(200)
    assert Decoder.of(own[:, :-1]) is None
    assert Decoder.of(torch.randn(200, 12, generator=generator())) is None
