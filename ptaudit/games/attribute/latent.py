"""The attribute game, latent form: what is the sensitive value of one record of the batch?

The adversary knows nothing of the record; what it would guess without the gradient are the frequencies of the values.
The form for attributes that are inputs of the model is in `known_rest`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ptaudit.games.common import batch_secret
from ptaudit.games.common.batch_secret import FoundByAdversary, cycled, lost, why_not_played
from ptaudit.games.common.batches import Batches, with_others
from ptaudit.games.common.observed_view import DrawBatches, ObservedView
from ptaudit.views.view import View

RECORDS_PER_VALUE = 12
"""Fewest records of a second value: two in every part."""


def measure(
    secret: Tensor, observed: ObservedView, families: Sequence[str], ceiling: float | None = None
) -> FoundByAdversary:
    """Play the game; see `batch_secret.measure`.

    Args:
        secret: value of each record, `(N,)`, any whole numbers; negative where it is missing: such a record is no
            target, but may hide one.
        observed: the view, and who plays on it; with the values of held-out records.
        families: of classifiers.
        ceiling: most bits that the secret allows, where that is known.
    """
    codes, values = coded(secret)
    if reason := why_not(codes, observed.view, observed.own):
        return lost(families, observed, reason, len(codes))
    share = torch.bincount(codes[codes >= 0], minlength=values).double()
    held_out = observed.held_out
    every = codes if held_out is None else torch.cat([codes, _coded_like(secret, held_out.secret)])
    draw = drawing(every, (share / share.sum()).expand(len(every), values), observed.view)
    return batch_secret.measure(draw, codes, observed, families, ceiling)


def drawing(codes: Tensor, prior: Tensor, view: View) -> DrawBatches:
    """Batches whose first record has a known value.

    Args:
        codes: value of each record, `(N,)`; -1 for records that are no targets.
        prior: probability of every value of each record without the gradient, `(N, K)`.
        view: batch size and rounds.
    """

    def draw(records: Tensor, games: int, generator: torch.Generator) -> Batches:
        targets = cycled(records[codes[records] >= 0], games, view, generator)
        members = with_others(targets, records, view, generator)
        shown = codes[members[0]]
        size = shown.shape[1] if bool((shown >= 0).all()) else 0
        return Batches(members, codes[targets], prior[targets], targets, None, shares(shown, prior.shape[1]), size)

    return draw


def shares(codes: Tensor, values: int) -> Tensor:
    """Share of every value among the records of a batch that have one, `(G, m)` -> `(G, K)`, float32."""
    count = torch.stack([(codes == value).sum(1) for value in range(values)], 1).float()
    return count / count.sum(1, keepdim=True)


def coded(secret: Tensor) -> tuple[Tensor, int]:
    """Values as 0..K-1, those that are missing as -1; and K."""
    secret = secret.long().cpu()
    names, codes = torch.unique(secret, return_inverse=True)
    missing = int((names < 0).sum())
    return (codes - missing).clamp_min(-1), len(names) - missing


def _coded_like(secret: Tensor, other: Tensor) -> Tensor:
    """Values of other records as `coded` has those of some: -1 where they are missing or none of some has them."""
    names, other = torch.unique(secret[secret >= 0].long().cpu()), other.long().cpu()
    place = torch.searchsorted(names, other).clamp_max(len(names) - 1)
    return torch.where(names[place] == other, place, -1)


def why_not(codes: Tensor, view: View, own: int | None = None) -> str:
    """Why these values cannot be asked for on a view, by who has so many records of its own, with what is needed; empty
    if they can."""
    return why_not_values(codes) or why_not_played(len(codes), view, own)


def why_not_values(codes: Tensor) -> str:
    """Why nothing can be asked of these values, in words with the number needed; empty if something can."""
    second = int(torch.bincount(codes[codes >= 0], minlength=2).sort().values[-2])
    if second == 0:
        return "an attribute with one value"
    if second < RECORDS_PER_VALUE:
        return f"needs {RECORDS_PER_VALUE} records with another value than the most frequent one, has {second}"
    return ""
