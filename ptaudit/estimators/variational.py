"""From pairs to estimates: what the four variational estimators share.

A critic is trained on part `TRAIN`, ended and calibrated on `STOP` (a temperature, at 0 of which it says nothing, and
what its bound may choose), and read on `REPORT`. At temperature 0 the value is 0, and its interval that of the least
temperature that says something, around 0; a critic that nothing can be read of is inconclusive. A value above the
ceiling is shown as the ceiling. For the null the same is done with mismatched pairs, in the same
tensor program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.estimators.base import REPORT, STOP, TRAIN, Measured, Pairs
from ptaudit.estimators.bounds import Bound
from ptaudit.estimators.critics import CRITICS, Critic, Weights
from ptaudit.estimators.pairing import (
    entropy,
    first_of_each,
    groups,
    mismatched,
    near_ceiling,
    unknown,
    why_not_estimated,
)
from ptaudit.estimators.start import start
from ptaudit.estimators.training import CriticPart, best_choice, train
from ptaudit.stats.binomial import rule_of_three
from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.estimate import OK, Estimate, inconclusive

LEAST = {TRAIN: 30, STOP: 10, REPORT: 10}
"""Fewest records of each part."""

MOST_REPORTED = 4096
"""Most held-out pairs that are scored against each other."""

IN_SAMPLE = 1024
"""Most training pairs that the in-sample value is read on."""

TEMPERATURES = (0.0, 0.125, 0.25, 0.5, 0.7, 0.85, 1.0)
"""Factors of the critic's scores that calibration tries."""

_NOTHING = 1e-6
"""Bits by which the values of a critic that says nothing differ, of rounding."""

_AT_ONCE = 2**22
"""Scores that are held in memory at once."""


class Variational(Protocol):
    """An estimator by a trained critic."""

    def __call__(self, pairs: Pairs, seed: int, *, critic: str = "separable") -> list[Measured]:
        """Mutual information in bits of every problem that can be measured.

        Args:
            pairs: P problems with at least 30 records to train on, 10 to stop by and 10 to report.
            seed: of first weights, batches, mismatched pairs and resamples.
            critic: a name in `CRITICS`.

        Raises:
            ValueError: for an unknown critic.
        """


def estimator(bound: Bound) -> Variational:
    """What estimates by a bound."""

    def measure(pairs: Pairs, seed: int, *, critic: str = "separable") -> list[Measured]:
        if critic not in CRITICS:
            raise ValueError(f"unknown critic {critic!r}: one of {', '.join(CRITICS)}")
        pairs = replace(pairs, y=pairs.y.expand(len(pairs.x), *pairs.y.shape[1:]))
        records = len(torch.unique(pairs.record[pairs.part == REPORT]))
        reasons = list(_reasons(pairs))
        fine = torch.tensor([p for p, reason in enumerate(reasons) if reason is None], dtype=torch.int64)
        found: Iterator[Measured] = iter(())
        if len(fine):
            some = replace(pairs, x=pairs.x[fine.to(pairs.x.device)], y=pairs.y[fine.to(pairs.y.device)])
            found = iter(_measured(bound, some, seed, CRITICS[critic]))
        return [next(found) if reason is None else unknown(reason, records) for reason in reasons]

    return measure


def _reasons(pairs: Pairs) -> Iterator[str | None]:
    """Why each problem cannot be measured."""
    counts = {part: len(torch.unique(pairs.record[pairs.part == part])) for part in LEAST}
    names = {TRAIN: "train on", STOP: "stop by", REPORT: "report"}
    short = [f"{counts[p]} records to {names[p]}: needs at least {n}" for p, n in LEAST.items() if counts[p] < n]
    rows = first_of_each(pairs.record)
    if pairs.side is not None:
        group = groups(pairs.part, pairs.side)[rows]
        if int(torch.unique(group, return_counts=True)[1].min()) < 2:
            short.append("a side of a part has a single record: needs at least 2")
    for x, y in zip(pairs.x, pairs.y, strict=True):
        yield short[0] if short else why_not_estimated(x[rows], y[rows], sum(LEAST.values()))


def _measured(bound: Bound, pairs: Pairs, seed: int, critic: Critic) -> list[Measured]:
    generator, device, problems = torch.Generator().manual_seed(seed), pairs.x.device, len(pairs.x)
    source = mismatched(pairs.record, pairs.part, generator, pairs.side).to(device)
    both = replace(pairs, x=torch.cat([pairs.x] * 2), y=torch.cat([pairs.y, pairs.y[:, source]]))
    ready, record = start(both), pairs.record.to(device)
    side = None if pairs.side is None else pairs.side.to(device)

    def part(which: int, most: int) -> Tensor:
        index = torch.nonzero(pairs.part == which).flatten().cpu()
        return index[torch.randperm(len(index), generator=generator)[:most]].sort().values.to(device)

    known, seen = part(TRAIN, len(record)), part(TRAIN, IN_SAMPLE)
    stop, report, inside = (
        CriticPart.at(ready, record, side, index)
        for index in (part(STOP, critic.stop), part(REPORT, MOST_REPORTED), seen)
    )
    trained = train(bound, critic, (CriticPart.at(ready, record, side, known), stop), seed)
    temperature, choice, quiet, failed = _calibrated(bound, critic, trained.best, stop)
    honest = _values(bound, critic, trained.best, report, (temperature, choice))
    silent = (temperature == 0.0).cpu().numpy()
    null = np.where(silent, 0.0, honest.mean(1))[problems:]
    if silent[:problems].any():
        least = torch.full_like(temperature, TEMPERATURES[1])
        later = _calibrated(bound, critic, trained.last, stop)[2]
        said = ((trained.best, quiet), (trained.last, later))
        tried = [_values(bound, critic, weights, report, (least, chosen)) for weights, chosen in said]
        honest = np.where(silent[:, None], _spread(*tried), honest)
    fitted = _values(bound, critic, trained.last, inside, (torch.ones_like(temperature), torch.zeros_like(choice)))
    ceilings = [_ceiling(y, report.rivals.records, pairs.part) for y in pairs.y]
    bits = from_matrix(honest[:problems], null=null, ceiling=ceilings, seed=seed)
    gap = from_matrix(fitted[:problems] - fitted[problems:], null=0.0, ceiling=math.nan, seed=seed)
    broken = failed.cpu().numpy() | ~np.isfinite(honest).all(1)
    reason = f"the critic learned nothing from {len(torch.unique(record[known]))} records"
    return [
        Measured(
            inconclusive(reason, ceiling=one.ceiling, n=one.n) if broken[p] else _marked(one, bool(silent[p])), gap[p]
        )
        for p, one in enumerate(bits)
    ]


def _ceiling(y: Tensor, records: int, part: Tensor) -> float:
    top = math.log2(records)
    return top if y.is_floating_point() else min(top, entropy(y[part == REPORT]))


def _marked(estimate: Estimate, silent: bool) -> Estimate:
    """Exactly 0 for a critic that says nothing, whatever the last bit of a sum; never above the ceiling."""
    if silent:
        return replace(estimate, value=0.0, lo=min(estimate.lo, 0.0), hi=max(estimate.hi, 0.0))
    if estimate.status != OK or not near_ceiling(estimate.value, estimate.ceiling):
        return estimate
    top = estimate.ceiling
    lo = estimate.lo if estimate.lo < top else rule_of_three(top, estimate.n)
    return replace(estimate, lo=lo, value=min(estimate.value, top), hi=min(estimate.hi, top), status="saturated")


def _spread(*tried: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row the first that is finite and not constant, around 0: what a critic's word would have weighed."""
    found = np.full_like(tried[0], np.nan)
    for values in reversed(tried):
        with np.errstate(invalid="ignore"):
            centred = values - values.mean(1, keepdims=True)
            good = np.isfinite(values).all(1) & (np.abs(centred).max(1) > _NOTHING)
        found = np.where(good[:, None], centred, found)
    return found


@torch.no_grad()
def _calibrated(bound: Bound, critic: Critic, weights: Weights, stop: CriticPart) -> tuple[Tensor, ...]:
    """Temperature and choice of every problem, choice of the least temperature above 0, and whether none of these
    can be read: `(2P,)` each.
    """

    def choose(scores: Tensor, _: Tensor) -> Tensor:
        tried = [torch.stack(best_choice(bound, t * scores, stop.rivals)) for t in TEMPERATURES]
        value, choice = torch.stack(tried, 1)
        best = value.argmax(0)
        failed = ~torch.isfinite(value[1:]).any(0)
        chosen = scores.new_tensor(TEMPERATURES)[best], choice.gather(0, best[None])[0]
        return torch.stack([*chosen, choice[1], failed.to(scores)], 1)

    temperature, choice, quiet, failed = _grouped(critic, weights, stop, choose).unbind(1)
    return temperature, choice, quiet, failed > 0.0


@torch.no_grad()
def _values(
    bound: Bound, critic: Critic, weights: Weights, read: CriticPart, calibration: tuple[Tensor, Tensor]
) -> NDArray[np.float64]:
    """Values of every record in bits, `(2P, R)`, at a temperature and a choice for every problem."""
    temperature, choice = calibration

    def value(scores: Tensor, rows: Tensor) -> Tensor:
        return bound.values(temperature[rows][:, None, None] * scores, read.rivals, choice[rows])

    values = _grouped(critic, weights, read, value).double() / math.log(2.0)
    _, place, count = torch.unique(read.record, return_inverse=True, return_counts=True)
    per_record = values.new_zeros(len(values), len(count)).index_add_(1, place, values) / count
    found: NDArray[np.float64] = per_record.cpu().numpy()
    return found


def _grouped(critic: Critic, weights: Weights, read: CriticPart, use: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`use(scores, rows)` on as many problems at once as memory allows."""
    problems, n = read.pairs.x.shape[:2]
    found = []
    for rows in torch.split(torch.arange(problems, device=read.pairs.x.device), max(1, _AT_ONCE // n**2)):
        side = read.pairs.problems(rows)
        found.append(use(critic.scores(tuple(w[rows] for w in weights), side, side), rows))
    return torch.cat(found)
