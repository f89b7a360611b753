"""Learned encoders of gradient sketches, the second kind of privacy token (arXiv 2502.02913)."""

from __future__ import annotations

import torch

from ptaudit.sketches.encoders.autoencoder import Autoencoder
from ptaudit.sketches.encoders.base import Encoder, Fitted
from ptaudit.sketches.encoders.network import Network
from ptaudit.sketches.encoders.transformer import Transformer

__all__ = ["ENCODERS", "WIDTH", "Encoder", "Fitted", "make"]

ENCODERS: dict[str, type[Network]] = {"autoencoder": Autoencoder, "transformer": Transformer}

WIDTH = 32
"""Numbers in a token."""


def make(
    name: str, layers: int, dim: int, seed: int, device: torch.device | str = "cpu", width: int = WIDTH
) -> Encoder:
    """An encoder, to be fitted.

    Args:
        name: one of `ENCODERS`.
        layers: number of layers (L).
        dim: numbers of one sketch.
        seed: of all randomness.
        device: where to train and encode.
        width: numbers in a token.

    Raises:
        ValueError: no encoder has that name.
    """
    if name not in ENCODERS:
        raise ValueError(f"no encoder {name!r}; there are {', '.join(ENCODERS)}")
    return Encoder(ENCODERS[name](layers, dim + 1, width), name, layers, dim, seed, device)
