"""Autoencoders of all layers, each alone and all jointly, as one batched tensor program."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.sketches.encoders.network import Network, components

HIDDEN = 64


class Autoencoder(Network):
    """The bottleneck is the token (arXiv 2502.02913: gradients are embedded by an autoencoder).

    Args:
        layers: number of layers (L).
        size: numbers of one scaled sketch (d).
        width: numbers in a token.
    """

    separate = True

    def __init__(self, layers: int, size: int, width: int) -> None:
        super().__init__()
        self.joint = Autoencoders(1, layers * size, width)
        self.single = Autoencoders(layers, size, width)

    def start(self, x: Tensor, generator: torch.Generator) -> None:
        """Principal components of each row."""
        self.joint.start(_side_by_side(x), generator)
        self.single.start(x, generator)

    def tokens(self, x: Tensor) -> Tensor:
        """`(L, G, d)` -> `(1 + L, G, width)`."""
        return torch.cat([self.joint.encode(_side_by_side(x)), self.single.encode(x)])

    def loss(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Sum over rows: each has weights of its own."""
        return self.missed(x).sum()

    def missed(self, x: Tensor) -> Tensor:
        """Mean squared error of each row, `(1 + L,)`."""
        parts = ((self.joint, _side_by_side(x)), (self.single, x))
        return torch.cat([(part(seen) - seen).square().mean((1, 2)) for part, seen in parts])


class Autoencoders(nn.Module):
    """R autoencoders side by side: a linear map and one hidden layer on top, both ways.

    Args:
        rows: number of autoencoders (R).
        size: numbers that each takes (d).
        width: numbers in a token, fewer where d is smaller: the others are 0.
    """

    def __init__(self, rows: int, size: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Parameter(torch.zeros(rows, size, width))
        self.bend_in = nn.Parameter(torch.zeros(rows, size, HIDDEN))
        self.bend_bias = nn.Parameter(torch.zeros(rows, 1, HIDDEN))
        self.bend_out = nn.Parameter(torch.zeros(rows, HIDDEN, width))
        self.decoder = nn.Parameter(torch.zeros(rows, width, size))
        self.unbend_in = nn.Parameter(torch.zeros(rows, width, HIDDEN))
        self.unbend_bias = nn.Parameter(torch.zeros(rows, 1, HIDDEN))
        self.unbend_out = nn.Parameter(torch.zeros(rows, HIDDEN, size))

    def start(self, x: Tensor, generator: torch.Generator) -> None:
        """The linear maps are the principal components, and the hidden layers add nothing yet."""
        rows, size, width = self.encoder.shape
        basis = components(x, width, generator)
        with torch.no_grad():
            for weight in self.parameters():
                weight.zero_()
            self.encoder[..., : basis.shape[-1]] = basis
            self.decoder[:, : basis.shape[-1]] = basis.mT
            self.bend_in.copy_(torch.randn(rows, size, HIDDEN, generator=generator) / math.sqrt(size))
            # Scores of the components differ in size by orders of magnitude, so each is brought to one.
            spread = (x @ basis).square().mean(1).sqrt().clamp_min(1e-6)
            draw = torch.randn(rows, width, HIDDEN, generator=generator).to(x) / math.sqrt(width)
            self.unbend_in[:, : basis.shape[-1]] = draw[:, : basis.shape[-1]] / spread[..., None]

    def encode(self, x: Tensor) -> Tensor:
        """`(R, G, d)` -> `(R, G, width)`."""
        return x @ self.encoder + F.gelu(x @ self.bend_in + self.bend_bias) @ self.bend_out

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction, `(R, G, d)`."""
        z = self.encode(x)
        return z @ self.decoder + F.gelu(z @ self.unbend_in + self.unbend_bias) @ self.unbend_out


def _side_by_side(x: Tensor) -> Tensor:
    """`(L, G, d)` -> `(1, G, L * d)`."""
    return x.transpose(0, 1).flatten(1)[None]
