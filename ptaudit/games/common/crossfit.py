"""Who is fitted, who is a target, who hides the target: the same four quarters for every game on tokens.

The records are cut in two halves; the adversary is fitted on one and plays on the other, and the other way round. Each
half is cut in two quarters again: one holds the targets, the other the records that fill the batches, and the other way
round. So every record is a target once, and none is ever fitted and reported in the same game.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.stats.binomial import rule_of_three
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.estimate import NEARLY_ALL, OK, Estimate

GAMES_PER_QUARTER = 1024
"""Games played with the targets of one quarter of the records."""

DATA_LIMITED = "data-limited"
"""Status of a row that more records or batches to learn from would raise."""

CEILING_SHARE = 0.99
"""Share of the ceiling from which on the rule of three bounds the interval."""


@dataclass(frozen=True)
class RecordScores:
    """Scores of every record; the unit of resampling is the record. The first axis is bits, hits, null bits, and in the
    identity game what all of the adversary's records tell more than half of them.

    Attributes:
        values: `(3 or 4, groups, n)`: the mean of the games that the record is the target of, plus its influence on the
            games of others (as one of the m-1 that hide the target, or as a rival candidate). The mean over records is
            the estimate, the spread its error.
        targets: number of distinct targets.
        full: whether the adversary of a group chose all coordinates of the token.
        adversary: its name.
    """

    values: Tensor
    targets: int
    full: tuple[bool, ...]
    adversary: str


QuarterScores = tuple[Tensor, Tensor]
"""Scores of the targets of a quarter, influence of the one that fills the batches: `(3 or 4, groups, q)` each."""


def quarters(records: int, generator: torch.Generator) -> Tensor:
    """Random disjoint quarters of the records: indices `(4, records // 4)`."""
    quarter = records // 4
    return torch.randperm(records, generator=generator)[: 4 * quarter].view(4, quarter)


def crossfit(
    order: Tensor, play: Callable[[Tensor, Sequence[tuple[Tensor, Tensor]]], Sequence[QuarterScores]]
) -> Tensor:
    """Play both halves.

    Args:
        order: quarters, `(4, q)`.
        play: given the records of the adversary and the two pairs (targets, fillers), the scores of each pair.

    Returns:
        Scores of all records in the order of the quarters, `(3 or 4, groups, 4q)`.
    """
    parts: dict[int, Tensor] = {}
    for known, (one, two) in (((0, 1), (2, 3)), ((2, 3), (0, 1))):
        both = play(torch.cat([order[i] for i in known]), [(order[one], order[two]), (order[two], order[one])])
        # A record is a target in one quarter's games and hides the targets in the other's.
        parts[one] = both[0][0] + both[1][1]
        parts[two] = both[1][0] + both[0][1]
    return torch.cat([parts[i] for i in range(4)], -1)


def filler_influence(rest: Tensor, others: Tensor, fillers: int) -> Tensor:
    """What each filling record adds to the mean score by being among the others.

    The first-order (Hajek) term of a U-statistic: (m-1) times the mean of the games that hold the record, less the
    mean of all. Those means are noisy, so they are shrunk to the spread that noise does not explain.

    Args:
        rest: scores of the games less the mean of their target, `(..., G)`.
        others: indices of the other records, `(r, G, m-1)`.
        fillers: number of records they are drawn from.
    """
    rounds, _, per_batch = others.shape
    if per_batch == 0:
        return rest.new_zeros(*rest.shape[:-1], fillers)
    flat = others.permute(1, 0, 2).reshape(-1).to(rest.device)
    held = rest.repeat_interleave(rounds * per_batch, -1)
    count = torch.bincount(flat, minlength=fillers).clamp_min(1).to(rest.dtype)
    mean = rest.new_zeros(*rest.shape[:-1], fillers).index_add_(-1, flat, held) / count
    mean = mean - mean.mean(-1, keepdim=True)
    noise = rest.square().mean(-1, keepdim=True) * (1.0 / count).mean()
    spread = mean.square().mean(-1, keepdim=True).clamp_min(1e-300)
    return rounds * per_batch * mean * (1.0 - noise / spread).clamp_min(0.0).sqrt()


def credited(scored: Tensor, per_target: int, others: Tensor, fillers: int) -> QuarterScores:
    """What games `(..., G)` say of their targets, each of whom has so many side by side, and of those who hide them.

    Args:
        scored: scores of the games.
        per_target: games of each target.
        others: see `filler_influence`.
        fillers: likewise.
    """
    mine = torch.unflatten(scored, -1, (-1, per_target)).mean(-1)
    return mine, filler_influence(scored - mine.repeat_interleave(per_target, -1), others, fillers)


def spread_over(values: Tensor, records: int) -> Tensor:
    """Scores of the first targets of a quarter as values of all its records: same mean, same error of the mean."""
    centre = values.mean(-1, keepdim=True)
    out = centre.expand(*values.shape[:-1], records).clone()
    out[..., : values.shape[-1]] += (values - centre) * (records / values.shape[-1])
    return out


def estimates(
    played: tuple[Tensor, Tensor], ceilings: Sequence[float], targets: int, seed: int, least: float = 0.0
) -> list[Estimate]:
    """One estimate for each group, clipped to [least, ceiling] after the interval is formed.

    The two halves play against differently fitted adversaries; where their means differ by more than the records
    explain, the difference widens the interval.

    Args:
        played: scores per record and null scores per record, `(groups, n)` each.
        ceilings: one for each group.
        targets: number of distinct targets.
        seed: seed of the resamples.
        least: 0 for an adversary who has the prior in its family, minus infinity for one who is wrong about its view.
    """
    values, null = played
    per_record = values.double().cpu().numpy()
    half = per_record.shape[1] // 2
    between = (per_record[:, :half].mean(1) - per_record[:, half:].mean(1)) / 2.0
    extra = (between**2 - per_record.var(1) / per_record.shape[1]).clip(min=0.0)
    found = from_matrix(
        per_record, null=null.double().mean(-1).cpu().numpy(), ceiling=list(ceilings), seed=seed, extra_variance=extra
    )
    return [closed(one, targets, least) if one.conclusive else one for one in found]


def closed(estimate: Estimate, games: int, least: float) -> Estimate:
    """Near the ceiling the few of so many games that were not won say little of those to come: the rule of three widens
    the interval, which is then clipped to [least, ceiling]."""
    lo = estimate.lo
    if estimate.value >= CEILING_SHARE * estimate.ceiling:
        lo = min(lo, rule_of_three(estimate.ceiling, games))
    return replace(estimate, lo=lo, n=games).clipped(least, estimate.ceiling)


def data_limited(metrics: Mapping[str, list[Estimate]], starved: Sequence[bool]) -> dict[str, list[Estimate]]:
    """The same, with the lines marked that more to learn from would raise, if they are far from the ceiling."""
    if not any(starved):
        return dict(metrics)
    lines = [line and one.value < NEARLY_ALL * one.ceiling for line, one in zip(starved, metrics["bits"])]
    return {
        name: [
            replace(one, status=DATA_LIMITED) if line and one.status == OK else one for line, one in zip(lines, each)
        ]
        for name, each in metrics.items()
    }
