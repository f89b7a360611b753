"""Whole gradients of batches held against other records of every candidate user: reading, fitting, answering.

Records of one user share inputs. So the numbers of a batch's matrices are compared with those of the user's known
records (see `attacks.agreement`), every known record is tried as if it were in the batch (its inputs are near the row
space if a record like it is), and boosted trees say what all of it means. Fitted in two folds of users, each
scored by what was fitted on the other; the weights of the stack and its share of the prior come from those scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks import span, support
from ptaudit.attacks.agreement import Agreement, fit_agreement
from ptaudit.attacks.batch.reading import Kept, notes_of, screen
from ptaudit.attacks.boosted import Score, fit_boosted
from ptaudit.attacks.evidence import Algebra
from ptaudit.attacks.stacking import FittedStack, fit_stack, uniform_prior
from ptaudit.gradients.matrices import BatchSums, Factors, Matrices, RecordGradients
from ptaudit.views.view import View

MOST_KNOWN = 16
"""Most known records of a user that are held against a batch."""

MOST_LAYERS = 6
"""Most layers of a joint line whose statistics trees look at, the best ones."""


@dataclass(frozen=True)
class RivalSets:
    """Batches of users who are each other's rivals in T sets of K.

    Attributes:
        members: records of each batch in each of r rounds, `(r, T, K, m)`.
        known: other records of the user of each, T lists of K.
        kept: which batches are played, `(T * K,)`; others only stand as rivals.
    """

    members: Tensor
    known: Sequence[Sequence[Tensor]]
    kept: Tensor


@dataclass(frozen=True)
class Held:
    """Batches held against known records, by layer.

    Attributes:
        seen: numbers of the batches, `(T, K, f)` each; of several rounds the mean.
        known: mean numbers of the known records of each batch's user, `(T, K, f)`.
        records: statistics of every known record as if it were in the batch: mean, least and largest over the records
            of each user, `(T, K, K, s)`.
        kept: which batches are played, `(T * K,)`.
    """

    seen: Mapping[int, Tensor]
    known: Mapping[int, Tensor]
    records: Mapping[int, Tensor]
    kept: Tensor

    @property
    def truth(self) -> Tensor:
        """Place of the true user of each batch in its set, `(T, K)`."""
        sets, size = next(iter(self.seen.values())).shape[:2]
        return torch.arange(size).expand(sets, -1)

    def games(self, some: Tensor) -> Tensor:
        """Those of the played batches, `(T, K, ...)` -> `(G, ...)`."""
        return some.flatten(0, 1)[self.kept.to(some.device)]


@dataclass(frozen=True)
class Reader:
    """What numbers of a view are kept, and how it is read.

    Attributes:
        algebra: the view as matrices.
        view: batch size and rounds.
        kept: numbers of each layer.
        generator: of what is random in the view.
    """

    algebra: Algebra
    view: View
    kept: Mapping[int, Kept]
    generator: torch.Generator

    @classmethod
    def of(cls, algebra: Algebra, view: View, members: Tensor, generator: torch.Generator) -> Reader:
        """Choose numbers on batches of the adversary's own users, `(G, m)`."""
        return cls(algebra, view, screen(algebra.seen, members, generator), generator)

    def held(self, batches: RivalSets) -> Held:
        """Read every batch once, and hold it against the known records of all users of its set."""
        sets = [self._set(members, known) for members, known in zip(batches.members.unbind(1), batches.known)]
        seen, records = ({p: torch.stack([one[i][p] for one in sets]) for p in self.kept} for i in (0, 1))
        return Held(seen, self._known(batches.known), records, batches.kept)

    def _known(self, known: Sequence[Sequence[Tensor]]) -> dict[int, Tensor]:
        """Mean numbers of known records, each alone as the adversary computes it, `(T, K, f)`; by layer."""
        rows, place_of = torch.unique(torch.cat([some for users in known for some in users]), return_inverse=True)
        pieces = [
            _numbers(m, self.kept) for m in BatchSums(self.algebra.own.layers).read(rows[:, None], self.generator)
        ]
        sizes = [len(some) for users in known for some in users]
        found = {}
        for place in self.kept:
            numbers = torch.cat([piece[place] for piece in pieces])
            means = torch.stack([numbers[some].mean(0) for some in torch.split(place_of, sizes)])
            found[place] = means.view(len(known), -1, numbers.shape[1])
        return found

    def _set(self, members: Tensor, known: Sequence[Tensor]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Numbers of the batches of a set, `(K, f)`; statistics of their users, `(K, K, s)`; by layer."""
        read, rows = self.algebra.reader(self.view, self.generator), torch.cat(list(known))
        numbers, found = [], []
        for batch in members:
            parts = []
            for matrices in read(batch):
                parts.append((_numbers(matrices, self.kept), self._statistics(matrices, rows, batch.shape[1])))
            numbers.append({p: torch.cat([part[0][p] for part in parts]) for p in self.kept})
            found.append({p: torch.cat([part[1][p] for part in parts]) for p in self.kept})
        seen = {place: torch.stack([one[place] for one in numbers]).mean(0) for place in self.kept}
        sizes = [len(some) for some in known]
        return seen, {place: _by_user([one[place] for one in found], sizes) for place in self.kept}

    def _statistics(self, matrices: Matrices, rows: Tensor, size: int) -> dict[int, Tensor]:
        """Statistics of records as if they were in batches of so many, `(G, rows, s)`; by layer."""
        own, found = self.algebra.own, {}
        for place in self.kept:
            some = [
                statistic
                for batch, one in zip(matrices[place], own.layers[place])
                if not own.hidden(one)
                for statistic in _of_records(batch, one, rows, (size, own.noise_std))
            ]
            found[place] = torch.stack(some, -1) if some else torch.zeros(len(matrices[place][0]), len(rows), 0)
        return found


def _of_records(batch: Tensor, one: RecordGradients, rows: Tensor, how: tuple[int, float]) -> list[Tensor]:
    size, noise_std = how
    found = support.statistics(batch, one, rows, noise_std)[1:]
    if isinstance(one, Factors) and span.applies(one, size):
        found += span.statistics(batch, one, rows, size, noise_std)[1:]
    return found


def _numbers(matrices: Matrices, kept: Mapping[int, Kept]) -> dict[int, Tensor]:
    notes = {place: notes_of(matrices[place], mine) for place, mine in kept.items()}
    return {place: torch.nan_to_num(torch.cat([one.rows, one.columns], 1)) for place, one in notes.items()}


def _by_user(rounds: Sequence[Tensor], sizes: list[int]) -> Tensor:
    """Mean, least and largest over the known records of each user and all rounds: `(K, rows, s)` -> `(K, K, 3 s)`."""
    by_user = zip(*(torch.split(one, sizes, 1) for one in rounds))
    each = [torch.cat(some, 1) for some in by_user]
    return torch.stack([torch.cat([one.mean(1), one.amin(1), one.amax(1)], -1) for one in each], 1)


@dataclass(frozen=True)
class MatchedLine:
    """The fitted posterior of one reported line.

    Attributes:
        agreements: of its layers, and of all of them together; the last one is that of the line.
        half: the last one as half of the adversary's users tell it.
        layers: whose statistics trees look at.
        trees: what they say.
        stack: trees and agreements as one posterior.
    """

    agreements: Mapping[tuple[int, ...], Agreement]
    half: Agreement
    layers: tuple[int, ...]
    trees: Score
    stack: FittedStack

    def log_posterior(self, held: Held) -> Tensor:
        """Log-posteriors of the played batches, `(G, K)` float64."""
        features = _features(held, self.agreements, self.layers)
        scores = _scores(features, self.trees, len(self.agreements))
        return self.stack.log_posterior(scores, uniform_prior(scores))

    def halved(self, held: Held) -> tuple[Tensor, Tensor]:
        """What all users tell, and half of them, of the agreement alone, in nats over a guess, `(G,)` each."""
        places, every = list(self.agreements.items())[-1]
        seen, known = (torch.cat([side[place] for place in places], -1) for side in (held.seen, held.known))
        both = (torch.log_softmax(held.games(one.scores(seen, known)).double(), -1) for one in (every, self.half))
        guess = math.log(held.truth.shape[1])
        more, less = (told.gather(1, held.games(held.truth)[:, None]).squeeze(1) + guess for told in both)
        return more, less


def fit_matches(
    folds: tuple[Held, Held], secrets: tuple[Tensor, Tensor], lines: Sequence[tuple[int, ...]], records: int, seed: int
) -> list[MatchedLine]:
    """Fit the posterior of every line.

    Args:
        folds: batches of one half of the adversary's users, and of the other.
        secrets: what is taken for the true user of each batch, `(T, K)` each: `Held.truth`, or something random.
        lines: layers of each reported line.
        records: how many records the adversary has, of which the least share of the prior depends.
        seed: of the trees.
    """
    asked = sorted({(place,) for line in lines for place in line} | set(lines))
    parts = [{some: _agreement([held], [secret], some) for some in asked} for held, secret in zip(folds, secrets)]
    parts.append({some: _agreement(folds, secrets, some) for some in asked})
    told = torch.cat([held.games(secret) for held, secret in zip(folds, secrets)])
    fitted: dict[tuple[int, ...], MatchedLine] = {}
    for line in sorted(set(lines), key=len):
        best = sorted(line, key=lambda place: -fitted[(place,)].stack.bits if (place,) in fitted else 0.0)
        some = tuple(dict.fromkeys([*((place,) for place in line), line]))
        chosen = [{one: part[one] for one in some} for part in parts]
        fitted[line] = _line(folds, chosen, tuple(best[:MOST_LAYERS]), (told, records, seed))
    return [fitted[line] for line in lines]


def _line(
    folds: tuple[Held, Held],
    agreements: Sequence[Mapping[tuple[int, ...], Agreement]],
    layers: tuple[int, ...],
    how: tuple[Tensor, int, int],
) -> MatchedLine:
    """Trees on what the other fold's agreements say, a stack of what the other fold's trees say."""
    secret, records, seed = how
    x = [_features(held, agreements[1 - i], layers) for i, held in enumerate(folds)]
    trees = [fit_boosted(*some, seed) for some in zip(x, torch.split(secret, [len(one) for one in x]))]
    count = len(agreements[0])
    scores = torch.cat([_scores(some, trees[1 - i], count) for i, some in enumerate(x)], 1)
    stack = fit_stack(scores, secret, uniform_prior(scores), 1.0 / (records + 1))
    half = list(agreements[0].values())[-1]
    return MatchedLine(agreements[2], half, layers, fit_boosted(torch.cat(x), secret, seed), stack)


def _agreement(held: Sequence[Held], secrets: Sequence[Tensor], layers: tuple[int, ...]) -> Agreement:
    seen, known = (
        torch.cat([torch.cat([side[place] for place in layers], -1) for side in sides])
        for sides in ([one.seen for one in held], [one.known for one in held])
    )
    return fit_agreement(seen, known, torch.cat(list(secrets)))


def _features(held: Held, agreements: Mapping[tuple[int, ...], Agreement], layers: Sequence[int]) -> Tensor:
    """What agreements say, then statistics of known records, of every candidate: `(G, K, F)`."""
    told = []
    for places, one in agreements.items():
        seen, known = (torch.cat([side[place] for place in places], -1) for side in (held.seen, held.known))
        told.append(one.scores(seen, known)[..., None])
    return held.games(torch.cat([*told, *(held.records[place] for place in layers)], -1))


def _scores(features: Tensor, trees: Score, agreements: int) -> Tensor:
    """Trees, then agreements, `(1 + A, G, K)`."""
    return torch.stack([trees(features), *features[..., :agreements].unbind(-1)])
