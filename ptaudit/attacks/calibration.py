"""Calibration of a posterior: temperature and a share of the prior guess, chosen on a grid.

The adversary who only knows the prior (share 1: exactly 0 bits) is in the family, so that a calibrated adversary who
learns nothing says so. Scores are `(R, G, K)` log-likelihoods; the secret of game g is the index `secret[g]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_CAUTIOUS = 0.2
"""Largest share of the prior that caution alone may choose: it costs 4 % of a small leak, which more would hide."""

MEMBER_TOLERANCE = 0.02
"""Share of the bits on the folds that is given up for a heavier tail."""


@dataclass(frozen=True)
class Calibration:
    """A posterior is (1 - share) * softmax(slope * score + log prior) + share * prior; tensors of shape `(R,)`."""

    slope: Tensor
    share: Tensor

    def at(self, rows: Sequence[int]) -> Calibration:
        """The calibration of some rows."""
        return Calibration(self.slope[list(rows)], self.share[list(rows)])


def shifted(scores: Tensor) -> Tensor:
    """Scores less the largest of each game, in float32: what every posterior starts from."""
    return (scores - scores.amax(-1, keepdim=True)).float()


def at(values: Tensor, secret: Tensor) -> Tensor:
    """Values of the secrets: `(R, G, K)`, `(G,)` -> `(R, G)`."""
    return values.gather(-1, secret[None, :, None].expand(len(values), -1, 1)).squeeze(-1)


LEAST_PRIOR = 1e-300
"""A value that is impossible before the gradient stays so, and its logarithm is finite."""


def log_prior(prior: Tensor) -> Tensor:
    """Logarithm of a prior, finite."""
    return prior.double().clamp_min(LEAST_PRIOR).log()


def gain(log_ratio: Tensor, share: Tensor | float) -> Tensor:
    """Bits gained over the prior by the mixed posterior, from the log of posterior over prior; arguments broadcast."""
    return torch.log2((1.0 - share) * log_ratio.double().exp() + share)


@dataclass(frozen=True)
class CalibrationGrid:
    """Points of a calibration: chains of slopes (first and length, each twice the one before) and shares."""

    chains: tuple[tuple[float, int], ...]
    shares: tuple[float, ...]

    @property
    def slopes(self) -> tuple[float, ...]:
        """All slopes, chain by chain."""
        return tuple(first * 2.0**i for first, length in self.chains for i in range(length))


FINE = CalibrationGrid(((0.0625, 5), (0.0883883, 5)), (1e-4, 1e-3, 0.01, 0.0325, 0.0625, 0.1, 0.2, 0.4, 0.6, 0.85, 1.0))
"""For the calibration of a member."""

COARSE = CalibrationGrid(((0.0883883, 5),), (0.003, 0.05, 0.3, 1.0))
"""For the choice of a member."""


def log_totals(low: Tensor, prior: Tensor, grid: CalibrationGrid) -> Tensor:
    """Log of the likelihood of each game under the prior, for every slope of the grid: `(R, slopes, G)`.

    Doubling a slope squares a likelihood, so a chain of slopes costs one exponential.
    """
    weights, found = prior.to(low), []
    for slope, length in grid.chains:
        likelihood = (low * slope).exp_()
        for doubling in range(length):
            if doubling:
                likelihood.square_()
            found.append(likelihood @ weights)
    return torch.stack(found, 1).log_()


def points(own: Tensor, totals: Tensor, grid: CalibrationGrid) -> Tensor:
    """Mean bits of every point of the grid, from the secrets' shifted scores `(R, G)`: `(R, slopes, shares)`."""
    slopes, shares = (
        torch.tensor(values, dtype=torch.float64, device=own.device) for values in (grid.slopes, grid.shares)
    )
    ratio = (slopes[:, None] * own[:, None] - totals).exp_()
    return torch.stack([torch.log2((1.0 - share) * ratio + share).mean(-1) for share in shares], -1)


def mean_bits(scores: Tensor, prior: Tensor, secret: Tensor, grid: CalibrationGrid) -> Tensor:
    """Mean bits of every point of the grid.

    Args:
        scores: log-likelihoods, `(R, G, K)`.
        prior: probabilities, `(K,)`.
        secret: index of the secret, `(G,)`.
        grid: the points.

    Returns:
        `(R, slopes, shares)`.
    """
    low = shifted(scores)
    return points(at(low, secret), log_totals(low, prior, grid), grid)


def calibrated_gain(low: Tensor, prior: Tensor, calibration: Calibration, secret: Tensor) -> Tensor:
    """Bits of each game under a calibrated posterior, from shifted scores: `(R, G)`."""
    slope = calibration.slope[:, None].float()
    log_total = ((low * slope[..., None]).exp_() @ prior.float()).log()
    return gain(slope * at(low, secret) - log_total, calibration.share[:, None])


def uniform(candidates: int, like: Tensor) -> Tensor:
    """The uniform prior over the candidates."""
    return torch.full((candidates,), 1.0 / candidates, dtype=like.dtype, device=like.device)


def cautious(bits: Tensor, tail: Tensor) -> Tensor:
    """For each row the heaviest-tailed member within `MEMBER_TOLERANCE` of the best, `(R, members)` -> `(R,)`.

    An outlier that the adversary's own records do not hold ruins a light-tailed posterior and barely moves a
    heavy-tailed one, so a small gain on the folds is not worth a light tail.

    Args:
        bits: mean bits on the folds.
        tail: weight of the tail of each member (1 / degrees of freedom), `(members,)`.
    """
    top = bits.amax(1, keepdim=True)
    eligible = bits >= top - MEMBER_TOLERANCE * top.abs()
    rank = torch.where(eligible, tail + 0.001 * (bits - top).exp(), -torch.ones_like(bits))
    return rank.argmax(1)


def top_hit(scores: Tensor, secret: Tensor) -> Tensor:
    """Whether the secret has the highest score, 1/ties where it shares it: `(R, G, K)`, `(G,)` -> `(R, G)`."""
    first = (scores == scores.amax(-1, keepdim=True)).float()
    return at(first, secret).double() / (first @ first.new_ones(first.shape[-1]))


def unseen(others: int, records: int) -> float:
    """Chance that one of the other records of a batch is more extreme than all the adversary's records.

    The missing mass of Good (Biometrika 40, 1953): 1 / (n + 1) for each of the others. No posterior fitted on n records
    may be surer than that.
    """
    return others / (records + 1.0)


def calibrate(bits: Tensor, least_share: float) -> Calibration:
    """The calibration of each row, see `most_cautious`; the error is that between sets of games.

    Args:
        bits: bits of every point of `FINE`, averaged over each set of games on the adversary's own records, which share
            no filling records, `(R, slopes, shares, sets)`.
        least_share: smallest share of the prior, see `unseen`.
    """
    slopes, shares = (
        torch.tensor(grid, dtype=torch.float64, device=bits.device) for grid in (FINE.slopes, FINE.shares)
    )
    by_share, slope_of = bits.mean(-1).max(1)
    by_share = torch.where(shares >= least_share, by_share, -torch.inf)
    lines = bits.gather(1, slope_of[:, None, :, None].expand(-1, 1, -1, bits.shape[-1])).squeeze(1)
    share = most_cautious(by_share, lines, shares)
    return Calibration(slopes[slope_of[torch.arange(len(bits), device=bits.device), share]], shares[share])


def most_cautious(by_share: Tensor, lines: Tensor, shares: Tensor) -> Tensor:
    """For each row the largest share of the prior that is not worse than the best by more than one standard error.

    A large share costs little where the posterior is right, and saves much where a batch holds an outlier that no game
    has shown. The one-standard-error rule is that of Breiman et al., CART (1984).

    Args:
        by_share: mean bits at each share, minus infinity where it is not allowed, `(R, shares)`.
        lines: bits of each game, or mean bits of each set of games, at each share, `(R, shares, n)`.
        shares: in ascending order.

    Returns:
        Places of the shares, `(R,)`.
    """
    index, n = torch.arange(len(lines), device=lines.device), lines.shape[-1]
    lost = lines - lines[index, by_share.argmax(1)][:, None]
    best_share = torch.where(by_share >= by_share.amax(1, keepdim=True) - 1e-9, shares, 0.0).amax(1)
    most = best_share.clamp_min(MOST_CAUTIOUS)[:, None]
    eligible = (lost.mean(-1) >= -lost.std(-1) / n**0.5) & (shares <= most) & torch.isfinite(by_share)
    return torch.where(eligible, torch.arange(len(shares), device=lines.device), -1).argmax(1)


def best_point(bits: Tensor, grid: CalibrationGrid) -> tuple[Calibration, Tensor]:
    """The best slope and share of every row, from mean bits `(R, slopes, shares)`, and its bits."""
    slopes, shares = (bits.new_tensor(values) for values in (grid.slopes, grid.shares))
    top, place = bits.flatten(1).max(1)
    return Calibration(slopes[place // len(shares)], shares[place % len(shares)]), top


SHARES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.0325, 0.0625, 0.1, 0.2, 0.4, 0.6, 0.85)
"""Shares of the prior that a stack tries, beside the smallest allowed one and 1."""


def cautious_share(log_ratio: Tensor, least: float) -> float:
    """The largest share that costs at most one standard error of the games' bits, see `most_cautious`.

    Args:
        log_ratio: log of posterior over prior of the secrets, `(G,)`.
        least: smallest share that is allowed.
    """
    tried = sorted({least, *(share for share in SHARES if share > least), 1.0})
    bits = torch.stack([gain(log_ratio, share) for share in tried])
    best = int(bits.mean(1).argmax())
    lost = bits - bits[best]
    error = lost.std(1) / max(1.0, len(log_ratio)) ** 0.5
    most = max(tried[best], MOST_CAUTIOUS)
    fine = [share for share, d, e in zip(tried, lost.mean(1).tolist(), error.tolist()) if d >= -e and share <= most]
    return max(fine, default=tried[best])
