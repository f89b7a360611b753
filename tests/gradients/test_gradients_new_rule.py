"""A rule for a new family of layers is one function and one line: nothing else has to know of it."""

from __future__ import annotations

import torch
from token_models import Readout
from token_reference import assert_reads_truly
from torch import nn

from ptaudit.gradients.rules import RULES
from ptaudit.gradients.rules.base import all_positions, from_gradients, with_norms_only
from ptaudit.sketches.live import LiveReader


class Mixed(nn.Module):
    """A matrix product that no hook on `F.linear` sees, and that takes no matrix for each record."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        return torch.einsum("ni,oi->no", x, self.weight)


def mixed(layer, calls, n, sketch):
    """The gradient is that of a linear layer, built."""
    a, g = (all_positions([getattr(call, name) for call in calls], n) for name in ("input", "grad"))
    return from_gradients({"weight": g.mT @ a}, sketch)


def case():
    torch.manual_seed(0)
    return nn.Sequential(Mixed(), Readout()), torch.randn(6, 4), torch.arange(6) % 3


def test_without_a_rule_it_is_read_by_torch_func():
    reader, _ = assert_reads_truly(*case(), {"0": "vmap"})
    assert reader.layers[0].reason == "no rule for Mixed"


def test_with_one_line_it_is_read_by_its_rule_after_training_and_in_it(monkeypatch):
    monkeypatch.setitem(RULES, Mixed, with_norms_only(mixed))
    model, inputs, targets = case()
    _, tokens = assert_reads_truly(model, inputs, targets, {"0": "rule"}, seed=3)
    live = LiveReader(model, 16, 3)
    with live.capture(len(inputs)) as seen:
        nn.functional.cross_entropy(model(inputs), targets).backward()
    assert [info.capture for info in live.layers] == ["rule"]
    torch.testing.assert_close(seen.tokens.values, tokens.values, rtol=1e-4, atol=1e-6)
