"""Who is behind a game: the record or user that its secret is about, and the records that fill its batches.

Games share records, so a mean over games errs with the records: with the games of which each is the unit, and through
its influence on others' games as one of those who fill them or as a rival candidate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import csr_array
from torch import Tensor

from ptaudit.games.common.batches import Batches


@dataclass(frozen=True)
class ResamplingUnits:
    """Who is behind the games of one half.

    Attributes:
        secret: of each game, `(G,)`.
        unit: place of each game's unit among the units, `(G,)`; None where there is none.
        units: name of each unit, `(U,)`.
        held: which filling records and rival units are in which game, `(F, G)`, ones and zeros.
        fillers: name of each of them, `(F,)`.
    """

    secret: Tensor
    unit: Tensor | None
    units: Tensor
    held: csr_array
    fillers: Tensor

    @property
    def size(self) -> int:
        """Number of units, or of fillers where there are none."""
        return len(self.fillers if self.unit is None else self.units)

    @property
    def apart(self) -> int:
        """Number of games that could share nobody."""
        games = self.held.shape[1]
        per_game = 1 if self.unit is not None else max(1, round(self.held.nnz / games))
        return min(games, self.size // per_game)


def resampling_units_of(batches: Batches) -> ResamplingUnits:
    """Units, and fillers with the rival candidates. A record that is in several rounds of a game counts once."""
    members, unit = batches.members.cpu(), batches.unit.cpu()
    place = None
    units = unit[:0]
    if not bool((unit < 0).any()):
        units, place = torch.unique(unit, return_inverse=True)
        members = members[..., ~_own(members, place)]
    inside = members.transpose(0, 1).flatten(1)
    if batches.rivals is not None:
        inside = torch.cat([inside, batches.rivals.cpu()], 1)
    fillers, others = torch.unique(inside, return_inverse=True)
    games = torch.arange(len(unit))[:, None].expand_as(others)
    where = (others.flatten().numpy(), games.flatten().numpy())
    held = csr_array((np.ones(others.numel()), where), shape=(len(fillers), len(unit)))
    held.sum_duplicates()
    held.data[:] = 1.0
    return ResamplingUnits(batches.secret.cpu(), place, units, held, fillers)


def _own(members: Tensor, place: Tensor) -> Tensor:
    """Which columns belong to the unit (the target itself, the records of a user): `(r, G, m)`, `(G,)` -> `(m,)`.

    Their records are in games of one unit only, so resampling the units resamples them. The first column, which may
    hold a target, is judged by itself: a target may hide others.
    """
    alone = torch.empty(members.shape, dtype=torch.bool)
    unit = place[None, :, None].expand_as(members)
    for columns in (slice(0, 1), slice(1, None)):
        record, mine = members[..., columns].flatten(), unit[..., columns].flatten()
        span = [torch.zeros(int(members.max()) + 1, dtype=torch.long) for _ in range(2)]
        least, most = (
            some.scatter_reduce(0, record, mine, how, include_self=False) for some, how in zip(span, ("amin", "amax"))
        )
        alone[..., columns] = (least == most)[members[..., columns]]
    return alone.flatten(0, 1).all(0)


def errors(values: Tensor, resampled: ResamplingUnits, units: int, records: int) -> Tensor:
    """What each of the N records adds to the mean over games, times N: values `(M, G)` -> `(M, N)`, of mean 0.

    Args:
        values: of each game.
        resampled: who is behind the games.
        units: number of units in all halves: the fewer they are, the wider the interval they give.
        records: number of records N.
    """
    games = values.shape[1]
    out = values.new_zeros(len(values), records)
    rest = values - values.mean(1, keepdim=True)
    if resampled.unit is not None:
        mean, count = _means_of(rest, resampled.unit)
        out[:, resampled.units] += mean * count * (few(units, records) * records / games)
    if resampled.held.nnz:
        # Some records may only be in games of one secret; how often it was drawn is not their doing. The mean of the
        # unit stays: where a unit has one game, nothing would be left, and elsewhere it is one noise more.
        rest = rest - _means_of(rest, resampled.secret)[0][:, resampled.secret]
        out[:, resampled.fillers] += influence(rest, resampled.held) * (records / games)
    return out


def influence(rest: Tensor, held: csr_array) -> Tensor:
    """Sum of what is left of the games that hold each record, `(M, G)`, `(F, G)` -> `(M, F)`.

    The first-order (Hajek) term of a U-statistic, see `crossfit.filler_influence`; here the records need not be drawn
    equally often. The sums are noisy, so they are shrunk to the spread that noise does not explain.
    """
    total = torch.from_numpy(held @ rest.numpy().T).T
    noise = rest.square().mean(-1, keepdim=True) * held.nnz
    spread = total.square().sum(-1, keepdim=True).clamp_min(1e-300)
    return total * (1.0 - noise / spread).clamp_min(0.0).sqrt()


def _means_of(values: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the games of each group, `(M, G)`, `(G,)` -> `(M, groups)`, and their number; 0 for an empty group."""
    count = torch.bincount(group).to(values)
    total = values.new_zeros(len(values), len(count)).index_add_(1, group, values)
    return total / count.clamp_min(1.0), count


def few(units: int, records: int) -> float:
    """Factor on the spread of a few units among N records, whose interval knows only N."""
    if units < 3:
        return math.inf
    wide, narrow = (float(stats.t.ppf(0.975, n)) for n in (units - 2, max(records - 1, 1)))
    return wide / narrow * math.sqrt(units / (units - 2))


def independent_games(resampled: ResamplingUnits, generator: torch.Generator) -> NDArray[np.int64]:
    """Games that share no target, or where there is none, no record: at random, one after the other."""
    order = torch.randperm(len(resampled.secret), generator=generator).numpy()
    if resampled.unit is not None:
        return np.asarray(order[np.unique(resampled.unit.numpy()[order], return_index=True)[1]])
    used, chosen, members = np.zeros(len(resampled.fillers), dtype=bool), [], csr_array(resampled.held.T)
    for game in order:
        mine = members.indices[members.indptr[game] : members.indptr[game + 1]]
        if not used[mine].any():
            used[mine] = True
            chosen.append(game)
    return np.array(chosen, dtype=np.int64)
