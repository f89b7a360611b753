"""Sequences of tokens as content: which tokens occur."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ptaudit.data.contents.base import NONE, Array, ByMean, Parts, Prior, explained, flat
from ptaudit.model_input import Inputs, leaves, mapped


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
    masks, every = _masks(inputs), leaves(inputs)
    ids = next(leaf for leaf, mask in zip(every, masks) if not mask and leaf.dtype == torch.int64)
    real = [leaf.bool() for leaf, mask in zip(every, masks) if mask]
    return ids, real[0] if real else torch.ones_like(ids, dtype=torch.bool)


def composed(like: Inputs, ids: Tensor, real: Tensor) -> Inputs:
    """Inputs of the same names and types as some texts, of other token ids `(n, P)` and which of them are real.

    Where no mask says which are real, all are.
    """
    parts = iter(real.to(leaf.dtype) if mask else ids for leaf, mask in zip(leaves(like), _masks(like)))
    return mapped(lambda _: next(parts), like)


def _masks(inputs: Inputs) -> list[bool]:
    """Which of the tensors say what is real."""
    names = inputs if isinstance(inputs, dict) else [""] * len(leaves(inputs))
    return ["mask" in name or leaf.dtype == torch.bool for name, leaf in zip(names, leaves(inputs))]
