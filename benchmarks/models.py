"""Models and batches that training steps are timed on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "sample_models"))

from cnn import cnn
from resnet18 import resnet18_gn
from transformer import transformer

Case = tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, Tensor]], int]
"""How to build a model, how to make a batch of n records, and n on a CPU."""


def pictures(n: int, channels: int, size: int) -> tuple[Tensor, Tensor]:
    """Noise with classes."""
    return torch.randn(n, channels, size, size), torch.randint(0, 10, (n,))


def sequences(n: int, vocab: int, length: int) -> tuple[Tensor, Tensor]:
    """Random tokens with classes."""
    return torch.randint(0, vocab, (n, length)), torch.randint(0, 2, (n,))


class Patches(nn.Module):
    """A ViT-like encoder of 4x4 patches, as for CIFAR."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.patch, self.body = nn.Conv2d(3, width, 4, stride=4), nn.TransformerEncoder(layer, layers, None, False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (n, 10)."""
        return self.head(self.norm(self.body(self.patch(x).flatten(2).mT)).mean(1))


MODELS: dict[str, Case] = {
    "cnn": (cnn, lambda n: pictures(n, 1, 28), 128),
    "resnet18-gn": (resnet18_gn, lambda n: pictures(n, 3, 32), 32),
    "transformer": (
        lambda: transformer(8000, length=64, width=256, heads=8, layers=4),
        lambda n: sequences(n, 8000, 64),
        32,
    ),
    "vit": (lambda: Patches(192, 6), lambda n: pictures(n, 3, 32), 32),
}
QUICK: dict[str, Case] = {
    "cnn": (cnn, lambda n: pictures(n, 1, 28), 16),
    "transformer": (lambda: transformer(500, length=16), lambda n: sequences(n, 500, 16), 8),
}
