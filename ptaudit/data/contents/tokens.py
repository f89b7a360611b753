"""Sequences of tokens as content: which tokens occur."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ptaudit.data.contents.base import NONE, Array, ByMean, Parts, Prior, explained, flat
from ptaudit.model_input import Inputs, leaves


@dataclass(frozen=True)
class Tokens(ByMean):
    """Sequences of tokens, as the set of those that occur.

    Attributes:
        ids: the tokens of the source, ascending, `(V,)` int64.
    """

    ids: Tensor

    kind = "tokens"
    metrics = ("explained_variance", "tokens", "tokens_gain")

    @classmethod
    def of(cls, inputs: Inputs) -> Tokens:
        """Of all that occur in some records."""
        ids, real = sequences(inputs)
        return cls(torch.unique(ids[real]))

    @property
    def width(self) -> int:
        """See `Content`."""
        return len(self.ids)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Content`."""
        return (self.width,)

    @property
    def parts(self) -> Parts:
        """See `Content`."""
        return Parts(NONE, (), np.arange(self.width))

    def targets(self, inputs: Inputs) -> Tensor:
        """See `Content`; 1 for every token of the source that occurs where the mask says that one is real."""
        return self.present(*sequences(inputs))

    def present(self, ids: Tensor, real: Tensor) -> Tensor:
        """Which tokens occur, `(n, P)` ids and which of them are real -> `(n, V)` zeros and ones."""
        known = self.ids.to(ids.device)
        place = torch.searchsorted(known, ids).clamp_max(len(known) - 1)
        counts = real & (known[place] == ids)
        found = torch.zeros(len(ids), len(known), device=ids.device)
        return found.scatter_reduce(1, place, counts.float(), "amax")

    def scores(self, rebuilt: Tensor, true: Tensor, prior: Prior) -> dict[str, Array]:
        """See `Content`; `tokens` is the share of a record's k different tokens among the k that are rated highest.

        Tokens that are rated 0 or less are no answer. The guess are the k most frequent ones.
        """
        x, y = flat(rebuilt), flat(true)
        found, guessed = _top_share(x, y), _top_share(np.broadcast_to(prior.guess, y.shape), y)
        return {"explained_variance": explained(x, y, prior), "tokens": found, "tokens_gain": found - guessed}


def _top_share(rating: Array, true: Array) -> Array:
    count = true.sum(1).astype(np.int64)
    order = np.argsort(-rating, axis=1, kind="stable")
    hit = np.take_along_axis(true * (rating > 0.0), order, 1)
    hits = np.where(np.arange(true.shape[1]) < count[:, None], hit, 0.0).sum(1)
    return np.asarray(hits / np.maximum(count, 1))


def sequences(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Token ids `(n, P)`, and which of them are real."""
    named = inputs.items() if isinstance(inputs, dict) else [(str(i), leaf) for i, leaf in enumerate(leaves(inputs))]
    masks = [leaf for name, leaf in named if "mask" in name or leaf.dtype == torch.bool]
    ids = next(leaf for name, leaf in named if leaf.dtype == torch.int64 and "mask" not in name)
    real = masks[0].bool() if masks else torch.ones_like(ids, dtype=torch.bool)
    return ids, real
