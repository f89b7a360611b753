"""The family of the identity game, fitted to one half of the records and asked about the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ptaudit.attacks.calibration import unseen
from ptaudit.attacks.class_counts import CountedDensity, CountReader, numbers_of
from ptaudit.attacks.combined import Combined, OwnGames, algebra_of, fit_combined
from ptaudit.attacks.densities import Own
from ptaudit.attacks.evidence import Candidates, Read, statistics_of
from ptaudit.attacks.known import Known
from ptaudit.attacks.likelihood_ratio import Posterior, ScoredGames, fit_likelihood_ratio
from ptaudit.attacks.model_selection import sum_of
from ptaudit.attacks.observed_density import Effort, ObservedRecords, doubled, every_record
from ptaudit.attacks.whole import Grams, WholeDensity, further_of
from ptaudit.gradients.matrices import RecordGradients, joined
from ptaudit.stats.estimate import NEARLY_ALL
from ptaudit.views.aggregate import Games
from ptaudit.views.view import View

RealAndNull = tuple[Tensor, Tensor]
"""Scores of every line `(P, G, K)`, and each line's share of the prior `(P,)`."""

LEAST_HALF = 10
"""Fewest records, for each record of a batch, from which a family is fitted to see what half of the records lose."""


@dataclass(frozen=True)
class IdentityGames:
    """What the game is played with.

    Attributes:
        who: the adversary and what is seen; with an observation that it knows, its tokens are features, see
            `observed_density`.
        groups: for each reported line the rows that the adversary may use.
        effort: number of candidates K, and batches of its own records on which it chooses and calibrates.
        seed: of noise on whole gradients.
    """

    who: Known
    groups: Sequence[Sequence[int]]
    effort: Effort
    seed: int

    @property
    def tokens(self) -> Tensor:
        """Of N records for R rows, `(R, N, k)`."""
        return self.who.tokens

    @property
    def view(self) -> View:
        """Batch size, rounds and noise."""
        return self.who.view

    @property
    def _whole(self) -> Candidates | None:
        """Whole gradients, where what is seen is their sum."""
        who = self.who
        return who.algebra.own if who.algebra is not None and who.known is None and who.observation is None else None

    @cached_property
    def grams(self) -> Grams | None:
        """Inner products of whole gradients, where they say more than spans do."""
        own = self._whole
        return None if own is None or not self.view.linear else self._grams(own.layers)

    @cached_property
    def wider_grams(self) -> Grams | None:
        """The same with further records after all others, where they can be kept in the same form."""
        if self.grams is None or self.who.algebra is None or self.who.further is None:
            return self.grams
        most = further_of(self.tokens.shape[1], self.who.further.count(1.0))
        found = self._grams([joined(pair) for pair in zip(self.who.algebra.own.layers, self.who.further.read(most))])
        return self.grams if found is None or found.layers != self.grams.layers else found

    def beside(self, own: Tensor, further: float, counted: bool) -> list[WholeDensity | CountedDensity]:
        """Densities that are asked beside those of sketches, fitted to some records.

        Args:
            own: the records.
            further: share of the further records that those of whole gradients are fitted to as well.
            counted: whether they read how many records of each class are in a batch.
        """
        grams, n = self.wider_grams if further else self.grams, self.tokens.shape[1]
        found: list[WholeDensity | CountedDensity] = []
        if grams is not None:
            more = round((grams.gram.shape[1] - n) * further)
            found.append(grams.density(torch.cat([own, torch.arange(n, n + more)]), self.view.others))
        if counted and (reader := self.count_reader(own)) is not None:
            found.append(CountedDensity.fit(reader, self.tokens[self.joint], own, self.view.others))
        return found

    @property
    def joint(self) -> list[int]:
        """Rows of the tokens that are of all layers together."""
        alone = {group[0] for group in self.groups if len(group) == 1}
        return [row for row in range(len(self.tokens)) if row not in alone]

    @cached_property
    def count_numbers(self) -> Tensor | None:
        """What the last layer shows of class counts, where nothing hides it."""
        view, own = self.view, self._whole
        if own is None or own.classes is None or not view.others or view.noise_std > 0.0 or not self.joint:
            return None
        return numbers_of(own.layers[-1], len(own.classes))

    def count_reader(self, own: Tensor) -> CountReader | None:
        """What tells how many records of each class are in a batch, as own records have it; None where nothing does."""
        if self.count_numbers is None or self.who.algebra is None or self.who.algebra.own.classes is None:
            return None
        return CountReader.of(self.count_numbers, self.who.algebra.own.classes, own)

    def _grams(self, layers: Sequence[Sequence[RecordGradients]]) -> Grams | None:
        view = self.view
        if view.noise_std == 0.0:
            return Grams.of(layers, view.records)
        # Of several observations of one batch the mean has less noise.
        std = view.noise_std * (view.rounds**-0.5 if view.fixed_batch else 1.0)
        return Grams.under_noise(layers, std, torch.Generator().manual_seed(self.seed))

    def fit(self, own: Tensor, generator: torch.Generator) -> FittedFamilies:
        """Fit, choose and weigh on some records; and, of densities alone, on half of them, where a line that uses
        nothing else leaves something to find and half are enough."""
        family, half = self._fit(own, generator), len(own) // 2
        if not any(family.starving) or half < LEAST_HALF * self.view.records * self.view.batches:
            return FittedFamilies(self, family, None, generator)
        less = self._fit(own[:half], torch.Generator().manual_seed(self.seed), with_matrices=False)
        return FittedFamilies(self, family, less, generator)

    def _fit(self, own: Tensor, generator: torch.Generator, with_matrices: bool = True) -> FittedFamily:
        view, algebra, half = self.view, self.who.algebra, len(own) // 2
        observed = ObservedRecords(self.who.known, own) if self.who.known is not None else None
        share = min(1.0, 2 * len(own) / self.tokens.shape[1])
        further = None if self.who.further is None else self.who.further.some(share)
        prepared = Own(self.tokens[:, own], view, observed, further)
        posterior = fit_likelihood_ratio(prepared, generator, self.effort)
        read = None
        if with_matrices and algebra is not None and algebra.own.readable:
            read = algebra.reader(view, generator)
        folds, reader = (own[:half], own[half : 2 * half], own), self.count_reader(own[:half])
        counted = reader is not None and reader.finds(own[half:], view.records)
        # Folds have as many further records as all: where a covariance gets its full rank, scores get another scale.
        densities = [self.beside(fold, posterior.wider * share, counted) for fold in folds]
        trials = [self._widened(t, own, densities[i % 2]) for i, t in enumerate(posterior.trials)]
        known = (
            [] if algebra is None or read is None else [algebra.own.beside(f, view.records, generator) for f in folds]
        )
        found = [] if read is None else algebra_of(trials, read, known[:2])
        once = view.noise_std > 0.0 or (algebra is not None and algebra.seen.random)
        seen = 1.0 / (len(own) + 1)
        least = max(unseen(view.others, len(own)), seen), seen
        whole = tuple(row for density in densities[2] for row in density.rows)
        games = OwnGames(trials, found, least, once, whole)
        real = fit_combined(games, self.groups)
        null = fit_combined(games, self.groups, null_of=real)
        return FittedFamily(self, posterior, (real, null), densities[2], read, known[2] if known else None)

    def batches(self, members: Tensor) -> Tensor:
        """Batches of every round, `(r, G, m)`; a batch that all rounds show is looked at once."""
        return members[:1] if self.view.fixed_batch else members

    def shown(self, targets: Tensor, fillers: Tensor, games: Games, generator: torch.Generator) -> list[Tensor]:
        """Sketches of what is seen in each round, `(R, G, k)`."""
        records = every_record(self.tokens, self.view.noise_std, self.who.observation)
        seen = records.games(targets, fillers, games, generator)
        return doubled(seen) if self.who.known is not None else seen

    def _widened(
        self, trial: ScoredGames, own: Tensor, densities: Sequence[WholeDensity | CountedDensity]
    ) -> ScoredGames:
        """A trial among all records, with scores of further densities, fitted to the other fold."""
        candidates, members = own[trial.candidates], self.batches(own[trial.members])
        scores = _with_more(trial.scores, densities, members, candidates)
        return ScoredGames(candidates, members, trial.secret, scores)


def _with_more(
    sketches: Tensor, densities: Sequence[WholeDensity | CountedDensity], batches: Tensor, candidates: Tensor
) -> Tensor:
    """Scores of sketches `(R, G, K)`, then those of further densities, summed over rounds `(r, G, m)`."""
    more = [sum_of(density.scores(batch, candidates) for batch in batches) for density in densities]
    return torch.cat([sketches, *(one.to(sketches) for one in more)])


@dataclass(frozen=True)
class FittedFamily:
    """A fitted family.

    Attributes:
        table: what it is asked on.
        posterior: the likelihood ratio of sketches.
        fitted: all scores stacked, and the same for shuffled secrets.
        densities: that are asked beside those of sketches.
        read: what is seen as matrices, where it is.
        own: candidates as the adversary computes them, beside batches of its own records.
    """

    table: IdentityGames
    posterior: Posterior
    fitted: tuple[Combined, Combined]
    densities: Sequence[WholeDensity | CountedDensity]
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

    def answer(self, targets: Tensor, shown: Sequence[Tensor], batches: Tensor) -> list[RealAndNull]:
        """What it says of every line; and the same fitted to shuffled secrets.

        Args:
            targets: the candidates, `(K,)`.
            shown: `IdentityGames.shown` of them.
            batches: records of each batch of theirs, `(r, G, m)`.
        """
        sketches = self.posterior.scores(shown, self.table.tokens[:, targets])
        sketches = _with_more(sketches, self.densities, batches, targets)
        found = []
        if self.fitted[0].evidence is not None and self.read is not None and self.own is not None:
            found = [statistics_of(self.read, batch, targets, self.own) for batch in batches]
        return [one.play(sketches, found) for one in self.fitted]


@dataclass(frozen=True)
class FittedFamilies:
    """The family fitted to all of the adversary's records, and its densities fitted to half of them.

    Attributes:
        table: what they are asked on.
        every: fitted to all.
        half: densities fitted to half; None where no line asks whether more records would help.
        generator: of what is random in the view.
    """

    table: IdentityGames
    every: FittedFamily
    half: FittedFamily | None
    generator: torch.Generator

    def answer(self, targets: Tensor, fillers: Tensor, games: Games) -> list[RealAndNull]:
        """What is said of some games: by all, by those fitted to shuffled secrets, and by half (lines that do not ask
        are those of all)."""
        table = self.table
        shown = table.shown(targets, fillers, games, self.generator)
        batches = table.batches(games.members(targets, fillers))
        found = self.every.answer(targets, shown, batches)
        if self.half is None:
            return found
        asks = torch.tensor(self.every.starving, device=found[0][0].device)
        less = self.half.answer(targets, shown, batches)[0]
        low = torch.where(asks[:, None, None], less[0], found[0][0])
        return [*found, (low, torch.where(asks.to(less[1].device), less[1], found[0][1]))]
