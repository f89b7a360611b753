"""A device that runs out of memory in the pass: smaller chunks, the same tokens."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.errors import PtauditError
from ptaudit.sketches.reader import TokenReader


class Small(nn.Module):
    """Fails as a full device would, above `fits` records at a time."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        self.fits = fits
        self.asked: list[int] = []

    def forward(self, x):
        if x.dim() > 1:
            self.asked.append(len(x))
        if len(x) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.net(x)


def loss(output, target):
    return F.cross_entropy(output, target, reduction="none")


def reader_of(model: Small, records: int) -> tuple[TokenReader, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(records, 6, generator=generator)
    targets = torch.randint(0, 3, (records,), generator=generator)
    reader = TokenReader(model, loss, dim=16)
    fits, model.fits = model.fits, records
    reader.prepare(inputs, targets)
    model.fits = fits
    model.asked.clear()
    return reader, inputs, targets


@pytest.mark.parametrize("fits", [4, 5, 13, 64])
@pytest.mark.parametrize(("records", "chunk"), [(45, 256), (45, 16), (41, 10)])
def test_tokens_are_those_of_a_device_with_room(fits, records, chunk):
    reader, inputs, targets = reader_of(Small(records), records)
    expected = reader.read(inputs, targets, chunk)
    model = Small(fits)
    reader, *_ = reader_of(model, records)
    found = reader.read(inputs, targets, chunk)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.norm_sq, expected.norm_sq, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.loss, expected.loss)
    assert found.complete
    failures = [n for n in model.asked if n > fits]
    assert len(failures) <= 6  # the smaller chunk is kept
    assert all(later <= earlier // 2 for earlier, later in pairwise(failures))


def test_gradients_and_modes_are_as_before():
    model = Small(5)
    reader, inputs, targets = reader_of(model, 20)
    model.train()
    reader.read(inputs, targets)
    assert model.net.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_no_room_for_one_record_is_an_error_with_a_remedy():
    model = Small(4)
    reader, inputs, targets = reader_of(model, 9)

    def never(x):
        if x.requires_grad or model.asked:  # the check of four records passes, the pass over all does not
            model.asked.append(len(x))
        if len(model.asked) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        model.asked.append(len(x))
        return model.net(x)

    model.forward = never
    with pytest.raises(PtauditError, match=r"no memory left to read the gradient of one record \(use a device"):
        reader.read(inputs, targets)


def test_an_error_that_is_not_about_memory_passes_through():
    model = Small(100)
    reader, inputs, targets = reader_of(model, 9)
    inputs = torch.cat([inputs, inputs])[:, :6]

    def broken(x):
        if len(x) > 4:
            raise RuntimeError("something else")
        return model.net(x)

    model.forward = broken
    with pytest.raises(RuntimeError, match="something else"):
        reader.read(inputs, targets.repeat(2))
