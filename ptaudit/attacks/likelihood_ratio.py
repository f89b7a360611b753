"""The white-box adversary of the identity game: a likelihood ratio, calibrated on the adversary's own records.

She knows the weights, so she can compute the token of any candidate, and owns records of the same population. From
these she fits the density of the interference (the other records of the batch, plus noise), chooses a member of her
family and calibrates it by playing the game against herself. She never sees the reporting records before the game.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.calibration import Calibration, at, calibrated_gain, shifted, top_hit, uniform, unseen
from ptaudit.attacks.densities import Density, Own
from ptaudit.attacks.model_selection import FOLD_GAMES, Member, Rehearsal, Rows, coordinates_of, prepare, roles, rows_of
from ptaudit.attacks.observed_density import doubled, draw
from ptaudit.views.aggregate import observe


@dataclass(frozen=True)
class Posterior:
    """A fitted and calibrated adversary for R rows.

    Attributes:
        parts: rows that chose the same member, that member, its coordinates and its fitted interference.
        real: calibration on games with the true secret.
        shuffled: calibration of the same member on games with the secret shuffled, for the null.
        fold_bits: mean bits of the choice on the adversary's own folds, `(R,)`.
        full: whether a row chose all coordinates, `(R,)`.
        trials: the games that it was calibrated on, scored by the chosen members.
        wider: whether its densities are fitted to the further records too.
    """

    parts: tuple[tuple[Rows, Member, Tensor, Density], ...]
    real: Calibration
    shuffled: Calibration
    fold_bits: Tensor
    full: Tensor
    trials: tuple[Trial, ...] = ()
    wider: bool = False

    def scores(self, views: Sequence[Tensor], candidates: Tensor) -> Tensor:
        """Log-likelihoods of every candidate under the chosen members, less the largest: `(R, G, K)` float32.

        Args:
            views: per round, `(R, G, k)`.
            candidates: `(R, K, k)`.
        """
        low = candidates.new_empty(len(candidates), views[0].shape[1], candidates.shape[1], dtype=torch.float32)
        for mine, member, coordinates, density in self.parts:
            some = [rows_of(view, mine) for view in views]
            distances = distances_of(density, some, rows_of(candidates, mine), coordinates)
            low[list(mine)] = shifted(member.scores(distances))
        return low

    def play(self, views: Sequence[Tensor], candidates: Tensor, secret: Tensor, wrong: Tensor) -> Outcome:
        """Name the posterior of every game and score it.

        Args:
            views: per round, `(R, G, k)`.
            candidates: `(R, K, k)`.
            secret: index of the true candidate, `(G,)`.
            wrong: index of the candidate that shuffling puts in its place, `(G,)`.
        """
        rows, games, k = len(candidates), len(secret), candidates.shape[1]
        scored = candidates.new_zeros(3, rows, games)
        rivals = candidates.new_zeros(3, rows, k)
        prior = uniform(k, candidates)
        for mine, member, coordinates, density in self.parts:
            part, some = list(mine), [rows_of(view, mine) for view in views]
            low = shifted(member.scores(distances_of(density, some, rows_of(candidates, mine), coordinates)))
            real, null = self.real.at(part), self.shuffled.at(part)
            scored[0, part] = calibrated_gain(low, prior, real, secret)
            scored[1, part] = top_hit(low, secret)
            scored[2, part] = calibrated_gain(low, prior, null, wrong)
            rivals[:2, part] = rival_losses(low, secret, real)
        return Outcome(scored, rivals)


@dataclass(frozen=True)
class Trial:
    """Games that an adversary has played against itself with records on which its densities were not fitted.

    Attributes:
        candidates: indices of the candidates among its records, `(K,)`.
        members: records of each batch, `(r, G, m)`.
        secret: index of the true candidate, `(G,)`.
        scores: log-likelihoods of the chosen members, `(R, G, K)` float32.
    """

    candidates: Tensor
    members: Tensor
    secret: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Effort:
    """How an adversary plays against itself: most candidates, and games in each fold and role."""

    candidates: int
    games: int


@dataclass(frozen=True)
class Outcome:
    """Scores of G games among K candidates, for R rows; the first axis is bits, hits, null bits.

    Attributes:
        scored: score of each game, `(3, R, G)`.
        rivals: mean change of the score of the other candidates' games through this candidate's presence, `(3, R, K)`;
            0 for the null.
    """

    scored: Tensor
    rivals: Tensor


def rival_losses(low: Tensor, secret: Tensor, calibration: Calibration) -> Tensor:
    """What each candidate takes from the games of the others, in bits and in hits: `(2, R, K)`, from shifted scores.

    Without candidate j the posterior of the target would be larger by 1 / (1 - p_j); a hit is lost where j alone comes
    before the target.
    """
    k = low.shape[-1]
    place = secret[None, :, None].expand(len(low), -1, 1)
    p = (low * calibration.slope[:, None, None].float()).exp_()
    p /= (p @ p.new_ones(k))[..., None]
    mixed = (1.0 - calibration.share)[:, None] * at(p, secret)
    felt = mixed / (mixed + calibration.share[:, None] / k)
    # Its own games say nothing of what a candidate takes from others.
    kept = p.scatter_(-1, place, 0.0).clamp_max_(1.0 - 1e-6).neg_().add_(1.0).log_()
    lost_bits = (felt.float()[:, None] @ kept).squeeze(1) / math.log(2.0)
    ahead = (low > at(low, secret)[..., None]).float()
    alone = ahead @ ahead.new_ones(k) == 1.0
    lost_hits = -(alone.float()[:, None] @ ahead).squeeze(1)
    return torch.stack([lost_bits, lost_hits]).double() / (len(secret) * (1.0 - 1.0 / k))


def distances_of(density: Density, views: Sequence[Tensor], candidates: Tensor, coordinates: Tensor) -> list[Tensor]:
    """Squared distances of each round on some coordinates: a list of r tensors `(R, G, K)`."""
    known = coordinates_of(candidates, coordinates)
    return [density.distances(coordinates_of(view, coordinates), known) for view in views]


def fit(own: Own, generator: torch.Generator, candidates: int = 256, batches: int = 4 * FOLD_GAMES) -> Posterior:
    """Fit, choose and calibrate on the adversary's records, of which there are at least 4; see `rehearsal`.

    The chosen member is then fitted again on all records. Densities of a sum are fitted to further records too where
    that names more of her own: training sets members apart, so that it may not.

    Args:
        own: her records, and the view.
        generator: of the games she plays against herself.
        candidates: most candidates in those games.
        batches: of those games, all together.
    """
    tokens = own.tokens
    rows, n, _ = tokens.shape
    every, half = tuple(range(rows)), n // 2
    seeds = torch.randint(2**62, (3,), generator=generator).tolist()
    folds = slice(half), slice(half, 2 * half)
    whole, chosen = (own.densities(fold, seed) for fold, seed in zip(folds, seeds))
    effort = Effort(candidates, batches // 4)
    first = _rehearse(lambda place, asked: whole(place, every).at(asked), own, folds[1], effort, generator)
    second = _rehearse(chosen, own, folds[0], effort, generator)
    wider = own.further is not None and bool(own.view.others) and _names_more(first, own, every)
    prepared = prepare(first, second, own.members(wider), rows, unseen(own.view.others, n))
    final = own.densities(slice(n), seeds[2])
    parts = tuple(
        (mine, member, own.coordinates(member.place), final(member.place, mine)) for mine, member in prepared.parts
    )
    trials = tuple(
        _trial(rehearsal, start, prepared.parts, tokens) for rehearsal, start in _starts(first, second, half)
    )
    full = torch.zeros(rows, dtype=torch.bool)
    for mine, member in prepared.parts:
        full[list(mine)] = member.dim == max(map(len, own.sets))
    return Posterior(parts, prepared.real, prepared.shuffled, prepared.bits, full, trials, wider)


def _names_more(rehearsals: Sequence[Rehearsal], own: Own, every: Rows) -> bool:
    """Whether a normal density of all coordinates names more, over all rows, where further records are in it."""
    pair = [own.widest(further) for further in (False, True)]
    bits = torch.stack([r.by_member(pair, every).flatten(2).amax(2).sum(0) for r in rehearsals]).mean(0)
    return bool(bits[1] > bits[0])


def _starts(first: Sequence[Rehearsal], second: Sequence[Rehearsal], half: int) -> list[tuple[Rehearsal, int]]:
    """All rehearsals, those of one fold alternating with those of the other, and where their fold begins."""
    return [pair for one, two in zip(first, second) for pair in ((one, half), (two, 0))]


def _trial(rehearsal: Rehearsal, start: int, parts: Sequence[tuple[Rows, Member]], tokens: Tensor) -> Trial:
    """The games of a rehearsal as the chosen members score them."""
    assert rehearsal.candidates is not None
    assert rehearsal.members is not None
    shape = len(tokens), len(rehearsal.secret), len(rehearsal.candidates)
    low = torch.empty(shape, dtype=torch.float32, device=tokens.device)
    for mine, member in parts:
        low[list(mine)] = shifted(member.scores(rehearsal.distances(member.place, mine)))
    return Trial(rehearsal.candidates + start, rehearsal.members + start, rehearsal.secret, low)


def _rehearse(
    density: Callable[[int, Rows], Density],
    own: Own,
    fold: slice,
    effort: Effort,
    generator: torch.Generator,
) -> list[Rehearsal]:
    """Both roles: half of the played fold holds the candidates, the other half fills the batches."""
    played, window = own.tokens[:, fold], own.window and own.window.at(fold)
    quarter = played.shape[1] // 2
    targets = min(quarter, effort.candidates)
    per_target = max(1, effort.games // targets)
    found, view = [], own.view
    for known, fillers in roles(torch.arange(quarter), torch.arange(quarter, 2 * quarter)):
        mine = known[:targets]
        candidates = played[:, mine]
        games = draw(targets, quarter, per_target, view, generator)
        if window is None:
            views = observe(candidates, played[:, fillers], games, view.noise_std, generator)
        else:
            views = doubled(window.games(mine, fillers, games, generator))

        def distances(
            place: int, rows: Rows, views: Sequence[Tensor] = views, candidates: Tensor = candidates
        ) -> list[Tensor]:
            some = [rows_of(view, rows) for view in views]
            return distances_of(density(place, rows), some, rows_of(candidates, rows), own.coordinates(place))

        secret = games.secret.to(played.device)
        members = torch.cat([mine[games.secret].expand(len(games.others), -1)[..., None], fillers[games.others]], -1)
        wrong = (secret + 1) % targets
        found.append(Rehearsal(distances, uniform(targets, played), secret, wrong, mine, members))
    return found
