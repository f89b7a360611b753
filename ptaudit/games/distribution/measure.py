"""The distribution game: with which of several shares of records with a property was the batch drawn?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from ptaudit.games.common import batch_secret
from ptaudit.games.common.batch_secret import FoundByAdversary, lost, why_not_played
from ptaudit.games.common.batches import Batches, distinct
from ptaudit.games.common.observed_view import DrawBatches, ObservedView
from ptaudit.views.records_needed import RECORDS_PER_MEMBER
from ptaudit.views.view import View

PARTS = 6
"""The smallest part, that the adversary chooses on, is a sixth of all records."""

_DEVIATIONS = 6.0
"""Standard deviations of the number of records with the property that every part has records for."""


def measure(has: Tensor, ratios: Sequence[float], observed: ObservedView, families: Sequence[str]) -> FoundByAdversary:
    """Play the game; see `batch_secret.measure`. All ratios are equally likely.

    Args:
        has: whether each record has the property, `(N,)`, bool.
        ratios: the shares in question, each in [0, 1].
        observed: the view, and who plays on it; with the property of held-out records. The batches of all rounds are
            drawn with the same share.
        families: of classifiers.
    """
    has, view, own = has.bool().cpu(), observed.view, observed.own
    n = len(has)
    if reason := why_not(has, ratios, view, own):
        return lost(families, observed, reason, n)
    draw = drawing(observed.with_held_out(has), ratios, view)
    return batch_secret.measure(draw, has.long(), observed, families, ceiling(ratios, view.records * view.batches))


def why_not(has: Tensor, ratios: Sequence[float], view: View, own: int | None) -> str:
    """Why the game cannot be played with records of which some have the property, `(N,)`, by who owns so many; empty if
    it can."""
    return why_not_played(len(has), view, own) or _why_not_kinds(has, ratios, view, own)


def ceiling(ratios: Sequence[float], drawn: int) -> float:
    """Bits about the ratio in the number of records with the property among those drawn: what the batch itself says."""
    given = np.stack([binom.pmf(np.arange(drawn + 1), drawn, ratio) for ratio in ratios])
    share = np.divide(given, given.mean(0), out=np.ones_like(given), where=given > 0)
    return float((given * np.log2(share)).sum(1).mean())


def drawing(has: Tensor, ratios: Sequence[float], view: View) -> DrawBatches:
    """Batches whose records have the property with the probability that is the secret, independently."""

    def draw(records: Tensor, games: int, generator: torch.Generator) -> Batches:
        rounds, m, values = view.batches, view.records, len(ratios)
        secret = (torch.arange(games) % values)[torch.randperm(games, generator=generator)]
        chance = torch.tensor(list(ratios), dtype=torch.float64)[secret].expand(rounds, games)
        holders, rest = records[has[records]], records[~has[records]]
        holding = torch.binomial(torch.full_like(chance, m), chance, generator=generator).long()
        holding = holding.clamp(max(0, m - len(rest)), len(holders))[..., None]
        some, others = (_some(kind, rounds, games, m, generator) for kind in (holders, rest))
        members = torch.where(torch.arange(m) < holding, some, others)
        prior = torch.full((games, values), 1.0 / values, dtype=torch.float64)
        share = shares(has[members[0]].sum(1), m, ratios)
        return Batches(members, secret, prior, torch.full((games,), -1), share=share)

    return draw


def shares(holding: Tensor, m: int, ratios: Sequence[float]) -> Tensor:
    """Probability of every ratio given how many of m records have the property, `(G,)` -> `(G, K)`, float32."""
    given = np.stack([binom.pmf(np.arange(m + 1), m, ratio) for ratio in ratios], 1)
    total = given.sum(1, keepdims=True)
    share = np.divide(given, total, out=np.full_like(given, 1.0 / len(ratios)), where=total > 0)
    return torch.from_numpy(share).float()[holding]


def _some(kind: Tensor, rounds: int, games: int, m: int, generator: torch.Generator) -> Tensor:
    """Distinct records of one kind in random order, `(r, G, m)`; where there are fewer than m, the rest is not asked
    for."""
    drawn = distinct(len(kind), rounds * games, min(m, len(kind)), generator)
    order = torch.rand(drawn.shape, generator=generator).argsort(-1)
    padded = torch.nn.functional.pad(drawn.gather(-1, order), (0, m - drawn.shape[1]))
    return kind[padded].view(rounds, games, m) if len(kind) else torch.zeros(rounds, games, m, dtype=torch.long)


def _why_not_kinds(has: Tensor, ratios: Sequence[float], view: View, own: int | None) -> str:
    """Whether there are enough records of either kind for the most extreme ratio, in words with the number needed."""
    n, m = len(has), view.records
    parts = PARTS if own is None else max(PARTS, math.ceil(3 * n / own))
    for kind, most, there in (
        ("with", max(ratios), int(has.sum())),
        ("without", 1.0 - min(ratios), n - int(has.sum())),
    ):
        deviation = _DEVIATIONS * math.sqrt(m * most * (1.0 - most))
        at_once = min(m, math.ceil(m * most + deviation)) if most > 0.0 else 0
        needed = max(RECORDS_PER_MEMBER * view.batches * math.ceil(m * most), parts * (at_once + 1) if at_once else 0)
        if there < needed:
            return f"needs {needed} records {kind} the property for batches of {m}, has {there}"
    return ""
