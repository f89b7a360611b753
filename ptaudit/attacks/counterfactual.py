"""White-box likelihood of one field of a record whose other fields are known.

The adversary computes the token that the record would have with each value of the field. What is left of the observed
batch when that token is taken out is the other records and the noise, whose density it fits on batches of its own
records: there it knows the value, and so what was left. Where nothing is left (one record, no noise) the answer is
exact: the values whose token is the one observed.

Where a view does not add up, a value has a second feature beside its token: what the view shows of the record alone,
with that value (as in `observed_density`). It is one more row, held against the same observation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.batch.choice import Choice, answer, choose_setting
from ptaudit.attacks.calibration import at, log_prior, unseen
from ptaudit.attacks.densities import sub_tokens
from ptaudit.attacks.nuisance_density import (
    NuisanceDensity,
    fit_gaussian,
    fit_noise,
    fit_student,
    log_density,
    whitened,
)

EQUAL_TOLERANCE = 1e-5
"""Relative distance below which two tokens count as equal: float32 rounding of the same gradient."""

IMPOSSIBLE = -80.0
"""Log-likelihood ratio of a value whose token is not the one observed, where nothing hides it."""


@dataclass(frozen=True)
class CandidateGames:
    """Games as the adversary finds them.

    Attributes:
        views: what is seen in each of r rounds, `(r, R, G, k)`.
        candidates: tokens of the target with each value of its field, `(A, R, G, k)`.
        prior: probability of every value from the other fields, `(G, A)`.
        secret: the true value, `(G,)`; looked at in the adversary's own games only.
    """

    views: Tensor
    candidates: Tensor
    prior: Tensor
    secret: Tensor

    def at(self, rows: Sequence[int]) -> CandidateGames:
        """The games in some rows."""
        return replace(self, views=self.views[:, list(rows)], candidates=self.candidates[:, list(rows)])


@dataclass(frozen=True)
class Belief:
    """What the adversary takes a view to be.

    Attributes:
        linear: whether a batch is the sum of its records' tokens.
        noise: standard deviation of the noise where only noise hides the token, else None.
        replayed: whether there are rows of what the view shows of a record alone.
        late: whether what is played is not what it prepares on: then nothing that it computes is the thing shown.
    """

    linear: bool
    noise: float | None
    replayed: bool = False
    late: bool = False


@dataclass(frozen=True)
class RestDensity:
    """What is left of a batch: how much of the target's token is in it, `(R,)`, and the density of the rest.

    Attributes:
        share: 1 where a batch is a sum; defenses that are not linear shrink or stretch what a record adds.
        rest: the density.
        coordinates: those of the token that are looked at.
    """

    share: Tensor
    rest: NuisanceDensity
    coordinates: Tensor

    def distances(self, asked: CandidateGames) -> list[Tensor]:
        """Squared Mahalanobis length of what each value leaves, for each round `(R, G, A)`."""
        known = [whitened(self.rest.factor, self._seen(token)) for token in asked.candidates]
        found = []
        for view in asked.views:
            left = whitened(self.rest.factor, view[..., self.coordinates] - self.rest.mean[:, None])
            found.append(torch.stack([(left - token).square().sum(-1) for token in known], -1))
        return found

    def scores(self, asked: CandidateGames) -> list[Tensor]:
        """Log-likelihoods for each tail of the density, `(R, G, A)`."""
        distances, k = self.distances(asked), len(self.coordinates)
        return [torch.stack([log_density(one, nu, k) for one in distances]).sum(0) for nu in self.rest.tails]

    def at(self, row: int) -> RestDensity:
        """That of one row."""
        return replace(self, share=self.share[row : row + 1], rest=self.rest.at([row]))

    def _seen(self, token: Tensor) -> Tensor:
        return self.share[:, None, None] * token[..., self.coordinates]


@dataclass(frozen=True)
class Nearness:
    """How near each value's feature is to what is seen, with no share and no density of a rest.

    For views that show a record alone nearly as it computes it, so that no rest is left to fit a density to.
    """

    def scores(self, asked: CandidateGames) -> list[Tensor]:
        """The likelihoods, up to a slope, of rests whose scale is anything down to rounding, `(R, G, A)`."""
        return [-(distances_apart(asked).square() + EQUAL_TOLERANCE**2).log()]

    def at(self, row: int) -> Nearness:
        """The same for one row."""
        return self


@dataclass(frozen=True)
class ChosenRow:
    """What was chosen for a line.

    Attributes:
        row: which row.
        density: fitted to that row alone; None where nothing hides the token.
        tail: which of its tails.
        real: calibration.
        shuffled: the same on games with values drawn from the prior in the place of the true ones.
    """

    row: int
    density: RestDensity | Nearness | None
    tail: int
    real: Choice
    shuffled: Choice


@dataclass(frozen=True)
class Prepared:
    """An adversary for P lines.

    Attributes:
        lines: what was chosen for each.
        unseen: chance that a game shows what none of its own did, see `calibration.unseen`.
    """

    lines: tuple[ChosenRow, ...]
    unseen: float

    def answer(self, asked: CandidateGames) -> tuple[Tensor, Tensor]:
        """Log-posteriors of every value, real and null, `(P, G, A)` each."""
        real, null = [], []
        for line in self.lines:
            mine = asked.at([line.row])
            if line.density is None:
                real.append(nearest(mine, self.unseen))
                null.append(log_prior(asked.prior)[None])
            else:
                scores = line.density.scores(mine)[line.tail].double()[None]
                real.append(answer(scores, asked.prior, line.real))
                null.append(answer(scores, asked.prior, line.shuffled))
        return torch.cat(real), torch.cat(null)


def prepare(
    fit: CandidateGames, choose: CandidateGames, choose_wrong: Tensor, groups: Sequence[Sequence[int]], belief: Belief
) -> Prepared:
    """Fit densities on games of one round, choose density, row and calibration on whole games.

    Args:
        fit: games of one round, of the adversary's own records.
        choose: games of other records of its own, with as many rounds as the played ones.
        choose_wrong: values drawn from the prior in the place of the true ones of `choose`.
        groups: for each line the rows that it chooses from.
        belief: what it takes the view to be.
    """
    exact, choose_secret = nothing_left(fit), choose.secret
    densities: list[RestDensity | Nearness] = [*fitted(fit, belief)]
    if belief.replayed:
        exact &= not belief.late
        densities.append(Nearness())
    found = [(density, density.scores(choose)) for density in densities]
    settings = [(density, tail) for density, scores in found for tail in range(len(scores))]
    ratios = torch.stack([some.double() for _, scores in found for some in scores])
    ratios = torch.where(torch.isfinite(ratios), ratios, 0.0)  # where nothing is left there is no density
    real = choose_setting(ratios, choose.prior, choose_secret)
    certain: Tensor | float = torch.inf
    if belief.replayed:  # a defended layer often looks the same with any value: of rows that are exact one tells more
        told = nearest(choose, unseen(1, len(choose_secret))) - log_prior(choose.prior)
        certain = at(told, choose_secret).mean(1) / math.log(2)
    bits = torch.where(exact, certain, real.bits)
    rows = [max(group, key=lambda row: float(bits[row])) for group in groups]
    lines = []
    for row in rows:
        place = int(real.setting[row])
        density, tail = settings[place]
        null = choose_setting(ratios[place : place + 1, row : row + 1], choose.prior, choose_wrong)
        lines.append(ChosenRow(row, None if exact[row] else density.at(row), tail, _first(real, row), null))
    return Prepared(tuple(lines), unseen(1, len(choose_secret)))


def fitted(fit: CandidateGames, belief: Belief) -> list[RestDensity]:
    """The densities of the family: Gaussians and Student-t on sub-tokens and on all coordinates."""
    token, view = true_token(fit), fit.views[0]
    found = []
    share = view.new_ones(len(view)) if belief.linear else share_of(view, token)
    left = view - share[:, None, None] * token
    k = left.shape[-1]
    if belief.noise is not None:
        found.append(RestDensity(share, fit_noise(left, belief.noise), torch.arange(k)))
    for coordinates in sub_tokens(k):
        some = left[..., coordinates]
        rests = [*(fit_gaussian(some, 1, 0.0, refine) for refine in (False, True)), *fit_student(some)]
        found += [RestDensity(share, rest, coordinates) for rest in rests]
    return found


def share_of(view: Tensor, token: Tensor) -> Tensor:
    """How much of the target's token is in what is seen, by generalised least squares, `(R,)`; never negative."""
    left, known = view - view.mean(1, keepdim=True), token - token.mean(1, keepdim=True)
    share = _slope(left, known)
    factor = fit_gaussian(left - share[:, None, None] * known, 1, 0.0).factor
    return _slope(whitened(factor, left), whitened(factor, known)).clamp_min(0.0)


def _slope(left: Tensor, known: Tensor) -> Tensor:
    return (left * known).sum((-1, -2)) / known.square().sum((-1, -2)).clamp_min(1e-300)


def true_token(asked: CandidateGames) -> Tensor:
    """Tokens of the targets as they are, `(R, G, k)`."""
    games = torch.arange(len(asked.secret), device=asked.candidates.device)
    return asked.candidates[asked.secret, :, games].transpose(0, 1)


def nothing_left(asked: CandidateGames) -> Tensor:
    """Whether each row shows the very token of the target in every game, `(R,)`."""
    return (at(distances_apart(asked), asked.secret) <= EQUAL_TOLERANCE).all(1)


def distances_apart(asked: CandidateGames) -> Tensor:
    """How far each value's token is from what is seen, relative to both, worst round: `(R, G, A)`."""
    size = torch.linalg.vector_norm
    found = [
        torch.stack(
            [
                size(view - t, dim=-1) / (size(view, dim=-1) + size(t, dim=-1)).clamp_min(1e-200)
                for t in asked.candidates
            ],
            -1,
        )
        for view in asked.views
    ]
    return torch.stack(found).amax(0)


def nearest(asked: CandidateGames, unseen: float) -> Tensor:
    """Log-posteriors of who expects to see the token itself: the values that are nearest, `(R, G, A)`.

    Args:
        asked: the games.
        unseen: share of the prior where no value's token is the one observed: then what it sees is not what it knows.
    """
    apart, prior = distances_apart(asked), log_prior(asked.prior)
    least = apart.amin(-1, keepdim=True)
    sure = (torch.where(apart > least + EQUAL_TOLERANCE, IMPOSSIBLE, 0.0) + prior).log_softmax(-1)
    mixed = torch.logaddexp(sure + math.log1p(-unseen), prior + math.log(unseen))
    return torch.where(least <= EQUAL_TOLERANCE, sure, mixed)


def _first(choice: Choice, row: int) -> Choice:
    """The calibration of one row, of the one setting that it chose."""
    one = slice(row, row + 1)
    return Choice(torch.zeros_like(choice.setting[one]), choice.slope[one], choice.share[one], choice.bits[one])
