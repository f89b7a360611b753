"""Of torch's warnings about `vmap` nothing reaches a user, whose own warnings do."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.func import vmap

from ptaudit.model_input import batched
from ptaudit.sketches.reader import TokenReader


class Talkative(nn.Module):
    """Read by `vmap`, with an operation that has no batching rule."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(6))

    def forward(self, x):
        warnings.warn("this model is slow", UserWarning, stacklevel=1)
        return x.flatten(1) @ self.matrix


def margin(output, target):
    each = nn.functional.multi_margin_loss
    return torch.stack([each(row[None], label[None]) for row, label in zip(output, target)])


def said(work):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        work()
    return {str(warning.message).split(" because ")[0] for warning in found}


def test_only_the_warning_about_batching_rules_is_withheld():
    x, y = torch.randn(4, 6), torch.zeros(4, 1, dtype=torch.long)

    def run():
        vmap(lambda row, label: nn.functional.multi_margin_loss(row[None], label))(x, y)
        warnings.warn("mine", UserWarning, stacklevel=1)

    def within():
        with batched():
            run()

    assert said(run) == {"There is a performance drop", "mine"}
    assert said(within) == {"mine"}


def test_a_model_is_read_without_it():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 6, generator=generator), torch.randint(0, 6, (16,), generator=generator)
    reader = TokenReader(Talkative(), margin, dim=16)
    assert said(lambda: reader.prepare(x, y)) == {"this model is slow"}
    assert [layer.capture for layer in reader.layers] == ["vmap"]
    assert said(lambda: reader.read(x, y)) == {"this model is slow"}
