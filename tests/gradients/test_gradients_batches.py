"""Batches in pieces that bound memory."""

import torch

from ptaudit.gradients import Dense
from ptaudit.gradients.matrices import BatchSums, at_once, cells_of, first


def test_pieces_are_as_large_as_asked_for_and_do_not_change_the_sums():
    generator = torch.Generator().manual_seed(0)
    layers = [[Dense(torch.randn(10, 3, 4, generator=generator))], [Dense(torch.randn(10, 2, 2, generator=generator))]]
    members = torch.randint(10, (7, 5), generator=generator)
    each = 3 * 4 + 5 * (3 + 4) + 2 * 2 + 5 * (2 + 2)
    assert cells_of(layers, 5) == each
    assert [at_once(layers, 5, cells) for cells in (1, 3 * each, 1 << 23)] == [1, 3, 256]
    pieces = list(BatchSums(layers, cells=3 * each).read(members, generator))
    assert [len(piece[0][0]) for piece in pieces] == [3, 3, 1]
    for layer in range(2):
        whole = torch.cat([piece[layer][0] for piece in pieces])
        torch.testing.assert_close(whole, layers[layer][0].values[members].sum(1))


def test_the_first_records():
    one = Dense(torch.arange(24.0).view(4, 2, 3), whole=False)
    few = first(one, 2)
    assert torch.equal(few.values, one.values[:2])
    assert not few.whole
