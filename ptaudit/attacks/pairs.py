"""Views of batches, each about one record, in parts that have no record in common.

For adversaries that are networks or probes: what they are fitted, stopped and scored on must not share a record, not
even as one of the others of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.observed_density import ShownRecords, every_record
from ptaudit.views.aggregate import draw_games
from ptaudit.views.observation import Observation
from ptaudit.views.records_needed import why_too_few
from ptaudit.views.view import View


@dataclass(frozen=True)
class EncodedBatches:
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
    records: ShownRecords, parts: Sequence[Tensor], per_target: Sequence[int], view: View, generator: torch.Generator
) -> EncodedBatches:
    """Every record of a part is the target of some batches, with others of the same part.

    Args:
        records: as batches of them are shown; clipped already where the view clips.
        parts: indices of the records of each part.
        per_target: batches for each record of a part.
        view: batch size and rounds.
        generator: of the draws and the noise.
    """
    views, record, part, half = [], [], [], []
    for number, (members, times) in enumerate(zip(parts, per_target, strict=True)):
        for side, (targets, fillers) in enumerate(sides(members, view)):
            games = draw_games(len(targets), len(fillers), times, view, generator)
            views.append(torch.stack(records.games(targets, fillers, games, generator)).mean(0))
            record.append(targets[games.secret])
            part.append(torch.full_like(games.secret, number))
            half.append(torch.full_like(games.secret, side))
    return EncodedBatches(torch.cat(views, 1), torch.cat(record), torch.cat(part), torch.cat(half))


@dataclass(frozen=True)
class Encoded:
    """A view, and the numbers that are made of what it shows.

    Attributes:
        tokens: of the audited records, `(R, N, k)`; clipped already where the view clips.
        records: those of the N that games may use.
        view: batch size, rounds and noise.
        encode: from what is seen of G batches, `(R, G, k)`, to observations `(rows, G, w)`.
        groups: for each reported line, the rows of the observations that belong to it.
        observation: what is seen of batches, where it is no sum of tokens and noise.
    """

    tokens: Tensor
    records: Tensor
    view: View
    encode: Callable[[Tensor], Tensor]
    groups: list[list[int]]
    observation: Observation | None = None

    def why_not(self) -> str:
        """Why nothing can be measured; empty if something can."""
        return why_too_few(self.tokens[:, self.records], self.view)

    def draw(self, shares: Sequence[float], per_target: Sequence[int], generator: torch.Generator) -> EncodedBatches:
        """Encoded batches of random parts of the records; one for each record where all of a record are the same."""
        quiet = self.view.others == 0 and self.view.noise_std == 0.0 and self.observation is None
        times = [1] * len(shares) if quiet else per_target
        every = every_record(self.tokens, self.view.noise_std, self.observation)
        drawn = draw(every, split_records(self.records, shares, generator), times, self.view, generator)
        return replace(drawn, views=self.encode(drawn.views).float())


def sides(members: Tensor, view: View) -> Iterator[tuple[Tensor, Tensor]]:
    """Targets and those that hide them: each half of a part with the other half; alone, all of the part."""
    if view.others == 0:
        yield members, members
        return
    half = len(members) // 2
    yield members[:half], members[half:]
    yield members[half:], members[:half]


def split_records(records: Tensor, shares: Sequence[float], generator: torch.Generator) -> list[Tensor]:
    """Random parts of the records, the last one takes what is left."""
    order = records[torch.randperm(len(records), generator=generator)]
    return list(torch.split(order, sizes_of(len(records), shares)))


def sizes_of(records: int, shares: Sequence[float]) -> list[int]:
    """How many of the records each part of `split_records` has."""
    sizes = [int(share * records) for share in shares[:-1]]
    return [*sizes, records - sum(sizes)]
