"""Views of batches, each about one record, in parts that have no record in common.

For adversaries that are networks or probes: what they are fitted, stopped and scored on must not share a record, not
even as one of the others of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.observed_density import every_record
from ptaudit.views.aggregate import draw_games
from ptaudit.views.sight import Sight
from ptaudit.views.view import View


@dataclass(frozen=True)
class Drawn:
    """G batches.

    Attributes:
        views: what is seen of each, `(R, G, k)`: the mean over the rounds.
        record: the record that each is about, `(G,)`.
        part: the part that all its records are of, `(G,)`.
        side: the half of the part that the record is of, `(G,)`. The other half hides it: its records may be in the
            batch, so they are no rivals of this one.
    """

    views: Tensor
    record: Tensor
    part: Tensor
    side: Tensor


def draw(
    tokens: Tensor,
    parts: Sequence[Tensor],
    per_target: Sequence[int],
    view: View,
    generator: torch.Generator,
    sight: Sight | None = None,
) -> Drawn:
    """Every record of a part is the target of some batches, with others of the same part.

    Args:
        tokens: of N records for R rows, `(R, N, k)`; clipped already where the view clips.
        parts: indices of the records of each part.
        per_target: batches for each record of a part.
        view: batch size, rounds and noise.
        generator: of the draws and the noise.
        sight: what shows the batches of the N records; left out, sums of the tokens and the noise of the view.
    """
    every = every_record(tokens, view.noise_std, sight)
    views, record, part, half = [], [], [], []
    for number, (members, times) in enumerate(zip(parts, per_target, strict=True)):
        for side, (targets, fillers) in enumerate(_sides(members, view)):
            games = draw_games(len(targets), len(fillers), times, view, generator)
            views.append(torch.stack(every.games(targets, fillers, games, generator)).mean(0))
            record.append(targets[games.secret])
            part.append(torch.full_like(games.secret, number))
            half.append(torch.full_like(games.secret, side))
    return Drawn(torch.cat(views, 1), torch.cat(record), torch.cat(part), torch.cat(half))


def _sides(members: Tensor, view: View) -> Iterator[tuple[Tensor, Tensor]]:
    """Targets and those that hide them: each half of a part with the other half."""
    if view.others == 0:
        yield members, members
        return
    half = len(members) // 2
    yield members[:half], members[half:]
    yield members[half:], members[:half]


def split(records: Tensor, shares: Sequence[float], generator: torch.Generator) -> list[Tensor]:
    """Random parts of the records, the last one takes what is left."""
    order = records[torch.randperm(len(records), generator=generator)]
    sizes = [int(share * len(records)) for share in shares[:-1]]
    return list(torch.split(order, [*sizes, len(records) - sum(sizes)]))
