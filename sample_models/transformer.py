"""A small Transformer encoder (Vaswani et al. 2017) that classifies sequences of token ids, for instance short texts.

Copy this file and change it. In a spec:

    model: {entry: ../sample_models/transformer.py:transformer, args: {vocab: 8000, length: 64, num_classes: 4}}

A record is a row of token ids, all rows of one length: short ones are filled up with any id, and a mask says which are
real. Give both as a batch by name, {"ids": (n, length), "mask": (n, length)}, or as a tuple (ids, mask); without a mask
every token is real.
"""

import torch
from torch import nn


class Encoder(nn.Module):
    """Token and position embeddings, encoder layers with the norm first, the mean over real tokens, a linear layer."""

    def __init__(
        self, vocab: int, length: int, width: int, heads: int, layers: int, num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, num_classes)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Class scores (n, num_classes).

        Args:
            ids: token ids (n, length).
            mask: (n, length), not zero where a token is real; the first one always counts as real.
        """
        place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)  # one row per record, as for the tokens
        real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool() | (place == 0)
        x = self.tokens(ids) + self.positions(place)
        x = self.norm(self.encoder(x, src_key_padding_mask=~real))
        weight = real.unsqueeze(2) / real.sum(1, keepdim=True).unsqueeze(2)
        return self.head((x * weight).sum(1))


def transformer(
    vocab: int,
    length: int = 64,
    width: int = 64,
    heads: int = 4,
    layers: int = 2,
    num_classes: int = 2,
    dropout: float = 0.1,
) -> nn.Module:
    """A Transformer encoder with a class head.

    Args:
        vocab: number of different tokens.
        length: longest sequence.
        width: numbers per token, a multiple of `heads`.
        heads: attention heads.
        layers: encoder layers.
        num_classes: number of classes.
        dropout: inside the encoder layers, while training.
    """
    if width % heads:
        raise ValueError(f"width must be a multiple of heads, not {width} with {heads} heads")
    return Encoder(vocab, length, width, heads, layers, num_classes, dropout)
