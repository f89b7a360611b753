from __future__ import annotations

import torch
from torch import nn

from ptaudit.gradients.record_losses import functional


class Shared(nn.Module):
    """A layer under two paths, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.other = self.one
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.one.weight
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.tied(self.other(self.one(x))))


def test_a_model_with_shared_layers_stays_as_it_is():
    torch.manual_seed(0)
    model = Shared().eval()
    kept, parts = dict(model.named_parameters()), {**dict(model.named_parameters()), **dict(model.named_buffers())}
    given = {name: tensor.detach() + 1 for name, tensor in parts.items()}
    x = torch.randn(3, 4)
    output = functional(model)(given, x)
    assert all(kept[name] is parameter for name, parameter in model.named_parameters())

    with torch.no_grad():
        for tensor in parts.values():
            tensor.add_(1)
    torch.testing.assert_close(output, model(x))


def test_a_shared_weight_may_be_given_under_any_of_its_paths():
    torch.manual_seed(0)
    model, x = Shared().eval(), torch.randn(3, 4)
    weight = torch.randn(4, 4)
    found = [functional(model)({path: weight}, x) for path in ("one.weight", "other.weight", "tied.weight")]
    with torch.no_grad():
        model.one.weight.copy_(weight)
    for output in found:
        torch.testing.assert_close(output, model(x))
