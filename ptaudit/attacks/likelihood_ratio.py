"""The white-box adversary of the identity game: a likelihood ratio, calibrated on the adversary's own records.

It knows the weights, so it can compute the token of any candidate, and owns records of the same population. From
these it fits the density of what hides a candidate (the other records of the batch, plus noise), chooses a member of
its family and calibrates it by playing the game against itself. It never sees the reporting records before the game.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.calibration import Calibration, at, shifted, uniform, unseen
from ptaudit.attacks.densities import Density, Own
from ptaudit.attacks.model_selection import FittedMembers, FoldGames, Rows, choose, coordinates_of, rows_of
from ptaudit.attacks.observed_density import Effort, SummedRecords, doubled, in_both_roles


@dataclass(frozen=True)
class Posterior:
    """A fitted and calibrated adversary for R rows.

    Attributes:
        fitted: chosen members, with the coordinates that they look at and their densities.
        full: whether a row chose all coordinates, `(R,)`.
        trials: the games that it was calibrated on, scored by the chosen members.
        wider: whether its densities are fitted to the further records too.
    """

    fitted: FittedMembers[tuple[Tensor, Density]]
    full: Tensor
    trials: tuple[ScoredGames, ...] = ()
    wider: bool = False

    def scores(self, views: Sequence[Tensor], candidates: Tensor) -> Tensor:
        """Log-likelihoods of every candidate under the chosen members, less the largest: `(R, G, K)` float32.

        Args:
            views: per round, `(R, G, k)`.
            candidates: `(R, K, k)`.
        """
        low = candidates.new_empty(len(candidates), views[0].shape[1], candidates.shape[1], dtype=torch.float32)
        for mine, member, (coordinates, density) in self.fitted.parts:
            some = [rows_of(view, mine) for view in views]
            distances = distances_of(density, some, rows_of(candidates, mine), coordinates)
            low[list(mine)] = shifted(member.scores(distances))
        return low


@dataclass(frozen=True)
class ScoredGames:
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


def fit_likelihood_ratio(own: Own, generator: torch.Generator, effort: Effort) -> Posterior:
    """Fit, choose and calibrate on the adversary's records, of which there are at least 4; see `model_selection`.

    Densities of a sum are fitted to further records too where that names more of its own: training sets members apart,
    so that it may not.

    Args:
        own: its records, and the view.
        generator: of the games it plays against itself.
        effort: how many games that are.
    """
    rows, n, _ = own.tokens.shape
    every, half = tuple(range(rows)), n // 2
    seeds = torch.randint(2**62, (3,), generator=generator).tolist()
    folds = slice(half), slice(half, 2 * half)
    whole, chosen = (own.densities(fold, seed) for fold, seed in zip(folds, seeds))
    first = _fold_games(lambda place, asked: whole(place, every).at(asked), own, folds[1], effort, generator)
    second = _fold_games(chosen, own, folds[0], effort, generator)
    wider = own.further is not None and bool(own.view.others) and _names_more(first, own, every)

    def refit() -> Callable[[int, Rows], tuple[Tensor, Density]]:
        densities = own.densities(slice(n), seeds[2])
        return lambda place, asked: (own.coordinates(place), densities(place, asked))

    fitted = choose((first, second), own.members(wider), rows, unseen(own.view.others, n), refit)
    # Games of one fold alternate with those of the other.
    starts = [pair for one, two in zip(first, second) for pair in ((one, half), (two, 0))]
    trials = tuple(_trial(games, start, fitted) for games, start in starts)
    full = torch.zeros(rows, dtype=torch.bool)
    for mine, member, _ in fitted.parts:
        full[list(mine)] = member.dim == max(map(len, own.sets))
    return Posterior(fitted, full, trials, wider)


def _names_more(games: Sequence[FoldGames], own: Own, every: Rows) -> bool:
    """Whether a normal density of all coordinates names more, over all rows, where further records are in it."""
    pair = [own.widest(further) for further in (False, True)]
    bits = torch.stack([one.by_member(pair, every).flatten(2).amax(2).sum(0) for one in games]).mean(0)
    return bool(bits[1] > bits[0])


def _trial(games: FoldGames, start: int, fitted: FittedMembers[tuple[Tensor, Density]]) -> ScoredGames:
    """Games of a fold, which begins at some place, as the chosen members score them."""
    assert games.candidates is not None
    assert games.members is not None
    bits = fitted.bits
    low = torch.empty(len(bits), len(games.secret), len(games.candidates), dtype=torch.float32, device=bits.device)
    for mine, member, _ in fitted.parts:
        low[list(mine)] = shifted(member.scores(games.distances(member.place, mine)))
    return ScoredGames(games.candidates + start, games.members + start, games.secret, low)


def _fold_games(
    density: Callable[[int, Rows], Density], own: Own, fold: slice, effort: Effort, generator: torch.Generator
) -> list[FoldGames]:
    """Games among the records of a fold, in both roles."""
    played, found = own.tokens[:, fold], []
    records = SummedRecords(played, own.view.noise_std) if own.observed is None else own.observed.at(fold)
    for role in in_both_roles(records, effort, own.view, generator):
        views = role.views if own.observed is None else doubled(role.views)
        candidates = played[:, role.targets]

        def distances(
            place: int, rows: Rows, views: Sequence[Tensor] = views, candidates: Tensor = candidates
        ) -> list[Tensor]:
            some = [rows_of(view, rows) for view in views]
            return distances_of(density(place, rows), some, rows_of(candidates, rows), own.coordinates(place))

        secret, k = role.games.secret.to(played.device), len(role.targets)
        members = role.games.members(role.targets, role.fillers)
        found.append(FoldGames(distances, uniform(k, played), secret, (secret + 1) % k, role.targets, members))
    return found
