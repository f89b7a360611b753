"""Joint rows: one linear map for tokens of records and for what is seen of batches."""

import torch

from ptaudit.views import sums
from ptaudit.views.joint import Joint, mixed, stacked


def tokens(layers=3, n=40, k=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-3, 3, layers, dtype=torch.float64)[:, None, None]
    return scale * torch.randn(layers, n, k, generator=generator, dtype=torch.float64)


def test_rows_are_those_of_the_functions_bit_for_bit():
    given = tokens()
    assert torch.equal(Joint.of(given).rows(given), torch.cat([given, torch.stack([mixed(given), stacked(given)])]))
    assert torch.equal(Joint.of(given, noisy=True).rows(given), torch.cat([given, mixed(given)[None]]))


def test_sums_of_rows_are_rows_of_sums():
    given, members = tokens(), torch.randint(40, (9, 6), generator=torch.Generator().manual_seed(1))
    joint = Joint.of(given)
    torch.testing.assert_close(sums(joint.rows(given), members), joint.rows(sums(given, members)))


def test_more_layers_than_coordinates():
    given = tokens(layers=7, k=4)
    assert Joint.of(given).rows(given).shape == (9, 40, 4)


def test_layers_are_stacked_at_equal_size():
    given = tokens(layers=2, k=4)
    row = Joint.of(given).rows(given)[-1]
    assert 0.3 < row[:, :2].norm() / row[:, 2:].norm() < 3.0
