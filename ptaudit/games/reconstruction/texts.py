"""What is right of texts that were rebuilt: tokens at their positions, and the tokens of a batch in whatever order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import poisson
from torch import Tensor

from ptaudit.data.contents.tokens import sequences
from ptaudit.model_input import Inputs, leaves, mapped

Array = NDArray[np.float64]

_MOST_TIMES = 32
"""Times that a guess of the tokens of a batch names one token, at most."""


@dataclass(frozen=True)
class TextsKnown:
    """What is known of any text, from texts of others.

    Attributes:
        guess: the most frequent token of each position, `(P,)` int64.
        times: how often each token is in a text, on average, `(V,)` float64.
    """

    guess: Tensor
    times: Tensor

    @classmethod
    def of(cls, texts: Inputs, vocabulary: int) -> TextsKnown:
        """Of texts `(n, ...)` of token ids below `vocabulary`."""
        ids, real = sequences(texts)
        at = torch.arange(ids.shape[1], device=ids.device) * vocabulary + ids
        count = torch.bincount(at[real], minlength=ids.shape[1] * vocabulary).view(-1, vocabulary)
        total = count.sum(0)
        guess = torch.where(count.sum(1) > 0, count.argmax(1), total.argmax())
        return cls(guess, total.double() / len(ids))


@dataclass(frozen=True)
class TrueTexts:
    """The texts of B targets.

    Attributes:
        inputs: the R texts of every target, itself first, `(B, R, ...)`.
        known: what is known of any text.
    """

    inputs: Inputs
    known: TextsKnown

    def placed(self, said: Inputs) -> dict[str, Array]:
        """Share of the tokens of each target that stand at their position in a text `(B, ...)`, as it is and over the
        most frequent token of each position; `(B,)` each."""
        ids, real = sequences(mapped(lambda leaf: leaf[:, 0].cpu(), self.inputs))
        their_ids, their_real = sequences(mapped(lambda leaf: leaf.cpu(), said))
        found, guessed = (
            ((ids == some) & which & real).sum(1) / real.sum(1).clamp_min(1)
            for some, which in ((their_ids, their_real), (self.known.guess.cpu(), real))
        )
        return _over(_plain(found), _plain(guessed), "placed_tokens")

    def listed(self, said: Tensor) -> dict[str, Array]:
        """Share of the tokens of each batch that are among those `(B, V)` that are said to be, as often as they occur.

        The share is of all that are there or of all that are said, whichever are more. It is told as it is and over a
        list of the right length of what is most frequent; `(B,)` each.
        """
        batches, vocabulary = len(said), said.shape[1]
        ids, real = sequences(mapped(lambda leaf: leaf.cpu(), self.inputs))
        at = torch.arange(batches)[:, None, None] * vocabulary + ids
        true = torch.bincount(at[real], minlength=batches * vocabulary).view(batches, vocabulary)
        records = leaves(self.inputs)[0].shape[1]
        order = _most_frequent(_plain(self.known.times) * records)
        guess = [torch.from_numpy(order[:size]).bincount(minlength=vocabulary) for size in true.sum(1).tolist()]
        found, guessed = (_shared(_plain(true), _plain(some)) for some in (said, torch.stack(guess)))
        return _over(found, guessed, "tokens_found")


def _over(found: Array, guessed: Array, name: str) -> dict[str, Array]:
    return {name: found, f"{name}_gain": found - guessed}


def _shared(true: Array, said: Array) -> Array:
    most = np.maximum(true.sum(1), said.sum(1))
    return np.asarray(np.minimum(true, said).sum(1) / np.maximum(most, 1.0))


def _most_frequent(mean: Array) -> NDArray[np.int64]:
    """Tokens as often as they may occur, the likeliest first, if so many of each `(V,)` are to be expected."""
    times = np.arange(_MOST_TIMES)[:, None]
    likely = np.broadcast_to(poisson.sf(times, mean[None]), (len(times), len(mean))).ravel()
    return np.asarray(np.argsort(-likely, kind="stable") % len(mean))


def _plain(values: Tensor) -> Array:
    found: Array = values.double().cpu().numpy()
    return found
