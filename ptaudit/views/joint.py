"""All layers of a view together, which is what a federated server sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def mixed(tokens: Tensor) -> Tensor:
    """The sketch of the whole gradient: the sum of the layers' sketches, whose projections are independent.

    An unbiased picture of the gradient's inner products in k numbers, so noise on the whole gradient is noise of the
    same size on it. `(L, N, k)` -> `(N, k)`.
    """
    return tokens.sum(0)


def sizes(tokens: Tensor) -> Tensor:
    """Median norm of each layer's tokens, by which layers are made comparable: `(L, N, k)` -> `(L,)`.

    It is symmetric in the records, so it tells nothing of who was in a batch.
    """
    return tokens.square().sum(-1).median(1).values.clamp_min(1e-200).sqrt()


def stacked(tokens: Tensor, size: Tensor | None = None) -> Tensor:
    """An equal share of each layer's token, side by side, at equal size: small layers are not drowned by large ones.

    `(L, N, k)` -> `(N, k)`; zero beyond L * (k // L) coordinates. With more layers than coordinates the first k layers
    are shown. The size of each layer, `(L,)`, is that of these very tokens where none is given.
    """
    layers, n, k = tokens.shape
    share = max(1, k // layers)
    size = sizes(tokens) if size is None else size
    place = torch.linspace(0, k - 1, share).round().long()
    parts = (tokens[:k, :, place] / size[:k, None, None]).transpose(0, 1).reshape(n, -1)
    return torch.nn.functional.pad(parts, (0, k - parts.shape[1]))


@dataclass(frozen=True)
class Joint:
    """The joint rows as one fixed linear map, the same for the tokens of records and for what is seen of batches.

    Attributes:
        size: of each layer in the stacked row, `(L,)`; None where there is no stacked row, as in noisy views: only the
            mixed row has the noise of the mechanism.
    """

    size: Tensor | None

    @classmethod
    def of(cls, tokens: Tensor, noisy: bool = False) -> Joint:
        """That of a view whose records have these tokens, `(L, N, k)`."""
        return cls(None if noisy else sizes(tokens))

    def rows(self, layers: Tensor) -> Tensor:
        """The layers, then the joint rows: `(L, G, k)` -> `(R, G, k)`."""
        joint = [mixed(layers)] if self.size is None else [mixed(layers), stacked(layers, self.size)]
        return torch.cat([layers, torch.stack(joint)])
