"""The family of the identity game, fitted to one half of the records and asked about the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ptaudit.adversaries.calibration import unseen
from ptaudit.adversaries.likelihood_ratio import Posterior, Trial, fit
from ptaudit.adversaries.rehearsal import sum_of
from ptaudit.adversaries.sighted import Window, doubled
from ptaudit.attacks.combined import Combined, algebra_of, fit_combined
from ptaudit.attacks.evidence import Algebra, Candidates, Read, statistics_of
from ptaudit.attacks.whole import Grams, WholeDensity
from ptaudit.stats.estimate import NEARLY_ALL
from ptaudit.views.aggregate import Games, observe
from ptaudit.views.sight import Sight
from ptaudit.views.view import View

Answer = tuple[Tensor, Tensor]
"""Scores of every line `(P, G, K)`, and each line's share of the prior `(P,)`."""

LEAST_HALF = 10
"""Fewest records, for each record of a batch, from which a family is fitted to see what half of the records lose."""


@dataclass(frozen=True)
class Table:
    """What the game is played with.

    Attributes:
        tokens: of N records for R rows, `(R, N, k)`, as the adversary computes them.
        view: batch size, rounds and noise.
        groups: for each reported line the rows that the adversary may use.
        k: number of candidates K.
        sight: what the games are played on; None for sums of the tokens and the noise of the view.
        known: what the adversary prepares on; None for sums of the tokens.
        algebra: the same view as matrices; None where only tokens are known.
        seed: of noise on whole gradients.
    """

    tokens: Tensor
    view: View
    groups: Sequence[Sequence[int]]
    k: int
    sight: Sight | None
    known: Sight | None
    algebra: Algebra | None
    seed: int

    @cached_property
    def grams(self) -> Grams | None:
        """Inner products of whole gradients, where they say more than spans do."""
        view = self.view
        if self.algebra is None or not view.linear or self.known is not None or self.sight is not None:
            return None
        if view.noise_std == 0.0:
            return Grams.of(self.algebra.own.layers, view.records)
        # Of several looks at one batch the mean has less noise.
        std = view.noise_std * (view.rounds**-0.5 if view.fixed_batch else 1.0)
        return Grams.under_noise(self.algebra.own.layers, std, torch.Generator().manual_seed(self.seed))

    def fit(self, own: Tensor, generator: torch.Generator) -> Families:
        """Fit, choose and weigh on some records; and, of densities alone, on half of them, where a line that uses
        nothing else leaves something to find and half are enough."""
        family, half = self._fit(own, generator), len(own) // 2
        if not any(family.starving) or half < LEAST_HALF * self.view.records * self.view.batches:
            return Families(self, family, None, generator)
        less = self._fit(own[:half], torch.Generator().manual_seed(self.seed), with_matrices=False)
        return Families(self, family, less, generator)

    def _fit(self, own: Tensor, generator: torch.Generator, with_matrices: bool = True) -> Family:
        view, algebra, half = self.view, self.algebra, len(own) // 2
        window = Window(self.known, own) if self.known is not None else None
        posterior = fit(self.tokens[:, own], view, generator, self.k, window)
        read = None
        if with_matrices and algebra is not None and algebra.own.readable:
            read = algebra.reader(view, generator)
        trials = [self._widened(t, i, own) for i, t in enumerate(posterior.trials)]
        folds = (own[:half], own[half : 2 * half], own)
        beside = (
            [] if algebra is None or read is None else [algebra.own.beside(f, view.records, generator) for f in folds]
        )
        found = [] if read is None else algebra_of(trials, read, beside[:2])
        once = view.noise_std > 0.0 or (algebra is not None and algebra.seen.random)
        seen = 1.0 / (len(own) + 1)
        least = max(unseen(view.others, len(own)), seen), seen
        whole = self.grams.rows if self.grams is not None else ()
        real = fit_combined(trials, found, self.groups, least, once, whole)
        null = fit_combined(trials, found, self.groups, least, once, whole, null_of=real)
        density = None if self.grams is None else self.grams.density(own, view.others)
        return Family(self, posterior, (real, null), density, read, beside[2] if beside else None)

    def batches(self, members: Tensor) -> Tensor:
        """Batches of every round, `(r, G, m)`; a batch that all rounds show is looked at once."""
        return members[:1] if self.view.fixed_batch else members

    def shown(self, targets: Tensor, fillers: Tensor, games: Games, generator: torch.Generator) -> list[Tensor]:
        """Sketches of what is seen in each round, `(R, G, k)`."""
        if self.sight is None:
            tokens, noise = self.tokens, self.view.noise_std
            return observe(tokens[:, targets], tokens[:, fillers], games, noise, generator)
        window = Window(self.sight, torch.arange(self.tokens.shape[1]))
        seen = window.games(targets, fillers, games, generator)
        return doubled(seen) if self.known is not None else seen

    def _widened(self, trial: Trial, place: int, own: Tensor) -> Trial:
        """A trial among all records, with scores of whole gradients by densities fitted to the other fold."""
        candidates, members, half = own[trial.candidates], self.batches(own[trial.members]), len(own) // 2
        scores = trial.scores
        if self.grams is not None:
            density = self.grams.density(own[:half] if place % 2 == 0 else own[half : 2 * half], self.view.others)
            scores = torch.cat([scores, sum_of(density.scores(batch, candidates) for batch in members)])
        return Trial(candidates, members, trial.secret, scores)


@dataclass(frozen=True)
class Family:
    """A fitted family.

    Attributes:
        table: what it is asked on.
        posterior: the likelihood ratio of sketches.
        fitted: all scores stacked, and the same for shuffled secrets.
        density: of whole gradients, where there is one.
        read: what is seen as matrices, where it is.
        own: candidates as the adversary computes them, beside batches of its own records.
    """

    table: Table
    posterior: Posterior
    fitted: tuple[Combined, Combined]
    density: WholeDensity | None
    read: Read | None
    own: Candidates | None

    @property
    def full(self) -> list[bool]:
        """Whether a line uses sketches alone, and all coordinates of one of them."""
        rows = len(self.table.tokens)
        lines = self.fitted[0].lines
        return [line.sketched(rows) and bool(self.posterior.full[list(line.rows)].any()) for line in lines]

    @property
    def starving(self) -> list[bool]:
        """Whether a line uses densities alone, and is far from its ceiling on the adversary's own games."""
        top = NEARLY_ALL * math.log2(len(self.posterior.trials[0].candidates))
        return [not line.evidence and line.stack.bits < top for line in self.fitted[0].lines]

    def answer(self, targets: Tensor, shown: Sequence[Tensor], batches: Tensor) -> list[Answer]:
        """What it says of every line; and the same fitted to shuffled secrets.

        Args:
            targets: the candidates, `(K,)`.
            shown: `Table.shown` of them.
            batches: records of each batch of theirs, `(r, G, m)`.
        """
        sketches = self.posterior.scores(shown, self.table.tokens[:, targets])
        if self.density is not None:
            density = self.density
            sketches = torch.cat([sketches, sum_of(density.scores(batch, targets) for batch in batches)])
        found = []
        if self.fitted[0].evidence is not None and self.read is not None and self.own is not None:
            found = [statistics_of(self.read, batch, targets, self.own) for batch in batches]
        return [one.play(sketches, found) for one in self.fitted]


@dataclass(frozen=True)
class Families:
    """The family fitted to all of the adversary's records, and its densities fitted to half of them.

    Attributes:
        table: what they are asked on.
        every: fitted to all.
        half: densities fitted to half; None where no line asks whether more records would help.
        generator: of what is random in the view.
    """

    table: Table
    every: Family
    half: Family | None
    generator: torch.Generator

    def answer(self, targets: Tensor, fillers: Tensor, games: Games) -> list[Answer]:
        """What is said of some games: by all, by those fitted to shuffled secrets, and by half (lines that do not ask
        are those of all)."""
        table = self.table
        shown = table.shown(targets, fillers, games, self.generator)
        target = targets[games.secret].expand(len(games.others), -1)[..., None]
        batches = table.batches(torch.cat([target, fillers[games.others]], -1))
        found = self.every.answer(targets, shown, batches)
        if self.half is None:
            return found
        asks = torch.tensor(self.every.starving, device=found[0][0].device)
        less = self.half.answer(targets, shown, batches)[0]
        low = torch.where(asks[:, None, None], less[0], found[0][0])
        return [*found, (low, torch.where(asks.to(less[1].device), less[1], found[0][1]))]
