"""Rows of tables by search (TabLeak: Vero et al., arXiv 2210.01785): categories through a softmax, restarts that vote.

Whoever has the model knows how columns are encoded: which inputs are the categories of one column. Of these a softmax
is searched for, so that they are never far from a row that there can be; numbers are free within their range. The angle
to what is seen is brought down by Adam from several starts. Those that explain it about as well as the best one are put
together, record by record: a category by the mean of their probabilities, weighted by how sure each is (one less its
entropy in units of the largest one), a number by the median. What is put together is the answer where it explains what
is seen better than the best start alone. Labels are known, or read from the last layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.inversion import labels
from ptaudit.attacks.inversion.descent import Descent
from ptaudit.attacks.inversion.inverting_gradients import why_not
from ptaudit.attacks.inversion.matching import Clock, Matching, cosine
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.progress import Progress
from ptaudit.stats.fidelity import assignment

__all__ = ["rebuild", "why_not"]

Groups = tuple[slice, ...]

_NEAR = 2.0
"""Starts whose objective is at most so many times the least one have a say."""

_EXACT = 1e-6
"""Objectives below this are all as good as 0."""


def _rate(share: float) -> float:
    """Falls along a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


DESCENT = Descent(0.1, _rate, torch.clone)


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    known = labels.recover(seen, granted) if granted.labels is None else granted.labels
    matching = MixedMatching.of(seen, granted, budget.restarts, cosine, known)
    start = [matching.within_bounds(variable) for variable in matching.start(generator, seen.records)]
    with Clock(budget, progress, "rebuilding by tableak", budget.iterations) as clock:
        values, (numbers,) = DESCENT.minimise(matching, start, budget.iterations, clock, generator)
        found = matching.records(numbers).detach().view(len(seen), budget.restarts, *numbers.shape[1:])
        values, groups = values.nan_to_num(torch.inf).view(len(seen), -1), granted.space.groups
        best = found[torch.arange(len(found)), values.argmin(1)]
        voted = torch.stack([_together(*one, groups) for one in zip(found, values)])
        answers = [_rows(best[:, None], groups), voted]
        gaps = torch.stack([matching.distance_of(rows) for rows in answers])
        chosen = torch.stack(answers)[gaps.argmin(0), torch.arange(len(seen))]
    return Reconstruction(chosen, known, gaps.amin(0).double().cpu(), clock.steps, clock.seconds, clock.ran_out)


@dataclass(frozen=True)
class MixedMatching(Matching):
    """Of rows with categories: their numbers are scores that go through a softmax for each column."""

    def records(self, numbers: Tensor) -> Tensor:
        """See `Matching`."""
        rows = super().records(numbers)
        groups = self.granted.space.groups
        if not groups:
            return rows
        parts = [(slice(group.start, group.stop), numbers[..., group].softmax(-1)) for group in groups]
        rows = rows.clone()
        for places, shares in parts:
            rows[..., places] = shares
        return rows

    def within_bounds(self, numbers: Tensor) -> Tensor:
        """See `Matching`; scores of categories have no bounds."""
        bounded = super().within_bounds(numbers)
        for group in self.granted.space.groups:
            bounded[..., group] = numbers[..., group]
        return bounded

    def distance_of(self, rows: Tensor) -> Tensor:
        """How far what rows `(B, R, D)` would show is from what is seen, `(B,)`."""
        assert self.labels is not None
        shown = [self.simulation(row[None], own[None]).detach() for row, own in zip(rows, self.labels)]
        return self.distance(torch.cat(shown), self.seen).detach().nan_to_num(torch.inf)


def _together(found: Tensor, values: Tensor, groups: Groups) -> Tensor:
    """One answer `(R, D)` of the starts of a target, `(S, R, D)` with objectives `(S,)`."""
    kept = found[values <= _NEAR * values.min().clamp_min(_EXACT)]
    lead = found[values.argmin()]
    alike = torch.stack([one[_order(one, lead)] for one in kept]) if len(kept) else lead[None]
    return _rows(alike[None], groups)[0]


def _order(records: Tensor, lead: Tensor) -> Tensor:
    """Which of the records `(R, D)` is which of those of another start."""
    places = torch.from_numpy(assignment(records.double().cpu().numpy(), lead.double().cpu().numpy()))
    return places.argsort().to(records.device)


def _rows(found: Tensor, groups: Groups) -> Tensor:
    """Rows that there can be `(B, R, D)`, of several that are to be one, `(B, S, R, D)`."""
    rows = found.median(1).values
    for group in groups:
        shares = found[..., group]
        entropy = -(shares * shares.clamp_min(1e-12).log()).sum(-1, keepdim=True)
        sure = 1.0 - entropy / math.log(max(shares.shape[-1], 2))
        chosen = (shares * sure.clamp_min(1e-6)).sum(1).argmax(-1)
        rows[..., group] = torch.nn.functional.one_hot(chosen, shares.shape[-1]).to(rows)
    return rows
