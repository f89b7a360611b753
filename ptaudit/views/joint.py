"""All layers of a view together, which is what a federated server sees."""

from __future__ import annotations

import torch
from torch import Tensor


def mixed(tokens: Tensor) -> Tensor:
    """The sketch of the whole gradient: the sum of the layers' sketches, whose projections are independent.

    An unbiased picture of the gradient's inner products in k numbers, so noise on the whole gradient is noise of the
    same size on it. `(L, N, k)` -> `(N, k)`.
    """
    return tokens.sum(0)


def stacked(tokens: Tensor) -> Tensor:
    """An equal share of each layer's token, side by side, at equal size: small layers are not drowned by large ones.

    The scale of a layer is symmetric in the records, so it tells nothing of who was in a batch. `(L, N, k)` ->
    `(N, k)`; zero beyond L * (k // L) coordinates. With more layers than coordinates the first k layers are shown.
    """
    layers, n, k = tokens.shape
    share = max(1, k // layers)
    size = tokens.square().sum(-1).median(1).values.clamp_min(1e-200).sqrt()
    place = torch.linspace(0, k - 1, share).round().long()
    parts = (tokens[:k, :, place] / size[:k, None, None]).transpose(0, 1).reshape(n, -1)
    return torch.nn.functional.pad(parts, (0, k - parts.shape[1]))
