"""The identity game at a price that a running training can pay: a few hundred records, one family of Gaussians.

Secret, split and interval are those of `identity`: who is fitted and who is reported are disjoint, and the interval
resamples target records. The adversary is a lighter one: a shrunk Gaussian on 16 or on all coordinates, light- or
heavy-tailed, calibrated on two folds of its own records. It sees sketches alone: an adversary with whole gradients
finds more, without noise nearly everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.calibration import Calibration, CalibrationGrid, best_point, calibrated_gain, mean_bits, uniform
from ptaudit.attacks.densities import sub_token
from ptaudit.attacks.nuisance_density import NuisanceDensity, fit_gaussian, log_density
from ptaudit.games.common.crossfit import QuarterScores, credited, crossfit, estimates, quarters
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.aggregate import draw_games, observe
from ptaudit.views.records_needed import why_too_few
from ptaudit.views.view import View

BATCH = 8
"""Records in a batch: small, so that a short window of records will do."""

_DIMS = (16, 1024)
_TAILS = (math.inf, 10.0)
_GRID = CalibrationGrid(((0.0625, 5),), (0.003, 0.03, 0.2, 1.0))
_GAMES = 256
"""Games with the targets of one quarter."""


@dataclass(frozen=True)
class _Adversary:
    """What was fitted for R rows, and chosen for each on its own records.

    Attributes:
        family: Gaussians on evenly spread coordinates, with these.
        member: which one of the family and of the tails, `(R,)`.
        real: its calibration by the true secret.
        null: by a shuffled one.
    """

    family: list[tuple[NuisanceDensity, Tensor]]
    member: Tensor
    real: Calibration
    null: Calibration


def rolling_bits(tokens: Tensor, seed: int = 0, noise: float = 0.0) -> list[Estimate]:
    """Bits that the sum of `BATCH` records gives away about which of N/4 candidates was in it, for R rows at once.

    Args:
        tokens: tokens of N records for R rows, `(R, N, k)`.
        seed: seed of the split, the draws and the resamples.
        noise: standard deviation per coordinate of Gaussian noise on the sum of a batch.

    Returns:
        One estimate per row; inconclusive with fewer than 20 records for each one of a batch.
    """
    view, (rows, n, _) = View("rolling", BATCH, noise_std=noise), tokens.shape
    k = n // 4
    ceiling = math.log2(k) if k > 1 else math.nan
    tokens = tokens.double()
    if reason := why_too_few(tokens, view):
        return [inconclusive(reason, ceiling=ceiling, n=n)] * rows
    generator = torch.Generator().manual_seed(seed)

    def play_half(known: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[QuarterScores]:
        mine = tokens[:, known]
        half = mine.shape[1] // 2
        folds = mine[:, :half], mine[:, half : 2 * half]
        chosen = _choose([_own_games(*pair, view, generator) for pair in (folds, folds[::-1])])
        adversary = _Adversary(_family(mine, view), *chosen)
        return [_quarter(adversary, tokens[:, own], tokens[:, rest], view, generator) for own, rest in pairs]

    bits, _, null = crossfit(quarters(n, generator), play_half)
    found = estimates((bits, null), [ceiling] * rows, 4 * k, seed)
    return [replace(e, status="saturated") if e.conclusive and e.value > ceiling - 1.0 else e for e in found]


def _family(tokens: Tensor, view: View) -> list[tuple[NuisanceDensity, Tensor]]:
    """Gaussians on evenly spread coordinates, with these."""
    k = tokens.shape[-1]
    sets = [sub_token(k, dim) for dim in dict.fromkeys(min(dim, k) for dim in _DIMS)]
    return [(fit_gaussian(tokens[..., some], view.others, view.noise_std), some) for some in sets]


def _scores(family: Sequence[tuple[NuisanceDensity, Tensor]], seen: Tensor, candidates: Tensor) -> Iterator[Tensor]:
    """Log-likelihoods `(R, G, K)` of every member, less the largest of each game."""
    for density, some in family:
        distances = density.distances(seen[..., some], candidates[..., some])
        for nu in _TAILS:
            scores = log_density(distances.clone(), nu, len(some))
            yield scores - scores.amax(-1, keepdim=True)


def _own_games(known: Tensor, played: Tensor, view: View, generator: torch.Generator) -> Tensor:
    """Mean bits with the true and the shuffled secret of every member and calibration: `(2, R, members, 5, 4)`."""
    k = played.shape[1] // 2
    candidates, prior = played[:, :k], uniform(k, played)
    games = draw_games(k, k, max(1, _GAMES // 2 // k), view, generator)
    seen = observe(candidates, played[:, k : 2 * k], games, view.noise_std, generator)[0]
    secret = games.secret.to(played.device)
    tables = [
        torch.stack([mean_bits(scores, prior, right, _GRID) for right in (secret, (secret + 1) % k)])
        for scores in _scores(_family(known, view), seen, candidates)
    ]
    return torch.stack(tables, 2)


def _choose(tables: Sequence[Tensor]) -> tuple[Tensor, Calibration, Calibration]:
    """The best member by the true secret; for it the best calibration by the true and by the shuffled one."""
    mean = torch.stack(list(tables)).mean(0)
    member = mean[0].flatten(2).amax(2).argmax(1)
    rows = torch.arange(len(member), device=member.device)
    real, null = (best_point(table[rows, member], _GRID)[0] for table in mean)
    return member, real, null


def _quarter(
    adversary: _Adversary, candidates: Tensor, fillers: Tensor, view: View, generator: torch.Generator
) -> QuarterScores:
    """Scores of the targets of a quarter, and the influence of the records that fill the batches: `(3, R, q)` each."""
    rows, k, _ = candidates.shape
    per_target = max(1, _GAMES // k)
    games = draw_games(k, fillers.shape[1], per_target, view, generator)
    seen = observe(candidates, fillers, games, view.noise_std, generator)[0]
    secret = games.secret.to(candidates.device)
    scored, prior = candidates.new_zeros(3, rows, len(secret)), uniform(k, candidates)
    for place, scores in enumerate(_scores(adversary.family, seen, candidates)):
        mine = (adversary.member == place).nonzero().flatten()
        for line, calibration, right in ((0, adversary.real, secret), (2, adversary.null, (secret + 1) % k)):
            if len(mine):
                scored[line, mine] = calibrated_gain(scores[mine], prior, calibration.at(mine.tolist()), right)
    return credited(scored, per_target, games.others, fillers.shape[1])
