"""The whole family of the identity game as one posterior: densities of sketches, and the algebra of whole gradients.

Everything is fitted on games that the adversary plays against itself (trials). Densities of the algebraic statistics
are counted on one half of the trials and score the other, so that the weights of the stack are fitted on scores of
records that those densities have not seen; then they are counted again on all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.evidence import EVERY, Candidates, Evidence, Read, Statistic, statistics_of
from ptaudit.attacks.likelihood_ratio import ScoredGames
from ptaudit.attacks.stacking import FittedStack, calmed, fit_stack, uniform_prior, within

FOLDS = slice(0, None, 2), slice(1, None, 2)
"""Trials of one fold of the adversary's records, and of the other."""

NEARLY_ALL = 0.97
"""Share of the most bits from which on no trees are grown."""


@dataclass(frozen=True)
class StackedLine:
    """The posterior of one reported line.

    Attributes:
        rows: rows of the sketches' scores that it uses.
        evidence: places of the algebraic statistics that it uses.
        stack: how they are weighted.
    """

    rows: tuple[int, ...]
    evidence: tuple[int, ...]
    stack: FittedStack

    def sketched(self, sketches: int) -> bool:
        """Whether it uses nothing but the first rows, which are of sketches."""
        return not self.evidence and all(row < sketches for row in self.rows)

    def combined(self, sketches: Tensor, algebra: Tensor | None) -> Tensor:
        """One score of every candidate, `(G, K)` float32, from those of all rows and all statistics."""
        parts = [sketches[list(self.rows)]] if self.rows else []
        if self.evidence:
            assert algebra is not None
            parts.append(algebra[list(self.evidence)])
        return self.stack.combined(torch.cat(parts))


@dataclass(frozen=True)
class Combined:
    """A fitted family.

    Attributes:
        evidence: densities of the algebraic statistics; None where no matrices are seen.
        lines: the posterior of every line.
        loudest: what each row of the sketches' scores said most of a member, see `within`, `(R,)`.
    """

    evidence: Evidence | None
    lines: tuple[StackedLine, ...]
    loudest: Tensor

    @property
    def grown(self) -> bool:
        """Whether trees are in the family."""
        return self.evidence is not None and self.evidence.trees is not None

    def play(self, sketches: Tensor, found: Sequence[Sequence[Statistic]]) -> tuple[Tensor, Tensor]:
        """Scores of every candidate for P lines, `(P, G, K)` float32, and each line's share of the prior, `(P,)`.

        Args:
            sketches: `Posterior.scores`, `(R, G, K)`.
            found: algebraic statistics of each round.
        """
        algebra = None if self.evidence is None else _over_rounds(self.evidence, found)
        sketches = within(sketches, self.loudest)
        low = torch.stack([line.combined(sketches, algebra) for line in self.lines])
        return low, torch.tensor([line.stack.share for line in self.lines], dtype=torch.float64)


def algebra_of(trials: Sequence[ScoredGames], read: Read, own: Sequence[Candidates]) -> list[list[list[Statistic]]]:
    """Algebraic statistics of every trial and round; what is known of candidates alternates as the trials' folds do."""
    return [
        [statistics_of(read, members, trial.candidates, own[i % 2]) for members in trial.members]
        for i, trial in enumerate(trials)
    ]


@dataclass(frozen=True)
class Trials:
    """Games with known secrets as every part of the family scores them.

    Attributes:
        sketches: scores of the likelihood ratio, `(R, G, K)`.
        algebra: of the algebraic statistics, by densities counted on other games, `(J, G, K)`; None without matrices.
        layers: the layer of each of those statistics; `EVERY` for all of them.
        whole: the layer of the last rows of `sketches`, which are of whole gradients; `EVERY` for all of them.
        secret: index of the true candidate, `(G,)`.
        least: smallest shares of the prior: of sketches alone, and of all.
    """

    sketches: Tensor
    algebra: Tensor | None
    layers: tuple[int, ...]
    whole: tuple[int, ...]
    secret: Tensor
    least: tuple[float, float]

    def line(self, rows: Sequence[int], evidence: Sequence[int]) -> StackedLine:
        """The best weights of some rows and statistics."""
        parts = [self.sketches[list(rows)]]
        if self.algebra is not None:
            parts.append(self.algebra[list(evidence)])
        stack = self._stack(torch.cat(parts), bool(evidence))
        return StackedLine(tuple(rows), tuple(evidence), stack)

    def joined(self, lines: Sequence[StackedLine]) -> StackedLine:
        """The best weights of lines, each as it is: fewer numbers to fit than all of their weights."""
        scores = torch.stack([line.combined(self.sketches, self.algebra) for line in lines])
        found = self._stack(scores, any(line.evidence for line in lines))
        weights = [[weight * line.stack.weights for weight, line in zip(found.weights, lines)]]
        split = [(w[: len(line.rows)], w[len(line.rows) :]) for w, line in zip(weights[0], lines)]
        stack = FittedStack(torch.cat([one for one, _ in split] + [two for _, two in split]), found.share, found.games)
        rows, evidence = (sum(some, ()) for some in zip(*((line.rows, line.evidence) for line in lines)))
        return StackedLine(rows, evidence, stack)

    def _stack(self, scores: Tensor, algebraic: bool) -> FittedStack:
        return fit_stack(scores, self.secret, uniform_prior(scores), self.least[algebraic])

    def wholes(self, layer: int) -> tuple[int, ...]:
        """Rows of `sketches` that are of a layer's whole gradients."""
        start = len(self.sketches) - len(self.whole)
        return tuple(start + i for i, own in enumerate(self.whole) if own == layer)

    def of(self, layer: int) -> tuple[int, ...]:
        """Places of the statistics of a layer."""
        return tuple(i for i, own in enumerate(self.layers) if own == layer)


@dataclass(frozen=True)
class OwnGames:
    """Games that an adversary has played against itself, and what may be made of them.

    Attributes:
        played: the trials of the likelihood ratio.
        algebra: `algebra_of` these trials; empty where no matrices are seen.
        least: smallest shares of the prior: of sketches alone, and of all.
        once: whether the view is random, so that sketches of layers, of all of them, and matrices are observations of
            their own, of which only one may count.
        whole: the layer of the last rows of the trials' scores, see `Trials`.
    """

    played: Sequence[ScoredGames]
    algebra: Sequence[Sequence[Sequence[Statistic]]]
    least: tuple[float, float]
    once: bool
    whole: tuple[int, ...] = ()


def fit_combined(own: OwnGames, groups: Sequence[Sequence[int]], null_of: Combined | None = None) -> Combined:
    """Fit the family of every line.

    Args:
        own: games to fit on.
        groups: for each line the rows of the sketches that it may use; rows are layers, then joint ones.
        null_of: fit to shuffled secrets instead, for the null of this family.
    """
    played, algebra, once = own.played, own.algebra, own.once
    secrets = [(trial.secret + (null_of is not None)) % len(trial.candidates) for trial in played]
    secret = torch.cat(secrets)
    sketches, loudest = calmed(torch.cat([trial.scores for trial in played], 1), secret)
    evidence = scores = None
    if algebra and algebra[0][0]:
        pools = [Pooled.of(algebra[part], secrets[part]) for part in (slice(None), *FOLDS)]
        evidence, *by_fold = (Evidence.fit(one.found, one.secret, one.repeats) for one in pools)
        scores = _held_out(by_fold, algebra)
    trials = Trials(sketches, scores, evidence.layers if evidence else (), own.whole, secret, own.least)
    fit = _once if once else _together
    single = {group[0]: fit(trials, group[0]) for group in groups if len(group) == 1}

    def lines() -> list[StackedLine]:
        return [_best(single[g[0]]) if len(g) == 1 else _joint(trials, g, single, once) for g in groups]

    found = lines()
    if evidence is not None and (_open(found, len(played[0].candidates)) if null_of is None else null_of.grown):
        evidence, *by_fold = (one.grown(pool.found, pool.secret) for one, pool in zip((evidence, *by_fold), pools))
        trials = replace(trials, algebra=_held_out(by_fold, algebra), layers=evidence.layers)
        found = lines()
    return Combined(evidence, tuple(found), loudest)


def _open(lines: Sequence[StackedLine], k: int) -> bool:
    """Whether densities alone leave something to find, in the line that finds most."""
    return max(line.stack.bits for line in lines) < NEARLY_ALL * math.log2(k)


def _together(trials: Trials, layer: int) -> list[StackedLine]:
    """A layer's sketch alone, and with its statistics."""
    mine, rows = trials.of(layer), (layer, *trials.wholes(layer))
    richer = [trials.line(rows, mine)] if mine or len(rows) > 1 else []
    return [trials.line((layer,), ()), *richer]


def _once(trials: Trials, layer: int) -> list[StackedLine]:
    """A layer's sketch, or its statistics, or its whole gradients."""
    mine, wholes = trials.of(layer), trials.wholes(layer)
    found = [trials.line((layer,), ()), *([trials.line((), mine)] if mine else [])]
    return [*found, *([trials.line(wholes, ())] if wholes else [])]


def _joint(
    trials: Trials, group: Sequence[int], single: Mapping[int, Sequence[StackedLine]], once: bool
) -> StackedLine:
    """All layers: their lines and the joint sketches, each weighted as one; or one kind of observation if only one
    counts."""
    layers = [row for row in group if row in single]
    joint = [trials.line((row,), ()) for row in group if row not in single]
    if not layers:
        return joint[0] if len(joint) == 1 else trials.joined(joint)
    if not once:
        if wholes := trials.wholes(EVERY):
            joint.append(trials.line(wholes, ()))
        if trees := trials.of(EVERY):
            joint.append(trials.line((), trees))
        alone = [_best(single[row]) for row in layers]
        return _simplest(max(alone, key=lambda line: line.stack.bits), trials.joined([*alone, *joint]))
    sketched = trials.joined([single[row][0] for row in layers])
    if wholes := trials.wholes(EVERY):
        whole = [trials.line(wholes, ()), *(trials.line(one, ()) for row in layers if (one := trials.wholes(row)))]
        joint += [whole[0], trials.joined(whole)]  # of one draw of the noise
    exact = [line for row in layers for line in single[row] if line.evidence]
    exact += [trials.line((), trees)] if (trees := trials.of(EVERY)) else []
    return _best([sketched, *joint, *([trials.joined(exact)] if exact else [])])


def _best(lines: Sequence[StackedLine]) -> StackedLine:
    return max(lines, key=lambda line: line.stack.bits)


def _simplest(simple: StackedLine, rich: StackedLine) -> StackedLine:
    """The richer one where it is better by more than chance: what adds nothing adds false exclusions."""
    return rich if rich.stack.beats(simple.stack) else simple


def _over_rounds(evidence: Evidence, rounds: Sequence[Sequence[Statistic]]) -> Tensor:
    total = evidence.scores(rounds[0])
    for one in rounds[1:]:
        total += evidence.scores(one)
    return total


def _held_out(by_fold: Sequence[Evidence], algebra: Sequence[Sequence[Sequence[Statistic]]]) -> Tensor:
    """Scores of all trials by what was fitted to trials of the other fold, `(J, G, K)`."""
    return torch.cat([_over_rounds(by_fold[1 - i % 2], rounds) for i, rounds in enumerate(algebra)], 1)


@dataclass(frozen=True)
class Pooled:
    """Statistics of some trials, those of all rounds one after the other, and their secrets.

    Attributes:
        found: one of each kind.
        secret: of each game and round.
        repeats: games of a trial, all rounds together.
    """

    found: list[Statistic]
    secret: Tensor
    repeats: int

    @classmethod
    def of(cls, algebra: Sequence[Sequence[Sequence[Statistic]]], secrets: Sequence[Tensor]) -> Pooled:
        """Pool them."""
        found = [Statistic.joined(same) for same in zip(*(one for rounds in algebra for one in rounds))]
        secret = torch.cat([secret for rounds, secret in zip(algebra, secrets) for _ in rounds])
        return cls(found, secret, len(secret) // len(algebra))
