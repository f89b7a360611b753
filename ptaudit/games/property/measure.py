"""The property game: does the batch hold a record with the property?

With probability one half one of its m records has the property, else none: what the adversary would guess without the
gradient is a coin at every m.
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

LEAST_WITH = 24
"""Fewest records with the property: four in the smallest part."""


def measure(has: Tensor, observed: ObservedView, families: Sequence[str]) -> FoundByAdversary:
    """Play the game; see `batch_secret.measure`.

    Args:
        has: whether each record has the property, `(N,)`, bool.
        observed: the view, and who plays on it; with the property of held-out records. The record with the property is
            in the batches of all rounds.
        families: of classifiers.
    """
    has, view = has.bool().cpu(), observed.view
    if reason := why_not(has, view, observed.own):
        return lost(families, observed, reason, len(has))
    return batch_secret.measure(drawing(observed.with_held_out(has), view), has.long(), observed, families)


def why_not(has: Tensor, view: View, own: int | None) -> str:
    """Why the game cannot be played with records of which some have the property, `(N,)`, by who owns so many; empty if
    it can."""
    many = int(has.sum())
    few = f"needs {LEAST_WITH} records with the property, has {many}" if many < LEAST_WITH else ""
    rest = few or why_not_played(len(has) - many, view, None, "records without the property")
    return rest or _why_not_own(has, view, own)


def drawing(has: Tensor, view: View) -> DrawBatches:
    """Batches of records without the property, the first of which has it in every second batch.

    The first records are as many with as without the property, and each comes in as many batches.
    """

    def draw(records: Tensor, games: int, generator: torch.Generator) -> Batches:
        holders, rest = records[has[records]], records[~has[records]]
        most = min(len(holders), len(rest), max(1, games // 2))
        firsts = [cycled(some[torch.randperm(len(some), generator=generator)[:most]], games // 2, view, generator)
                  for some in (holders, rest)]  # fmt: skip
        first = torch.cat(firsts)
        first = first[torch.randperm(len(first), generator=generator)]
        prior = torch.full((len(first), 2), 0.5, dtype=torch.float64)
        return Batches(with_others(first, rest, view, generator), has[first].long(), prior, first)

    return draw


def _why_not_own(has: Tensor, view: View, own: int | None) -> str:
    """Whether the adversary's own records of either kind are enough."""
    if own is None or own >= len(has) // 2:
        return ""
    share = float(has.double().mean())
    needed = max(LEAST_WITH / 2 / share, 6 * view.records / (1.0 - share))
    if own < needed:
        return f"needs {int(needed) + 1} records of the adversary's own to have enough of both kinds, it has {own}"
    return ""
