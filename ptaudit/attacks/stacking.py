"""One posterior from the scores of many attacks: non-negative stacking, a share of the prior mixed in.

Attacks and layers look at the same records of one batch, so their log-ratios must not simply be added: weights are
fitted on games whose records were used neither for the scores nor for what is reported. Weights are not negative, so an
attack that knows nothing is left out and one that repeats another changes nothing. (Stacking: Wolpert, Neural Networks
5, 1992; with non-negative weights: Breiman, Machine Learning 24, 1996.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from ptaudit.attacks.calibration import cautious_share, gain, log_prior

RIDGE = 1e-3
"""Penalty on the sum of the squared weights, in bits a game."""

MOST_RIVALS = 64
"""Wrong values of a game that weights are fitted against; conditional logit is consistent under such sampling
(McFadden, 1978)."""

MOST, SETTLED = 0.75, 1000.0
"""Share of the members of whom a row says no more than its bound; and odds that settle a game of equal candidates."""


@dataclass(frozen=True)
class FittedStack:
    """A posterior: (1 - share) * softmax(sum of weight * score + log prior) + share * prior.

    Attributes:
        weights: of the scores, `(J,)`, none negative.
        share: of the prior.
        games: bits of each game that it was fitted on, `(G,)`; 0 where it answers with the prior.
    """

    weights: Tensor
    share: float
    games: Tensor

    @property
    def bits(self) -> float:
        """Mean bits on the games that it was fitted on, less what so many weights gain from chance (Akaike, 1974)."""
        used = int((self.weights > 0.0).sum()) if self.share < 1.0 else 0
        return float(self.games.mean()) - used / (len(self.games) * math.log(2.0))

    def beats(self, other: FittedStack) -> bool:
        """Whether it is better than another on the same games by more than one standard error."""
        gain = self.games - other.games
        return bool(gain.mean() > gain.std() / len(gain) ** 0.5)

    def combined(self, scores: Tensor) -> Tensor:
        """Scores `(J, G, K)` as one, `(G, K)` float32."""
        return torch.einsum("j,jgk->gk", self.weights.to(scores), scores)

    def log_posterior(self, scores: Tensor, prior: Tensor) -> Tensor:
        """Log of the posterior, natural, `(G, K)` float64, from scores `(J, G, K)` and the prior `(G, K)`."""
        prior = prior.double()
        posterior = torch.softmax(self.combined(scores).double() + log_prior(prior), -1)
        return log_prior((1.0 - self.share) * posterior + self.share * prior)


def fit_stack(scores: Tensor, secret: Tensor, prior: Tensor, least_share: float) -> FittedStack:
    """Weights and share that give most bits on games with known secrets.

    Args:
        scores: log-likelihood ratios of every value, `(J, G, K)`; any constant may be added for each game.
        secret: index of the true value, `(G,)`.
        prior: probability of every value, `(G, K)`.
        least_share: smallest share of the prior; 1 / (n + 1) where n records were seen.
    """
    some, hidden, base = _against_few(scores, secret, prior)
    fitted = minimize(
        _loss, np.full(len(some), 1.0 / max(1, len(some))), (some, hidden, base, least_share), jac=True,
        method="L-BFGS-B", bounds=[(0.0, None)] * len(some), options={"maxiter": 60},
    )  # fmt: skip
    weights = torch.from_numpy(fitted.x)
    logits = torch.einsum("j,jgk->gk", weights.to(scores), scores).double() + log_prior(prior)
    own = torch.log_softmax(logits, -1).gather(1, secret[:, None]).squeeze(1)
    ratio = own - log_prior(prior.double().gather(1, secret[:, None]).squeeze(1))
    share = cautious_share(ratio, least_share)
    found = FittedStack(weights, share, gain(ratio, share))
    return found if found.bits > 0.0 else FittedStack(weights, 1.0, torch.zeros_like(ratio))


def uniform_prior(scores: Tensor) -> Tensor:
    """The prior of games whose values are all as likely, `(G, K)` float64, for scores `(J, G, K)`."""
    games, k = scores.shape[1:]
    return torch.full((games, k), 1.0 / k, dtype=torch.float64, device=scores.device)


def _against_few(scores: Tensor, secret: Tensor, prior: Tensor) -> tuple[NDArray[np.float64], ...]:
    """The secret's score in front of those of some rivals, less the secret's: `(J, G, k)`; and the log-priors."""
    games, values = scores.shape[1:]
    before = log_prior(prior)
    if values - 1 <= MOST_RIVALS:
        rivals = torch.arange(values - 1).expand(games, -1)
    else:
        generator = torch.Generator().manual_seed(games)
        rivals = torch.rand(games, values - 1, generator=generator).topk(MOST_RIVALS, sorted=False).indices
    rivals = rivals.to(secret.device) + (rivals.to(secret.device) >= secret[:, None]).long()
    own = scores.gather(2, secret[None, :, None].expand(len(scores), -1, 1))
    others = scores.gather(2, rivals[None].expand(len(scores), -1, -1)) - own
    base = before.gather(1, rivals) - before.gather(1, secret[:, None])
    base = base + math.log((values - 1) / rivals.shape[1])
    return others.double().cpu().numpy(), before.gather(1, secret[:, None]).cpu().numpy()[:, 0], base.cpu().numpy()


def _loss(
    weights: NDArray[np.float64],
    others: NDArray[np.float64],
    hidden: NDArray[np.float64],
    base: NDArray[np.float64],
    share: float,
) -> tuple[float, NDArray[np.float64]]:
    """Cross-entropy in bits a game with a ridge, and its gradient."""
    flat = others.reshape(len(others), -1)
    apart = np.minimum((weights @ flat).reshape(base.shape) + base, 60.0)
    odds = np.exp(apart)
    posterior = 1.0 / (1.0 + odds.sum(1))
    mixed = (1.0 - share) * posterior + share * np.exp(hidden)
    value = -np.log2(mixed).mean() + RIDGE * float(weights @ weights)
    slope = ((1.0 - share) * posterior**2 / mixed)[:, None] * odds / (len(base) * math.log(2.0))
    return value, flat @ slope.ravel() + 2.0 * RIDGE * weights


def within(scores: Tensor, loudest: Tensor) -> Tensor:
    """Scores `(R, G, K)` of which none is farther from the median of its game than `loudest`, `(R,)`.

    Densities of sums say anything of a batch with a record that is like none of the adversary's own: thousands of nats
    for whichever candidate takes most of it away.
    """
    typical = scores.median(-1, keepdim=True).values
    bound = loudest.to(scores)[:, None, None]
    return scores.clamp(typical - bound, typical + bound)


def calmed(scores: Tensor, secret: Tensor) -> tuple[Tensor, Tensor]:
    """Scores `(R, G, K)` of games with known secrets `(G,)` within bounds, and these, by row: what is said of most
    members, and at least what would settle a game if it were a log-likelihood ratio."""
    own = scores.gather(-1, secret.to(scores.device).expand(len(scores), -1)[..., None]).squeeze(-1)
    said = (own - scores.median(-1).values).double().quantile(MOST, 1)
    loudest = said.clamp_min(math.log(SETTLED * scores.shape[-1]))
    return within(scores, loudest), loudest
