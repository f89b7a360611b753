"""Boosted trees that tell the true candidate of a game from wrong ones by many statistics at once.

What a statistic says depends on the others: a residual of 1e-4 is a match where the rank is small and nothing where it
is full. Trees see that; and what counts is also how a candidate stands among its rivals, so the distance of every
statistic from the rivals' largest and median is given too.
"""

from __future__ import annotations

from typing import Protocol

import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

WRONG = 10
"""Wrong candidates of a game that the true one is told from."""

TREES, LEAVES, RATE = 60, 15, 0.15


class Score(Protocol):
    """Fitted trees."""

    def __call__(self, statistics: Tensor, asked: Tensor | None = None) -> Tensor:
        """Log-odds of every candidate from statistics `(G, K, F)`, or of those that are asked about, `(G, k)`."""


def fit_boosted(statistics: Tensor, secret: Tensor, seed: int, likely: Tensor | None = None) -> Score:
    """Grow trees on games with known secrets.

    Args:
        statistics: of every candidate, `(G, K, F)`.
        secret: place of the true one, `(G,)`.
        seed: of the choice of wrong candidates and of the trees.
        likely: candidates `(G, k)` among whom the wrong ones are; all if left out.
    """
    games, k, _ = statistics.shape
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(games, k, generator=generator)
    if likely is not None:
        drawn += torch.zeros(games, k).scatter_(1, likely.cpu(), 1.0)
    wrong = drawn.scatter_(1, secret.cpu()[:, None], -1.0).topk(min(WRONG, k - 1)).indices
    chosen = torch.cat([secret.cpu()[:, None], wrong], 1).to(statistics.device)
    x = _beside_rivals(statistics)
    some = x.gather(1, chosen[..., None].expand(-1, -1, x.shape[-1])).flatten(0, 1)
    truth = (torch.arange(chosen.shape[1]) == 0).repeat(games)
    trees = HistGradientBoostingClassifier(
        max_iter=TREES, learning_rate=RATE, max_leaf_nodes=LEAVES, l2_regularization=1.0, early_stopping=False,
        random_state=seed % 2**32,
    )  # fmt: skip
    trees.fit(some.cpu().numpy(), truth.numpy())

    def score(statistics: Tensor, asked: Tensor | None = None) -> Tensor:
        x = _beside_rivals(statistics)
        if asked is not None:
            x = x.gather(1, asked[..., None].expand(-1, -1, x.shape[-1]))
        odds = torch.from_numpy(trees.decision_function(x.flatten(0, 1).cpu().numpy()))
        return odds.view(x.shape[:2]).float().to(x.device)

    return score


def _beside_rivals(statistics: Tensor) -> Tensor:
    middle, top = statistics.median(1, keepdim=True).values, statistics.amax(1, keepdim=True)
    return torch.cat([statistics, statistics - top, statistics - middle], -1)
