"""Games that were drawn and what an adversary said of them; how records are dealt to their parts, and who hides
whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.views.aggregate import draw_others
from ptaudit.views.view import View


@dataclass(frozen=True)
class Batches:
    """G drawn games with r rounds of m records each; the secret has K values.

    Attributes:
        members: the records of each batch, `(r, G, m)`; the target comes first where the secret is about one record.
        secret: the true value, `(G,)`.
        prior: probability of every value without the gradient, `(G, K)`: the baseline of the score.
        unit: what is resampled, `(G,)`: the target record or the user; -1 where all records of a batch are alike.
        rivals: units of the other candidates of each game, `(G, K-1)`; None where the values are no units.
        share: probability of every value given the records of the first round's batch, `(G, K)`: where the secret is
            the value of one of them, the share of the batch that has it. An adversary knows who is in its own batches,
            and what it learns from such shares is less noisy than from the secrets. None where the batch says all.
        size: records of the batch, of whose values these shares are whole counts; 0 where they are none.
    """

    members: Tensor
    secret: Tensor
    prior: Tensor
    unit: Tensor
    rivals: Tensor | None = None
    share: Tensor | None = None
    size: int = 0

    def first(self, most: int) -> Batches:
        """The first games, at most so many."""
        rivals, share = (None if one is None else one[:most] for one in (self.rivals, self.share))
        return replace(
            self, members=self.members[:, :most], secret=self.secret[:most], prior=self.prior[:most],
            unit=self.unit[:most], rivals=rivals, share=share,
        )  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What one prepared adversary said of the reported games, for P lines.

    Attributes:
        log_q: log-posteriors of every value, natural, `(P, G, K)`, float64.
        null_log_q: of the same adversary prepared with shuffled secrets; judged against `wrong`.
        wrong: the value that shuffling puts in the place of the true one, `(G,)`.
        batches: the games.
        starved: of every line, whether the adversary would find more with more to learn from; empty where nobody asked.
    """

    log_q: Tensor
    null_log_q: Tensor
    wrong: Tensor
    batches: Batches
    starved: Sequence[bool] = ()


def starved_of(halves: Sequence[Answers]) -> list[bool]:
    """Of every line, whether the adversary of each half would find more; empty where nobody asked."""
    return [all(line) for line in zip(*(half.starved for half in halves))]


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
