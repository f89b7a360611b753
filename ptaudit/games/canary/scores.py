"""The canary game: in a batch of m, is the canary there, or which of two values has its attribute?

On a view with noise the adversary is the one that differential privacy defends against: it knows all other records, so
that of what is seen only the projection on the canary's own difference matters, which is N(0 or d, (sigma C)^2) for a
difference of norm d, exactly and in the full space of gradients. Without noise no epsilon is finite; there the
adversary does not know the others and looks at tokens with a linear discriminant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri
from torch import Tensor

from ptaudit.attacks.nuisance_density import ledoit_wolf
from ptaudit.attacks.threshold import shuffled_halves
from ptaudit.games.common.crossfit import filler_influence
from ptaudit.games.common.resampling_units import few
from ptaudit.spec.canaries import CanarySpec
from ptaudit.stats.bootstrap import from_values
from ptaudit.stats.epsilon import (
    Adjacency,
    EpsilonBound,
    Threshold,
    choose_threshold,
    clopper_pearson,
    gaussian_dp,
    gaussian_epsilon,
    gaussian_mu,
)
from ptaudit.stats.epsilon.rates import upper
from ptaudit.stats.estimate import OK, Estimate, inconclusive
from ptaudit.stats.permutation import derangement
from ptaudit.stats.roc import auc_influence
from ptaudit.views.aggregate import draw_others, sums
from ptaudit.views.view import View

Array = NDArray[np.float64]
Metrics = dict[str, Estimate]

NO_NOISE = "no noise, so that there is no finite epsilon to hold it against"
_NODES = 64
_TRUST = tuple(2.0 ** np.arange(-6, 2))
_DOUBT = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)
_REHEARSED = 0.3
"""Share of the adversary's own records that it plays against itself with; on the others it fits."""


def known_others(
    distance: Array, view: View, canaries: CanarySpec, adjacency: Adjacency, seed: int
) -> dict[str, Metrics]:
    """Play one step of a Gaussian mechanism against who knows all records but the canary.

    The games of a bound are all on the canary whose secret moves its gradient furthest, which is known before any game
    is played. The raw bound's threshold is chosen on as many games that the adversary plays by itself; that of the
    bound by Gaussian DP is where both hypotheses are equally likely.

    Args:
        distance: norm of the clipped difference of each canary, `(C,)`.
        view: with noise; its batch is no sample of a larger one.
        canaries: how many games are reported, half of each kind, and the delta of the epsilon.
        adjacency: what the secret decides.
        seed: seed of the noise.

    Returns:
        For each test `epsilon_lo`, held against the exact epsilon of the mechanism; for the likelihood ratio `auc` and
        `bits`, the exact means over all canaries.
    """
    assert view.clip is not None, "only a view that clips has noise"
    most = gaussian_mu(view.noise_std / view.clip, adjacency, view.rounds)
    mu = np.asarray(distance, np.float64) * math.sqrt(view.rounds) / view.noise_std
    games, delta = canaries.games, canaries.delta
    played, own_games = _ratios(float(mu.max()), games, [seed, 0]), _ratios(float(mu.max()), games, [seed, 1])
    raw = choose_threshold(*own_games, delta)
    bounds = [
        gaussian_dp(Threshold.fixed(0.0), *played, delta=delta, adjacency=adjacency),
        clopper_pearson(raw, *played, delta=delta, adjacency=adjacency),
    ]
    found = {b.method: {"epsilon_lo": _bounded(b, played, gaussian_epsilon(most, delta))} for b in bounds}
    area = from_values(_auc(mu), null=0.5, ceiling=float(_auc(np.array(most))), seed=seed)
    bits = from_values(_bits(mu), null=0.0, ceiling=float(_bits(np.array([most]))[0]), seed=seed)
    found["likelihood-ratio"] = {"auc": _clipped(area), "bits": _clipped(bits)}
    return found


def most_shown(view: View, canaries: CanarySpec, adjacency: Adjacency) -> dict[str, float]:
    """For each test the largest epsilon that its games can show on a view with noise: every one won, and no more than
    the mechanism has; arguments as of `known_others`."""
    assert view.clip is not None, "only a view that clips has noise"
    has = gaussian_epsilon(gaussian_mu(view.noise_std / view.clip, adjacency, view.rounds), canaries.delta)
    won = np.ones(canaries.games // 2)
    delta, rule = canaries.delta, Threshold.fixed(0.0)
    bounds = [test(rule, -won, won, delta=delta, adjacency=adjacency) for test in (gaussian_dp, clopper_pearson)]
    return {bound.method: min(has, bound.ceiling) for bound in bounds}


def _ratios(mu: float, games: int, seed: list[int]) -> tuple[Array, Array]:
    """Log-likelihood ratios of games with secret 0 and with secret 1, half of each."""
    noise = np.random.default_rng(seed).standard_normal((2, games // 2))
    return mu * (noise[0] - mu / 2.0), mu * (noise[1] + mu / 2.0)


def _bounded(bound: EpsilonBound, played: tuple[Array, Array], ceiling: float) -> Estimate:
    """The bound as lower end; the upper end is the epsilon that the same games do not rule out for this attack."""
    zero, one = played
    at = bound.rule.value if isinstance(bound.rule, Threshold) else 0.0
    fpr, fnr = (_lower(int(wrong.sum()), len(wrong), bound.confidence) for wrong in (zero >= at, one < at))
    with np.errstate(divide="ignore"):
        if bound.method == "gaussian-dp":
            high = gaussian_epsilon(max(float(-ndtri(fpr) - ndtri(fnr)), 0.0), bound.delta)
        else:
            high = float(max(np.log1p(-bound.delta - fnr) - np.log(fpr), np.log1p(-bound.delta - fpr) - np.log(fnr)))
    status = "saturated" if bound.value >= bound.ceiling > 0.0 else OK
    return Estimate(bound.value, bound.value, max(bound.value, min(high, ceiling)), 0.0, ceiling, bound.n, status)


def _lower(errors: int, games: int, confidence: float) -> float:
    return 1.0 - float(upper(games - errors, games, confidence))


def _auc(mu: Array) -> Array:
    """AUC between N(0, 1) and N(mu, 1)."""
    return np.asarray(ndtr(mu / math.sqrt(2.0)))


def _bits(mu: Array) -> Array:
    """Mutual information of a fair bit and N(0 or mu, 1), by quadrature."""
    nodes, weights = hermegauss(_NODES)
    ratio = mu[:, None] * (nodes + mu[:, None] / 2.0)
    lost = np.logaddexp(0.0, -ratio) / math.log(2.0)
    return np.asarray(1.0 - lost @ (weights / weights.sum()))


@dataclass(frozen=True)
class CanaryTokens:
    """What the canaries and the records they hide among look like.

    Attributes:
        low: of each canary with its secret 0; zeros where that is its absence, `(C, k)`.
        high: with its secret 1, `(C, k)`.
        others: of N records, `(N, k)`.
    """

    low: Tensor
    high: Tensor
    others: Tensor


def unknown_others(tokens: CanaryTokens, view: View, games: int, seed: int) -> Metrics:
    """Play on a view without noise, against who knows the canary and the weights but not the other records.

    Linear discriminant: the others scatter as sums of m-1 records of the adversary's own (Ledoit-Wolf). It fits and
    calibrates on one half of the records and plays on the other, and the other way round.

    Args:
        tokens: clipped already where the view clips, float64.
        view: without noise, a sum over its records.
        games: reported games in all, at least four for each canary.
        seed: seed of halves, batches and resamples.

    Returns:
        `auc` and `bits`; the interval resamples canaries, and knows that games share the other records.
    """
    count = len(tokens.low)
    if view.others == 0:
        apart = ((tokens.high - tokens.low).square().sum(-1) > 0.0).double().cpu().numpy()
        area, bits = (from_values(v, null=n, ceiling=1.0, seed=seed) for v, n in ((0.5 + apart / 2, 0.5), (apart, 0.0)))
        return {"auc": _clipped(area), "bits": _clipped(bits)}
    halves = shuffled_halves(len(tokens.others), torch.Generator().manual_seed(seed))
    each = max(1, round(games / (4 * count)))
    played = [_play(tokens, (halves[1 - i], halves[i]), view, each, [seed, i]) for i in range(2)]
    if not all(np.isfinite(score).all() for one in played for score in one.scores.values()):
        lost = inconclusive("scores that are not finite", ceiling=1.0, n=count)
        return {"auc": lost, "bits": lost}
    null = float(np.mean([one.null_bits for one in played]))
    return {name: _over_canaries(name, played, count, blind, seed) for name, blind in (("auc", 0.5), ("bits", null))}


@dataclass(frozen=True)
class _HalfScores:
    """Games of one half: scores `(G,)` of each metric whose mean is the estimate, canary after canary."""

    scores: dict[str, Array]
    influence: dict[str, Array]
    null_bits: float


def _play(
    tokens: CanaryTokens, halves: tuple[NDArray[np.int64], NDArray[np.int64]], view: View, each: int, seed: list[int]
) -> _HalfScores:
    """Games of one half, against who knows the records of the other: these come first."""
    known, others = halves
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    own = tokens.others[torch.from_numpy(known).to(tokens.others.device)]
    apart = max(view.others + 1, round(_REHEARSED * len(own)))
    own_games, fitted = own[:apart], own[apart:]
    mean = fitted.mean(0)
    scatter = view.others * ledoit_wolf((fitted - mean)[None])[0]
    scatter.diagonal().add_(1e-12 * scatter.diagonal().mean() + 1e-200)
    weight = torch.linalg.solve(scatter, (tokens.high - tokens.low).T).T
    rounds = view.batches  # without noise the same batch looks the same in every round

    def ratios(pool: Tensor) -> tuple[Array, NDArray[np.bool_], Tensor]:
        canary = torch.arange(len(weight)).repeat_interleave(2 * each)
        secret = torch.arange(2).repeat(len(weight) * each)
        hiding = draw_others(len(pool), rounds * len(canary), view.others, generator)
        seen = sums(pool[None], hiding)[0].view(rounds, len(canary), -1)
        own = torch.where(secret[:, None].bool().to(seen.device), tokens.high[canary], tokens.low[canary])
        centre = (tokens.high + tokens.low)[canary] / 2.0 + view.others * mean
        ratio = ((seen + own - centre) * weight[canary]).sum(-1).sum(0)
        return ratio.cpu().numpy(), secret.bool().numpy(), hiding.view(rounds, len(canary), -1)

    reference, truth, _ = ratios(own_games)
    score, secret, hiding = ratios(tokens.others[torch.from_numpy(others).to(tokens.others.device)])
    if not (np.isfinite(reference).all() and np.isfinite(score).all()):
        return _HalfScores({"bits": np.full(len(score), np.nan)}, {}, math.nan)
    chance = np.random.default_rng([*seed, 2])
    posterior = _calibrate(reference, truth)
    blind = _calibrate(reference, truth[derangement(len(truth), chance)])
    placed = np.empty(len(score))
    placed[secret], placed[~secret] = auc_influence(score[secret], score[~secret])
    area = placed[secret].mean()
    # Both kinds of games tell of the same area, so that each is half of what moves it.
    scores = {"auc": area + 2.0 * (placed - area), "bits": posterior.bits(score, secret)}
    null = blind.bits(score, secret[derangement(len(secret), chance)])
    influence = {name: _of_fillers(s, each, hiding, len(others)) for name, s in scores.items()}
    return _HalfScores(scores, influence, float(null.mean()))


def _of_fillers(scores: Array, each: int, hiding: Tensor, fillers: int) -> Array:
    rest = torch.from_numpy(scores).view(-1, 2 * each)
    rest = (rest - rest.mean(1, keepdim=True)).flatten()
    return np.asarray(filler_influence(rest, hiding, fillers).numpy())


@dataclass(frozen=True)
class _Posterior:
    """How far log-likelihood ratios are believed: by this factor, and but for this share, which guesses."""

    trust: float
    doubt: float

    def bits(self, ratio: Array, secret: NDArray[np.bool_]) -> Array:
        q = expit(self.trust * np.where(secret, ratio, -ratio))
        return np.asarray(1.0 + np.log2((1.0 - self.doubt) * q + self.doubt / 2.0))


def _calibrate(ratio: Array, secret: NDArray[np.bool_]) -> _Posterior:
    """The best on games that the adversary plays against itself; the plain guess is among them."""
    tried = [_Posterior(trust, doubt) for trust in _TRUST for doubt in _DOUBT]
    return max(tried, key=lambda posterior: float(posterior.bits(ratio, secret).mean()))


def _over_canaries(metric: str, played: list[_HalfScores], canaries: int, null: float, seed: int) -> Estimate:
    """Mean over canaries; fillers and the whole difference of the halves widen its interval.

    A record that is hard to hide behind is also hard to fit on, in the other half: both halves move together, of which
    neither the canaries nor the fillers tell. So chance is not taken off the difference, and few canaries count as in
    other games: with 40 and 320 heavy-tailed records 93 to 94 of 100 intervals hold the truth, else 91.
    """
    by_half = np.stack([one.scores[metric].reshape(canaries, -1).mean(1) for one in played])
    fillers = np.concatenate([one.influence[metric] for one in played])
    extra = float(fillers.var() / len(fillers) + (by_half[0].mean() - by_half[1].mean()) ** 2 / 4.0)
    values = by_half.mean(0)
    values = values.mean() + few(max(canaries, 3), max(canaries, 3)) * (values - values.mean())
    return _clipped(from_values(values, null=null, ceiling=1.0, seed=seed, extra_variance=extra))


def _clipped(estimate: Estimate) -> Estimate:
    return estimate.clipped(0.0, estimate.ceiling) if estimate.conclusive else estimate
