"""How records are dealt to the parts of a game, and who hides whom."""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.views.aggregate import draw_others
from ptaudit.views.view import View


def dealt(strata: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    """A part for each record, at random, each part with an equal share of every stratum."""
    part = torch.empty_like(strata)
    for stratum in torch.unique(strata):
        mine = torch.nonzero(strata == stratum).squeeze(1)
        first = torch.randint(parts, (1,), generator=generator)
        part[mine[torch.randperm(len(mine), generator=generator)]] = (torch.arange(len(mine)) + first) % parts
    return part


def spread(strata: Tensor, generator: torch.Generator) -> Tensor:
    """Random order of the records of which every beginning has its share of every stratum."""
    place = torch.empty(len(strata), dtype=torch.float64)
    for stratum in torch.unique(strata):
        mine = torch.nonzero(strata == stratum).squeeze(1)
        rank = torch.randperm(len(mine), generator=generator) + torch.rand(1, generator=generator)
        place[mine] = rank.double() / len(mine)
    return place.argsort(stable=True)


def with_others(targets: Tensor, records: Tensor, view: View, generator: torch.Generator) -> Tensor:
    """Batches of each target and other records, `(G,)` -> `(r, G, m)`; the targets may be among the records."""
    rounds, games = view.batches, len(targets)
    ordered, _ = records.sort()
    place = torch.searchsorted(ordered, targets).clamp_max(len(ordered) - 1)
    inside = ordered[place] == targets
    # A target is left out by skipping its place; without one, the last record is left out, so it changes places.
    skip = torch.where(inside, place, torch.randint(len(ordered), (games,), generator=generator))
    drawn = distinct(len(ordered) - 1, rounds * games, view.others, generator).view(rounds, games, -1)
    drawn = drawn + (drawn >= skip[None, :, None]).long()
    return torch.cat([targets.expand(rounds, games)[..., None], ordered[drawn]], -1)


def distinct(pool: int, games: int, size: int, generator: torch.Generator) -> Tensor:
    """For each game `size` distinct numbers below `pool`: `(games, size)`; see `draw_others`."""
    if size == 0 or size * size > pool:
        return draw_others(pool, games, size, generator)
    drawn = torch.randint(pool, (games, size), generator=generator)
    while len(twice := torch.nonzero((drawn.sort(-1).values.diff() == 0).any(-1)).squeeze(1)):
        drawn[twice] = torch.randint(pool, (len(twice), size), generator=generator)
    return drawn
